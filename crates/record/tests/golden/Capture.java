// Captures batches and murmur2 vectors from Kafka's own Java client. How to run it: README.md.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.Utils;

public class Capture {
    static class Case {
        String name;
        long producerId = RecordBatch.NO_PRODUCER_ID;
        short epoch = RecordBatch.NO_PRODUCER_EPOCH;
        int sequence = RecordBatch.NO_SEQUENCE;
        List<SimpleRecord> records = new ArrayList<>();
    }

    public static void main(String[] args) throws IOException {
        Path here = Path.of(args[0]);
        Path out = here.resolve("batches");
        List<Case> cases = readCases(here.resolve("cases.txt"));
        for (Case c : cases) {
            for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.ZSTD)) {
                write(out, "java-" + c.name + "-" + codec.name, build(c, codec, TimestampType.CREATE_TIME, 0, -1, false));
            }
        }
        Case letters = cases.get(1);
        for (CompressionType codec : List.of(CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4)) {
            write(out, "refused-" + codec.name, build(letters, codec, TimestampType.CREATE_TIME, 0, -1, false));
        }
        write(out, "refused-logappendtime",
            build(letters, CompressionType.NONE, TimestampType.LOG_APPEND_TIME, 0, -1, false));
        write(out, "refused-transactional",
            build(cases.get(4), CompressionType.NONE, TimestampType.CREATE_TIME, 0, -1, true));
        write(out, "refused-control", MemoryRecords.withEndTransactionMarker(
            0, 1700000000000L, -1, 4611, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 7)));
        for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.ZSTD)) {
            write(out, "stored-" + codec.name, build(letters, codec, TimestampType.CREATE_TIME, 41, 5, false));
            write(out, "stored-logappendtime-" + codec.name,
                build(letters, codec, TimestampType.LOG_APPEND_TIME, 41, 5, false));
            write(out, "compacted-" + codec.name, compacted(letters, codec));
        }
        murmur2(here.resolve("murmur2.txt"));
    }

    static MemoryRecords build(Case c, CompressionType codec, TimestampType type, long base, int leaderEpoch, boolean transactional) {
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(
            ByteBuffer.allocate(1 << 16), RecordBatch.MAGIC_VALUE_V2, Compression.of(codec).build(), type, base,
            1700000099999L, c.producerId, c.epoch, c.sequence, transactional, false, leaderEpoch, 1 << 20);
        for (SimpleRecord record : c.records) {
            builder.append(record);
        }
        return builder.build();
    }

    // What Kafka's log cleaner leaves of three records at offsets 41 to 43: the middle one, in a batch that keeps
    // its offsets, then (in a second batch) none, where only the batch itself is kept for its producer's sake.
    static MemoryRecords compacted(Case letters, CompressionType codec) {
        Case idempotent = new Case();
        idempotent.producerId = 4611;
        idempotent.epoch = 3;
        idempotent.sequence = 9;
        idempotent.records = letters.records;
        ByteBuffer both = ByteBuffer.allocate(1 << 16);
        both.put(build(idempotent, codec, TimestampType.CREATE_TIME, 41, 5, false).buffer());
        idempotent.sequence = 12;
        both.put(build(idempotent, codec, TimestampType.CREATE_TIME, 44, 6, false).buffer());
        both.flip();
        ByteBuffer kept = ByteBuffer.allocate(1 << 16);
        MemoryRecords.readableRecords(both).filterTo(new MemoryRecords.RecordFilter(0, 1000) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, Record record) {
                return record.offset() == 42;
            }
        }, kept, BufferSupplier.NO_CACHING);
        kept.flip();
        return MemoryRecords.readableRecords(kept);
    }

    static void write(Path out, String name, MemoryRecords records) throws IOException {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        Files.write(out.resolve(name + ".batch"), bytes);
        System.out.println(name + ".batch");
    }

    static void murmur2(Path file) throws IOException {
        StringBuilder text = new StringBuilder("# key in hex (- is empty), murmur2 as signed 32 bits, partition of 1, 6, 7 and 1000\n");
        List<byte[]> keys = new ArrayList<>();
        for (String key : List.of("", "k", "21", "foobar", "a-little-bit-long-string", "N14228", "ключ", "鍵")) {
            keys.add(key.getBytes(StandardCharsets.UTF_8));
        }
        Random random = new Random(2);
        for (int length = 0; length <= 40; length++) {
            byte[] key = new byte[length];
            random.nextBytes(key);
            keys.add(key);
        }
        for (byte[] key : keys) {
            int hash = Utils.murmur2(key);
            text.append(key.length == 0 ? "-" : HexFormat.of().formatHex(key)).append(' ').append(hash);
            for (int partitions : new int[] {1, 6, 7, 1000}) {
                text.append(' ').append(Utils.toPositive(hash) % partitions);
            }
            text.append('\n');
        }
        Files.writeString(file, text);
    }

    static List<Case> readCases(Path file) throws IOException {
        List<Case> cases = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            List<String> words = new ArrayList<>(List.of(line.strip().split("\\s+")));
            if (words.get(0).isEmpty() || words.get(0).startsWith("#")) {
                continue;
            }
            int times = 1;
            if (words.get(0).equals("repeat")) {
                times = Integer.parseInt(words.get(1));
                words = words.subList(2, words.size());
            }
            if (words.get(0).equals("case")) {
                Case c = new Case();
                c.name = words.get(1);
                cases.add(c);
                continue;
            }
            Case c = cases.get(cases.size() - 1);
            if (words.get(0).equals("producer")) {
                c.producerId = Long.parseLong(words.get(1));
                c.epoch = Short.parseShort(words.get(2));
                c.sequence = Integer.parseInt(words.get(3));
                continue;
            }
            Header[] headers = words.subList(4, words.size()).stream().map(Capture::header).toArray(Header[]::new);
            SimpleRecord record = new SimpleRecord(
                Long.parseLong(words.get(1)), token(words.get(2)), token(words.get(3)), headers);
            for (int i = 0; i < times; i++) {
                c.records.add(record);
            }
        }
        return cases;
    }

    static Header header(String text) {
        int at = text.indexOf('=');
        return new RecordHeader(
            new String(token(text.substring(0, at)), StandardCharsets.UTF_8), token(text.substring(at + 1)));
    }

    static byte[] token(String text) {
        if (text.equals("~")) {
            return null;
        }
        if (text.equals("''")) {
            return new byte[0];
        }
        if (text.startsWith("x:")) {
            return HexFormat.of().parseHex(text.substring(2));
        }
        int star = text.indexOf('*');
        if (star >= 0) {
            return text.substring(star + 1).repeat(Integer.parseInt(text.substring(0, star))).getBytes(StandardCharsets.UTF_8);
        }
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
