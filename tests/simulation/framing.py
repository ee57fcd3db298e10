"""Tiny cutters of bytes into frames, one a wire, of the tests' own.

They take only what the simulated upstream and the machine should write, and are strict about
that: what they do not expect becomes a problem. Bytes may come in any pieces.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from typing import NamedTuple

__all__ = ["WIRES", "Framing", "RawFrame", "aws_message", "framing_for"]

_LINE = rb"(?:\r\n|\r(?=[^\n])|\n)"  # a CR at the very end may yet be half a line end
_BLOCK_END = re.compile(_LINE + _LINE)
_LINE_END = re.compile(_LINE)
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)

WIRES = {
    "ollama": "ndjson",
    "gemini-array": "json-array",
    "bedrock-converse": "aws",
    "bedrock-invoke": "aws",
}
"""By dialect; all others are SSE."""


class RawFrame(NamedTuple):
    """One frame: its name, its payload, and where it lies in the body."""

    name: str
    payload: bytes
    start: int
    end: int
    failure: bool = False


class Framing:
    """Cut a body into frames.

    Attributes:
        consumed: Bytes of whole frames.
        rest: What follows them and is not a whole frame.
        problems: What no valid body holds.
    """

    def __init__(self) -> None:
        self.consumed = 0
        self.rest = b""
        self.problems: list[str] = []

    def feed(self, data: bytes) -> list[RawFrame]:
        """Return the frames that are whole now."""
        buffer = self.rest + data
        frames, at = self._cut(buffer)
        self.consumed += at
        self.rest = buffer[at:]
        return frames

    def close(self) -> list[RawFrame]:
        """The body ended. A last frame that lacks only its line ends counts."""
        return []

    def forget_rest(self) -> None:
        """The half frame comes again, from its start."""
        self.rest = b""

    def _cut(self, buffer: bytes) -> tuple[list[RawFrame], int]:
        raise NotImplementedError


class _SSE(Framing):
    def _cut(self, buffer: bytes) -> tuple[list[RawFrame], int]:
        frames, at = [], 0
        while found := _BLOCK_END.search(buffer, at):
            end = found.end()
            while buffer[end : end + 1] == b"\n":  # blank lines between blocks
                end += 1
            frame = self._block(buffer[at : found.start()], at, end)
            if frame is not None:
                frames.append(frame)
            at = end
        while buffer[at : at + 1] == b"\n":
            at += 1
        return frames, at

    def _block(self, block: bytes, start: int, end: int) -> RawFrame | None:
        name, data = "", []
        for line in _LINE_END.split(block):
            key, _, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if key == b"data":
                data.append(value)
            elif key == b"event":
                name = value.decode(errors="replace")
        if not data:
            return None
        return RawFrame(name, b"\n".join(data), self.consumed + start, self.consumed + end)

    def close(self) -> list[RawFrame]:
        lines = _LINE_END.split(self.rest.strip())
        payload = lines[-1].removeprefix(b"data:").strip()
        if payload == b"[DONE]" or (payload and _parses(payload)):
            return self.feed(b"\n\n")
        return []


class _Lines(Framing):
    def _cut(self, buffer: bytes) -> tuple[list[RawFrame], int]:
        frames, at = [], 0
        while (end := buffer.find(b"\n", at)) >= 0:
            payload = buffer[at:end].strip()
            if payload:
                frames.append(RawFrame("", payload, self.consumed + at, self.consumed + end + 1))
            at = end + 1
        return frames, at

    def close(self) -> list[RawFrame]:
        return self.feed(b"\n") if self.rest.strip() and _parses(self.rest) else []


class _Array(Framing):
    """Elements of one JSON array; the bracket that closes it is a frame too."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = self._over = False
        self._elements = 0

    def _cut(self, buffer: bytes) -> tuple[list[RawFrame], int]:
        frames: list[RawFrame] = []
        at = 0
        while True:
            lead = re.compile(rb"[\s,\[]*").match(buffer, at)
            assert lead is not None
            head = lead[0]
            begin = lead.end()
            if begin == len(buffer):
                return frames, (len(buffer) if self._over else at)
            if self._over:
                self.problems.append(f"{buffer[begin : begin + 20]!r} came after the array")
                return frames, len(buffer)
            closing = buffer[begin : begin + 1] == b"]"
            if closing:
                end = begin + 1
            else:
                found = self._element_end(buffer, begin)
                if found is None:
                    return frames, at
                end = found
            opened = head.count(b"[") + self._begun
            if opened != 1:
                self.problems.append(f"the array was opened {opened} times")
            commas = head.count(b",")
            if not closing and commas != (self._elements > 0):
                self.problems.append(f"{commas} commas before element {self._elements}")
            self._begun = True
            self._elements += not closing
            self._over = closing
            frames.append(RawFrame("", buffer[begin:end], self.consumed + at, self.consumed + end))
            at = end

    def _element_end(self, buffer: bytes, begin: int) -> int | None:
        depth = 0
        for found in _BRACKETS.finditer(buffer, begin):
            if found[0] in (b"{", b"["):
                depth += 1
            elif found[0] in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    return found.end()
        return None


class _AWS(Framing):
    """AWS event-stream: both checksums are looked at."""

    broken = False

    def _cut(self, buffer: bytes) -> tuple[list[RawFrame], int]:
        frames: list[RawFrame] = []
        at = 0
        while not self.broken and len(buffer) - at >= 12:
            total, headers_size, crc = struct.unpack_from(">III", buffer, at)
            if zlib.crc32(buffer[at : at + 8]) != crc or total < 16 + headers_size:
                self.broken = True
                self.problems.append("a message's first checksum is wrong")
                break
            if len(buffer) - at < total:
                break
            whole = buffer[at : at + total]
            if zlib.crc32(whole[:-4]) != struct.unpack(">I", whole[-4:])[0]:
                self.broken = True
                self.problems.append("a message's last checksum is wrong")
                break
            headers = _aws_headers(whole[12 : 12 + headers_size])
            failure = headers.get(":message-type") in ("exception", "error")
            name = headers.get(":exception-type" if failure else ":event-type", "")
            payload = whole[12 + headers_size : -4]
            start = self.consumed + at
            frames.append(RawFrame(name, payload, start, start + total, failure))
            at += total
        return frames, at


def _aws_headers(data: bytes) -> dict[str, str]:
    headers = {}
    at = 0
    while at < len(data):
        size = data[at]
        name = data[at + 1 : at + 1 + size].decode()
        at += 1 + size
        assert data[at] == 7, "only strings are written here"
        (size,) = struct.unpack_from(">H", data, at + 1)
        headers[name] = data[at + 3 : at + 3 + size].decode()
        at += 3 + size
    return headers


def aws_message(payload: bytes, **headers: str) -> bytes:
    """Return a message; header names are given without the colon, ``_`` for ``-``."""
    lines = b""
    for name, value in headers.items():
        key = f":{name.replace('_', '-')}".encode()
        lines += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    total = 16 + len(lines) + len(payload)
    head = struct.pack(">II", total, len(lines))
    head += struct.pack(">I", zlib.crc32(head))
    body = head + lines + payload
    return body + struct.pack(">I", zlib.crc32(body))


def _parses(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True


def framing_for(dialect: str) -> Framing:
    """Return the cutter of a dialect's wire."""
    wires = {"ndjson": _Lines, "json-array": _Array, "aws": _AWS}
    return wires.get(WIRES.get(dialect, ""), _SSE)()
