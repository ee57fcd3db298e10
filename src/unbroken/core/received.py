"""What was received: the answer so far, put together from events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

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
from unbroken.core.pieces import add_piece, ends_in_half, join_pieces
from unbroken.core.spill import Spill, SpilledTexts

__all__ = ["Call", "Received", "Usage", "join_pieces", "merge_usage"]

_FOLD_AT = 32
"""Pieces after which the text that came last is joined."""
_MOST_BLOCKS = 4096
_MOST_RUNS = 4096
"""Turns of text, reasoning and the like that are remembered one by one."""


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
        told_at: `content_size` when the provider last told how many tokens it had written.
        last_number: The last frame number seen in a numbered dialect, or None.
        sequence: Kinds of content in order of appearance, runs folded: ``text``,
            ``reasoning``, ``refusal``, ``call``, ``other``.
        skeleton: Event name and payload of the frames that carried more than deltas (starts,
            opens, closes): what a splicer needs to go on.
        spilled: The text is longer than is kept in memory; the rest of it is in the spill, and
            `pieces` gives all of it.
        holed: Text was lost in the midst of what was delivered, and only the provider's
            repetition of it told so, too late.
        overflowed: More came than can be kept: what was delivered is not known any more, and no
            later attempt can be compared with it.
        truncated: `kept_texts`, the reasoning, the refusal or a call's arguments are not whole.

    Args:
        limit_bytes: Characters kept in memory: of all texts, of the reasoning, and of
            everything else (calls, refusal, skeleton), each.
        spill: Makes what takes the text beyond that, or None where there is none.
    """

    def __init__(
        self,
        *,
        limit_bytes: int = 4 * 1024 * 1024,
        spill: Callable[[], Spill | None] | None = None,
    ) -> None:
        self.id = ""
        self.model = ""
        self.calls: dict[tuple[int, int], Call] = {}
        self.finishes: dict[int, Finish] = {}
        self.usage = Usage()
        self.open_blocks: dict[Block, BlockKind] = {}
        self.blocks_opened = 0
        self.last_number: int | None = None
        self.sequence: list[str] = []
        self.skeleton: list[tuple[str, bytes]] = []
        self.spilled = False
        self.holed = False
        self.overflowed = False
        self.truncated = False
        self.characters = 0
        self.told_at = 0
        self._beside_text = 0  # characters of reasoning and arguments
        self._of_others = 0  # characters of choices other than the first
        self._limit_bytes = limit_bytes
        self._size = 0  # of all but texts and reasoning
        self._reasoning_size = 0
        self._make_spill = spill
        self._beyond: SpilledTexts | None = None
        self._texts: dict[int, list[str]] = {}
        self._fresh: list[str] = []  # what came last, of one choice
        self._fresh_choice = 0
        self._reasoning: list[str] = []
        self._refusal: list[str] = []

    def fork(self) -> Received:
        """Return an independent copy. Deltas are folded first, so that it stays cheap.

        Text that was spilled stays with the original: the copy is `overflowed` then.
        """
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
        copy.holed = self.holed
        copy.told_at, copy._beside_text = self.told_at, self._beside_text
        copy._of_others = self._of_others
        copy.spilled, copy.truncated = self.spilled, self.truncated
        copy._size, copy._reasoning_size = self._size, self._reasoning_size
        copy._texts = {choice: list(pieces) for choice, pieces in self._texts.items()}
        copy._reasoning, copy._refusal = list(self._reasoning), list(self._refusal)
        if self._beyond is not None:
            copy._overflow()
        return copy

    @property
    def text(self) -> str:
        """The whole answer text of choice 0; see `text_of`."""
        return self.text_of(0)

    def text_of(self, choice: int) -> str:
        """The whole answer text of one choice.

        Raises:
            ValueError: If not all of it is in memory: part of it must not be taken for the
                whole. `kept_text` is what is there, and `pieces` gives all of it.
        """
        if self.characters > self._limit_bytes:
            msg = f"of {self.characters} characters not all are in memory (see `spilled`)"
            raise ValueError(msg)
        self._fold()
        return join_pieces(self._texts.get(choice, []))

    @property
    def texts(self) -> dict[int, str]:
        """The whole answer text of every choice that has any; see `text_of`."""
        return {choice: self.text_of(choice) for choice in self._choices()}

    @property
    def kept_text(self) -> str:
        """What is in memory of the answer text of choice 0: all of it, or its beginning."""
        self._fold()
        return join_pieces(self._texts.get(0, []))

    @property
    def kept_texts(self) -> dict[int, str]:
        """What is in memory of every choice's text: all of it, or its beginning."""
        return {choice: join_pieces(self._texts[choice]) for choice in self._choices()}

    def _choices(self) -> list[int]:
        self._fold()
        return sorted(self._texts)

    def pieces(self, choice: int = 0) -> Iterator[str]:
        """Yield the whole answer text of a choice, never much more than is kept in memory.

        Nothing may be added meanwhile.

        Raises:
            ValueError: If it was not kept.
            SpillLostError: If the spill cannot be read back.
        """
        if self.characters > self._limit_bytes and self._beyond is None:
            msg = f"of {self.characters} characters not all were kept"
            raise ValueError(msg)
        self._fold()
        yield join_pieces(self._texts.get(choice, []))
        if self._beyond is not None:
            yield from self._beyond.pieces(choice)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all choices' texts; about as many, once they are not in memory."""
        kept = sum(len(text.encode()) for text in self.kept_texts.values())
        beyond = 0 if self._beyond is None else self._beyond.size
        return max(kept + beyond, self.characters)

    @property
    def reasoning(self) -> str:
        """The thinking shown, all choices."""
        return join_pieces(self._reasoning)

    @property
    def refusal(self) -> str:
        """The refusal's text, all choices."""
        return join_pieces(self._refusal)

    @property
    def first_characters(self) -> int:
        """Characters of the answer text of choice 0."""
        return self.characters - self._of_others

    @property
    def content_size(self) -> int:
        """Characters of everything that the model wrote: text, reasoning, arguments."""
        return self.characters + self._beside_text

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
        if not plain and frame is not None and self._has_room(len(frame.payload)):
            self.skeleton.append((frame.event, frame.payload))

    def add_texts(self, texts: list[str], choice: int) -> None:
        """Take in a run of text deltas of one choice, the common case of a healthy stream."""
        text = texts[0] if len(texts) == 1 else "".join(texts)
        size = len(text)
        if not text.isascii() and max(text) >= "\ud800":
            size -= self._halves_joined(texts, choice)
        self.characters += size
        if choice:
            self._of_others += size
        if not self.sequence or self.sequence[-1] != "text":
            self._mark("text")
        if self.characters > self._limit_bytes:
            self._spill(text, choice)
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
        before = (self._texts.get(choice) or [""])[-1]
        if self._beyond is not None:
            before = self._beyond.last(choice)
        count = 0
        for text in texts:
            count += "\udc00" <= text[:1] <= "\udfff" and "\ud800" <= before[-1:] <= "\udbff"
            before = text
        return count

    def _text(self, event: Text) -> None:
        if event.text:
            self.add_texts([event.text], event.choice)

    def _has_room(self, size: int) -> bool:
        """Count what is neither text nor reasoning; return whether it can be kept."""
        self._size += size
        if self._size > self._limit_bytes:
            self._overflow()
        return not self.overflowed

    def _overflow(self) -> None:
        self.overflowed = self.truncated = True
        self.skeleton.clear()
        self.release()

    def release(self) -> None:
        """Let go of the spill, and of who makes it: nothing will be recovered any more."""
        self._make_spill = None
        beyond, self._beyond = self._beyond, None
        if beyond is not None:
            beyond.close()

    def _spill(self, text: str, choice: int) -> None:
        """Keep text beyond what memory may hold."""
        if self.overflowed:
            return
        self.truncated = True
        if not self.spilled:
            self._beyond = self._begin_spill()
        if self._beyond is None or not self._beyond.add(text, choice):
            self._overflow()

    def _begin_spill(self) -> SpilledTexts | None:
        spill = None if self._make_spill is None else self._make_spill()
        if spill is None:
            return None
        self.spilled, beyond = True, SpilledTexts(spill)
        self._fold()
        for choice, pieces in self._texts.items():
            if pieces and ends_in_half(pieces[-1]):  # its other half comes into the spill
                beyond.add(pieces[-1][-1], choice)
                pieces[:] = [join_pieces(pieces)]
        return beyond

    def _mark(self, kind: str) -> None:
        runs = self.sequence
        if (not runs or runs[-1] != kind) and (len(runs) < _MOST_RUNS or kind not in runs):
            runs.append(kind)

    def _other(self, event: Event) -> bool:
        """Take in anything but text; return whether it is a mere delta."""
        match event:
            case Reasoning(text=text):
                if text:
                    self._mark("reasoning")
                    self._beside_text += len(text)
                    self._reasoning_size += len(text)
                    if self._reasoning_size > self._limit_bytes:
                        self.truncated = True  # no later attempt is compared with it
                    else:
                        add_piece(self._reasoning, text)
            case ToolCall():
                self._call(event)
                return event.kind != "server" and not event.name and not event.id
            case Refusal(text=text):
                if text:
                    self._mark("refusal")
                    if self._has_room(len(text)):
                        add_piece(self._refusal, text)
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
            case UsageReport(output=output):
                if output is not None:
                    self.told_at = self.content_size
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

    def close_calls(self, *, but: Set[tuple[int, int]]) -> None:
        """Function calls are whole, but for some: they were held until then.

        Where the next call ends the one before, that next one may have come and not be here.
        """
        for key, call in self.calls.items():
            if call.kind == "function" and key not in but:
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
            self._beside_text += len(event.arguments)
            if self._has_room(len(event.arguments)):
                add_piece(call.pieces, event.arguments)
            else:
                call.dropped = True
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
