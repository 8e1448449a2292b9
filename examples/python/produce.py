"""Sends each line of standard input as a record, keyed by what is before its first ':'; prints where each went.

python produce.py TOPIC [HOST:PORT[,HOST:PORT...]]
"""

import itertools
import sys

import grpc
from quipu.v1 import produce_pb2 as produce
from quipu.v1 import produce_pb2_grpc, record_pb2


def batch(topic, line):
    key, _, value = line.rstrip("\n").partition(":")
    record = record_pb2.Record(key=key.encode(), value=value.encode())
    return produce.Batch(topic=topic, records=record_pb2.RecordList(records=[record]))


def main(topic, brokers="127.0.0.1:4600"):
    options = [("grpc.default_authority", "quipu")]  # several addresses are no valid authority
    with grpc.insecure_channel("ipv4:" + brokers, options) as channel:
        stub = produce_pb2_grpc.ProduceServiceStub(channel)
        while lines := list(itertools.islice(sys.stdin, 500)):
            request = produce.ProduceRequest(batches=[batch(topic, line) for line in lines])
            for result in stub.Produce(request, wait_for_ready=True, timeout=30).results:
                if result.HasField("error"):
                    sys.exit(f"not stored: {result.error.message}")
                print(f"{result.topic}-{result.partition} offset {result.base_offset}")


if __name__ == "__main__":
    main(*sys.argv[1:])
