// Consumes a topic as a member of a group, until it is interrupted.
//   npx tsx consume.ts GROUP TOPIC [HOST:PORT[,HOST:PORT...]]
import { once } from "node:events";
import { credentials } from "@grpc/grpc-js";
import { ConsumeRequest, type ConsumeResponse, ConsumeServiceClient, type DeepPartial, OpenGroup } from "./gen/quipu/v1/consume.js";

const [group, topic, brokers = "127.0.0.1:4600"] = process.argv.slice(2);
const client = new ConsumeServiceClient(`ipv4:${brokers}`, credentials.createInsecure());
const member = OpenGroup.fromPartial({ group, topics: [topic], clientId: "typescript" });

async function consume() {
  member.streamNumber += 1; // whatever an earlier stream still says, this one is the member's
  const stream = client.consume();
  const say = (request: DeepPartial<ConsumeRequest>) => stream.write(ConsumeRequest.fromPartial(request));
  process.once("SIGINT", () => stream.end()); // the end of requests: commit, and leave
  say({ open: { group: member } });
  say({ credit: { bytes: 2 ** 40, records: 1000 } });
  stream.on("data", ({ opened, assignment, data }: ConsumeResponse) => {
    member.memberId = opened?.membership?.memberId ?? member.memberId;
    member.memberEpoch = assignment?.memberEpoch ?? member.memberEpoch;
    if (!data?.records.length) return;
    for (const { offset, record } of data.records) console.log(data.partition, offset, `${record?.key}`, `${record?.value}`);
    say({ ack: { topic, partition: data.partition, nextOffset: data.nextOffset } }); // processed: remember it,
    say({ credit: { records: data.records.length } }); // and send as many more
  });
  await once(stream, "end"); // throws if the stream breaks
}

// If this broker goes away, go on at another, as the same member.
while (await consume().then(() => false, (error) => (console.error(error.details), true)));
client.close();
