"""One attempt: the bytes of one upstream response, through wire, dialect and checks."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Literal

from unbroken.core.checks.beginning import Beginning
from unbroken.core.checks.completeness import BodyEnd, Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.checks.inspection import Inspection, Step
from unbroken.core.checks.turns import Turns
from unbroken.core.dialects.base import Dialect, MalformedPayloadError, Place, Reader, Variant
from unbroken.core.events import Event, TextRun
from unbroken.core.evidence import Evidence
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.leftovers import closed, is_whole, said_beside
from unbroken.core.received import Usage
from unbroken.core.redact import Redactor
from unbroken.core.wire import Decoder, SSEDecoder, decoder_for

__all__ = ["Attempt", "Step"]


class Attempt:
    """Turn one response body into steps and faults. The same however the bytes are cut.

    Args:
        dialect: The dialect the body is read as.
        host: The upstream's host name, which may tell the variant.
        choices: How many answers the request asked for.
        max_frame_bytes: Largest frame.
        lenient: Read on after a fatal fault, for a verdict on a whole recording; else
            the attempt stops at it.
        content_type: The response's content type, as evidence.
        malformed: See `Options.malformed`.
        empty_answer: See `Options.empty_answer`; None: an answer has begun already.
        keep_raw: Remember the last frames, for `last_frames`.
        reorder_window: See `Options.reorder_window`.
        reorder_wait_s: See `Options.reorder_wait_s`.
        max_held_bytes: Most bytes held until lost frames are made good.
        repair: Make lost frames good from what the provider repeats.
        from_start: The body is known to begin with the answer's first frame.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        host: str = "",
        choices: int = 1,
        max_frame_bytes: int = 32 * 1024 * 1024,
        lenient: bool = False,
        content_type: str = "",
        malformed: Literal["recover", "raise", "skip"] = "recover",
        empty_answer: Literal["accept", "recover", "raise"] | None = "accept",
        keep_raw: bool = False,
        reorder_window: int = 64,
        reorder_wait_s: float = 5.0,
        max_held_bytes: int = 1024 * 1024,
        repair: bool = True,
        from_start: bool = False,
    ) -> None:
        self.dialect = dialect
        self.frames = 0
        self.bytes = 0
        self.completeness = Completeness(dialect, choices=choices)
        self._max_frame_bytes = max_frame_bytes
        self._decoder: Decoder = decoder_for(dialect.wire, max_frame_bytes=max_frame_bytes)
        self._reader: Reader = dialect.reader()
        self._evidence = Evidence(dialect.wire) if keep_raw else None
        self._findings = Findings(lenient=lenient)
        self._beginning = Beginning(
            dialect,
            self._findings,
            self.completeness,
            host=host,
            content_type=content_type,
            never_begins=self._decoder.never_begins,
        )
        self._inspection = Inspection(
            dialect,
            self._findings,
            self.completeness,
            self._beginning,
            choices=choices,
            malformed=malformed,
            empty_answer=empty_answer,
        )
        self._reached = self._inspection.reached
        self._turns: Turns | None = None
        if dialect.numbered:
            self._turns = Turns(
                dialect,
                self._reader,
                self._inspection.repeats,
                window=reorder_window,
                wait_s=reorder_wait_s,
                max_held_bytes=max_held_bytes,
                repair=repair,
                from_start=from_start,
            )
        self._now = 0.0

    def fork(self) -> Attempt:
        """Return an independent copy, to see how the body would end here."""
        twin = copy(self)
        findings = twin._findings = self._findings.fork()
        completeness = twin.completeness = self.completeness.fork()
        beginning = twin._beginning = self._beginning.fork(findings, completeness)
        inspection = twin._inspection = self._inspection.fork(findings, completeness, beginning)
        twin._reached = inspection.reached
        twin._decoder = self._decoder.fork()
        twin._reader = self._reader.fork()
        twin._evidence = self._evidence.fork() if self._evidence is not None else None
        if self._turns is not None:
            twin._turns = self._turns.fork(twin._reader, inspection.repeats)
        return twin

    # What is known ------------------------------------------------------------------------

    @property
    def faults(self) -> list[Fault]:
        """What was found, in the order of the stream."""
        return self._findings.faults

    @property
    def fatal(self) -> Fault | None:
        """The first fatal fault."""
        return self._findings.fatal

    @fatal.setter
    def fatal(self, fault: Fault | None) -> None:
        self._findings.fatal = fault

    @property
    def stopped(self) -> bool:
        """Whether nothing more will be read."""
        return self._findings.stopped

    @property
    def error_step(self) -> Step | None:
        """The step in which the provider said that it failed."""
        return self._inspection.error_step

    @property
    def usage(self) -> Usage:
        """What the provider said of the usage."""
        return self._inspection.usage

    @property
    def output_told(self) -> bool:
        """Whether the usage says what the answer came to, not only how it began."""
        return self._inspection.output_told

    @property
    def left_out_bytes(self) -> int:
        """Size of the frames that came whole and are not in any step.

        They could not be read, or held content after the end.
        """
        return self._inspection.malformed.left_out_bytes + self._inspection.left_out_bytes

    @property
    def holed(self) -> bool:
        """Whether text was lost in the midst of what was passed on."""
        return self._inspection.holed

    @property
    def reader(self) -> Reader:
        """The dialect's reader, with its state."""
        return self._reader

    @property
    def place(self) -> Place:
        """How far the answer was read, for the provider's own resume."""
        return self._reached.place(self.bytes)

    @property
    def event_id(self) -> str:
        """The last event id of the connection, or ``""``; where the wire has such."""
        return self._decoder.last_event_id if isinstance(self._decoder, SSEDecoder) else ""

    @property
    def out_of_turn(self) -> bool:
        """Whether frames wait for earlier ones: no place is reached yet."""
        return self._turns is not None and self._turns.waiting

    @property
    def variant(self) -> Variant:
        """The declared service, by host or by marks in the first frames."""
        return self._beginning.variant

    @property
    def pending(self) -> bytes:
        """Bytes of a frame that is not whole yet."""
        return self._decoder.pending

    @property
    def unsettled(self) -> bool:
        """Whether something waits for what comes next, and would be judged at an end here."""
        return bool(self.pending) or (self._turns is not None and self._turns.waiting)

    @property
    def mended(self) -> bool:
        """Whether a step holds a frame of ours, in the place of a lost one."""
        return self._turns is not None and self._turns.mended

    def last_frames(self, redactor: Redactor) -> list[str]:
        """Return what may be shown of the last frames; the one at which it failed comes last.

        None where the attempt does not keep them.
        """
        if self._evidence is None:
            return []
        if self._findings.rejected and not self.frames:
            return [redactor.frame(self._beginning.head, self.dialect.wire, size=self.bytes)]
        pending = self.pending if self._decoder.mid_event else b""
        return self._evidence.show(redactor, pending=pending)

    def hidden_faults(self) -> list[Fault]:
        """Return the faults in the bytes so far that only the end of the body would bring out.

        For a consumer that left because of them: its SDK may fail at the first line of a page
        or of a bare error.
        """
        ahead = self.fork()
        ahead.faults.clear()
        ahead.close("closed")
        kinds = (FaultKind.NOT_A_STREAM, FaultKind.PROVIDER_ERROR)
        return [fault for fault in ahead.faults if fault.kind in kinds]

    # Inputs -------------------------------------------------------------------------------

    def reopen(self, *, mid_frame: bool) -> None:
        """The same body goes on over another connection, at `place`.

        Args:
            mid_frame: At the very byte; False: with the frame after the last whole one.
        """
        self._reached.reopen(self.bytes)
        self.bytes = self.frames = 0
        self._findings.forget()
        if not mid_frame or not self.pending:
            self._decoder = decoder_for(self.dialect.wire, max_frame_bytes=self._max_frame_bytes)
        if not mid_frame:
            self._beginning.look_again()
        self._inspection.steady = False
        if self._turns is not None and self._reached.number is not None:
            self._turns.go_on_after(self._reached.number, answer_id=self._reached.id)

    def take_ahead(self) -> list[Event]:
        """Return, once, what frames mean that wait for earlier ones: a sign of progress."""
        turns = self._turns
        if turns is None or not turns.ahead:
            return []
        ahead, turns.ahead = turns.ahead, []
        return ahead

    def next_timer(self) -> float | None:
        """Return when an absent frame is given up, or None if none is awaited."""
        return None if self._turns is None or self.stopped else self._turns.next_timer()

    def handle_timer(self, now: float) -> list[Step]:
        """Give up the frames that were awaited for too long; return the steps behind them."""
        steps: list[Step] = []
        due = self.next_timer()
        if self._turns is not None and due is not None and now >= due:
            self._run(self._turns.handle_timer(now, at_byte=self.bytes), steps)
        return steps

    def receive(self, data: bytes, now: float = 0.0) -> list[Step]:
        """Take body bytes; return the steps that are whole.

        The time matters only where frames are numbered: an absent one is awaited for a while.

        After a fatal fault (see `fatal`) an attempt that is not lenient returns nothing more.
        """
        if self._findings.stopped or not data:
            return []
        self.bytes += len(data)
        self._now = now
        if not self._beginning.admits(data, size_bytes=self.bytes):
            return []
        before = len(self.faults)
        steps = self._read(data)
        if self._turns is not None and not self.stopped:
            steps += self.handle_timer(now)
        if self._decoder.faults:
            self._findings.add_in_order(self._decoder.take_faults(), since=before)
        return steps

    def receive_rest(self, data: bytes) -> None:
        """Take the rest of a read of which nothing passes any more: the bill may be in it."""
        if self.stopped:
            self.bytes += len(data)
        else:
            self.receive(data, self._now)

    def receive_texts(self, data: bytes) -> tuple[bytes, TextRun] | None:
        """Take a read that is nothing but more text of the block that is being written.

        The common case of a healthy stream: no frames are made, and no check would have
        anything to say.

        Returns:
            The bytes of the frames that are whole now, and their texts; None, with nothing
            changed, if the read must go to `receive`.
        """
        inspection = self._inspection
        if not inspection.steady:
            return None
        run = self._decoder.run(data)
        if run is None:
            return None
        choice, block = inspection.choice, inspection.block
        texts = self._reader.texts(run.payloads, choice, block)
        if texts is None:
            return None
        self._decoder.take(run)
        if self._evidence is not None:
            self._evidence.add_run(run.body)
        if self._reached.at_mark:
            self._reached.add_texts()
        self.bytes += len(data)
        self.frames += len(texts)
        return run.body, TextRun(texts, choice, block)

    def close(self, end: BodyEnd) -> list[Step]:
        """The body ended; return the last steps, and add the faults in how it ended.

        A last frame that was not closed but whose payload is whole (some servers leave the
        last line end out) is read; it is part of what was received.
        """
        if self.stopped or self._beginning.close(size_bytes=self.bytes):
            return []
        steps: list[Step] = []
        before = len(self.faults)
        unclosed = self._decoder.fork()
        for frame in self._decoder.close():
            self._dispatch(frame, steps)
        self._findings.add_in_order(self._decoder.take_faults(), since=before)
        pending = self.pending
        tail_read = bool(pending) and self._tail(unclosed, steps)
        if tail_read:
            self._findings.add_in_order(unclosed.take_faults(), since=before)
        if self._turns is not None and not self.stopped:
            self._run(self._turns.close(at_byte=self.bytes), steps)
        if self.stopped:
            return steps
        if self._decoder.stopped:  # decoding was given up: nothing is known of the end
            return steps
        whole = tail_read and self.completeness.finished
        unread = len(pending) if self._decoder.mid_event and not whole else 0
        self._inspection.close(end, pending=unread, size_bytes=self.bytes, frames=self.frames)
        return steps

    # Frames and steps ---------------------------------------------------------------------

    def _read(self, data: bytes) -> list[Step]:
        steps: list[Step] = []
        for frame in self._decoder.blocks(data):
            if frame.dispatched:
                self._dispatch(frame, steps)
            else:
                self._undispatched(frame, steps)
            if self._findings.stopped:
                break
        return steps

    def _dispatch(self, frame: Frame, steps: list[Step]) -> None:
        self.frames += 1
        if self._evidence is not None:
            self._evidence.add(frame)
        if self._turns is None or self._turns.passes(frame):
            self._take(frame, steps)
        else:
            self._run(self._turns.accept(frame, self._now, count=self.frames - 1), steps)

    def _run(self, frames: Iterator[Frame], steps: list[Step]) -> None:
        """Read the frames whose turn has come, each before the next is asked for."""
        for frame in frames:
            self._turn_faults()
            if self._findings.stopped:
                return
            self._take(frame, steps)
            if self._findings.stopped:
                return
        self._turn_faults()

    def _turn_faults(self) -> None:
        if self._turns is not None and self._turns.faults:
            self._findings.add_all(self._turns.take_faults())

    def _take(self, frame: Frame, steps: list[Step]) -> None:
        """Read a frame that is in turn."""
        try:
            if frame.undecodable_at is not None and not self._findings.lenient:
                # By a copy: the reader must not know of a frame that is kept back.
                meant = self._reader.fork().read(frame)
                malformed = self._inspection.malformed
                if not malformed.judge_bytes(frame, meant, number=self.frames - 1):
                    return
            events = self._reader.read(frame)
        except MalformedPayloadError as error:
            self._inspection.malformed.add(frame, error, number=self.frames - 1)
        else:
            self._inspect(Step(frame, events), steps)

    def _undispatched(self, frame: Frame, steps: list[Step]) -> None:
        """Pass a block without data on, and look for an error in its unknown fields."""
        self._inspect(Step(frame, said_beside(frame, self._reader)), steps)

    def _inspect(self, step: Step, steps: list[Step]) -> None:
        """Run the checks over a step that is in turn."""
        if self._inspection.add(step, number=self.frames - 1, size_bytes=self.bytes):
            steps.append(step)

    def _tail(self, decoder: Decoder, steps: list[Step]) -> bool:
        """Read a last frame that lacks only its closing line ends."""
        frame = closed(decoder, self.pending) if self.dialect.wire == "sse" else None
        if frame is None:
            return False
        if not frame.dispatched:
            # Half a line is no frame: only what it may say of an error is taken.
            found: list[Step] = []
            self._undispatched(frame, found)
            steps += [step for step in found if step.events]
            return any(step.events for step in found)
        if not is_whole(frame, self._reader):
            return False
        self._dispatch(frame, steps)
        return True
