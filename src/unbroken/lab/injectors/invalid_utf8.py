"""Bytes that are no letters, in the middle of a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import payload_of, with_payload
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.parts import Part, Piece
from unbroken.lab.shapes import with_text

__all__ = ["InvalidUTF8"]

_MARK = "#lab-mark#"
_BYTES = {"stray": b"\xff", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80"}


class InvalidUTF8(OnFrames):
    """Puts bytes that no UTF-8 has in the place of a content frame's text."""

    name = "invalid-utf8"
    summary = "the text of a content frame is bytes that are no UTF-8"
    kind = FaultKind.INVALID_UTF8
    hows: ClassVar[tuple[str, ...]] = tuple(_BYTES)
    wanted = "content frame with a text"

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """In base64 no decoder of the wire can repair them."""
        return FaultKind.MALFORMED_JSON if dialect == "bedrock-invoke" else cls.kind

    def suits(self, piece: Piece) -> bool:
        """Arguments that are an object are no text."""
        return piece.role == "content" and with_text(self.scene.dialect, piece.data, "") is not None

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Send the frame with such bytes in it."""
        dialect = self.scene.dialect
        marked = with_text(dialect, piece.data, _MARK) or piece.data
        payload = payload_of(dialect, marked).replace(_MARK.encode(), _BYTES[self.how])
        self.struck()
        yield replace(piece, data=with_payload(dialect, piece.data, payload))
