"""What may be delivered now, and what has to wait for proof.

Lifecycle frames wait for the first content, so that an attempt that fails before it stays
invisible. A function call waits until it is whole, with everything behind it, so that a
truncated call never looks complete.
"""

from __future__ import annotations

from collections.abc import Set

from unbroken.core.events import (
    Finish,
    Ping,
    Text,
    ToolCall,
    is_content,
)
from unbroken.core.recovery.written import Piece

__all__ = ["Delivery"]

_HALF_PAIR_BYTES = 64 * 1024
"""Half a surrogate pair waits for its other half at least so long: let out, it is lost."""


class Delivery:
    """Decide piece by piece. Reads no clock: every input brings `now`.

    Args:
        hold_lifecycle: Hold what comes before the first content.
        hold_calls: Hold function calls until they are whole.
        max_held_bytes: Release what is held beyond this; of what comes before the first
            content, signs of life are let go of first.
        max_held_s: Release a held call after this many seconds.
    """

    def __init__(
        self,
        *,
        hold_lifecycle: bool,
        hold_calls: bool,
        max_held_bytes: int,
        max_held_s: float,
    ) -> None:
        self.open_call_delivered = False
        self._released = not hold_lifecycle  # something of this attempt may be out already
        self._content_seen = not hold_lifecycle
        self._hold_calls = hold_calls
        self._max_held_bytes = max_held_bytes
        self._max_held_s = max_held_s
        self._held: list[Piece] = []
        self._held_bytes = 0
        self._held_since: float | None = None
        self._open: set[tuple[int, int]] = set()
        self._leaked: set[tuple[int, int]] = set()
        self._half_pair = False

    @property
    def held(self) -> list[Piece]:
        """Pieces that wait."""
        return self._held

    @property
    def open_calls(self) -> Set[tuple[int, int]]:
        """Calls, by choice and index, of which a part was let go of and the rest has not come."""
        return self._leaked

    @property
    def idle(self) -> bool:
        """Whether plain text can pass without a look."""
        return self._content_seen and not self._held and not self._open and not self._leaked

    def offer(self, piece: Piece, now: float) -> list[Piece]:
        """Take one piece; return those that may be delivered, in order."""
        out: list[Piece] = []
        for event in piece.events:
            if type(event) is Text:
                # Half a surrogate pair cannot be continued: it waits for its other half.
                self._half_pair = "\ud800" <= event.text[-1:] <= "\udbff"
            elif type(event) is ToolCall and event.kind == "function":
                self._call(event, out)
            elif type(event) is Finish:
                self._whole({key for key in self._open | self._leaked if key[0] == event.choice})
        if not self._content_seen and any(is_content(event) for event in piece.events):
            self._content_seen = True
        self._held.append(piece)
        self._held_bytes += len(piece.raw)
        if self._open:
            if self._held_since is None:
                self._held_since = now
            if self._held_bytes > self._max_held_bytes:
                out += self.release_calls()
        elif self._content_seen and not self._half_pair:
            out += self._flush()
        elif self._held_bytes > max(self._max_held_bytes, _HALF_PAIR_BYTES * self._half_pair):
            out += self._ease()
        return out

    def _ease(self) -> list[Piece]:
        """Hold less, without end though the upstream may go on with signs of life."""
        if not self._content_seen:
            self._held = [p for p in self._held if any(type(e) is not Ping for e in p.events)]
            self._held_bytes = sum(len(piece.raw) for piece in self._held)
            if self._held_bytes <= self._max_held_bytes:
                return []
            self._content_seen = True
        return self._flush()

    def _call(self, event: ToolCall, out: list[Piece]) -> None:
        key = (event.choice, event.index)
        earlier = {
            open_key
            for open_key in self._open | self._leaked
            if open_key[0] == event.choice and open_key != key and event.block is None
        }
        if earlier:  # dialects without blocks: the next call ends the one before
            self._whole(earlier)
            if not self._open:
                out += self._flush()
        if event.whole:
            self._whole({key})
        elif key not in self._leaked:
            (self._open if self._hold_calls else self._leaked).add(key)
            self.open_call_delivered = bool(self._leaked)

    def _whole(self, keys: set[tuple[int, int]]) -> None:
        self._open -= keys
        self._leaked -= keys
        self.open_call_delivered = bool(self._leaked)

    def release_calls(self) -> list[Piece]:
        """Let a call go that was held too long or is too large: a cut in it fails honestly."""
        self._leaked |= self._open
        self._open.clear()
        self.open_call_delivered = bool(self._leaked)
        return self._flush()

    def _flush(self) -> list[Piece]:
        out, self._held = self._held, []
        self._released = self._released or bool(out)
        self._held_bytes = 0
        self._held_since = None
        return out

    def flush(self) -> list[Piece]:
        """The end is proven: return all that waits."""
        self._open.clear()
        self._leaked.clear()
        return self._flush()

    def drop(self) -> None:
        """The attempt failed: forget what was not delivered of it."""
        self._held.clear()
        self._held_bytes = 0
        self._held_since = None
        self._half_pair = False
        self._open.clear()
        self._content_seen = self._released

    def next_timer(self) -> float | None:
        """Return when a held call is released, or None."""
        return None if self._held_since is None else self._held_since + self._max_held_s

    def handle_timer(self, now: float) -> list[Piece]:
        """Return what is released at ``now``."""
        due = self.next_timer()
        return self.release_calls() if due is not None and now >= due else []
