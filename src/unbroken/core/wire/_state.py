"""What every decoder keeps besides its grammar: the unfinished frame, limits and faults."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame

__all__ = ["BOM", "DEFAULT_MAX_FRAME_BYTES", "DecoderState", "Run"]

DEFAULT_MAX_FRAME_BYTES = 32 * 1024 * 1024
BOM = b"\xef\xbb\xbf"

# Faults nobody takes must not grow with the body: a stream of nothing but broken UTF-8
# would otherwise cost a fault per frame. What is not kept is counted.
_MAX_FAULTS_KEPT = 100


class Run(msgspec.Struct, gc=False, frozen=True):
    """Whole blocks that differ in nothing but their payloads: no frames are made of them.

    Attributes:
        body: The exact bytes of all of them.
        payloads: One for each.
        rest: What the read holds of a further block.
    """

    body: bytes
    payloads: list[bytes]
    rest: bytes


class DecoderState:
    """The state that the decoders share; they add `blocks` and what a frame is.

    Attributes:
        faults: Faults found and not yet taken, in stream order; at most 100.
        faults_dropped: How many more were found while 100 waited to be taken.
    """

    __slots__ = (
        "_closed",
        "_dispatched",
        "_max_frame_bytes",
        "_offset",
        "_overrun",
        "_pending",
        "_quiet",
        "faults",
        "faults_dropped",
    )

    never_begins: ClassVar[bytes] = b"<"

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        if isinstance(max_frame_bytes, bool) or not isinstance(max_frame_bytes, int):
            msg = f"max_frame_bytes must be a whole number, not {max_frame_bytes!r}"
            raise TypeError(msg)
        if max_frame_bytes < 1:
            msg = f"max_frame_bytes must be at least 1, not {max_frame_bytes}"
            raise ValueError(msg)
        self.faults: list[Fault] = []
        self.faults_dropped = 0
        self._max_frame_bytes = max_frame_bytes
        # A bytearray grows in place (amortised linear, no object per read), where a list
        # of 16-byte reads would hold four times the bytes of the frame.
        self._pending = bytearray()
        self._offset = 0  # in the body, of the first byte of _pending
        self._dispatched = 0  # frames so far; the number of the next one
        self._quiet = False  # the last frames held something that dispatches nothing
        self._overrun = False
        self._closed = False

    @property
    def leftover_unknown(self) -> tuple[str, ...]:
        """Lines of `pending` with undefined field names; none on a wire without such names."""
        return ()

    @property
    def pending(self) -> bytes:
        """The bytes of the frame that is not whole; still there after `close`.

        After a breach of ``max_frame_bytes``: the first ``max_frame_bytes`` of the frame
        that was too large.
        """
        return bytes(self._pending)

    @property
    def stopped(self) -> bool:
        """Whether a breach ended the decoding, so that later data is ignored."""
        return self._overrun

    def blocks(self, data: bytes) -> list[Frame]:
        raise NotImplementedError

    def run(self, data: bytes) -> Run | None:
        """Return the read as a run of blocks of one shape, or None if it is not known to be one.

        Changes nothing: `take` does, or the same read is given to `blocks`.
        """
        return None

    def take(self, run: Run) -> None:
        """Take a read that `run` gave back: its blocks are decoded."""
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that this read completes, without what dispatches nothing.

        Raises:
            ValueError: If the decoder is closed.
        """
        frames = self.blocks(data)
        if self._quiet and frames:
            return [frame for frame in frames if frame.dispatched]
        return frames

    def take_faults(self) -> list[Fault]:
        """Return `faults` and forget them."""
        faults, self.faults = self.faults, []
        return faults

    def fork(self) -> Self:
        """Return an independent decoder in the same state; costs a copy of `pending`."""
        twin = type(self).__new__(type(self))
        for kind in type(self).__mro__:
            for name in getattr(kind, "__slots__", ()):
                setattr(twin, name, getattr(self, name))
        twin._pending = self._pending[:]
        twin.faults = self.faults[:]
        return twin

    def _refuse_if_closed(self) -> None:
        if self._closed:
            msg = "the decoder is closed; make a new one for another body"
            raise ValueError(msg)

    def _take(self, tail: bytes) -> bytes | None:
        """End the unfinished frame with `tail`; None if that makes it too large."""
        if len(self._pending) + len(tail) > self._max_frame_bytes:
            self._pending += tail
            self._breach()
            return None
        if not self._pending:
            return tail
        raw = b"".join((self._pending, tail))
        self._pending.clear()
        return raw

    def _keep(self, rest: bytes) -> None:
        """Add `rest` to the unfinished frame."""
        self._pending += rest
        if len(self._pending) > self._max_frame_bytes:
            self._breach()

    def _breach(self) -> None:
        # The head is kept as evidence, cut at the limit so that it is the same for all cuts.
        del self._pending[self._max_frame_bytes :]
        self._overrun = True
        self._report(
            Fault.of(
                FaultKind.OVERSIZED_EVENT,
                f"frame {self._dispatched} is larger than max_frame_bytes"
                f" ({self._max_frame_bytes}); decoding stopped at byte {self._offset}",
                at_byte=self._offset,
                frame=self._dispatched,
            )
        )

    def _check_utf8(self, raw: bytes, *, skipped: int = 0) -> int | None:
        """Return where in the body the first byte is that is no UTF-8, and report it, or None.

        Args:
            raw: The frame that starts at `_offset`, but for its first bytes.
            skipped: How many those are.
        """
        if raw.isascii():
            return None
        try:
            raw.decode()
        except UnicodeDecodeError as bad:
            # U+FFFD that the provider itself sent is no fault of the bytes.
            text = raw.decode("utf-8", "replace")
            count = text.count("\ufffd") - raw.count(b"\xef\xbf\xbd")
            at_byte = self._offset + skipped + bad.start
            self._report(
                Fault.of(
                    FaultKind.INVALID_UTF8,
                    f"frame {self._dispatched}: {count} invalid UTF-8 sequence(s) replaced by"
                    f" U+FFFD, the first at byte {at_byte}",
                    severity="warning",  # whether it holds content is not known here
                    at_byte=at_byte,
                    frame=self._dispatched,
                )
            )
            return at_byte
        return None

    def _report(self, fault: Fault) -> None:
        if len(self.faults) < _MAX_FAULTS_KEPT or fault.fatal:
            self.faults.append(fault)
        else:
            self.faults_dropped += 1


def repair(value: bytes) -> bytes:
    """Return `value` as valid UTF-8, with U+FFFD where the WHATWG decoder puts it."""
    return value.decode("utf-8", "replace").encode()
