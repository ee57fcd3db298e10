"""What a text says: a message, a traceback, a whole log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from unbroken.core.faults import FaultKind
from unbroken.knowledge.chains import line_weights
from unbroken.knowledge.facts import Line, Query
from unbroken.knowledge.places import frames_in, places_in

__all__ = ["CODE", "facts_in", "middle_of", "text_query"]

_MOST_LINES = 120  # of a text that are looked at word by word
_MOST_LOG_LINES = 60  # the same, of a text that is longer
_MOST_LINE = 1000  # characters of one such line
_AROUND = 250  # characters before and after a word for trouble, of a line of a long text
_SHORT_TEXT = 4000  # up to here a text is read as one line as well: messages get wrapped
_FRAMED_TEXT = 16_000  # up to here frames of tracebacks are looked at
_TROUBLED = (
    "error", "exception", "fail", "timeout", "timed out", "refused", "reset", "closed", "abort",
    "terminated", "unexpected", "overloaded", "premature", "incomplete", "truncated",
)  # fmt: skip
_PER_WORD = 30
_JOINED = 0.9  # for what is only found across the ends of lines
_CLASS = re.compile(r"\b(?:[a-z_][\w]*\.)*([A-Z][A-Za-z0-9]{3,60}|timeout)\b")
_STATUS = re.compile(
    r"(?:\bhttp(?:/\d(?:\.\d)?)?|\bstatus(?:[ _]?code)?|\berror(?: code)?|\bcode"
    r"|\breturn(?:s|ed|ing)?|\banswer(?:s|ed)|\bresponse|\bgot|\bgets?|\breceiv(?:es|ed|ing)"
    r"|\brespond(?:s|ed)(?: with)?|\bthrow(?:s|n|ing)?|\bread|返回|状态码|错误码?|报错?)"
    r"(?:[ _]?(?:an?|http|status|code|error|with)){0,3}\W{0,4}(?<!\d)([1-5]\d\d)"
    r"(?![\w.]?\d|\w*[a-z]|[ -]?(?:ms|s|sec|seconds|tokens?|bytes?|chars?|characters|chunks?"
    r"|events?|frames?|lines?|times|items|[kmg]i?b|%)\b)"
    r"|(?<![\w.:#-])([45]\d\d)(?:\W{1,3}(?:bad |gateway|service|too many|internal|not found"
    r"|unauthorized|forbidden|overloaded|unavailable|error\b|status|client error|server error"
    r"|method not|origin|payment|request|conflict|timeout|time-out)|错误)",
    re.IGNORECASE,
)
_ONLY_STATUS = re.compile(r"\s*(?:http\s*)?([45]\d\d)\s*", re.IGNORECASE)
CODE = re.compile(
    r"\b(?:E[A-Z]{3,15}|ERR_[A-Z0-9_]{3,50}|UND_ERR_[A-Z_]{3,30}|[a-z]+(?:_[a-z]+)*_(?:error|exceeded"
    r"|quota|found|key|exhausted)|[A-Z]{4,}_[A-Z_]{3,40})\b"
)
_KIND = re.compile(
    r"(?<![\w-])(?:("
    + "|".join(kind.value for kind in FaultKind if "-" in kind.value)
    + r")(?![\w-])|("
    + "|".join(kind.value for kind in FaultKind if "-" not in kind.value)
    + r"): )"
)
_ID = re.compile(r"\bunbroken explain ([a-z0-9.-]+/[a-z0-9.-]+)")
_KINDS = frozenset(kind.value for kind in FaultKind)
_NAMED = {
    "anthropic": "anthropic", "claude": "anthropic", "gemini": "google", "googleapis": "google",
    "genai": "google", "bedrock": "aws", "botocore": "aws", "azure": "azure", "ollama": "ollama",
    "vllm": "vllm", "openrouter": "openrouter", "cohere": "cohere", "mistral": "mistral",
    "groq": "groq", "openai": "openai", "llama.cpp": "llama.cpp", "llama-server": "llama.cpp",
    "llama_cpp": "llama.cpp",
}  # fmt: skip
# Source lines of stack traces quote code, with names of errors that did not happen.
_FRAME = re.compile(r'[\s|+]*File "[^"]*", line \d+|\s+at .*[(:]\S*:\d+')


def text_query(text: str) -> Query:
    """Return what a text says."""
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines: list[tuple[int | None, str]] = [*_lines_of_interest(text)]
    lowered = text.lower()
    if len(text) <= _SHORT_TEXT and "\n" in text.strip():
        joined = " ".join(" ".join(line for _, line in lines).split())
        lines.append((None, joined))
    weights = line_weights(text)
    facts = facts_in(
        (line, 0.0 if number is None else weights[number - 1] if weights else 1.0)
        for number, line in lines
    )
    named = _ID.findall(text) if "unbroken explain " in text else []
    facts["ids"] = frozenset((*named, lowered.strip()))
    if (kind := text.strip().lower()) in _KINDS:
        facts["kinds"] = (kind,)
    if only := _ONLY_STATUS.fullmatch(text):
        facts["statuses"] = frozenset((int(only[1]),))
    return Query(
        text=lowered,
        places=places_in(text, (line for _, line in lines)) if len(text) <= _FRAMED_TEXT else (),
        frames=frames_in(text) if len(text) <= _FRAMED_TEXT else "",
        weights=weights,
        numbered=True,
        lines=tuple(
            Line(
                text=line.lower(),
                number=number,
                weight=_JOINED if number is None else weights[number - 1] if weights else 1.0,
            )
            for number, line in lines
        ),
        **facts,
    )


def _lines_of_interest(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that may speak of the failure, with their numbers.

    All of a short text, but for the code that stack traces quote; of a long one the last lines
    that hold a word for trouble.
    """
    if text.count("\n") <= _MOST_LINES and len(text) <= _MOST_LINES * _MOST_LINE:
        in_frame = False
        for number, line in enumerate(text.split("\n"), 1):
            if _FRAME.match(line):
                in_frame = True
            elif in_frame and line[:4].strip("| ") == "" and line.strip():
                continue  # the code of that frame, or marks below it
            elif line.strip():
                in_frame = False
                yield number, middle_of(line)
        return
    found: dict[int, str] = {}
    lowered = text.lower()
    if len(lowered) != len(text):
        text = lowered  # a letter that is longer in lower case: places would not agree
    for word in _TROUBLED:
        at = len(lowered)
        for _ in range(_PER_WORD):
            at = lowered.rfind(word, 0, at)
            if at < 0:
                break
            start = max(0, at - _AROUND)
            start = lowered.rfind("\n", start, at) + 1 or start
            end = lowered.find("\n", at, at + _AROUND)
            found[start] = text[start : end if end >= 0 else at + _AROUND]
            at = start
    kept: dict[str, int] = {}
    for start in sorted(found, reverse=True):
        shape = re.sub(r"\d+", "#", found[start])
        if shape not in kept:
            kept[shape] = start
            if len(kept) >= _MOST_LOG_LINES:
                break
    number, counted = 1, 0
    for start in sorted(kept.values()):
        number += text.count("\n", counted, start)
        counted = start
        if not _FRAME.match(found[start]):
            yield number, found[start]


def middle_of(line: str) -> str:
    """Shorten a line that is too long to look at; failures are told at its ends."""
    if len(line) <= _MOST_LINE:
        return line
    return f"{line[: _MOST_LINE // 2]} {line[-_MOST_LINE // 2 :]}"


def facts_in(lines: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Return what lines say, each with how much it counts, as fields of a query."""
    classes: dict[str, float] = {}
    statuses: set[int] = set()
    codes: set[str] = set()
    kinds: dict[str, None] = {}
    providers: set[str] = set()
    for line, weight in lines:
        for found in _CLASS.finditer(line) if weight else ():
            classes[found[1]] = max(classes.get(found[1], 0.0), weight)
        for found in _STATUS.finditer(line):
            statuses.add(int(found[1] or found[2]))
        codes.update(code.lower() for code in CODE.findall(line))
        for found in _KIND.finditer(line):
            kinds[found[1] or found[2]] = None
        lowered = line.lower()
        providers.update(name for word, name in _NAMED.items() if word in lowered)
    return {
        "classes": classes,
        "statuses": frozenset(statuses),
        "codes": frozenset(codes),
        "kinds": tuple(kinds),
        "providers": frozenset(providers),
    }
