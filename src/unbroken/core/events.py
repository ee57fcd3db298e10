"""Events: what a provider means by a frame.

Every dialect turns its frames into these few kinds, so that checks and recovery know no
provider. Content is keyed two ways: ``choice`` is the answer it belongs to (``n`` > 1), and
``block`` the part of the answer (an Anthropic content block, a Responses output item) where
the dialect has such parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, overload

import msgspec

__all__ = [
    "Block",
    "BlockKind",
    "Close",
    "End",
    "Event",
    "Finish",
    "Joined",
    "Mark",
    "Meaning",
    "Number",
    "Open",
    "Other",
    "Ping",
    "ProviderError",
    "Reasoning",
    "Refusal",
    "Start",
    "Text",
    "TextRun",
    "ToolCall",
    "UsageReport",
    "Whole",
    "is_content",
]

BlockKind = Literal["text", "reasoning", "tool", "other"]
Meaning = Literal["stop", "tool-calls", "limit", "filter", "pause", "fault"]
Block = int | tuple[int, int] | None


class Start(msgspec.Struct, gc=False, frozen=True):
    """The answer began; nothing of it has been said yet."""

    id: str | None = None
    model: str | None = None


class Open(msgspec.Struct, gc=False, frozen=True):
    """A choice or block was opened, and now owes its end."""

    kind: BlockKind
    choice: int = 0
    block: Block = None


class Text(msgspec.Struct, gc=False, frozen=True):
    """Answer text."""

    text: str
    choice: int = 0
    block: Block = None


class TextRun(Sequence["Event"]):
    """A run of text events of one block, made only when somebody looks at them.

    Args:
        texts: Their texts, none of them empty.
        choice: The choice of all.
        block: The block of all.
    """

    __slots__ = ("block", "choice", "texts")

    def __init__(self, texts: list[str], choice: int, block: Block) -> None:
        self.texts = texts
        self.choice = choice
        self.block = block

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> list[Event]: ...
    def __getitem__(self, at: int | slice) -> Event | list[Event]:
        if isinstance(at, slice):
            return [Text(text, self.choice, self.block) for text in self.texts[at]]
        return Text(self.texts[at], self.choice, self.block)


class Reasoning(msgspec.Struct, gc=False, frozen=True):
    """Thinking shown to the application; never compared, never continued.

    `sealed` marks a signature or encrypted form that carries no text.
    """

    text: str
    choice: int = 0
    block: Block = None
    sealed: bool = False


class Refusal(msgspec.Struct, gc=False, frozen=True):
    """Text of a refusal, where the dialect keeps it apart from answer text."""

    text: str
    choice: int = 0
    block: Block = None


class ToolCall(msgspec.Struct, gc=False, frozen=True):
    """A piece of a tool call; pieces with the same (choice, index) belong together.

    Attributes:
        index: Which call, within its choice.
        arguments: This piece of the arguments, as the model wrote it.
        id: The call's id, on the piece that brings it.
        name: The function's name, on the piece that brings it.
        whole: No further piece of this call will come.
        kind: ``function`` takes JSON and is held until whole; ``custom`` takes any text;
            ``server`` runs at the provider and asks nothing of the application.
    """

    index: int
    arguments: str = ""
    choice: int = 0
    block: Block = None
    id: str | None = None
    name: str | None = None
    whole: bool = False
    kind: Literal["function", "custom", "server"] = "function"


class Close(msgspec.Struct, gc=False, frozen=True):
    """A block was closed."""

    choice: int = 0
    block: Block = None


class Whole(msgspec.Struct, gc=False, frozen=True):
    """The provider repeats a finished text or its arguments in full: a self-check."""

    kind: Literal["text", "arguments"]
    text: str
    choice: int = 0
    block: Block = None


class Finish(msgspec.Struct, gc=False, frozen=True):
    """The semantic end of a choice, in the provider's word and in ours.

    `final` is False where the dialect may still go on after it (Gemini with server tools).
    """

    reason: str
    meaning: Meaning
    choice: int = 0
    final: bool = True


class End(msgspec.Struct, gc=False, frozen=True):
    """The last marker of the stream, such as ``[DONE]`` or ``message_stop``."""

    marker: str


class UsageReport(msgspec.Struct, gc=False, frozen=True):
    """Tokens so far. Cumulative: a later report replaces the figures it repeats."""

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    reasoning: int | None = None


class ProviderError(msgspec.Struct, gc=False, frozen=True):
    """An error sent inside the stream.

    Attributes:
        type: The provider's class of error, or ``""``.
        code: Its code, or ``""``.
        message: Its words. Shown to the application, never logged.
        retryable: Whether the same request may succeed later.
        refused: A safety block; never healed around.
        elsewhere: It speaks of a key, an account or a model: another may answer.
    """

    type: str = ""
    code: str = ""
    message: str = ""
    retryable: bool = True
    refused: bool = False
    elsewhere: bool = False


class Ping(msgspec.Struct, gc=False, frozen=True):
    """A sign of life without content."""


class Number(msgspec.Struct, gc=False, frozen=True):
    """The frame's own number, where the dialect counts its frames."""

    value: int


class Mark(msgspec.Struct, gc=False, frozen=True):
    """The provider's own name for the place after this frame, from which it can go on."""

    id: str


class Other(msgspec.Struct, gc=False, frozen=True):
    """Something this version does not know or need; it passes through.

    `content` marks material that cannot be continued (an image, a citation, audio).
    """

    type: str
    content: bool = False


class Joined(Sequence["Event"]):
    """Events of several runs in order, made only when somebody looks at them."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Sequence[Event]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Event]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> list[Event]: ...
    def __getitem__(self, at: int | slice) -> Event | list[Event]:
        return list(self)[at]


Event = (
    Start
    | Open
    | Text
    | Reasoning
    | Refusal
    | ToolCall
    | Close
    | Whole
    | Finish
    | End
    | UsageReport
    | ProviderError
    | Ping
    | Number
    | Mark
    | Other
)


def is_content(event: Event) -> bool:
    """Whether an application would show it or act on it."""
    match event:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
            return bool(text)
        case ToolCall(kind=kind):
            return kind != "server"
        case Other(content=content):
            return content
        case _:
            return False
