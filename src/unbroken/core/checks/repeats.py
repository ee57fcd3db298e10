"""Self-checks: some providers repeat a finished text in full, which shows what was lost.

Responses' ``.done`` events do. Only a length and a checksum of what arrived are kept.
"""

from __future__ import annotations

from unbroken.core.checksum import Checksum, added
from unbroken.core.events import Block, Event, Text, ToolCall, Whole
from unbroken.core.faults import Fault, FaultKind

__all__ = ["Repeats"]

_Key = tuple[str, int, Block]


class Repeats:
    """Compare deltas with the whole that the provider repeats."""

    def __init__(self) -> None:
        self._seen: dict[_Key, Checksum] = {}

    def fork(self) -> Repeats:
        """Return an independent copy."""
        copy = Repeats()
        copy._seen = dict(self._seen)
        return copy

    def add(self, event: Event, *, frame: int, at_byte: int) -> Fault | None:
        """Take in one event; return a fault where a whole is not what its deltas gave."""
        match event:
            case Text(text=text, choice=choice, block=block):
                self._grow(("text", choice, block), text)
            case ToolCall(arguments=arguments, choice=choice, block=block):
                self._grow(("arguments", choice, block), arguments)
            case Whole(kind=kind, text=text, choice=choice, block=block):
                seen = self.said(kind, choice, block)
                if seen != (whole := added(None, text)):
                    return Fault.of(
                        FaultKind.MISSING_EVENT,
                        f"the provider repeats {whole[0]} UTF-16 units of {kind}"
                        f" where the deltas gave {seen[0]}, or others",
                        frame=frame,
                        at_byte=at_byte,
                    )
            case _:
                pass
        return None

    def said(self, kind: str, choice: int, block: Block) -> Checksum:
        """Return what the deltas of a block gave so far."""
        return self._seen.get((kind, choice, block), (0, 0))

    def _grow(self, key: _Key, text: str) -> None:
        if text:
            self._seen[key] = added(self._seen.get(key), text)
