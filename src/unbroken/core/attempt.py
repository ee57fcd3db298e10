"""One attempt: the bytes of one upstream response, through wire, dialect and checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from unbroken.core.checks.completeness import BodyEnd, Completeness
from unbroken.core.checks.grammar import Grammar
from unbroken.core.checks.repeats import Repeats
from unbroken.core.checks.turns import Turns
from unbroken.core.dialects.base import (
    Dialect,
    MalformedPayloadError,
    Place,
    Reader,
    Variant,
)
from unbroken.core.events import (
    Block,
    Close,
    End,
    Event,
    Finish,
    Mark,
    Number,
    Open,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    TextRun,
    ToolCall,
    UsageReport,
)
from unbroken.core.evidence import Evidence
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.problems import error_in, short_words
from unbroken.core.received import Usage, merge_usage
from unbroken.core.redact import Redactor
from unbroken.core.wire import Decoder, decoder_for

__all__ = ["Attempt", "Step"]

_SNIFF_BYTES = 64 * 1024
_HEAD_BYTES = 4096
_MOST_FAULTS = 256
"""Faults kept of one attempt, but for what ends it: a body may have one in every frame."""
_MOST_CHOICES, _MOST_CALLS, _MOST_BLOCKS = 1024, 4096, 16384
"""What one answer may have of each, far more than any model writes: all are remembered."""
_PLACES = (Start, Number, Mark)
_CALL_EVENTS = (ToolCall, Close, Finish)
_SHOWN = (Text, Reasoning, Refusal, ToolCall, Open, Close, Finish, End)
"""What an application must not get twice."""
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
        self.faults: list[Fault] = []
        self.frames = 0
        self.bytes = 0
        self.fatal: Fault | None = None
        self.error_step: Step | None = None
        self.usage = Usage()
        self.completeness = Completeness(dialect, choices=choices)
        self.left_out_bytes = 0
        """Size of the frames that came whole, could not be read, and are not in any step."""
        self._malformed_rule = malformed
        self._empty_rule = empty_answer
        self._evidence = Evidence(dialect.wire) if keep_raw else None
        self._left_out = 0
        self._calling: set[int] = set()  # choices in the middle of a function call
        self._host = host
        self._choices = choices
        self._max_frame_bytes = max_frame_bytes
        self._lenient = lenient
        self._content_type = content_type
        self._decoder: Decoder = decoder_for(dialect.wire, max_frame_bytes=max_frame_bytes)
        self._reader: Reader = dialect.reader()
        self._grammar = Grammar(dialect)
        self._repeats = Repeats() if dialect.repeats_text else None
        self._turns: Turns | None = None
        if dialect.numbered:
            self._turns = Turns(
                dialect,
                self._reader,
                self._repeats,
                window=reorder_window,
                wait_s=reorder_wait_s,
                max_held_bytes=max_held_bytes,
                repair=repair,
                from_start=from_start,
            )
        self._now = 0.0
        self._head = b""
        self._not_stream: list[bytes] | None = None
        self._sniffed = False
        self._rejected = False
        self._steady = False
        self._block: Block = None
        self._choice = 0
        self._place = Place()
        self._earlier_bytes = 0  # of the same body, over connections that broke

    def fork(self) -> Attempt:
        """Return an independent copy, to see how the body would end here."""
        copy = Attempt(
            self.dialect,
            host=self._host,
            choices=self._choices,
            max_frame_bytes=self._max_frame_bytes,
            lenient=self._lenient,
            content_type=self._content_type,
            malformed=self._malformed_rule,
            empty_answer=self._empty_rule,
        )
        copy._evidence = self._evidence.fork() if self._evidence is not None else None
        copy.left_out_bytes, copy._left_out = self.left_out_bytes, self._left_out
        copy._calling = set(self._calling)
        copy.faults = list(self.faults)
        copy.frames, copy.bytes, copy.fatal = self.frames, self.bytes, self.fatal
        copy.error_step = self.error_step
        copy.usage = msgspec.structs.replace(self.usage)
        copy.completeness = self.completeness.fork()
        copy._decoder = self._decoder.fork()
        copy._reader = self._reader.fork()
        copy._grammar = self._grammar.fork()
        copy._repeats = self._repeats.fork() if self._repeats is not None else None
        if self._turns is not None:
            copy._turns = self._turns.fork(copy._reader, copy._repeats)
        copy._now = self._now
        copy._head, copy._sniffed, copy._steady = self._head, self._sniffed, self._steady
        copy._block, copy._choice = self._block, self._choice
        copy._rejected = self._rejected
        copy._place, copy._earlier_bytes = self._place, self._earlier_bytes
        copy._not_stream = None if self._not_stream is None else list(self._not_stream)
        return copy

    @property
    def reader(self) -> Reader:
        """The dialect's reader, with its state."""
        return self._reader

    @property
    def place(self) -> Place:
        """How far the answer was read, for the provider's own resume."""
        return msgspec.structs.replace(self._place, bytes=self._earlier_bytes + self.bytes)

    def reopen(self, *, mid_frame: bool) -> None:
        """The same body goes on over another connection, at `place`.

        Args:
            mid_frame: At the very byte; False: with the frame after the last whole one.
        """
        self._earlier_bytes += self.bytes
        self.bytes = self.frames = 0
        self.faults.clear()
        self.fatal = None
        if not mid_frame or not self.pending:
            self._decoder = decoder_for(self.dialect.wire, max_frame_bytes=self._max_frame_bytes)
        if not mid_frame:
            self._sniffed, self._not_stream = False, None
        self._steady = False
        if self._turns is not None and self._place.number is not None:
            self._turns.go_on_after(self._place.number, answer_id=self._place.id)

    def _reached(self, event: Event) -> None:
        """Note what an event says about the place in the provider's answer."""
        kind, place = type(event), self._place
        if kind is Start:
            place = msgspec.structs.replace(place, id=event.id or place.id)  # type: ignore[union-attr]
        elif kind is Number:
            place = msgspec.structs.replace(place, number=event.value)  # type: ignore[union-attr]
        elif kind is Mark:
            place = msgspec.structs.replace(
                place,
                mark=event.id,  # type: ignore[union-attr]
                content_since_mark=False,
            )
        self._place = place

    @property
    def variant(self) -> Variant:
        """The declared service, by host or by marks in the first frames."""
        return self.dialect.variant(self._host, self._head)

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

    @property
    def stopped(self) -> bool:
        """Whether nothing more will be read."""
        return self.fatal is not None and (not self._lenient or self._rejected)

    def receive(self, data: bytes, now: float = 0.0) -> list[Step]:
        """Take body bytes; return the steps that are whole.

        The time matters only where frames are numbered: an absent one is awaited for a while.

        After a fatal fault (see `fatal`) an attempt that is not lenient returns nothing more.
        """
        if self.stopped or not data:
            return []
        self.bytes += len(data)
        self._now = now
        if (room := _HEAD_BYTES - len(self._head)) > 0:
            self._head += data[:room]
        if not self._sniffed and not self._sniff():
            self._collect(data)
            return []
        before = len(self.faults)
        steps = self._read(data)
        if self._turns is not None and not self.stopped:
            steps += self.handle_timer(now)
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
        if self._evidence is not None:
            self._evidence.add_run(run.body)
        if self._place.mark and not self._place.content_since_mark:
            self._place = msgspec.structs.replace(self._place, content_since_mark=True)
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
            if self.stopped:
                return
            self._take(frame, steps)
            if self.stopped:
                return
        self._turn_faults()

    def _turn_faults(self) -> None:
        if self._turns is not None and self._turns.faults:
            for fault in self._turns.take_faults():
                self._fault(fault)

    def _take(self, frame: Frame, steps: list[Step]) -> None:
        """Read a frame that is in turn."""
        try:
            events = self._reader.read(frame)
        except MalformedPayloadError as error:
            self._malformed(frame, error)
        else:
            self._checked(Step(frame, events), steps)

    def _malformed(self, frame: Frame, error: MalformedPayloadError) -> None:
        """A frame cannot be read: by the user's rule it ends the attempt, or is left out.

        An SDK would raise on it, so it is not passed on. Left out with a finish in it, the end
        stays unproven; inside a function call nothing is left out, since arguments with a hole
        in them may still be JSON, and would be acted on.
        """
        rule = self._malformed_rule
        after = self.completeness.whole and rule != "raise"
        skipped = after or (rule == "skip" and not self._calling)
        left_out = ""
        if skipped:
            self._left_out += 1
            self.left_out_bytes += len(frame.raw)
            left_out = f"; it was left out ({'after the finish' if after else self._left_out})"
        self._fault(
            Fault.of(
                FaultKind.MALFORMED_JSON,
                f"frame {self.frames - 1} ({len(frame.payload)} bytes) is not one JSON value:"
                f" {_reason(error)}{left_out}",
                severity="warning" if skipped else "fatal",
                at_byte=frame.offset,
                frame=self.frames - 1,
                retryable=rule != "raise",
            )
        )

    def _watch_calls(self, event: Event, frame: Frame) -> None:
        """Know which choices are in the middle of a function call."""
        match event:
            case ToolCall(kind="function", choice=choice, index=index, name=name, whole=whole):
                known = self.completeness.knows_call(choice, index)
                if self._left_out and not known and not name:
                    self._fault(
                        Fault.of(
                            FaultKind.MALFORMED_JSON,
                            "a tool call began without its name, in a frame that was left out",
                            at_byte=frame.offset,
                            frame=self.frames - 1,
                        )
                    )
                (self._calling.discard if whole else self._calling.add)(choice)
            case Close(choice=choice) | Finish(choice=choice):
                self._calling.discard(choice)
            case _:
                pass

    def _judge_emptiness(self) -> None:
        """The answer is over: is there one?"""
        rule = self._empty_rule
        if rule is None or not self.completeness.empty:
            return
        self._empty_rule = None  # told once
        thought = ", but thinking" if self.completeness.content_seen else ""
        self._fault(
            Fault.of(
                FaultKind.EMPTY_STREAM,
                f"the answer ended with {short_words(self._reasons) or 'a finish'} and holds"
                f" nothing{thought}: no text, no refusal, no tool call",
                severity="warning" if rule == "accept" else "fatal",
                at_byte=self.bytes,
                retryable=rule != "raise",
            )
        )

    @property
    def _reasons(self) -> list[str]:
        return sorted({finish.reason for finish in self.completeness.finishes.values()})

    def last_frames(self, redactor: Redactor) -> list[str]:
        """Return what may be shown of the last frames; the one at which it failed comes last.

        None where the attempt does not keep them.
        """
        if self._evidence is None:
            return []
        if self._rejected and not self.frames:
            return [redactor.frame(self._head, self.dialect.wire, size=self.bytes)]
        pending = self.pending if self._decoder.mid_event else b""
        return self._evidence.show(redactor, pending=pending)

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
            if type(event) in _CALL_EVENTS:
                self._watch_calls(event, frame)
                if self.stopped:
                    return
            self.completeness.add(event)
            broken = self._grammar.add(event, frame=self.frames - 1, at_byte=frame.offset)
            if self._repeats is not None:
                lost = self._repeats.add(event, frame=self.frames - 1, at_byte=frame.offset)
                # Where the numbers told of the loss already, it is not told twice.
                broken = broken or (None if self._gap_told else lost)
            if broken is not None:
                self._fault(broken)
                if self.stopped:
                    return
            kind = type(event)
            if kind in _PLACES:
                self._reached(event)
            elif kind in _SHOWN and not self._place.content_since_mark and self._place.mark:
                self._place = msgspec.structs.replace(self._place, content_since_mark=True)
            if kind is ProviderError:
                self.error_step = self.error_step or step
                self._provider_error(event, frame)  # type: ignore[arg-type]
                if self.stopped:
                    return
            elif kind is Finish:
                self._finish(event, step)  # type: ignore[arg-type]
                if self.completeness.whole:
                    self._judge_emptiness()
                if self.stopped:
                    return
            elif kind is End:
                self._marker(frame)
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
        return any(fault.kind is FaultKind.MISSING_EVENT and fault.fatal for fault in self.faults)

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
                elsewhere=event.elsewhere and not event.refused,
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

    def _marker(self, frame: Frame) -> None:
        """The last marker came: without a finish it must not be passed on.

        An SDK stops reading at it (openai at ``[DONE]``) and takes what it has for the whole.
        A lenient reader passes nothing on, and judges at the end of the body.
        """
        if self._lenient:
            return
        ends_at = frame.offset + len(frame.raw)
        for fault in self._judge("eof", pending=0, at_byte=ends_at):
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

    def _judge(self, end: BodyEnd, *, pending: int, at_byte: int | None = None) -> list[Fault]:
        return self.completeness.judge(
            end,
            variant=self.variant,
            pending=pending,
            at_byte=self.bytes if at_byte is None else at_byte,
            frames=self.frames,
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
        if self._turns is not None and not self.stopped:
            self._run(self._turns.close(at_byte=self.bytes), steps)
        if self.stopped:
            return steps
        whole = tail_read and self.completeness.finished
        unread = len(pending) if self._decoder.mid_event and not whole else 0
        if not any(fault.kind is FaultKind.MISSING_FINISH for fault in self.faults):
            for fault in self._judge(end, pending=unread):
                self._fault(fault)
        self._judge_emptiness()
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
            # Half a line is no frame: only what it may say of an error is taken.
            found: list[Step] = []
            self._undispatched(frame, found)
            steps += [step for step in found if step.events]
            return any(step.events for step in found)
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
        if head[0] in self._decoder.never_begins:
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
