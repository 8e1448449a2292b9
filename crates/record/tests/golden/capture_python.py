"""Captures batches from aiokafka's record builder. How to run it: README.md."""

import pathlib

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from cases import read_cases

OUT = pathlib.Path(__file__).parent / "batches"


def batch(codec, case):
    producer = case.producer or (-1, -1, -1)
    builder = DefaultRecordBatchBuilder(2, codec, False, *producer, 1 << 20)
    for offset, (time, key, value, headers) in enumerate(case.records):
        assert builder.append(offset, timestamp=time, key=key, value=value, headers=headers)
    return bytes(builder.build())


for case in read_cases():
    for codec, number in [("none", 0), ("zstd", 4)]:
        name = f"aiokafka-{case.name}-{codec}.batch"
        (OUT / name).write_bytes(batch(number, case))
        print(name)
