"""``unbroken knowledge``: see, check and import records, and count what became of streams."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from unbroken.cli.explain import Language
from unbroken.cli.knowledge_view import record_rows
from unbroken.cli.knowledge_view import show as show_rows
from unbroken.cli.screen import CliError, amount, line, say, stdout
from unbroken.knowledge import KnowledgeError, Record, base, importing, in_language, told, validate
from unbroken.knowledge import schema as schemas
from unbroken.knowledge.evidence import VARIABLE, Count, Evidence, EvidenceError, told_by_evidence
from unbroken.knowledge.load import DATA

__all__ = ["check", "export", "import_", "knowledge_app", "list_", "schema", "show", "stats"]

_Lang = Annotated[Language, typer.Option(envvar="UNBROKEN_LANG", help="In English or in Chinese.")]
_Json = Annotated[
    bool, typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line.")
]
_Store = Annotated[
    str,
    typer.Option(
        envvar=VARIABLE, metavar="FILE", help="The store of evidence.", show_default=False
    ),
]


_AREAS = ("llm", "provider", "proxy", "sdk")  # without reading all records for a help text


def knowledge_app(help_of: Callable[[Callable[..., None]], str]) -> typer.Typer:
    """Return the commands below ``unbroken knowledge``.

    Args:
        help_of: Makes a command's help of its docstring.
    """
    app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

    @app.callback()
    def _knowledge() -> None:
        """The records behind [bold]unbroken explain[/bold]: see, check, import and count them."""

    commands = (list_, show, check, schema, import_, stats, export)
    for command in commands:
        app.command(command.__name__.rstrip("_"), help=help_of(command))(command)
    return app


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|FOLDER]...",
            help="What to check; without any, the package's own records.",
            show_default=False,
        ),
    ] = None,
    advice: Annotated[
        bool,
        typer.Option(
            envvar="UNBROKEN_ADVICE", help="Tell as well what could be better in good records."
        ),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Say what is wrong with records: file, record, what it is, and what to do.

    Looks at the form, at patterns (wrong, without a word, or slow on some line), rates, dates,
    edges to nowhere, missing Chinese, and whether each record is found by its own messages.

    Exit code 0: all are good. 1: some are not. 2: wrong usage, or there is no such file.
    """
    places = files or [DATA]
    try:
        problems, count = validate.check_files(places, beside=base() if files else None)
    except KnowledgeError as error:
        raise CliError(str(error)) from None
    bad = [problem for problem in problems if not problem.advice]
    shown = problems if advice else bad
    if as_json:
        _write({"records": count, "problems": shown})
    else:
        console = stdout()
        for problem in shown:
            mark = ("advice  ", "cyan") if problem.advice else ("refused ", "bold red")
            console.print(line(mark, str(problem)))
        hidden = len(problems) - len(shown)
        more = f" (and {amount(hidden, 'piece', 'pieces')} of advice: --advice)" if hidden else ""
        good = "all are good" if not bad else amount(len(bad), "problem")
        console.print(line(f"{amount(count, 'record')}: {good}{more}"))
    if bad:
        raise typer.Exit(1)


def list_(
    tag: Annotated[str, typer.Option(envvar="UNBROKEN_TAG", help="Only those with this tag.")] = "",
    area: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_AREA",
            help=f"Only those of an area: {', '.join(_AREAS)}, or one of your own.",
        ),
    ] = "",
    lang: _Lang = Language.EN,
    as_json: _Json = False,
) -> None:
    """List the records: id and message, one a line."""
    areas = sorted({id.partition("/")[0] for id in base().by_id})
    if area and area not in areas:
        message = f"there is no area {area}; the areas are {', '.join(areas)}"
        raise CliError(message)
    records = [
        in_language(record, lang.value)
        for record in base().records
        if (not tag or tag in record.tags) and (not area or record.id.startswith(f"{area}/"))
    ]
    if as_json:
        _write({"records": [_head(record) for record in records], "problems": base().problems})
        return
    console = stdout()
    width = max((len(record.id) for record in records), default=0)
    for record in records:
        console.print(line((record.id.ljust(width), "bold"), "  ", record.signature))
    for problem in base().problems:
        say(("left out: ", "yellow"), problem)


def _head(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "signature": record.signature,
        "domain": record.domain,
        "category": record.category,
        "tags": record.tags,
        "verification_tier": record.verification_tier,
    }


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="A record, such as llm/stream-stalled.")],
    lang: _Lang = Language.EN,
    as_json: _Json = False,
) -> None:
    """Show a record; with --json as it is kept, every field and both languages."""
    record = base().get(id)
    if record is None:
        near = base().near(id)
        message = f"there is no record {id}" + (f"; near: {', '.join(near)}" if near else "")
        raise CliError(message)
    if as_json:
        _write(record)
        return
    local = told(record, lang.value)
    console = stdout()
    console.print(line((local.signature, "bold yellow"), (f"  {local.id}", "dim")))
    today = dt.datetime.now(tz=dt.UTC).date()
    here = told_by_evidence(id, lang.value)
    show_rows(console, list(record_rows(local, base(), today, here=here)))


def schema() -> None:
    """Print the JSON Schema of a record."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(schemas.schema()), indent=2))
    sys.stdout.buffer.write(b"\n")


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Records of deadends.dev, nested or flat."),
    ],
    into: Annotated[
        Path,
        typer.Option(
            "--into",
            "-o",
            envvar="UNBROKEN_INTO",
            metavar="FOLDER",
            help="Where to write them, one file each; UNBROKEN_KNOWLEDGE=FOLDER then uses them.",
        ),
    ] = Path("knowledge"),
    replace: Annotated[
        bool,
        typer.Option("--replace", envvar="UNBROKEN_REPLACE", help="Write over files of that name."),
    ] = False,
) -> None:
    """Turn records of deadends.dev into records of ours, and say what found no place in them."""
    written: list[Path] = []
    try:
        for file in files:
            for one in importing.import_file(file):
                path = importing.write_record(one.record, into, replace=replace)
                written.append(path)
                stdout().print(line((one.record.id, "bold"), f"  {path}"))
                if one.dropped:
                    say(("  dropped: ", "yellow"), ", ".join(one.dropped))
    except KnowledgeError as error:
        raise CliError(str(error)) from None
    problems, _ = validate.check_files(written, beside=base())
    if bad := [problem for problem in problems if not problem.advice]:
        say(f"unbroken knowledge check {into} would tell of {amount(len(bad), 'problem')} in them")


def stats(store: _Store = "", as_json: _Json = False) -> None:
    """Show what became of real streams here: healed or not, by record and way of recovery.

    Counted only where UNBROKEN_EVIDENCE names a file; there is no text of any stream in it.
    """
    counts = _counts(store)
    if as_json:
        _write({"version": 1, "counts": counts})
        return
    if not counts:
        say("nothing was counted yet")
        return
    console = stdout()
    for count in counts:
        tries = count.healed + count.failed
        console.print(
            line(
                (f"{count.healed:>7,} of {tries:,} healed", "bold"),
                f"  {count.fault}, {count.provider}, by {count.rung}"
                f"  {count.first_day} to {count.last_day}  ",
                (count.record or "(no record)", "dim"),
            )
        )


def export(
    to: Annotated[str, typer.Argument(metavar="FILE|-", help="Where; - is standard output.")],
    store: _Store = "",
) -> None:
    """Write what was counted as JSON, to be sent to whoever keeps the records."""
    raw = msgspec.json.encode({"version": 1, "counts": _counts(store)})
    raw = msgspec.json.format(raw, indent=2) + b"\n"
    if to == "-":
        sys.stdout.buffer.write(raw)
        return
    try:
        Path(to).write_bytes(raw)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"cannot write {to}: {why[:1].lower()}{why[1:]}"
        raise CliError(message) from None


def _counts(store: str) -> list[Count]:
    if not store:
        message = f"there is no store: set {VARIABLE}=FILE, here and where streams run, or --store"
        raise CliError(message)
    if not os.path.exists(store):
        message = f"cannot read {store}: no such file (it is made at the first fault)"
        raise CliError(message)
    try:
        return Evidence(store).counts()
    except EvidenceError as error:
        raise CliError(str(error)) from None


def _write(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
