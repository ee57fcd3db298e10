"""The bytes of one response body through the core's own machine, read by read.

The same `Attempt` that reads live streams reads recordings, so that frames, faults and phases
are the same. Where a body cannot be decoded (only its sizes were kept, it is compressed in a way
that is not known, or part of it was lost) what can be known is known, and the rest is not guessed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from unbroken.core.attempt import Attempt
from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.checks.liveness import Liveness
from unbroken.core.checks.tools import judge_calls
from unbroken.core.dialects import DIALECTS, framed
from unbroken.core.dialects.base import Dialect
from unbroken.core.events import (
    Event,
    Finish,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    is_content,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.received import Received
from unbroken.core.recording import Contents
from unbroken.core.verdict import recognise
from unbroken.transports._decoding import Inflater, inflater_for

__all__ = ["Decoding", "Meaning"]

_HELD_BYTES = 64 * 1024
_KEPT_BYTES = 1024 * 1024
_MOST_FAULTS = 200
_CLOSING: dict[str, tuple[bytes, ...]] = {"sse": (b"\n\n", b"\r\n\r\n"), "ndjson": (b"\n",)}
_HELD_TORN = 3
"""Bytes of a read that may be the beginning of a frame's end."""
_TEXTUAL: frozenset[FaultKind] = frozenset(
    {FaultKind.INVALID_TOOL_ARGUMENTS, FaultKind.MISSING_EVENT}
)
"""Found by what texts say, so not to be trusted where texts are not the original ones."""
_AFTER_A_HOLE: frozenset[FaultKind] = frozenset(
    {FaultKind.PROVIDER_ERROR, FaultKind.LENGTH_LIMIT, FaultKind.CONTENT_FILTERED,
     FaultKind.CONNECTION_RESET, FaultKind.TRUNCATED_BETWEEN_EVENTS,
     FaultKind.TRUNCATED_MID_EVENT, FaultKind.MISSING_TERMINATOR}
)  # fmt: skip


class Meaning(msgspec.Struct):
    """What a read meant.

    Attributes:
        frames: Whole frames in it.
        content: Events with content.
        pings: Signs of life without content.
        characters: Characters of content.
        finishes: Finish reasons.
        faults: What was found in it.
        errors: Frames that could not be read.
        model: The model's name, where it was said.
        marked: The last marker has come.
    """

    frames: int = 0
    content: int = 0
    pings: int = 0
    characters: int = 0
    finishes: list[str] = []
    faults: list[Fault] = []
    errors: int = 0
    model: str = ""
    marked: bool = False


class Decoding:
    """Decode one body.

    Args:
        dialect: Its dialect, where that is known; None: it is told from its first frames.
        host: Of the upstream; may tell a variant.
        choices: How many answers were asked for.
        content_type: Of the response.
        encoding: Its ``Content-Encoding``.
        contents: What became of texts.
        liveness: Hears of the events; tells the phase.

    Attributes:
        dialect: What it is read as; None as long as that is not known.
        by_body: The dialect was told from the body.
        blind: Nothing can be decoded any more; see `why_blind`.
        why_blind: Why, in words.
        holed: A part was lost in between.
    """

    def __init__(
        self,
        *,
        dialect: Dialect | None,
        host: str,
        choices: int,
        content_type: str,
        encoding: str,
        contents: Contents,
        liveness: Liveness,
    ) -> None:
        self.dialect = dialect
        self.by_body = False
        self.blind = False
        self.why_blind = ""
        self.holed = False
        self._host = host
        self._choices = choices
        self._content_type = content_type
        self._contents = contents
        self._liveness = liveness
        self._attempt: Attempt | None = None
        self._kept: Attempt | None = None  # as it was before its end was judged
        self._received = Received(limit_bytes=_KEPT_BYTES)
        self._head = bytearray()
        self._taken = 0  # of the attempt's faults
        self._told = 0
        self._inflater: Inflater | None = None
        self._resync = False
        self._torn = bytearray()  # the end of a frame whose beginning was lost
        if encoding and encoding.strip().lower() not in ("identity", ""):
            self._inflater = inflater_for(encoding)
            if self._inflater is None:
                self._give_up(f"the body is compressed ({encoding}), which is not read here")

    def _give_up(self, why: str) -> None:
        self.blind, self.why_blind = True, self.why_blind or why
        self._attempt = None
        self._head.clear()

    # Inputs -------------------------------------------------------------------------------

    def unseen(self) -> None:
        """Bytes came of which only the number was kept."""
        if not self.blind:
            self._give_up("the recording has only the sizes of the reads")

    def hole(self) -> None:
        """Bytes were lost here."""
        self.holed = True
        self._resync = True
        self._torn.clear()
        if self._inflater is not None:
            self._give_up("a part of the compressed body was not kept")

    def read(self, data: bytes, now: float) -> Meaning:
        """Take body bytes."""
        meaning = Meaning(finishes=[], faults=[])
        if self.blind:
            return meaning
        if self._inflater is None:
            self._plain(data, now, meaning)
            return meaning
        try:
            part = self._inflater.decode(data)
            while part:
                self._plain(part, now, meaning)
                part = self._inflater.more()
        except zlib.error:
            self._give_up("the compressed body cannot be unpacked")
        return meaning

    def _plain(self, data: bytes, now: float, meaning: Meaning) -> None:
        if self._resync:
            data = self._behind_the_hole(data)
            if not data:
                return
        if self._attempt is None:
            self._head += data
            self._begin(now, meaning, at_end=False)
            return
        self._take(self._attempt, data, now, meaning)

    def _begin(self, now: float, meaning: Meaning, *, at_end: bool) -> None:
        """Begin to decode as soon as the dialect is known; what came before is read now."""
        head = bytes(self._head)
        known = self.dialect
        if known is not None:
            if not head.strip() and not at_end:
                return
            known = framed(known, head)
        else:
            known = recognise(head)
            self.by_body = known is not None
            if known is None and len(head) < _HELD_BYTES and not at_end and not _is_page(head):
                return
        self.dialect = known
        self._head.clear()
        self._attempt = self._new(known or DIALECTS["openai-chat"])
        self._take(self._attempt, head, now, meaning)

    def _new(self, dialect: Dialect) -> Attempt:
        return Attempt(
            dialect,
            host=self._host,
            choices=self._choices,
            content_type=self._content_type,
            lenient=True,
        )

    def _behind_the_hole(self, data: bytes) -> bytes:
        """Return what is left of a read from the next frame on, read by a machine of its own."""
        known = self._attempt.dialect if self._attempt is not None else self.dialect
        wire = "sse" if known is None else known.wire
        closing = _CLOSING.get(wire)
        if closing is None:
            self._give_up(f"a part was not kept, and {wire} cannot be taken up after it")
            return b""
        self._torn += data
        torn = bytes(self._torn)
        # Reads mostly begin where frames do: then nothing of this one is torn.
        begins = wire == "sse" and torn.startswith((b"data:", b"event:"))
        ends = [at + len(end) for end in closing if (at := torn.find(end)) >= 0]
        if not ends and not begins:
            del self._torn[:-_HELD_TORN]
            return b""
        self._resync = False
        self._torn.clear()
        if self._attempt is not None:
            self._attempt = self._new(self._attempt.dialect)
            self._taken = 0
        return torn if begins else torn[min(ends) :]

    def _take(self, attempt: Attempt, data: bytes, now: float, meaning: Meaning) -> None:
        liveness = self._liveness
        before = attempt.frames
        passed = attempt.receive_texts(data)
        if passed is not None:
            texts = passed[1].texts
            liveness.text(now)
            meaning.frames += attempt.frames - before
            meaning.content += len(texts)
            meaning.characters += sum(map(len, texts))
            return
        liveness.receive(now)
        for step in attempt.receive(data, now):
            self._step(step.events, now, meaning)
        meaning.frames += attempt.frames - before
        self._faults(attempt, meaning)
        meaning.marked = attempt.completeness.marked

    def _step(self, events: Sequence[Event], now: float, meaning: Meaning) -> None:
        liveness = self._liveness
        moved = False
        for event in events:
            liveness.event(event, now)
            if is_content(event):
                meaning.content += 1
                moved = True
            match event:
                case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
                    meaning.characters += len(text)
                case ToolCall(arguments=arguments):
                    meaning.characters += len(arguments)
                case Finish(reason=reason):
                    meaning.finishes.append(reason)
                    moved = True
                case Start(model=model):
                    meaning.model = meaning.model or model or ""
                case _:
                    pass
        if not moved and (not events or any(isinstance(event, Ping) for event in events)):
            meaning.pings += 1
        # Calls are judged at the end; the text itself is nobody's business here.
        self._received.add(None, [e for e in events if isinstance(e, ToolCall | Finish)])

    def _faults(self, attempt: Attempt, meaning: Meaning) -> None:
        found = attempt.faults
        for fault in found[self._taken :]:
            if fault.kind is FaultKind.MALFORMED_JSON:
                meaning.errors += 1
            if self._believed(fault):
                meaning.faults.append(fault)
                self._told += 1
        if len(found) > 2 * _MOST_FAULTS:  # a body may have one in every frame
            found[:] = [f for f in found if f.kind is FaultKind.MISSING_FINISH]
        self._taken = len(found)

    def _believed(self, fault: Fault) -> bool:
        if self.holed and fault.kind not in _AFTER_A_HOLE:
            return False
        if self._contents != "kept" and fault.kind in _TEXTUAL:
            return "repeats" not in fault.detail and "arguments" not in fault.detail
        return self._told < _MOST_FAULTS

    def close(self, end: BodyEnd, now: float) -> Meaning:
        """The body ended; return what that brings to light."""
        meaning = Meaning(finishes=[], faults=[])
        if self.blind:
            return meaning
        if self._inflater is not None:
            try:
                if rest := self._inflater.flush():
                    self._plain(rest, now, meaning)
            except zlib.error:
                self._give_up("the compressed body cannot be unpacked")
                return meaning
        if self._attempt is None:
            self._begin(now, meaning, at_end=True)
        attempt = self._attempt
        if attempt is None:  # given up just now
            return meaning
        if self._resync:
            return meaning  # nothing came behind the hole
        before = attempt.frames
        if end != "eof":
            self._kept = attempt.fork()  # the provider's own resume may go on from here
        for step in attempt.close(end):
            self._step(step.events, now, meaning)
        meaning.frames += attempt.frames - before
        self._faults(attempt, meaning)
        if self._contents == "kept" and not self.holed:
            meaning.faults += judge_calls(self._received)
        meaning.marked = attempt.completeness.marked
        return meaning

    def goes_on(self, url: str, liveness: Liveness) -> bool:
        """The body goes on over another connection; return whether it can be read on.

        Args:
            url: What is asked: one that names a byte (``from=``) goes on in mid-frame.
            liveness: Hears of the events from here on.
        """
        kept = self._kept
        if kept is None or self.blind or kept.stopped:
            return False
        kept.reopen(mid_frame="from=" in url)
        self._attempt, self._kept, self._liveness, self._taken = kept, None, liveness, 0
        return True

    # What is known ------------------------------------------------------------------------

    @property
    def marked(self) -> bool:
        """Whether the dialect's last marker came."""
        return self._attempt is not None and self._attempt.completeness.marked

    @property
    def whole(self) -> bool:
        """Whether every choice got its finish."""
        return self._attempt is not None and self._attempt.completeness.finished

    @property
    def finishes(self) -> dict[int, Finish]:
        """The last finish of each choice."""
        return {} if self._attempt is None else self._attempt.completeness.finishes

    @property
    def framing_name(self) -> str:
        """The dialect that the body is read as, or ``""``."""
        return "" if self.dialect is None else self.dialect.name


def _is_page(head: bytes) -> bool:
    return head.lstrip()[:1] == b"<"
