"""Consumes a topic as a member of a group, until it is interrupted: python consume.py GROUP TOPIC [HOST:PORT,...]"""

import queue
import signal
import sys

import grpc
from quipu.v1 import consume_pb2 as c, consume_pb2_grpc


def follow(channel, member):
    requests = queue.SimpleQueue()
    member.stream_number += 1  # whatever an earlier stream still says, this one is the member's
    signal.signal(signal.SIGINT, lambda *_: requests.put(None))  # no more requests: commit, and leave
    requests.put(c.ConsumeRequest(open=c.Open(group=member)))
    requests.put(c.ConsumeRequest(credit=c.Credit(bytes=1 << 40, records=1000)))
    for said in consume_pb2_grpc.ConsumeServiceStub(channel).Consume(iter(requests.get, None)):
        member.member_id = said.opened.membership.member_id or member.member_id  # named once
        if said.HasField("assignment"):
            member.member_epoch = said.assignment.member_epoch
        if records := said.data.records:
            yield from ((said.data.partition, stored.offset, stored.record) for stored in records)
            ack = c.Ack(topic=said.data.topic, partition=said.data.partition, next_offset=said.data.next_offset)
            requests.put(c.ConsumeRequest(ack=ack))  # all of it was processed: remember that,
            requests.put(c.ConsumeRequest(credit=c.Credit(records=len(records))))  # and send as many more


def main(group, topic, brokers="127.0.0.1:4600"):
    member = c.OpenGroup(group=group, topics=[topic], client_id="python")
    while True:
        try:
            with grpc.insecure_channel("ipv4:" + brokers, [("grpc.default_authority", "quipu")]) as channel:
                for partition, offset, record in follow(channel, member):
                    print(partition, offset, record.key.decode(), record.value.decode(), flush=True)
                return
        except grpc.RpcError as error:  # this broker went away: go on at another, as the same member
            print(error.details(), file=sys.stderr)


main(*sys.argv[1:])
