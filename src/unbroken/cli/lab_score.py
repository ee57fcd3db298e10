"""``unbroken lab score``: any client or gateway through bad streams, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from unbroken.cli.screen import CliError, amount, say, say_error, stdout
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.score.command import CommandPlayer
from unbroken.lab.score.gateway import GatewayPlayer
from unbroken.lab.score.player import CannotPlayError, Player
from unbroken.lab.score.results import Card, CardError, Result
from unbroken.lab.score.runner import Options, Played, score_suite
from unbroken.lab.score.strays import Strays
from unbroken.lab.score.suite import Scenario, Suite, SuiteError, choose, load_suite
from unbroken.lab.score.view_html import page
from unbroken.lab.score.view_junit import junit
from unbroken.lab.score.view_list import listing, listing_json
from unbroken.lab.score.view_table import STYLES, table

__all__ = ["score"]

_USAGE = 2
_CODE = {"-c", "-e", "--eval"}  # the next word is a program, not its name
_SAID = 200  # characters of a command
_TERMINATED = 143  # what shells show for SIGTERM


def score(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="The client: it finds the lab in OPENAI_BASE_URL and its like, asks model "
            "LAB_MODEL, prints the text and exits with 0, or with an error. With --merge: files.",
        ),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            envvar="UNBROKEN_SUITE",
            help="core, full, soak, seed-003, or a TOML file of your own.",
        ),
    ] = "core",
    dialect: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_DIALECT", help="What the client speaks; seen from its first request."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="GLOB",
            envvar="UNBROKEN_ONLY",
            help="Only these scenarios: a name, cut-*, or tag:stall; may be given again.",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, envvar="UNBROKEN_JOBS", help="Scenarios at once."),
    ] = 4,
    patience: Annotated[
        float | None,
        typer.Option(
            "--patience",
            metavar="SECONDS",
            envvar="UNBROKEN_PATIENCE",
            help="How long until a client is called hung, in place of the scenarios' own times.",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(envvar="UNBROKEN_TOKENS", help="Length of the answers, in tokens."),
    ] = None,
    seed: Annotated[
        int, typer.Option(envvar="UNBROKEN_SEED", help="Chooses words and places of faults.")
    ] = 0,
    as_list: Annotated[
        bool,
        typer.Option("--list", help="Run nothing: show what the suite has, with plans and tags."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="UNBROKEN_JSON", help="Print the card as JSON.")
    ] = False,
    junit_file: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", envvar="UNBROKEN_JUNIT", help="Write JUnit XML."),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", envvar="UNBROKEN_HTML", help="Write a page with a heat map."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(envvar="UNBROKEN_LABEL", help="What to call the client in tables."),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going",
            envvar="UNBROKEN_KEEP_GOING",
            help="Run the suite also where the client does not print a healthy answer.",
        ),
    ] = False,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            metavar="URL",
            envvar="UNBROKEN_GATEWAY",
            help="Score a gateway in place of a command; its upstream is the lab on --listen.",
        ),
    ] = None,
    listen: Annotated[
        int,
        typer.Option(
            "--listen",
            metavar="PORT",
            min=0,
            max=65535,
            envvar="UNBROKEN_LISTEN",
            help="The lab's port; any free one if not given.",
        ),
    ] = 0,
    gateway_model: Annotated[
        str,
        typer.Option(
            "--gateway-model",
            envvar="UNBROKEN_GATEWAY_MODEL",
            help="How the gateway wants a model's name, such as openai/{model}.",
        ),
    ] = "{model}",
    gateway_key: Annotated[
        str, typer.Option("--gateway-key", envvar="UNBROKEN_GATEWAY_KEY", help="Its key.")
    ] = "lab-key",
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Run nothing: read scorecards (JSON files) and show them together."
        ),
    ] = False,
) -> None:
    """Put a client, or a gateway, through bad streams, and see what became of each answer.

    Exit code 0 if every scenario was healed or ended in an honest error, 1 if not; 2 for wrong
    usage, and where nothing ran.

    [bold]Examples[/bold]: unbroken lab score -- python my_client.py

    unbroken lab score --suite full --jobs 8 --html card.html -- node client.mjs

    unbroken lab score --gateway http://127.0.0.1:4000 --listen 9100

    unbroken lab score --list --suite full
    """
    words = list(command or ())
    if as_list:
        _list(suite, tuple(only or ()), dialect, seed, as_json=as_json)
        return
    _check(words, gateway=gateway, listen=listen, merge=merge, outputs=(junit_file, html_file))

    def give_out(cards: list[Card]) -> None:
        _write(junit_file, junit(cards) if junit_file else b"")
        _write(html_file, page(cards) if html_file else b"")
        _show(cards, as_json=as_json)

    if merge:
        try:
            cards = Card.read(words)
        except CardError as error:
            raise CliError(str(error)) from None
    else:
        try:
            options = Options(
                label=label or _label(words, gateway),
                command=(gateway,) if gateway else tuple(words),
                only=tuple(only or ()),
                dialect=dialect,
                jobs=jobs,
                patience_s=patience,
                tokens=tokens,
                seed=seed,
                keep_going=keep_going,
            )
        except ValueError as error:
            raise CliError(str(error)) from None
        run = _Run(
            suite=suite, options=options, words=words, gateway=gateway, listen=listen,
            model=gateway_model, key=gateway_key,
        )  # fmt: skip
        try:
            cards = [run.card()]
        finally:  # stopped, what had ended by then is not lost
            if run.stopped is not None:
                give_out([run.stopped])
    give_out(cards)
    _tell_what_did_not_run(cards, "" if merge else suite)
    if not all(card.ok for card in cards):
        raise typer.Exit(1)


def _tell_what_did_not_run(cards: list[Card], suite: str) -> None:
    """Refuse to call it a result where nothing ran, or where a plan could not."""
    for card in cards:
        mistakes = [skip for skip in card.skipped if skip.mistake]
        for skip in mistakes:
            say_error(f"{suite or card.suite}: scenario {skip.scenario!r} did not run: {skip.why}")
        if not card.results and not mistakes:
            whys = list(dict.fromkeys(skip.why for skip in card.skipped))
            more = f", and {amount(len(whys) - 3, 'other reason')}" if len(whys) > 3 else ""
            why = f": {'; '.join(whys[:3])}{more}" if whys else ""
            say_error(f"nothing ran of suite {card.suite}{why}")
        if mistakes or not card.results:
            raise typer.Exit(_USAGE)


def _list(
    name: str, only: tuple[str, ...], dialect: str | None, seed: int, *, as_json: bool
) -> None:
    try:
        Options(label="", dialect=dialect)  # for its word on a wrong one
        suite = load_suite(name, seed=seed)
        scenarios, _ = choose(suite, only=only, dialect=dialect)
    except ValueError as error:
        raise CliError(str(error)) from None
    if as_json:
        sys.stdout.buffer.write(listing_json(suite, scenarios) + b"\n")
    elif scenarios:
        stdout().print(listing(suite, scenarios, _width()), soft_wrap=_width() is None)


def _check(
    words: list[str],
    *,
    gateway: str | None,
    listen: int,
    merge: bool,
    outputs: tuple[Path | None, ...],
) -> None:
    """Refuse at once what could only fail later."""
    if merge and not words:
        msg = "--merge needs files: unbroken lab score --merge a.json b.json --html FILE"
        raise CliError(msg)
    if gateway and words:
        msg = "give a command or --gateway, not both"
        raise CliError(msg)
    if gateway and not listen:
        msg = "--gateway needs --listen PORT: where the gateway finds its upstream"
        raise CliError(msg)
    if not words and not gateway:
        msg = "give the client's command behind --: unbroken lab score -- python my.py"
        raise CliError(msg)
    for path in outputs:
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            msg = f"cannot write {path}: {'it is a folder' if path.is_dir() else 'no such folder'}"
            raise CliError(msg)


def _label(words: list[str], gateway: str | None) -> str:
    """Return a short name: the script's, or the program's."""
    if gateway:
        return gateway
    scripts = [
        word
        for before, word in itertools.pairwise(words)
        if not word.startswith("-") and before not in _CODE
    ]
    return os.path.basename(scripts[0] if scripts else words[0])


def _short(said: str) -> str:
    said = " ".join(said.split())
    return said if len(said) <= _SAID else f"{said[:_SAID]}..."


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of a suite.

    Attributes:
        stopped: The card of what had ended when the run was stopped; None if it was not, or
            before anything had ended.
    """

    suite: str
    options: Options
    words: list[str]
    gateway: str | None
    listen: int
    model: str
    key: str
    stopped: Card | None = None

    def card(self) -> Card:
        """Run it to its end."""
        from unbroken.lab.server.app import LabServer

        options, strays = self.options, Strays()
        try:
            suite = load_suite(self.suite, seed=options.seed)
            chosen, _ = choose(suite, only=options.only, dialect=options.dialect)
            with LabServer(port=self.listen, on_attempt=strays) as lab:
                player = self._player(lab.url)
                said = self.gateway or shlex.join(self.words)
                say(f"{_share(chosen, suite)}, {options.jobs} at once: {_short(said)}")
                running = score_suite(
                    player, suite, lab, options, _tell, on_stopped=self._keep, strays=strays
                )
                return asyncio.run(_ended_by_signals(running))
        except (SuiteError, CannotPlayError, FaultError) as error:
            raise CliError(str(error)) from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            msg = f"the lab could not listen on port {self.listen}: {why}"
            raise CliError(msg) from None
        except KeyboardInterrupt:
            say("stopped; clients and lab are gone")
            raise
        except asyncio.CancelledError:
            raise typer.Exit(_TERMINATED) from None

    def _player(self, lab: str) -> Player:
        if not self.gateway:
            return CommandPlayer(self.words)
        return GatewayPlayer(
            self.gateway,
            lab=lab,
            dialect=self.options.dialect or "openai-chat",
            model=self.model,
            key=self.key,
        )

    def _keep(self, card: Card) -> None:
        if card.results:
            self.stopped = card


def _share(chosen: list[Scenario], suite: Suite) -> str:
    """Return how many are played: ``36 scenarios of core``, or ``2 of 36 scenarios of core``."""
    total = amount(len(suite.scenarios), "scenario")
    some = "" if len(chosen) == len(suite.scenarios) else f"{len(chosen):,} of "
    return f"{some}{total} of {suite.name}"


async def _ended_by_signals(running: Any) -> Card:
    """Let SIGTERM end a run as Ctrl-C does: clients first."""
    task = asyncio.ensure_future(running)
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    card: Card = await task
    return card


def _tell(played: Played) -> None:
    """Say on standard error what has just ended."""
    result = played.result
    width = len(str(played.total))
    count = f"{played.done:>{width}}/{played.total} "
    if isinstance(result, Result):
        style = "dim" if result.undetectable else STYLES[result.verdict]
        say((count, "dim"), f"{result.scenario} ", (result.verdict, style))
    else:
        say((count, "dim"), f"{result.scenario} ", (f"not run: {result.why}", "dim"))


def _write(path: Path | None, data: bytes) -> None:
    if path is None:
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        msg = f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        raise CliError(msg) from None


def _show(cards: list[Card], *, as_json: bool) -> None:
    if as_json:
        for card in cards:
            sys.stdout.buffer.write(card.to_json() + b"\n")
        return
    console, width = stdout(), _width()
    for number, card in enumerate(cards):
        if number:
            console.print()
        console.print(table(card, width), soft_wrap=width is None)


def _width() -> int | None:
    """Return how wide the terminal is; None where standard output is none: nothing is wrapped."""
    return stdout().width if sys.stdout.isatty() else None
