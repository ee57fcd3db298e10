"""In which part of a program something was raised: who reads a stream, or who uses what it gave.

The same ``JSONDecodeError`` is raised by an SDK that reads an event and by an application that
reads the arguments of a tool call. The frames of a traceback, and words beside the message, tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from unbroken.core.faults import FaultKind
from unbroken.knowledge.field import of_the_field

__all__ = ["frames_in", "places_in"]

_READER = (
    frozenset(
        kind.value
        for kind in (
            FaultKind.MALFORMED_JSON,
            FaultKind.TRUNCATED_MID_EVENT,
            FaultKind.NOT_A_STREAM,
        )
    ),
    frozenset((FaultKind.INVALID_TOOL_ARGUMENTS.value,)),
)
_USER = (
    frozenset((FaultKind.INVALID_TOOL_ARGUMENTS.value,)),
    frozenset((FaultKind.MALFORMED_JSON.value,)),
)
_JSON = re.compile(r"json|expecting|unterminated", re.IGNORECASE)
_SDKS = (
    r"openai|anthropic|ollama|groq|mistralai|cohere|litellm|genai|google|@ai-sdk|langchain\w*"
    r"|together|httpx_sse"
)
# A file of an SDK, and then nobody's but the parser's until the message.
_READ_BY = re.compile(
    rf"(?:site-packages|dist-packages|node_modules)/(?:@?[\w-]+/)?(?:{_SDKS})[/\w@.-]*\.(?:py|m?[jt]s)\b"
    r"(?![\s\S]*?(?:File \"|\n\s+at )(?!.*(?:/json/|<frozen|JSON\.parse|node:internal|httpx)))"
)
_OF_STREAM = re.compile(
    r"pars\w+ (?:\w+ )?(?:chunk|event|stream|sse)|(?:received|raw|invalid|bad) (?:chunk|event|line)"
    r"|\bsse\b|\bdata: ?[{\[]|\bstream(?:ing|ed)?\b|event[- ]stream|\[done\]|\bchunk\b",
    re.IGNORECASE,
)
_OF_ARGUMENTS = re.compile(
    r"\bargument|\bargs\b|tool[ _-]?(?:call|use|input)|function[ _-]?call|input_json|\bkwargs\b",
    re.IGNORECASE,
)
_CODE_OF_ARGUMENTS = re.compile(
    r"(?:loads|parse|validate_json)\(\s*[\w.\[\]]*(?:arg|tool|function|input_json)\w*",
    re.IGNORECASE,
)
_CODE_OF_STREAM = re.compile(
    r"(?:loads|parse)\([^\n)]*(?:\bdata: |removeprefix|chunk|event|\bline\b|\bdata\b)",
    re.IGNORECASE,
)
_NOT_OURS = re.compile(
    r"config|settings|\bcfg\b|manifest|locale|i18n|fixture|migrat|package\.json|\bseeds?\b",
    re.IGNORECASE,
)
_FRAMES = re.compile(r"^\s*(?:File \"[^\"]+\", line \d+|at .*[(:]\S*:\d+)", re.MULTILINE)


def places_in(text: str, lines: Iterable[str]) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Return of which kinds a failure to read JSON is, and of which not, by where it was.

    Args:
        text: As it came, frames of tracebacks included.
        lines: Its lines without frames and their code.
    """
    if not _JSON.search(text):
        return ()
    if _READ_BY.search(text):
        return (_READER,)
    if _CODE_OF_ARGUMENTS.search(text):
        return (_USER,)
    if _CODE_OF_STREAM.search(text):
        return (_READER,)
    said = "\n".join(lines)
    stream, arguments = _OF_STREAM.search(said), _OF_ARGUMENTS.search(said)
    if bool(stream) == bool(arguments):
        return ()
    return (_READER,) if stream else (_USER,)


def frames_in(text: str) -> str:
    """Return ``elsewhere`` for frames of a part of a program that no model has to do with."""
    found = _FRAMES.search(text)
    if found is None or not _NOT_OURS.search(text, found.start()):
        return ""
    return "" if of_the_field(text.lower()) else "elsewhere"
