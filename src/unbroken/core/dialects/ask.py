"""An ask: a request in nobody's words, so that a provider of another dialect can be asked.

A dialect reads its requests into an `Ask` and writes an `Ask` into a body of its own. Both are
strict: whatever is not understood, or cannot be said, is a reason, never left out in silence.
Only what a dialect lists as harmless (`Fields.harmless`) may be dropped, and thinking of
earlier turns, which belongs to the model that thought it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar

import msgspec

from unbroken.core.dialects.payloads import dump, string

__all__ = [
    "Ask",
    "AskedCall",
    "Conversation",
    "Fields",
    "Function",
    "Result",
    "Turn",
    "Unsaid",
    "decimal",
    "function_of",
    "functions_of",
    "known_tools",
    "object_of",
    "refuse",
    "said",
    "stops_of",
    "text_of_object",
    "texts_of",
    "whole",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Unsaid(Exception):  # noqa: N818  no error, but a reason on its way out
    """Why a request cannot be said in other words. Never leaves `said`."""


def refuse(why: str) -> NoReturn:
    """Say why a request cannot be said in other words.

    Raises:
        Unsaid: Always.
    """
    raise Unsaid(why)


def said(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | str:
    """Return what a function returns, or the reason why it could not."""
    try:
        return function(*args, **kwargs)
    except Unsaid as reason:
        return str(reason)


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call.

    Attributes:
        parameters: A JSON schema, or None where it takes none.
        strict: The arguments must follow the schema to the letter.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool = False


class AskedCall(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier call of the model; its arguments are JSON text."""

    id: str
    name: str
    arguments: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the application answered to an earlier call."""

    id: str
    name: str
    text: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the conversation; its parts are in this order.

    Attributes:
        role: Who speaks.
        results: Of the user: answers to the calls of the turn before.
        texts: What is said, in as many parts as it was given in.
        calls: Of the assistant.
    """

    role: Literal["user", "assistant"]
    results: tuple[Result, ...] = ()
    texts: tuple[str, ...] = ()
    calls: tuple[AskedCall, ...] = ()


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. None leaves a choice to the provider.

    Attributes:
        system: The system's texts, ahead of all turns.
        tools: Functions only.
        tool_choice: Whether a function is called.
        only_tool: The one function that must be called, or ``""``.
        parallel_calls: Whether several may be called at once.
        max_tokens: Most tokens of the answer.
        seed: Belongs to one model: where a dialect has no field for it, it is left out.
    """

    system: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Function, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | None = None
    only_tool: str = ""
    parallel_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in one object of a request.

    Attributes:
        known: What the dialect reads.
        harmless: Dropped: it does not change what the answer says.
        only: Dropped at one of these values, which say what holds anyway.
    """

    known: frozenset[str]
    harmless: frozenset[str] = frozenset()
    only: Mapping[str, tuple[Any, ...]] = {}

    def check(self, source: object, where: str = "") -> dict[str, Any]:
        """Return the object, without what is None.

        Raises:
            Unsaid: If it is no object, or holds a field that is none of these.
        """
        if not isinstance(source, dict):
            msg = f"{where or 'a part of the request'} is not an object"
            raise Unsaid(msg)
        found = {name: value for name, value in source.items() if value is not None}
        for name, value in found.items():
            if name in self.known or name in self.harmless:
                continue
            if any(
                value == allowed and isinstance(value, bool) == isinstance(allowed, bool)
                for allowed in self.only.get(name, ())
            ):
                continue
            shown = name if len(name) <= 40 and name.isprintable() else "a field"
            refuse(f"{where}{'.' if where else ''}{shown} cannot be said in another dialect")
        return found


class Conversation:
    """Puts turns together while a request is read, and knows which call a result answers."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self.turns: list[Turn] = []
        self._waiting: list[AskedCall] = []
        self._calls = 0

    def instruct(self, texts: tuple[str, ...]) -> None:
        """Add texts of the system; they come before all turns."""
        if self.turns:
            refuse("a system message stands in the middle of the conversation")
        self.system += [text for text in texts if text]

    def say(self, role: Literal["user", "assistant"], texts: tuple[str, ...]) -> None:
        """Add a turn of text."""
        texts = tuple(text for text in texts if text)
        if texts and self._waiting:
            refuse("text stands between a tool call and its result")
        if texts:
            self.turns.append(Turn(role=role, texts=texts))

    def call(self, id: str, name: str, arguments: str) -> None:
        """Add a call to the assistant's turn, which it ends."""
        if not name:
            refuse("an earlier tool call has no name")
        self._calls += 1
        call = AskedCall(id=id or f"call_{self._calls}", name=name, arguments=arguments)
        self._waiting.append(call)
        if self.turns and self.turns[-1].role == "assistant":
            self._extend(calls=(*self.turns[-1].calls, call))
        else:
            self.turns.append(Turn(role="assistant", calls=(call,)))

    def answer(self, id: str, name: str, text: str) -> None:
        """Add the result of a call; without an id, of the first that waits under the name."""
        found = next(
            (c for c in self._waiting if (c.id == id if id else not name or c.name == name)), None
        )
        if found is None:
            refuse("a tool result answers no earlier call")
        self._waiting.remove(found)
        result = Result(id=found.id, name=found.name, text=text)
        last = self.turns[-1]
        if last.role == "user" and last.results and not last.texts:
            self._extend(results=(*last.results, result))
        else:
            self.turns.append(Turn(role="user", results=(result,)))

    def add_text(self, texts: tuple[str, ...]) -> None:
        """Add text to the user's turn of results that was begun, or begin one."""
        texts = tuple(text for text in texts if text)
        if texts and self.turns and self.turns[-1].results:
            self._extend(texts=self.turns[-1].texts + texts)
        else:
            self.say("user", texts)

    def _extend(self, **fields: Any) -> None:
        self.turns[-1] = msgspec.structs.replace(self.turns[-1], **fields)

    def checked(self) -> tuple[Turn, ...]:
        """Return the turns, if an answer to them is what is asked."""
        if not self.turns:
            refuse("it holds no turn")
        if self.turns[-1].role == "assistant":
            refuse("it ends with a turn of the assistant, which the answer may continue")
        if self._waiting:
            refuse("an earlier tool call has no result")
        return tuple(self.turns)


def texts_of(content: object, *, kinds: frozenset[str], part: Fields) -> tuple[str, ...]:
    """Return the texts of a content: a string, or a list of parts of text."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list):
        refuse("a message has content of an unknown shape")
    texts: list[str] = []
    for each in content:
        kind = each.get("type") if isinstance(each, dict) else None
        if string(kind) not in kinds or not isinstance(each.get("text"), str):
            shown = kind if isinstance(kind, str) and kind.isidentifier() else "unknown"
            refuse(f"a message holds something other than text ({shown[:40]})")
        part.check(each, "a part of text")
        texts.append(each["text"])
    return tuple(texts)


def decimal(source: Mapping[str, Any], name: str) -> float | None:
    """Return a number, or None where there is none."""
    value = source.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"{name} is not a number")
    return value


def whole(source: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, or None where there is none."""
    value = source.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"{name} is not a whole number")
    return value


def stops_of(value: object) -> tuple[str, ...]:
    """Return stop sequences, given as one string or as a list."""
    if value is None:
        return ()
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        refuse("stop is not a list of strings")
    return tuple(given)


def object_of(arguments: str) -> dict[str, Any]:
    """Return the arguments of an earlier call as the object they are."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refuse("an earlier tool call has arguments that are not an object")
    return value


def text_of_object(value: object) -> str:
    """Return arguments as JSON text, whether given as text or as the object."""
    return value if isinstance(value, str) else dump(value or {}).decode()


def functions_of(
    tools: object, one: Callable[[dict[str, Any]], list[Function]]
) -> tuple[Function, ...]:
    """Return the functions of a list of tools; `one` reads an entry."""
    if tools is None:
        return ()
    if not isinstance(tools, list):
        refuse("tools is not a list")
    found: list[Function] = []
    for tool in tools:
        if not isinstance(tool, dict):
            refuse("a tool is not an object")
        found += one(tool)
    if not all(function.name for function in found):
        refuse("a tool has no name")
    return tuple(found)


def function_of(source: dict[str, Any], schema: str) -> Function:
    """Return a function from its name, description, schema and strictness."""
    parameters = source.get(schema)
    if parameters is not None and not isinstance(parameters, dict):
        refuse("the parameters of a tool are not a schema")
    return Function(
        name=string(source.get("name")),
        description=string(source.get("description")),
        parameters=parameters,
        strict=source.get("strict") is True,
    )


def known_tools(ask: Ask, *, strict: bool = False) -> tuple[Function, ...]:
    """Return the functions, if all of them can be said: strict ones only where that is known."""
    if not strict and any(function.strict for function in ask.tools):
        refuse("a tool asks for strict arguments")
    return ask.tools
