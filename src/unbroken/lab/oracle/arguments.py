"""The same for an answer that came as the arguments of a tool call: numbered text in JSON.

The text may be one string of the object, or several: all strings that are values count, in
their order. What does not parse is read as far as it goes.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from unbroken.lab.oracle.examine import Report, examine
from unbroken.lab.oracle.numbered import Numbered

__all__ = ["examine_arguments", "text_of_arguments"]

_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)(\\?)("|\Z)', re.DOTALL)  # perhaps without an end
_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_OUTSIDE = re.compile(r"[\s{}\[\],:]+|true|false|null|-?\d[\d.eE+-]*")


def examine_arguments(
    arguments: str, expected: Numbered | None = None, *, ended_well: bool = True
) -> Report:
    """Tell what became of a numbered answer from the arguments of a tool call.

    Args:
        arguments: The JSON text, exactly as the application got it.
        expected: The answer that was sent; None finds it in the text.
        ended_well: The application took the call for whole.

    Returns:
        The report; `whole_object` says whether it is exactly one JSON object. If the text is
        whole and the object is not, the verdict is ``truncated`` where only its end is missing,
        else ``corrupted``.
    """
    text, foreign = text_of_arguments(arguments)
    report = examine(text, expected, ended_well=ended_well)
    try:
        whole = isinstance(json.loads(arguments, strict=False), dict)
    except ValueError:
        whole = False
    if not arguments.strip():
        return replace(report, whole_object=False)
    if report.verdict == "empty":  # there is JSON, but no word of the answer
        return replace(report, verdict="corrupted" if whole else "truncated", whole_object=whole)
    if whole or report.verdict != "whole":
        return replace(report, whole_object=whole)
    return replace(
        report,
        verdict="corrupted" if foreign or not _only_cut(arguments) else "truncated",
        whole_object=False,
        laundered=ended_well,
    )


def text_of_arguments(arguments: str) -> tuple[str, bool]:
    """Return the strings of a JSON text that are values, and whether there is more than JSON."""
    said: list[str] = []
    rest: list[str] = []
    open_ones: list[str] = []  # brackets, the last one is where we are
    done = 0
    for match in _STRING.finditer(arguments):
        between = arguments[done : match.start()]
        rest.append(between)
        done = match.end()
        for mark in between:
            if mark in "{[":
                open_ones.append(mark)
            elif mark in "}]" and open_ones:
                open_ones.pop()
        in_object = bool(open_ones) and open_ones[-1] == "{"
        if not (in_object and between.rstrip()[-1:] in ("{", ",")):  # else it is a key
            said.append(_unescaped(match[1] + match[2]))
    rest.append(arguments[done:])
    foreign = any(_OUTSIDE.sub("", piece) for piece in rest)
    if foreign and not said:
        said = [piece for piece in rest if piece.strip()]  # no JSON at all
    return " ".join(said), foreign


def _unescaped(raw: str) -> str:
    raw = _CUT_ESCAPE.sub(r"\1", raw)
    try:
        text = str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw
    # Half of a surrogate pair is what is left of an emoji that was cut.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _only_cut(arguments: str) -> bool:
    """Whether a JSON text lacks nothing but its end."""
    said = arguments.strip()
    try:
        json.JSONDecoder(strict=False).raw_decode(said)
    except json.JSONDecodeError as error:
        begun = said[error.pos :]
        literal = any(one.startswith(begun) for one in ("true", "false", "null"))
        return literal or error.msg.startswith("Unterminated")  # "" begins every literal
    return False  # whole, and something behind it
