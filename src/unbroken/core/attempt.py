"""One attempt: the bytes of one upstream response, through wire, dialect and checks."""

from __future__ import annotations

import msgspec

from unbroken.core.checks.completeness import BodyEnd, Completeness
from unbroken.core.checks.grammar import Grammar
from unbroken.core.checks.ordering import Ordering
from unbroken.core.checks.repeats import Repeats
from unbroken.core.dialects.base import (
    Dialect,
    MalformedPayloadError,
    Reader,
    Variant,
)
from unbroken.core.events import (
    Block,
    End,
    Event,
    Finish,
    ProviderError,
    Text,
    TextRun,
    UsageReport,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.problems import error_in, short_words
from unbroken.core.received import Usage, merge_usage
from unbroken.core.wire import Decoder, NDJSONDecoder, SSEDecoder

__all__ = ["Attempt", "Step"]

_SNIFF_BYTES = 64 * 1024
_HEAD_BYTES = 4096
_MOST_FAULTS = 256
"""Faults kept of one attempt, but for what ends it: a body may have one in every frame."""
_MOST_CHOICES, _MOST_CALLS, _MOST_BLOCKS = 1024, 4096, 16384
"""What one answer may have of each, far more than any model writes: all are remembered."""
_BLANK = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the first byte that tells: a byte order mark, white space."""


class Step(msgspec.Struct, gc=False, frozen=True):
    """One frame and what it means."""

    frame: Frame
    events: list[Event]


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
    ) -> None:
        self.dialect = dialect
        self.faults: list[Fault] = []
        self.frames = 0
        self.bytes = 0
        self.fatal: Fault | None = None
        self.error_step: Step | None = None
        self.usage = Usage()
        self.completeness = Completeness(dialect, choices=choices)
        self._host = host
        self._choices = choices
        self._max_frame_bytes = max_frame_bytes
        self._lenient = lenient
        self._content_type = content_type
        make = SSEDecoder if dialect.wire == "sse" else NDJSONDecoder
        self._decoder: Decoder = make(max_frame_bytes=max_frame_bytes)
        self._reader: Reader = dialect.reader()
        self._grammar = Grammar(dialect)
        self._ordering: Ordering[Frame] | None = Ordering() if dialect.numbered else None
        self._repeats = Repeats() if dialect.repeats_text else None
        self._head = b""
        self._not_stream: list[bytes] | None = None
        self._sniffed = False
        self._rejected = False
        self._steady = False
        self._block: Block = None
        self._choice = 0

    def fork(self) -> Attempt:
        """Return an independent copy, to see how the body would end here."""
        copy = Attempt(
            self.dialect,
            host=self._host,
            choices=self._choices,
            max_frame_bytes=self._max_frame_bytes,
            lenient=self._lenient,
            content_type=self._content_type,
        )
        copy.faults = list(self.faults)
        copy.frames, copy.bytes, copy.fatal = self.frames, self.bytes, self.fatal
        copy.error_step = self.error_step
        copy.usage = msgspec.structs.replace(self.usage)
        copy.completeness = self.completeness.fork()
        copy._decoder = self._decoder.fork()
        copy._reader = self._reader.fork()
        copy._grammar = self._grammar.fork()
        copy._repeats = self._repeats.fork() if self._repeats is not None else None
        copy._ordering = self._ordering.fork() if self._ordering is not None else None
        copy._head, copy._sniffed, copy._steady = self._head, self._sniffed, self._steady
        copy._block, copy._choice = self._block, self._choice
        copy._rejected = self._rejected
        copy._not_stream = None if self._not_stream is None else list(self._not_stream)
        return copy

    @property
    def reader(self) -> Reader:
        """The dialect's reader, with its state."""
        return self._reader

    @property
    def variant(self) -> Variant:
        """The declared service, by host or by marks in the first frames."""
        return self.dialect.variant(self._host, self._head)

    @property
    def pending(self) -> bytes:
        """Bytes of a frame that is not whole yet."""
        return self._decoder.pending

    @property
    def stopped(self) -> bool:
        """Whether nothing more will be read."""
        return self.fatal is not None and (not self._lenient or self._rejected)

    def receive(self, data: bytes) -> list[Step]:
        """Take body bytes; return the steps that are whole.

        After a fatal fault (see `fatal`) an attempt that is not lenient returns nothing more.
        """
        if self.stopped or not data:
            return []
        self.bytes += len(data)
        if (room := _HEAD_BYTES - len(self._head)) > 0:
            self._head += data[:room]
        if not self._sniffed and not self._sniff():
            self._collect(data)
            return []
        before = len(self.faults)
        steps = self._read(data)
        if self._decoder.faults:
            self._wire_faults(before)
        return steps

    def _wire_faults(self, before: int) -> None:
        """Put the decoder's faults of one read among the others, in the order of the bytes."""
        stop = self.fatal.at_byte if self.fatal is not None and self.stopped else None
        for fault in self._decoder.take_faults():
            at = fault.at_byte or 0
            if stop is not None and at > stop:
                continue  # behind the frame at which reading stopped
            if not fault.fatal and len(self.faults) >= _MOST_FAULTS:
                continue
            place = len(self.faults)
            while place > before and (self.faults[place - 1].at_byte or 0) > at:
                place -= 1
            self.faults.insert(place, fault)
            if fault.fatal and self.fatal is None:
                self.fatal = fault

    def receive_texts(self, data: bytes) -> tuple[bytes, TextRun] | None:
        """Take a read that is nothing but more text of the block that is being written.

        The common case of a healthy stream: no frames are made, and no check would have
        anything to say.

        Returns:
            The bytes of the frames that are whole now, and their texts; None, with nothing
            changed, if the read must go to `receive`.
        """
        if not self._steady:
            return None
        run = self._decoder.run(data)
        if run is None:
            return None
        texts = self._reader.texts(run.payloads, self._choice, self._block)
        if texts is None:
            return None
        self._decoder.take(run)
        self.bytes += len(data)
        self.frames += len(texts)
        return run.body, TextRun(texts, self._choice, self._block)

    def _read(self, data: bytes) -> list[Step]:
        steps: list[Step] = []
        for frame in self._decoder.blocks(data):
            if frame.dispatched:
                self._dispatch(frame, steps)
            else:
                self._undispatched(frame, steps)
            if self.stopped:
                break
        return steps

    def _dispatch(self, frame: Frame, steps: list[Step]) -> None:
        self.frames += 1
        for each in self._in_turn(frame):
            self._take(each, steps)
            if self.stopped:
                return

    def _in_turn(self, frame: Frame) -> list[Frame]:
        """Return the frames whose turn has come: often this one, and those it kept waiting.

        What a frame means may depend on those before it, so it is read in its turn only.
        """
        ordering = self._ordering
        number = None if ordering is None else self.dialect.number(frame)
        if ordering is None or number is None:
            return [frame]
        if not ordering.in_turn(number) and self._is_error(frame):
            return [frame]  # never held back, whatever is absent before it: it says why
        before = len(ordering.faults)
        ready = ordering.accept(number, frame, frame=self.frames - 1, at_byte=frame.offset)
        for fault in ordering.faults[before:]:
            self._fault(fault)
        return [] if self.stopped else ready

    def _is_error(self, frame: Frame) -> bool:
        try:
            events = self._reader.fork().read(frame)
        except MalformedPayloadError:
            return False
        return any(type(event) is ProviderError for event in events)

    def _take(self, frame: Frame, steps: list[Step]) -> None:
        """Read a frame that is in turn."""
        try:
            events = self._reader.read(frame)
        except MalformedPayloadError as error:
            self._malformed(frame, error)
        else:
            self._checked(Step(frame, events), steps)

    def _malformed(self, frame: Frame, error: MalformedPayloadError) -> None:
        self._fault(
            Fault.of(
                FaultKind.MALFORMED_JSON,
                f"frame {self.frames - 1} ({len(frame.payload)} bytes) is not one JSON value:"
                f" {_reason(error)}",
                at_byte=frame.offset,
                frame=self.frames - 1,
            )
        )

    def _undispatched(self, frame: Frame, steps: list[Step]) -> None:
        """Pass a block without data on, and look for an error in its unknown fields."""
        events: list[Event] = []
        if frame.unknown:
            try:
                events = self._reader.read(frame)
            except MalformedPayloadError:
                events = []
            if not events and (found := error_in(frame.raw)):
                events = [found]
        self._checked(Step(frame, events), steps)

    def _checked(self, step: Step, steps: list[Step]) -> None:
        """Run the checks over a step that is in turn."""
        frame = step.frame
        steady = False
        for event in step.events:
            self.completeness.add(event)
            broken = self._grammar.add(event, frame=self.frames - 1, at_byte=frame.offset)
            if self._repeats is not None and broken is None and not self._gap_told:
                broken = self._repeats.add(event, frame=self.frames - 1, at_byte=frame.offset)
                if any(fault.kind is FaultKind.MISSING_EVENT for fault in self.faults):
                    broken = None  # the numbers told of this loss already
            if broken is not None:
                self._fault(broken)
                if self.stopped:
                    return
            kind = type(event)
            if kind is ProviderError:
                self.error_step = self.error_step or step
                self._provider_error(event, frame)  # type: ignore[arg-type]
                if self.stopped:
                    return
            elif kind is Finish:
                self._finish(event, step)  # type: ignore[arg-type]
                if self.stopped:
                    return
            elif kind is End:
                self._marker()
                if self.stopped:
                    return
            elif kind is UsageReport:
                merge_usage(self.usage, event)  # type: ignore[arg-type]
            elif kind is Text:
                # Steady until anything else comes: this block is open, and nothing finished.
                self._block, self._choice = event.block, event.choice  # type: ignore[union-attr]
                steady = (
                    self._choices == 1
                    and not self.dialect.repeats_text
                    and not self.completeness.finishes
                    and not self.completeness.error_seen
                )
        self._steady = steady
        steps.append(step)
        if (
            self.completeness.choices > _MOST_CHOICES
            or self.completeness.calls > _MOST_CALLS
            or self._grammar.blocks > _MOST_BLOCKS
        ):
            self._too_much(frame)

    def _too_much(self, frame: Frame) -> None:
        """Stop reading for good, a lenient reader too: nothing else bounds what is remembered."""
        self._rejected = True
        self._fault(
            Fault.of(
                FaultKind.PROTOCOL_VIOLATION,
                f"{self.completeness.choices} choices, {self.completeness.calls} tool calls and"
                f" {self._grammar.blocks} blocks came in one answer",
                severity="fatal",
                at_byte=frame.offset,
                frame=self.frames - 1,
            )
        )

    @property
    def _gap_told(self) -> bool:
        """Whether the numbers have shown the gap already that a repeated text would show."""
        return any(fault.kind is FaultKind.MISSING_EVENT for fault in self.faults)

    def _provider_error(self, event: ProviderError, frame: Frame) -> None:
        names = [name for name in (event.type, event.code) if name]
        variant = self.variant
        words = {name.lower() for name in names}
        retryable = (event.retryable or bool(words & variant.retryable)) and not (
            words & variant.final
        )
        self._fault(
            Fault.of(
                FaultKind.PROVIDER_ERROR,
                "the provider sent an error in the stream: "
                f"{short_words(names) or 'no type given'}",
                at_byte=frame.offset,
                frame=self.frames - 1,
                retryable=retryable and not event.refused,
            )
        )

    def _finish(self, event: Finish, step: Step) -> None:
        if event.meaning == "fault" and not self.completeness.error_seen:
            # After an error in so many words (response.failed) it would be told twice.
            self.error_step = self.error_step or step
            self.completeness.error_seen = True
            self._fault(
                Fault.of(
                    FaultKind.PROVIDER_ERROR,
                    f"the provider ended the answer with {short_words([event.reason])}",
                    at_byte=step.frame.offset,
                    frame=self.frames - 1,
                )
            )

    def _marker(self) -> None:
        """The last marker came: without a finish it must not be passed on.

        An SDK stops reading at it (openai at ``[DONE]``) and takes what it has for the whole.
        A lenient reader passes nothing on, and judges at the end of the body.
        """
        if self._lenient:
            return
        for fault in self._judge("eof", pending=0):
            if fault.kind is FaultKind.MISSING_FINISH and fault.fatal:
                self._fault(fault)

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

    def _judge(self, end: BodyEnd, *, pending: int) -> list[Fault]:
        return self.completeness.judge(
            end, variant=self.variant, pending=pending, at_byte=self.bytes, frames=self.frames
        )

    def close(self, end: BodyEnd) -> list[Step]:
        """The body ended; return the last steps, and add the faults in how it ended.

        A last frame that was not closed but whose payload is whole (some servers leave the
        last line end out) is read; it is part of what was received.
        """
        if self.stopped:
            return []
        steps: list[Step] = []
        if self._not_stream is not None:
            self._not_a_stream()
            return steps
        unclosed = self._decoder.fork()
        for frame in self._decoder.close():
            self._dispatch(frame, steps)
        for fault in self._decoder.take_faults():
            self._fault(fault)
        pending = self.pending
        tail_read = bool(pending) and self._tail(unclosed, steps)
        if self._ordering is not None and self._ordering.waiting and not self.stopped:
            before = len(self._ordering.faults)
            late = self._ordering.flush(at_byte=self.bytes)
            for fault in self._ordering.faults[before:]:
                self._fault(fault)
            if not self.stopped:
                for each in late:
                    self._take(each, steps)
                    if self.stopped:
                        break
        if self.stopped:
            return steps
        whole = tail_read and self.completeness.finished
        unread = len(pending) if self._decoder.mid_event and not whole else 0
        if not any(fault.kind is FaultKind.MISSING_FINISH for fault in self.faults):
            for fault in self._judge(end, pending=unread):
                self._fault(fault)
        self._notes()
        return steps

    def _tail(self, decoder: Decoder, steps: list[Step]) -> bool:
        """Read a last frame that lacks only its closing line ends."""
        if self.dialect.wire != "sse":
            return False
        frames = decoder.blocks(b"\n\n")
        if not frames:
            return False
        # The line ends that it lacks are put behind it: an SDK drops a frame without them.
        missing = b"\n" if self.pending.endswith(b"\n") else b"\n\n"
        frame = msgspec.structs.replace(frames[0], raw=self.pending + missing)
        if not frame.dispatched:
            self._undispatched(frame, steps)
            return bool(steps and steps[-1].events)
        payload = frame.payload.strip()
        if payload != b"[DONE]" and not payload.endswith((b"}", b"]")):
            return False
        try:
            self._reader.fork().read(frame)
        except MalformedPayloadError:
            return False
        self._dispatch(frame, steps)
        return True

    def _notes(self) -> None:
        for finish in self.completeness.finishes.values():
            kind = {"limit": FaultKind.LENGTH_LIMIT, "filter": FaultKind.CONTENT_FILTERED}.get(
                finish.meaning
            )
            if kind is not None:
                self._fault(
                    Fault.of(kind, f"the provider ended with {short_words([finish.reason])}")
                )

    # Not a stream -------------------------------------------------------------------------

    def _sniff(self) -> bool:
        """Whether the body looks like the dialect's framing; decided on its first byte."""
        if self._not_stream is not None:
            return False
        head = self._head.lstrip(_BLANK)
        if not head:
            return True  # nothing to see yet; the decoder can have the blank lines
        self._sniffed = True
        if head[:1] == b"<" or (self.dialect.wire == "sse" and head[:1] in (b"{", b"[")):
            self._not_stream = []
        return self._not_stream is None

    def _collect(self, data: bytes) -> None:
        assert self._not_stream is not None
        self._not_stream.append(data[:_SNIFF_BYTES])
        self._sniffed = False  # every later read comes here too
        if self.bytes >= _SNIFF_BYTES:
            self._not_a_stream()

    def _not_a_stream(self) -> None:
        body = b"".join(self._not_stream or [])[:_SNIFF_BYTES].lstrip(_BLANK)
        self._not_stream = None
        self._sniffed = self._rejected = True
        looks = "an HTML or XML page" if body[:1] == b"<" else "a JSON body"
        size = f"{self.bytes}" if self.bytes < _SNIFF_BYTES else f"{_SNIFF_BYTES} or more"
        error = error_in(body)
        said = ""
        if error is not None:
            names = short_words([error.type, error.code])
            said = f", an error ({names or 'no type given'})"
        declared = f" of type {self._content_type}" if self._content_type else ""
        self.completeness.error_seen = error is not None
        self._fault(
            Fault.of(
                FaultKind.NOT_A_STREAM,
                f"instead of a stream came {looks}{declared} ({size} bytes){said}",
                at_byte=0,
                retryable=error is None or error.retryable,
            )
        )

    def _fault(self, fault: Fault) -> None:
        if not fault.fatal and len(self.faults) >= _MOST_FAULTS:
            return
        self.faults.append(fault)
        if fault.fatal and self.fatal is None:
            self.fatal = fault


def _reason(error: MalformedPayloadError) -> str:
    """Return the parser's reason, which names positions, never content."""
    return str(error)[:120]
