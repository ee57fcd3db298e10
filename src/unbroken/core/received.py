"""What was received: the answer so far, put together from events."""

from __future__ import annotations

import msgspec

from unbroken.core.events import (
    Block,
    BlockKind,
    Close,
    Event,
    Finish,
    Number,
    Open,
    Other,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame

__all__ = ["Call", "Received", "Usage", "join_pieces", "merge_usage"]

_FOLD_AT = 32
"""Pieces after which the text that came last is joined."""
_MOST_BLOCKS = 4096


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of one attempt, as the provider reported them; None: it did not."""

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    reasoning: int | None = None
    estimated: bool = False


class Call(msgspec.Struct, kw_only=True):
    """One tool call as far as it was received.

    `arguments` is what the model wrote, valid or not; `complete` says that no further piece
    of it was to come; `dropped` that pieces came beyond the limit and were not kept.
    """

    index: int
    choice: int = 0
    block: Block = None
    id: str = ""
    name: str = ""
    kind: str = "function"
    pieces: list[str] = []
    complete: bool = False
    dropped: bool = False

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return join_pieces(self.pieces)


class Received:
    """The answer as put together from delivered events.

    Attributes:
        calls: Tool calls by (choice, index), in order of appearance.
        finishes: The last finish of each choice.
        open_blocks: Blocks opened and not closed, with their kinds, in order.
        blocks_opened: How many blocks were opened in all.
        last_number: The last frame number seen in a numbered dialect, or None.
        sequence: Kinds of content in order of appearance, runs folded: ``text``,
            ``reasoning``, ``refusal``, ``call``, ``other``.
        skeleton: Payloads of the frames that carried more than deltas (starts, opens,
            closes): what a splicer needs to go on. Bounded by `limit_bytes`.
        overflowed: The limit was passed: the stream can no longer be continued, and what came
            after is counted, not kept.
    """

    def __init__(self, *, limit_bytes: int = 4 * 1024 * 1024) -> None:
        self.id = ""
        self.model = ""
        self.calls: dict[tuple[int, int], Call] = {}
        self.finishes: dict[int, Finish] = {}
        self.usage = Usage()
        self.open_blocks: dict[Block, BlockKind] = {}
        self.blocks_opened = 0
        self.last_number: int | None = None
        self.sequence: list[str] = []
        self.skeleton: list[bytes] = []
        self.overflowed = False
        self.characters = 0
        self._limit_bytes = limit_bytes
        self._size = 0
        self._texts: dict[int, list[str]] = {}
        self._fresh: list[str] = []  # what came last, of one choice
        self._fresh_choice = 0
        self._reasoning: list[str] = []
        self._refusal: list[str] = []

    def fork(self) -> Received:
        """Return an independent copy. Deltas are folded first, so that it stays cheap."""
        self._fold()
        for pieces in (*self._texts.values(), self._reasoning, self._refusal):
            if len(pieces) > 1:
                pieces[:] = ["".join(pieces)]
        copy = Received(limit_bytes=self._limit_bytes)
        copy.id, copy.model, copy.last_number = self.id, self.model, self.last_number
        copy.calls = {
            key: msgspec.structs.replace(call, pieces=list(call.pieces))
            for key, call in self.calls.items()
        }
        copy.finishes = dict(self.finishes)
        copy.usage = msgspec.structs.replace(self.usage)
        copy.open_blocks, copy.blocks_opened = dict(self.open_blocks), self.blocks_opened
        copy.sequence, copy.skeleton = list(self.sequence), list(self.skeleton)
        copy.overflowed, copy.characters = self.overflowed, self.characters
        copy._size = self._size
        copy._texts = {choice: list(pieces) for choice, pieces in self._texts.items()}
        copy._reasoning, copy._refusal = list(self._reasoning), list(self._refusal)
        return copy

    @property
    def text(self) -> str:
        """The answer text of choice 0."""
        return self.text_of(0)

    def text_of(self, choice: int) -> str:
        """The answer text of one choice."""
        self._fold()
        return join_pieces(self._texts.get(choice, []))

    @property
    def texts(self) -> dict[int, str]:
        """The answer text of every choice that has any."""
        self._fold()
        return {choice: join_pieces(pieces) for choice, pieces in sorted(self._texts.items())}

    @property
    def reasoning(self) -> str:
        """The thinking shown, all choices."""
        return join_pieces(self._reasoning)

    @property
    def refusal(self) -> str:
        """The refusal's text, all choices."""
        return join_pieces(self._refusal)

    @property
    def has_content(self) -> bool:
        """Whether anything that an application would show or act on was received."""
        return bool(self.sequence)

    def add(self, frame: Frame | None, events: list[Event]) -> None:
        """Take in what one delivered frame means."""
        plain = True  # only deltas
        for event in events:
            if type(event) is Text:
                self._text(event)
            else:
                plain = self._other(event) and plain
        if not plain and frame is not None:
            self._grow(len(frame.payload))
            if not self.overflowed:
                self.skeleton.append(frame.payload)

    def add_texts(self, texts: list[str], choice: int) -> None:
        """Take in a run of text deltas of one choice, the common case of a healthy stream."""
        text = texts[0] if len(texts) == 1 else "".join(texts)
        size = len(text)
        if not text.isascii() and max(text) >= "\ud800":
            size -= self._halves_joined(texts, choice)
        self.characters += size
        self._grow(size)
        if not self.sequence or self.sequence[-1] != "text":
            self.sequence.append("text")
        if self.overflowed:
            return
        if choice != self._fresh_choice:
            self._fold()
            self._fresh_choice = choice
        self._fresh.append(text)
        if len(self._fresh) >= _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        """Join what came last. Small strings that live on cost more than the text they hold."""
        if self._fresh:
            blocks = self._texts.setdefault(self._fresh_choice, [])
            blocks.append("".join(self._fresh))
            self._fresh.clear()
            if len(blocks) > _MOST_BLOCKS:
                blocks[:] = ["".join(blocks)]

    def _halves_joined(self, texts: list[str], choice: int) -> int:
        """Count the pairs cut over two deltas: two halves are one character of the text."""
        self._fold()
        count, before = 0, (self._texts.get(choice) or [""])[-1]
        for text in texts:
            count += "\udc00" <= text[:1] <= "\udfff" and "\ud800" <= before[-1:] <= "\udbff"
            before = text
        return count

    def _text(self, event: Text) -> None:
        if event.text:
            self.add_texts([event.text], event.choice)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit_bytes and not self.overflowed:
            self.overflowed = True
            self.skeleton.clear()

    def _mark(self, kind: str) -> None:
        if not self.sequence or self.sequence[-1] != kind:
            self.sequence.append(kind)

    def _other(self, event: Event) -> bool:
        """Take in anything but text; return whether it is a mere delta."""
        match event:
            case Reasoning(text=text):
                if text:
                    self._mark("reasoning")
                    self._grow(len(text))
                    if not self.overflowed:
                        self._reasoning.append(text)
            case ToolCall():
                self._call(event)
                return event.kind != "server" and not event.name and not event.id
            case Refusal(text=text):
                if text:
                    self._mark("refusal")
                    self._grow(len(text))
                    if not self.overflowed:
                        self._refusal.append(text)
            case Number(value=value):
                self.last_number = value
            case Start(id=id_, model=model):
                self.id = self.id or (id_ or "")
                self.model = self.model or (model or "")
                return False
            case Open(kind=kind, block=block):
                if block is not None:
                    self.open_blocks[block] = kind
                    self.blocks_opened += 1
                return False
            case Close(block=block):
                self.open_blocks.pop(block, None)
                return False
            case Finish(choice=choice):
                self.finishes[choice] = event
                self._finish_calls(event)
                return False
            case UsageReport():
                merge_usage(self.usage, event)  # on every frame in some dialects: a mere delta
            case Other(content=content):
                if content:
                    self._mark("other")
                return False
            case _:
                pass
        return True

    def _finish_calls(self, finish: Finish) -> None:
        """A choice finished: its calls are whole, but the last where something cut it."""
        calls = [call for call in self.calls.values() if call.choice == finish.choice]
        cut = finish.meaning in ("limit", "filter", "fault")
        for call in calls[:-1] if cut else calls:
            call.complete = True

    def _call(self, event: ToolCall) -> None:
        key = (event.choice, event.index)
        call = self.calls.get(key)
        if call is None:
            for earlier in self.calls.values():
                if earlier.choice == event.choice and earlier.block is None:
                    earlier.complete = True  # dialects without blocks: the next call ends it
            call = Call(
                index=event.index, choice=event.choice, block=event.block, kind=event.kind,
                pieces=[],
            )  # fmt: skip
            self.calls[key] = call
            if event.kind != "server":
                self._mark("call")
        call.id = call.id or (event.id or "")
        call.name = call.name or (event.name or "")
        if event.arguments:
            self._grow(len(event.arguments))
            if self.overflowed:
                call.dropped = True
            else:
                call.pieces.append(event.arguments)
        call.complete = call.complete or event.whole


def merge_usage(usage: Usage, report: UsageReport) -> None:
    """Take over the figures that a report gives; they are cumulative."""
    if report.input is not None:
        usage.input = report.input
    if report.output is not None:
        usage.output = report.output
    if report.cached_input is not None:
        usage.cached_input = report.cached_input
    if report.reasoning is not None:
        usage.reasoning = report.reasoning


def join_pieces(pieces: list[str]) -> str:
    """Join deltas, folding the list in place, and mend surrogate pairs cut over two of them.

    Half a pair at the very end is left out: its other half has not arrived.
    """
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    text = pieces[0] if pieces else ""
    try:
        text.encode()
    except UnicodeEncodeError:
        if "\ud800" <= text[-1] <= "\udbff":
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
