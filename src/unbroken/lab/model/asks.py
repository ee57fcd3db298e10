"""What a request asks, whatever the dialect: the scripted model's side of reading.

`read_request` finds the provider by the path and has it read the request. What comes back is

- an `Asked`: an answer is wanted (``kind == "answer"``), or the rest of one that was begun
  (``cursor``), or something small beside (a list of models, a count of tokens, the end of an
  answer). Faults are for the first two: `Asked.streams_answer`;
- a `Refusal`: the path is known, and the request is one that the provider would refuse;
- None: there is no such path.

A request that resumes names no model. `Memory.model_of` tells which one the answer was asked of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl

__all__ = [
    "TOKEN",
    "Asked",
    "BadRequestError",
    "Call",
    "Cursor",
    "Kind",
    "Refusal",
    "Route",
    "Tool",
    "Turn",
    "clean_name",
    "completion",
    "conversation",
    "read_request",
]

Kind = Literal["answer", "cursor", "kept", "models", "model", "count", "stop", "info"]
"""``kept`` is an answer that the provider keeps, asked for whole; ``stop`` ends or deletes one;
``info`` is a page about the server."""

Turn = tuple[str, str]
"""Who (``user``, ``assistant``, another), and the text of what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: Its name.
        argument: The name of its first argument that takes a text, or ``""``.
    """

    name: str
    argument: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """From where an answer is to be read on.

    Attributes:
        service: Whose way it is: ``responses``, ``interactions``, or ``llama``.
        id: The provider's id of the answer, or the conversation's.
        after: The last number or event id that was read, or None for all; for ``llama`` the
            first byte that is wanted.
    """

    service: Literal["responses", "interactions", "llama"]
    id: str
    after: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks.

    Attributes:
        dialect: The dialect of the answer, also where it is not streamed.
        model: The model's name, unquoted; ``""`` where the request names none.
        kind: What is wanted; see `Kind`.
        stream: Whether the answer is to be streamed.
        form: The form of the answer, where the dialect has several (Ollama's ``generate``).
        prefill: The text of the assistant's turn, where it is the last. Of a prompt without
            turns: what stands in it from the first numbered word on.
        prompt: The prompt, where it has no turns: an answer that was begun stands at its end.
        partial: The text of the assistant's turn before such a turn.
        quoted: The last user's turn, where it quotes numbered words.
        anchor: The last numbered words in it, as far as they can be told without the answer.
        seed: The seed that was given, or None.
        temperature: The temperature that was given, or None.
        tools: The functions that were offered.
        max_tokens: Most tokens of the answer, or None.
        wants_usage: Whether tokens shall be counted.
        idempotency_key: The key, or ``""``.
        cursor: Where to read on.
        keep: The answer is kept, so that it can be read on: under its own id (``"id"``), or
            under the conversation's that stands here behind ``"conversation:"``.
        empty: Nothing is asked (Ollama loads or unloads the model then: the word for it).
        prompt_chars: Characters of the prompt.
        fingerprint: A digest of path and body.
    """

    dialect: str
    model: str = ""
    kind: Kind = "answer"
    stream: bool = False
    form: str = ""
    prefill: str = ""
    prompt: str = ""
    partial: str = ""
    quoted: str = ""
    anchor: str = ""
    seed: int | None = None
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()
    max_tokens: int | None = None
    wants_usage: bool = True
    idempotency_key: str = ""
    cursor: Cursor | None = None
    keep: str = ""
    empty: str = ""
    prompt_chars: int = 0
    fingerprint: str = ""

    @property
    def streams_answer(self) -> bool:
        """Whether it is an answer, whole or the rest of one: what faults are for."""
        return self.kind in ("answer", "cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that is refused.

    Attributes:
        status: The HTTP status.
        message: What is wrong with it.
        dialect: Whose shape the error has.
        headers: Headers beside the content type, names in lower case.
    """

    status: int
    message: str
    dialect: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The error in the provider's shape, as JSON."""
        from unbroken.lab.shapes import error_body

        return error_body(self.dialect, self.status, self.message)


class BadRequestError(Exception):
    """What a provider would refuse, raised while a request is read."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True, kw_only=True)
class Call:
    """A request on its way to be read.

    Attributes:
        path: Without the query, still quoted.
        found: What the route's pattern found in it.
        headers: Names in lower case.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    raw: bytes
    found: re.Match[str]
    _json: dict[str, Any] | None = None

    @property
    def json(self) -> dict[str, Any]:
        """The body.

        Raises:
            BadRequestError: If it is not an object in JSON.
        """
        if self._json is None:
            try:
                value = json.loads(self.raw)
            except (ValueError, RecursionError):
                msg = "the body is not JSON"
                raise BadRequestError(msg) from None
            if not isinstance(value, dict):
                msg = "the body is not an object"
                raise BadRequestError(msg)
            self._json = value
        return self._json

    @property
    def fields(self) -> dict[str, Any]:
        """What every `Asked` takes from the request around the body."""
        known = self.method.encode() + b" " + self.path.encode() + b"\n" + self.raw
        return {
            "idempotency_key": self.headers.get("idempotency-key", ""),
            "fingerprint": hashlib.blake2b(known, digest_size=16).hexdigest(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path of a provider.

    Attributes:
        methods: What it takes.
        pattern: Searched in the path, which is still quoted.
        dialect: Whose shape an error has.
        read: Reads the request.
    """

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    dialect: str
    read: Callable[[Call], Asked]


# A numbered token, as far as it can be known without seed and variant: unbroken.lab.oracle.
TOKEN = r"(?:[bdfgklmnprstvz][aeiou]){3}[éüøñ]?[🙂🚢]?\d+\.?"
_RUN = re.compile(rf"(?<!\w){TOKEN}(?:\s+{TOKEN})*")

# Control characters, what ends a line, what turns the direction of writing, and lone surrogates.
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_request(
    method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Asked | Refusal | None:
    """Return what a request asks, a refusal, or None where there is no such path.

    Args:
        method: The HTTP method.
        path: The request's target: the path, quoted as it came, and the query.
        headers: The headers; how their names are written does not matter.
        body: The body.
    """
    from unbroken.lab.model.providers import ROUTES

    path, _, query = path.partition("?")
    path = path if path == "/" else path.rstrip("/")
    lowered = {name.lower(): value for name, value in headers.items()}
    other: Route | None = None
    for route in ROUTES:
        found = route.pattern.search(path)
        if found is None:
            continue
        if method.upper() not in route.methods:
            other = other or route
            continue
        call = Call(
            method=method.upper(),
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=lowered,
            raw=body,
            found=found,
        )
        try:
            asked = route.read(call)
            return replace(asked, model=clean_name(asked.model))
        except BadRequestError as error:
            return Refusal(status=error.status, message=error.message, dialect=route.dialect)
    if other is None:
        return None
    return Refusal(
        status=405,
        message=f"{method.upper()} is not taken here",
        dialect=other.dialect,
        headers={"allow": ", ".join(other.methods)},
    )


def clean_name(name: str) -> str:
    """Return a name as it may stand in logs, ids and JSON.

    JSON can say half of a surrogate pair, which no encoder takes, and a line end, which would
    begin another line of a log.
    """
    return _NO_NAME.sub("\ufffd", name)


def completion(prompt: str) -> dict[str, Any]:
    """Return the fields of an `Asked` that a prompt without turns gives."""
    words = _RUN.search(prompt)
    begun = prompt[words.start() :] if words else ""
    return {"prompt": prompt, "prefill": begun, "prompt_chars": len(prompt)}


def conversation(turns: Iterable[Turn]) -> dict[str, Any]:
    """Return the fields of an `Asked` that a conversation gives.

    A last turn of the assistant is a prefill. A last turn of the user may quote from an answer
    that was begun, which may stand before it as the assistant's.
    """
    said = list(turns)
    known: dict[str, Any] = {"prompt_chars": sum(len(text) for _, text in said)}
    if not said:
        return known
    role, text = said[-1]
    if role == "assistant":
        known["prefill"] = text
    elif role == "user" and (runs := _RUN.findall(text)):
        begun = len(said) > 1 and said[-2][0] == "assistant"
        known |= {"partial": said[-2][1] if begun else "", "quoted": text, "anchor": runs[-1]}
    return known
