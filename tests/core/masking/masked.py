"""Bytes through a mask, cut as a test wants them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from unbroken.core.masking import ContentMask, KeyMask, Letters, Secrets


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def without_keys(data: bytes, secrets: Iterable[str] = (), cuts: Iterable[int] = ()) -> bytes:
    known = Secrets()
    for secret in secrets:
        known.learn(secret)
    mask = KeyMask(known)
    return b"".join([mask.feed(piece) for piece in cut(data, cuts)]) + mask.end()


def without_contents(
    data: bytes, salt: bytes | None = None, cuts: Iterable[int] = (), *, streamed: bool = True
) -> bytes:
    mask = ContentMask(Letters(salt), streamed=streamed)
    return b"".join([mask.feed(piece) for piece in cut(data, cuts)]) + mask.end()
