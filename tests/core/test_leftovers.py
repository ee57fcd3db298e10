"""Blocks without data, and a last frame that was left open."""

from __future__ import annotations

import pytest

from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import MalformedPayloadError, PlainReader
from unbroken.core.events import Event, ProviderError
from unbroken.core.frames import Frame
from unbroken.core.leftovers import closed, is_whole, said_beside
from unbroken.core.wire import SSEDecoder

DIALECT = by_name("openai-chat")


@pytest.mark.parametrize("body", [b": ping\n\n", b"event: x\n\n", b"odd: 1\n\n", b"odd: {\xfd\n\n"])
def test_most_blocks_without_data_say_nothing(body: bytes) -> None:
    (frame,) = SSEDecoder().blocks(body)
    assert said_beside(frame, DIALECT.reader()) == []


def test_an_error_in_an_unknown_field_is_seen() -> None:
    (frame,) = SSEDecoder().blocks(b'error: {"code": 500, "message": "no"}\n\n')
    (event,) = said_beside(frame, DIALECT.reader())
    assert type(event) is ProviderError


class Silent(PlainReader):
    """A dialect's reader that knows no errors outside of data."""

    def read(self, frame: Frame) -> list[Event]:
        return []


class Strict(PlainReader):
    """One that takes such a block for a broken frame."""

    def read(self, frame: Frame) -> list[Event]:
        raise MalformedPayloadError


@pytest.mark.parametrize("reader", [Silent(), Strict()])
def test_a_bare_error_is_seen_whatever_the_reader_makes_of_it(reader: PlainReader) -> None:
    (frame,) = SSEDecoder().blocks(b'{"error":\n {"code": 500, "message": "no"}}\n\n')
    (event,) = said_beside(frame, reader)
    assert type(event) is ProviderError


@pytest.mark.parametrize(
    ("tail", "raw", "whole"),
    [
        (b'data: {"choices":[]}', b'data: {"choices":[]}\n\n', True),
        (b'data: {"choices":[]}\n', b'data: {"choices":[]}\n\n', True),
        (b"data: [DONE]", b"data: [DONE]\n\n", True),
        (b'data: {"choices":', b'data: {"choices":\n\n', False),
        (b'data: {"choices":[{}', b'data: {"choices":[{}\n\n', False),
        (b"data: 12", b"data: 12\n\n", False),
    ],
)
def test_a_last_frame_that_lacks_only_line_ends_is_whole(
    tail: bytes, raw: bytes, whole: bool
) -> None:
    decoder = SSEDecoder()
    assert not decoder.blocks(tail)
    frame = closed(decoder, tail)
    assert frame is not None
    assert frame.raw == raw
    assert is_whole(frame, DIALECT.reader()) is whole
