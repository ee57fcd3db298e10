"""What was seen in a body, whatever its dialect."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Seen", "SeenCall", "is_json", "mend", "parsed"]


def parsed(arguments: str) -> object:
    """Return what arguments say; themselves where they are not JSON."""
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments


def is_json(arguments: str) -> bool:
    """Whether arguments are JSON, or none."""
    return not arguments or not isinstance(parsed(arguments), str)


def mend(pieces: list[str]) -> str:
    """Join pieces, and the surrogate pairs that were cut over two of them."""
    text = "".join(pieces)
    if "\ud800" <= text[-1:] <= "\udbff":
        text = text[:-1]  # its other half has not come
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass
class SeenCall:
    """One tool call."""

    key: Any
    name: str = ""
    id: str = ""
    pieces: list[str] = field(default_factory=list)
    whole: bool = False

    @property
    def arguments(self) -> str:
        return mend(self.pieces)


class Seen:
    """What a consumer of these bytes knows.

    Attributes:
        frames: Frames that carried data.
        pieces: Deltas of the text of choice 0.
        others: The same of other choices.
        finishes: Semantic ends, in the provider's words.
        ends: Last markers.
        terminals: All that a client may take for the proven end.
        usage: ``input`` and ``output``, where the provider told.
        problems: What no valid stream holds.
    """

    def __init__(self, *, choices: int, same_ids: bool) -> None:
        self.choices = choices
        self.same_ids = same_ids  # what was opened ends under the id it began with
        self.frames = 0
        self.pieces: list[str] = []
        self.others: dict[int, list[str]] = {}
        self.refusals: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[SeenCall] = []
        self.finishes: list[str] = []
        self.ends = 0
        self.errors = 0
        self.starts = 0
        self.seals = 0  # signatures of thinking
        self.contents = 0  # frames that brought text, thinking or a call
        self.usage: dict[str, int] = {}
        self.problems: list[str] = []
        self.response_id: str | None = None  # as the end has it
        self._finished: set[int] = set()
        self._open: dict[Any, str] = {}  # blocks or items: their kind
        self._closed: set[Any] = set()

    @property
    def text(self) -> str:
        return mend(self.pieces)

    def text_of(self, choice: int) -> str:
        return mend(self.others.get(choice, []) if choice else self.pieces)

    @property
    def finished(self) -> set[int]:
        """Choices that finished."""
        return self._finished

    @property
    def reasoning(self) -> str:
        return mend(self.thoughts)

    @property
    def terminals(self) -> int:
        return len(self.finishes) + self.ends

    @property
    def moves(self) -> tuple[int, ...]:
        """Changes with every piece of content, and with every opening and closing."""
        whole = sum(call.whole for call in self.calls)
        blocks = len(self._open), len(self._closed)
        return self.contents, self.terminals, *blocks, whole, self.seals

    @property
    def open_calls(self) -> list[SeenCall]:
        return [call for call in self.calls if not call.whole]

    @property
    def over(self) -> bool:
        """Whether content may no longer come."""
        return bool(len(self.finishes) >= self.choices or self.ends or self.errors)

    def _text(self, text: str, choice: int = 0) -> None:
        if text:
            self._content("text")
            if choice in self._finished:
                self.problems.append(f"text came for choice {choice}, which had finished")
            (self.others.setdefault(choice, []) if choice else self.pieces).append(text)

    def _thought(self, text: str) -> None:
        if text:
            self._content("reasoning")
            self.thoughts.append(text)

    def _refusal(self, text: str) -> None:
        if text:
            self._content("a refusal")
            self.refusals.append(text)

    def _content(self, what: str) -> None:
        self.contents += 1
        if self.over:
            self.problems.append(f"{what} came after the end of the answer")

    def _call(self, key: Any, name: str, id_: str, piece: str, *, whole: bool = False) -> SeenCall:
        self._content("a tool call")
        call = next((c for c in self.calls if c.key == key), None)
        if call is None:
            call = SeenCall(key)
            self.calls.append(call)
        elif call.whole and piece:
            self.problems.append(f"a piece came for call {key}, which was whole")
        call.name = call.name or name
        call.id = call.id or id_
        if piece:
            call.pieces.append(piece)
        call.whole = call.whole or whole
        return call

    def _whole(self, key: Any) -> None:
        for call in self.calls:
            call.whole = call.whole or call.key == key

    def _finish(self, reason: str, choice: int = 0) -> None:
        self.finishes.append(reason)
        if choice in self._finished:
            self.problems.append(f"it finished twice ({', '.join(self.finishes)})")
        self._finished.add(choice)
        for call in self.calls:
            call.whole = True

    def _used(self, given: Any, made: Any) -> None:
        if given is not None:
            self.usage["input"] = given
        if made is not None:
            self.usage["output"] = made
