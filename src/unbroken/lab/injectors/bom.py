"""A byte order mark before the body, as some proxies and file servers write it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.dialects import DIALECTS
from unbroken.lab.injectors.base import AtStart, Stage, put
from unbroken.lab.parts import Part

__all__ = ["BOM"]


class BOM(AtStart):
    """Begins the body with a byte order mark, which every decoder of text may drop."""

    name = "bom"
    summary = "the body begins with a byte order mark"
    dialects = frozenset(name for name, d in DIALECTS.items() if d.wire != "aws-event-stream")
    stage: ClassVar[Stage] = "bytes"

    def begin(self) -> Iterable[Part]:
        """Send the mark."""
        self.struck()
        yield put(b"\xef\xbb\xbf", event=False)
