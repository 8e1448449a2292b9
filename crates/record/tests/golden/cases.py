"""Reads cases.txt for the capture scripts."""

import pathlib
from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    producer: tuple | None = None
    records: list = field(default_factory=list)


def token(text):
    if text == "~":
        return None
    if text == "''":
        return b""
    if text.startswith("x:"):
        return bytes.fromhex(text[2:])
    count, star, char = text.partition("*")
    if star:
        return char.encode() * int(count)
    return text.encode()


def header(text):
    key, _, value = text.partition("=")
    return token(key).decode(), token(value)


def read_cases():
    cases = []
    for line in (pathlib.Path(__file__).parent / "cases.txt").read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        times = 1
        if words[0] == "repeat":
            times, words = int(words[1]), words[2:]
        if words[0] == "case":
            cases.append(Case(words[1]))
        elif words[0] == "producer":
            cases[-1].producer = tuple(map(int, words[1:]))
        else:
            record = (int(words[1]), token(words[2]), token(words[3]), [header(h) for h in words[4:]])
            cases[-1].records += [record] * times
    return cases
