"""Captures batches as librdkafka sends them, by answering just enough of the protocol to receive its Produce.

How to run it: README.md.
"""

import pathlib
import socket
import struct
import threading

from confluent_kafka import Producer

from cases import read_cases

OUT = pathlib.Path(__file__).parent / "batches"
PRODUCE, FETCH, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 1, 3, 18, 22
VERSIONS = [(PRODUCE, 0, 7), (FETCH, 0, 11), (METADATA, 0, 1), (API_VERSIONS, 0, 0), (INIT_PRODUCER_ID, 0, 1)]


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def take(body, form):
    size = struct.calcsize(form)
    return struct.unpack(form, body[:size]), body[size:]


def take_string(body):
    (size,), body = take(body, ">h")
    return (None, body) if size < 0 else (body[:size], body[size:])


class Server:
    def __init__(self, producer):
        self.producer = producer or (-1, -1, -1)
        self.batches = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rwb")
        while size := stream.read(4):
            frame = stream.read(struct.unpack(">i", size)[0])
            (api, version, correlation), body = take(frame, ">hhi")
            _, body = take_string(body)
            answer = struct.pack(">i", correlation) + self.answer(api, version, body)
            stream.write(struct.pack(">i", len(answer)) + answer)
            stream.flush()

    def answer(self, api, version, body):
        if api == API_VERSIONS:
            # 35: ask again with version 0.
            error = 35 if version > 0 else 0
            return struct.pack(">hi", error, len(VERSIONS)) + b"".join(struct.pack(">hhh", *v) for v in VERSIONS)
        if api == METADATA:
            broker = struct.pack(">i", 0) + string("127.0.0.1") + struct.pack(">ih", self.port, -1)
            partition = struct.pack(">hiiiiii", 0, 0, 0, 1, 0, 1, 0)
            topic = struct.pack(">h", 0) + string("t") + struct.pack(">bi", 0, 1) + partition
            return struct.pack(">i", 1) + broker + struct.pack(">i", 0) + struct.pack(">i", 1) + topic
        if api == INIT_PRODUCER_ID:
            return struct.pack(">ihqh", 0, 0, self.producer[0], self.producer[1])
        assert (api, version) == (PRODUCE, 7), (api, version)
        _, body = take_string(body)
        (_, _, topics), body = take(body, ">hii")
        assert topics == 1
        _, body = take_string(body)
        (partitions, _, size), body = take(body, ">iii")
        assert partitions == 1 and size == len(body)
        self.batches.append(body)
        return struct.pack(">i", 1) + string("t") + struct.pack(">iihqqqi", 1, 0, 0, 0, -1, 0, 0)


for case in read_cases():
    if case.name == "wrapping":
        # librdkafka begins at sequence 0.
        continue
    for codec in ["none", "zstd"]:
        server = Server(case.producer)
        producer = Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{server.port}",
                "linger.ms": 500,
                "compression.codec": codec,
                "enable.idempotence": case.producer is not None,
            }
        )
        for time, key, value, headers in case.records:
            producer.produce("t", key=key, value=value, headers=headers, partition=0, timestamp=time)
        assert producer.flush(20) == 0
        assert len(server.batches) == 1, (case.name, len(server.batches))
        name = f"librdkafka-{case.name}-{codec}.batch"
        (OUT / name).write_bytes(server.batches[0])
        print(name)
