"""The same for an answer that came as the arguments of a tool call: numbered text in JSON.

The answer is one string, under the one key that was offered; all else in the object is invented.
All strings that are values count as text, in their order. What does not parse is read as far as
it goes.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import NoReturn

from unbroken.lab.oracle.examine import Finding, Report, examine
from unbroken.lab.oracle.numbered import Numbered

__all__ = ["examine_arguments", "text_of_arguments"]

_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)(\\?)("|\Z)', re.DOTALL)  # perhaps without an end
_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_OUTSIDE = re.compile(r"[ \t\r\n{}\[\],:]+|true|false|null|-?[0-9][0-9.eE+-]*")
_CONTROL = re.compile(r"[\x00-\x1f]")  # JSON has them escaped
_SHOWN = 60
_MOST = 1000  # findings


def examine_arguments(
    arguments: str,
    expected: Numbered | None = None,
    *,
    ended_well: bool = True,
    variants: bool | int = True,
    key: str = "text",
) -> Report:
    """Tell what became of a numbered answer from the arguments of a tool call.

    Args:
        arguments: The JSON text, exactly as the application got it.
        expected: The answer that was sent; None finds it in the text.
        ended_well: The application took the call for whole.
        variants: As `examine` has it.
        key: The one member that the object has, a string.

    Returns:
        The report. What the object has beyond that member is ``invented``, at its place in
        ``arguments``; all else counts in the text of the strings. `whole_object` says whether it
        is exactly one JSON object. If the text is whole and the object is not, the verdict is
        ``truncated`` where only its end is missing, else ``corrupted``.
    """
    read = _Read(arguments, key)
    text = read.text
    report = examine(text, expected, ended_well=ended_well, variants=variants)
    if not arguments.strip():
        return replace(report, whole_object=False)
    pairs = _strictly(arguments)
    whole = pairs is not None
    extra = list(read.extra)
    if pairs is not None and not extra and [type(value) for _, value in pairs] != [str]:
        at = arguments.find("{")
        extra.append(_finding(arguments[at:], at))
    if extra:
        return replace(
            report,
            verdict="corrupted",
            invented=(*report.invented, *extra[:_MOST]),
            invented_more=report.invented_more + len(extra[_MOST:]),
            whole_object=whole,
        )
    if report.verdict == "empty":  # there is JSON, but no word of the answer
        begun = not whole and arguments.lstrip().startswith("{")
        return replace(report, verdict="truncated" if begun else "corrupted", whole_object=whole)
    if whole or report.verdict != "whole":
        return replace(report, whole_object=whole)
    return replace(
        report,
        verdict="corrupted" if read.foreign or not _only_cut(arguments) else "truncated",
        whole_object=False,
        laundered=ended_well,
    )


def text_of_arguments(arguments: str) -> tuple[str, bool]:
    """Return the strings of a JSON text that are values, and whether there is more than JSON."""
    read = _Read(arguments, "text")
    return read.text, read.foreign


class _Read:
    """A JSON text, whole or not, read as far as it goes.

    Attributes:
        text: Its strings that are values, joined.
        foreign: Whether there is more than JSON.
        extra: What an object with one string under the one key does not have: other members, a
            second one of the key, control characters as they are in a string.
    """

    def __init__(self, arguments: str, key: str) -> None:
        said: list[str] = []
        rest: list[str] = []
        self.extra: list[Finding] = []
        open_ones: list[str] = []  # brackets, the last one is where we are
        done = members = 0
        for match in _STRING.finditer(arguments):
            between = arguments[done : match.start()]
            rest.append(between)
            done = match.end()
            for mark in between:
                if mark in "{[":
                    members = members if open_ones else 0
                    open_ones.append(mark)
                elif mark in "}]" and open_ones:
                    open_ones.pop()
            in_object = bool(open_ones) and open_ones[-1] == "{"
            unescaped = _unescaped(match[1] + match[2])
            if not (in_object and between.rstrip()[-1:] in ("{", ",")):  # else it is a key
                said.append(unescaped)
                if (control := _CONTROL.search(match[1])) is not None:
                    at = match.start(1) + control.start()
                    self.extra.append(_finding(arguments[at:], at))
            elif len(open_ones) == 1:
                known = unescaped == key if match[3] else key.startswith(unescaped)
                if members or not known:
                    self.extra.append(_finding(arguments[match.start() :], match.start()))
                members += 1
        rest.append(arguments[done:])
        self.foreign = any(_OUTSIDE.sub("", piece) for piece in rest)
        if self.foreign and not said:
            said = [piece for piece in rest if piece.strip()]  # no JSON at all
        self.text = " ".join(said)


def _finding(text: str, at: int) -> Finding:
    return Finding(why="foreign", text=text[:_SHOWN], at=at)


def _strictly(arguments: str) -> list[tuple[str, object]] | None:
    """Return the members of what is exactly one JSON object, by the letter; else None."""
    try:
        value = json.loads(arguments, parse_constant=_no_constant, object_pairs_hook=_Members)
    except (ValueError, RecursionError):  # or deeper, or with longer numbers, than can be read
        return None
    return value if isinstance(value, _Members) else None


class _Members(list[tuple[str, object]]):
    """An object's members, those of one name too."""


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


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
    except (ValueError, RecursionError):  # numbers too long, brackets too deep
        return False
    return False  # whole, and something behind it
