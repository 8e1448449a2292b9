// Sends each line of standard input as a record, keyed by what is before its first ':'; prints where each went.
//   npx tsx produce.ts TOPIC [HOST:PORT[,HOST:PORT...]]
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { credentials } from "@grpc/grpc-js";
import { ProduceRequest, type ProduceResponse, ProduceServiceClient } from "./gen/quipu/v1/produce.js";

const [topic, brokers = "127.0.0.1:4600"] = process.argv.slice(2);
const client = new ProduceServiceClient(`ipv4:${brokers}`, credentials.createInsecure());
const produce = promisify<ProduceRequest, ProduceResponse>(client.produce.bind(client));

for await (const line of createInterface(process.stdin)) {
  const [key, ...rest] = line.split(":");
  const record = { key: Buffer.from(key), value: Buffer.from(rest.join(":")) };
  const { results } = await produce(ProduceRequest.fromPartial({ batches: [{ topic, records: { records: [record] } }] }));
  if (results[0].error) throw new Error(`not stored: ${results[0].error.message}`);
  console.log(`${topic}-${results[0].partition} offset ${results[0].baseOffset}`);
}
client.close();
