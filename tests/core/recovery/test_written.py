"""Frames of ours are read as the consumer reads them."""

from __future__ import annotations

import pytest

from tests.core.scripted import frames, until
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import MalformedPayloadError
from unbroken.core.events import Text
from unbroken.core.frames import Frame
from unbroken.core.recovery.written import OwnFrames

TEXT = "Rivers carry salt."


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_frame_is_a_piece_with_its_bytes_and_meaning(dialect: str) -> None:
    written = frames(TEXT, dialect=dialect)
    pieces = OwnFrames(by_name(dialect)).pieces([b"".join(written[:2]), *written[2:]])
    assert len(pieces) >= len(written)
    assert b"".join(piece.raw for piece in pieces) == b"".join(written)
    assert "".join(e.text for p in pieces for e in p.events if type(e) is Text) == TEXT


def test_a_reader_that_knows_what_was_delivered_goes_on_from_there() -> None:
    dialect = by_name("anthropic-messages")
    written = frames(TEXT, dialect=dialect.name)
    before = len(until(written, TEXT[:8], dialect=dialect.name))
    reader = dialect.reader()
    OwnFrames(dialect, reader).pieces(written[:before])
    pieces = OwnFrames(dialect, reader).pieces(written[before:])
    assert "".join(e.text for p in pieces for e in p.events if type(e) is Text) == TEXT[8:]


def test_a_frame_that_the_reader_refuses_goes_out_without_a_meaning() -> None:
    class Refusing:
        def read(self, frame: Frame) -> list[object]:
            raise MalformedPayloadError("no")

    (piece,) = OwnFrames(by_name("openai-chat"), Refusing()).pieces([b"data: {}\n\n"])  # type: ignore[arg-type]
    assert (piece.raw, piece.events) == (b"data: {}\n\n", [])
