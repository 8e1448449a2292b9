//! `quipu log`.

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output};
use crate::text::JsonRecord;
use clap::Subcommand;
use quipu_record::{BatchHeader, Header, StoredBatch, TimestampType};
use quipu_storage::{FindingKind, ReadError, RealDisk, dump_segment, segment_files, verify_path};
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A batch may not decompress to more than this when its records are shown.
const MAX_DECODED_BYTES: usize = 256 << 20;

/// Read segment files offline: no broker is needed, nothing is changed
#[derive(Subcommand)]
pub(crate) enum Command {
    Dump(Dump),
    Verify(Verify),
}

/// Show the batches of a log, and their records
///
/// Examples:
///   quipu log dump quipu-data/logs/TOPIC-ID/0 --headers
///   quipu log dump quipu-data/logs/TOPIC-ID/0/00000000000000000000.log -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Dump {
    /// A segment file, or a directory with segments below it
    path: PathBuf,
    /// Only the headers: one line a batch
    #[arg(long)]
    headers: bool,
}

/// Check every byte of a log: checksums, offsets, epochs, indexes
///
/// Names each damage by file and byte. A torn tail (bytes above the flush mark that never were
/// acknowledged, as a crash leaves them) is told but is no failure.
///
/// Example:
///   quipu log verify quipu-data
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Verify {
    /// A data directory, a topic's or a partition's directory in it, or a segment file
    path: PathBuf,
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Dump(args) => dump(&args, session.output()),
        Command::Verify(args) => verify(&args, session.output()),
    }
}

fn disk_of(path: &Path) -> Result<RealDisk, Failure> {
    RealDisk::existing(path)
        .map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))
}

fn failed(error: &ReadError) -> Failure {
    match error {
        ReadError::Corrupt(_) => {
            Failure::new(error).next("`quipu log verify` on the data directory finds all there is")
        }
        _ => Failure::new(error),
    }
}

fn dump(args: &Dump, out: Output) -> Outcome {
    let disk = disk_of(&args.path)?;
    let segments = segment_files(&disk, &args.path)
        .map_err(|error| Failure::new(format_args!("cannot read {}: {error}", args.path.display())))?;
    if segments.is_empty() {
        return Err(Failure::new(format_args!(
            "there is no segment (*.log) in {}",
            args.path.display()
        ))
        .next("name a segment file, or a directory such as DATA/logs/TOPIC-ID/PARTITION"));
    }
    let mut dumper = Dumper {
        out: BufWriter::new(io::stdout().lock()),
        json: out.is_json(),
        headers_only: args.headers,
        failure: None,
    };
    for segment in segments {
        let file = segment.display().to_string();
        if !dumper.json {
            writeln!(dumper.out, "{file}")?;
        }
        let read = dump_segment(&disk, &segment, |position, header, batch| {
            dumper.batch(&file, position, header, batch);
        });
        if let Some(failure) = dumper.failure.take() {
            return Err(failure);
        }
        dumper.out.flush()?;
        read.map_err(|error| failed(&error))?;
    }
    Ok(Ending::Done)
}

/// One batch in JSON.
#[derive(Serialize)]
struct BatchJson<'a> {
    file: &'a str,
    position: u64,
    base_offset: u64,
    last_offset: u64,
    leader_epoch: Option<u32>,
    records: u32,
    size: usize,
    crc: String,
    codec: &'static str,
    timestamp_type: &'static str,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    producer_id: Option<u64>,
    producer_epoch: Option<u16>,
    base_sequence: Option<u32>,
    is_control: bool,
    is_transactional: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<JsonRecord>>,
}

impl<'a> BatchJson<'a> {
    fn new(file: &'a str, position: u64, header: &BatchHeader) -> Self {
        let producer = header.producer();
        Self {
            file,
            position,
            base_offset: header.base_offset().get(),
            last_offset: header.last_offset().get(),
            leader_epoch: header.leader_epoch().map(|epoch| epoch.get()),
            records: header.records_count(),
            size: header.size(),
            crc: format!("{:08x}", header.crc()),
            codec: header.codec().name(),
            timestamp_type: match header.timestamp_type() {
                TimestampType::Create => "CreateTime",
                TimestampType::LogAppend => "LogAppendTime",
            },
            base_timestamp_ms: header.base_timestamp().get(),
            max_timestamp_ms: header.max_timestamp().get(),
            producer_id: producer.map(|p| p.id.get()),
            producer_epoch: producer.map(|p| p.epoch.get()),
            base_sequence: producer.map(|p| p.base_sequence.get()),
            is_control: header.is_control(),
            is_transactional: header.is_transactional(),
            content: None,
        }
    }

    /// In the manner of Kafka's dump tool.
    fn line(&self) -> String {
        let Self {
            base_offset,
            last_offset,
            records,
            position,
            size,
            crc,
            codec,
            max_timestamp_ms,
            ..
        } = self;
        let epoch = self
            .leader_epoch
            .map_or("-".to_owned(), |epoch| epoch.to_string());
        let mut line = format!(
            "baseOffset: {base_offset} lastOffset: {last_offset} count: {records} leaderEpoch: {epoch} \
             position: {position} size: {size} crc: {crc} codec: {codec} {}: {max_timestamp_ms}",
            self.timestamp_type
        );
        if let (Some(id), Some(epoch), Some(sequence)) =
            (self.producer_id, self.producer_epoch, self.base_sequence)
        {
            line.push_str(&format!(
                " producerId: {id} producerEpoch: {epoch} baseSequence: {sequence}"
            ));
        }
        if self.is_control {
            line.push_str(" isControl: true");
        }
        line
    }
}

struct Dumper<W> {
    out: W,
    json: bool,
    headers_only: bool,
    /// What went wrong within the callback, which cannot end the reading.
    failure: Option<Failure>,
}

impl<W: Write> Dumper<W> {
    fn batch(&mut self, file: &str, position: u64, header: &BatchHeader, batch: &StoredBatch) {
        if self.failure.is_none() {
            self.failure = self.write(file, position, header, batch).err();
        }
    }

    fn write(
        &mut self,
        file: &str,
        position: u64,
        header: &BatchHeader,
        batch: &StoredBatch,
    ) -> Result<(), Failure> {
        let mut json = BatchJson::new(file, position, header);
        let mut content = Vec::new();
        if !self.headers_only {
            let at = |error| Failure::new(format_args!("{file}, byte {position}: {error}"));
            let records = batch.records(MAX_DECODED_BYTES).map_err(at)?;
            for record in records.iter() {
                let record = record.map_err(at)?;
                let headers: Vec<Header<'_>> = record.headers().collect();
                let (offset, time) = (record.offset, record.timestamp);
                content.push(JsonRecord::stored(
                    offset,
                    time,
                    record.key,
                    record.value,
                    &headers,
                ));
            }
        }
        if self.json {
            json.content = (!self.headers_only).then_some(content);
            serde_json::to_writer(&mut self.out, &json).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
            return Ok(());
        }
        writeln!(self.out, "{}", json.line())?;
        for record in content {
            let text = serde_json::to_string(&record).map_err(Failure::new)?;
            writeln!(self.out, "| {text}")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct VerifyJson {
    logs: u64,
    segments: u64,
    batches: u64,
    records: u64,
    bytes: u64,
    corrupt: usize,
    findings: Vec<FindingJson>,
}

#[derive(Serialize)]
struct FindingJson {
    kind: &'static str,
    file: String,
    position: u64,
    offset: Option<u64>,
    what: String,
}

fn verify(args: &Verify, out: Output) -> Outcome {
    let disk = disk_of(&args.path)?;
    let report = verify_path(&disk, &args.path).map_err(|error| failed(&error))?;
    let corrupt = report
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Corrupt)
        .count();
    let findings = report.findings.iter().map(|finding| FindingJson {
        kind: match finding.kind {
            FindingKind::TornTail => "torn tail",
            FindingKind::Corrupt => "corrupt",
            FindingKind::Repairable => "repairable",
        },
        file: finding.at.file.display().to_string(),
        position: finding.at.position,
        offset: finding.at.offset.map(|offset| offset.get()),
        what: finding.at.what.clone(),
    });
    let json = VerifyJson {
        logs: report.logs,
        segments: report.segments,
        batches: report.batches,
        records: report.records,
        bytes: report.bytes,
        corrupt,
        findings: findings.collect(),
    };
    out.result(&json, verify_text)?;
    Ok(if corrupt == 0 {
        Ending::Done
    } else {
        Ending::Unproven
    })
}

fn verify_text(report: &VerifyJson) -> String {
    let VerifyJson {
        logs,
        segments,
        batches,
        records,
        bytes,
        ..
    } = report;
    let mut text = format!(
        "logs: {logs}, segments: {segments}, batches: {batches}, records: {records}, bytes: {bytes}\n"
    );
    for FindingJson {
        kind,
        file,
        position,
        offset,
        what,
    } in &report.findings
    {
        let offset = offset.map_or(String::new(), |offset| format!(", offset {offset}"));
        text.push_str(&format!("{kind}: {file}, byte {position}{offset}: {what}\n"));
    }
    text.push_str(if report.corrupt == 0 {
        "no corruption\n"
    } else {
        "CORRUPT\n"
    });
    text
}
