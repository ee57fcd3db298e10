"""The one place where the wire tests know the decoders' API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.core.frames import Frame
from unbroken.core.wire import Decoder


@dataclass
class Seen:
    """Everything a consumer can observe of one body; equal for every way to cut it."""

    blocks: list[Frame]  # those of close() included
    pending: bytes
    mid_event: bool
    leftover_unknown: tuple[str, ...]
    faults: list[tuple[str, int | None, int | None]]
    fault_texts: list[str] = field(repr=False)
    last_event_id: str | None
    retry_ms: int | None

    @property
    def frames(self) -> list[list[str | int | None]]:
        return [[f.event, f.data, f.id, f.retry] for f in self.blocks if f.dispatched]


def see(decoder: Any, reads: Iterable[bytes]) -> Seen:
    blocks: list[Frame] = []
    for data in reads:
        blocks += decoder.blocks(data)
    assert all(b.payload == b.data.encode() for b in blocks), "payload is not UTF-8"
    return finish(decoder, blocks)


def finish(decoder: Any, blocks: list[Frame]) -> Seen:
    blocks = blocks + decoder.close()
    faults = decoder.take_faults()
    return Seen(
        blocks=blocks,
        pending=decoder.pending,
        mid_event=decoder.mid_event,
        leftover_unknown=decoder.leftover_unknown,
        faults=[(str(f.kind), f.at_byte, f.frame) for f in faults],
        fault_texts=[f.detail for f in faults],
        last_event_id=getattr(decoder, "last_event_id", None),
        retry_ms=getattr(decoder, "retry_ms", None),
    )


def fed(decoder: Decoder, reads: Iterable[bytes]) -> list[Frame]:
    return [frame for data in reads for frame in decoder.feed(data)] + decoder.close()


def vectors(name: str) -> list[dict[str, Any]]:
    """Read a vector file.

    Each vector has the body (`text`, or `hex`), the dispatched `frames` as
    [event, data, id, retry], and any of: `raws` (of all blocks), `pending` or
    `pending_hex`, `mid_event`, `unknown` (of each dispatched frame), `block_unknown` (of
    each block), `leftover_unknown`, `faults` as [kind, at_byte, frame], `last_event_id`,
    `retry_ms`, `max_frame_bytes`.
    """
    path = Path(__file__).with_name("vectors").joinpath(f"{name}.json")
    return json.loads(path.read_text("utf-8"))


def body_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()


def options_of(vector: dict[str, Any]) -> dict[str, int]:
    return {k: vector[k] for k in ("max_frame_bytes",) if k in vector}


def check(vector: dict[str, Any], seen: Seen) -> None:
    """Compare what was seen with all that the vector says."""
    assert seen.frames == vector["frames"]
    if "raws" in vector:
        assert [b.raw.decode() for b in seen.blocks] == vector["raws"]
    if "pending" in vector:
        assert seen.pending == vector["pending"].encode()
    if "pending_hex" in vector:
        assert seen.pending.hex() == vector["pending_hex"]
    if "unknown" in vector:
        assert [list(b.unknown) for b in seen.blocks if b.dispatched] == vector["unknown"]
    if "block_unknown" in vector:
        assert [list(b.unknown) for b in seen.blocks] == vector["block_unknown"]
    if "leftover_unknown" in vector:
        assert list(seen.leftover_unknown) == vector["leftover_unknown"]
    if "faults" in vector:
        assert [list(fault) for fault in seen.faults] == vector["faults"]
    for name in ("mid_event", "last_event_id", "retry_ms"):
        if name in vector:
            assert getattr(seen, name) == vector[name], name


def check_tiles(body: bytes, seen: Seen) -> None:
    """Joined raws + pending are the body, and each offset says where its raw lies."""
    tiled = b"".join(b.raw for b in seen.blocks) + seen.pending
    if any(kind == "oversized-event" for kind, _, _ in seen.faults):
        assert body.startswith(tiled)
    else:
        assert tiled == body
    at = 0
    for block in seen.blocks:
        assert block.offset == at
        at += len(block.raw)


def cuts_of(body: bytes) -> Iterable[list[bytes]]:
    """Every way to cut the body in two, and byte by byte, with and without empty reads."""
    for cut in range(len(body) + 1):
        yield [body[:cut], body[cut:]]
    single = [body[at : at + 1] for at in range(len(body))]
    yield single
    yield [piece for byte in single for piece in (byte, b"")]
