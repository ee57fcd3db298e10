"""``unbroken explain``: what is known of a failure, from its message, a traceback or a log."""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from unbroken.cli.kinds import better_for
from unbroken.cli.knowledge_view import heading, match_rows, other_rows, show
from unbroken.cli.screen import CliError, say, stdout
from unbroken.cli.sources import is_url, reads_of
from unbroken.knowledge import Explanation, base
from unbroken.knowledge import explain as explain_it
from unbroken.knowledge.evidence import told_by_evidence
from unbroken.knowledge.told import labels

__all__ = ["Language", "explain", "text_of"]

_MOST_BYTES = 16 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_MOST_NAMES = 10_000
_FILE = re.compile(
    r"(?:\.{0,2}/|~).*/|.*\.(?:log|txt|out|err|jsonl?|ndjson|sse|har|gz|trace|traceback|md|py)\Z"
)
_PATH_LIKE = re.compile(r"[\w.~+-]*/[\w./+-]+\Z")


class Language(StrEnum):
    """What the records are told in."""

    EN = "en"
    ZH = "zh"


def explain(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT|FILE|ID|-",
            help="A message; a file (a word that is the name of one is read as one: a log, a"
            " traceback); a record's id, such as llm/stream-stalled; or - for standard input.",
            show_default=False,
        ),
    ],
    lang: Annotated[
        Language,
        typer.Option(envvar="UNBROKEN_LANG", help="In English or in Chinese."),
    ] = Language.EN,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", envvar="UNBROKEN_LIMIT", min=1, help="How many records at most."
        ),
    ] = 3,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all",
            envvar="UNBROKEN_ALL",
            help="All records that fit, each in full; else three dead ends and three ways out.",
        ),
    ] = False,
    provider: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_PROVIDER",
            help="Who answered, where the text does not say: openai, anthropic, google, aws ...",
        ),
    ] = "",
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
) -> None:
    """Say why a stream failed, what not to try, and what to do.

    Looks a message up in the knowledge base: the cause, dead ends first, then what helps, most
    often first. Of a long log the last 16 MiB are read.

    Exit code 0: something is known. 1: nothing is. 2: wrong usage, or it cannot be read.

    [bold]Examples[/bold]: unbroken explain "peer closed connection without sending complete
    message body"

    unbroken explain app.log --lang zh

    kubectl logs my-pod | unbroken explain - --json
    """
    text, name = text_of(what)
    if not text.strip():
        message = f"there is nothing to explain in {labels('en').get(name, name)}"
        raise CliError(message)
    if name == "these_words":
        _look_up(text.strip(), surely=True)
    found = explain_it(text, limit=None if show_all else limit, lang=lang.value, provider=provider)
    if not found and name == "these_words":
        _look_up(text.strip(), surely=False)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found.to_dict()) + b"\n")
    elif found:
        _print(found, show_all)
    else:
        _nothing(name, lang)
    if not found:
        raise typer.Exit(1)


def text_of(what: list[str]) -> tuple[str, str]:
    """Return what to explain, and its name or the label of one: words, or a file's last text.

    Raises:
        CliError: If a file cannot be read, or is for another command.
    """
    if len(what) == 1 and (what[0] == "-" or _is_file(what[0])):
        if os.path.isdir(what[0]):
            message = f"cannot read {what[0]}: it is a folder; give a file of it, or the message"
            raise CliError(message)
        kept, head = bytearray(), b""
        for data in reads_of(what[0]):
            if len(head) < _HEAD_BYTES:
                head += data
            kept += data
            if len(kept) > 2 * _MOST_BYTES:
                del kept[:-_MOST_BYTES]
        if other := better_for(what[0], head[:_HEAD_BYTES]):
            raise CliError(other)
        text = kept[-_MOST_BYTES:].decode("utf-8", "replace")
        return text, "stdin" if what[0] == "-" else what[0]
    return " ".join(what), "these_words"


def _look_up(word: str, *, surely: bool) -> None:
    """Refuse a word that is meant as the name of a file or record, where there is none.

    Args:
        word: What was asked.
        surely: Only what can hardly be anything else; other words with a slash may be messages.

    Raises:
        CliError: If it is.
    """
    known = base()
    if not word or any(char.isspace() for char in word) or is_url(word) or known.get(word):
        return
    area = word.partition("/")[0]
    if "/" in word and area in {id.partition("/")[0] for id in known.by_id}:
        kind, near = "record", known.near(word)
        more = f"; there are: unbroken knowledge list --area {area}"
    elif _FILE.match(word) or (not surely and _PATH_LIKE.match(word)):
        kind, near = "file or record", _files_near(word) or known.near(word)
        more = ""
    else:
        return
    message = f"there is no {kind} {word}" + (f"; near: {', '.join(near)}" if near else more)
    raise CliError(message)


def _files_near(word: str) -> list[str]:
    """Return files and folders that are spelt much like a path, as far as it is there."""
    import difflib

    folder, _, name = word.rpartition("/")
    if folder and not os.path.isdir(os.path.expanduser(folder)):
        return _files_near(name)
    try:
        with os.scandir(os.path.expanduser(folder or ("/" if word.startswith("/") else "."))) as it:
            names = [entry.name for entry, _ in zip(it, range(_MOST_NAMES), strict=False)]
    except OSError:
        return []
    start = word[: len(word) - len(name)]
    return [start + near for near in difflib.get_close_matches(name, names, 3, 0.6)]


def _is_file(word: str) -> bool:
    try:
        return os.path.exists(word)
    except (OSError, ValueError):  # too long for a name, or with a NUL in it: a text
        return False


def _print(found: Explanation, show_all: bool) -> None:
    console, today, known = stdout(), dt.datetime.now(tz=dt.UTC).date(), base()
    shown = found.matches if show_all else found.matches[:1]
    for number, match in enumerate(shown):
        one = Explanation(matches=[match], lang=found.lang)
        local = one.best
        assert local is not None
        if number:
            console.print()
        console.print(heading(local.signature, local.id))
        here = told_by_evidence(match.record.id, found.lang)
        show(console, list(match_rows(one, known, today, here, full=show_all)))
    if not show_all and (rest := list(other_rows(found, found.matches[1:]))):
        console.print()
        show(console, rest)


def _nothing(name: str, lang: Language) -> None:
    words = labels(lang.value)
    say(words["nothing"].format(name=words.get(name, name)))
    say(words["nothing_give"])
    say(words["nothing_add"])
