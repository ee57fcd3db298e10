"""The demo as it is seen: two columns on a terminal, or line after line; and its account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unbroken.cli.screen import amount
from unbroken.lab.demo import Demo, Note, Side
from unbroken.lab.demo_report import DemoReport

__all__ = ["LiveView", "PlainView", "Silent", "View", "account_of"]

_WIDEST = 120
_NARROWEST = 64  # below it two columns cannot be read
_AROUND_TEXT_ROWS = 16  # all but the text itself, when two columns are shown
_FEWEST_ROWS, _MOST_ROWS = 4, 20
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BREAK = "⚡"


class View(Protocol):
    """Shows a demo while it runs."""

    def preparing(self) -> None:
        """The server is being started."""

    def showing(self, demo: Demo) -> contextlib.AbstractContextManager[None]:
        """Show the demo until the context ends."""

    def update(self) -> None:
        """Show what is new."""


class Silent:
    """Shows nothing."""

    def preparing(self) -> None:
        pass

    @contextlib.contextmanager
    def showing(self, demo: Demo) -> Iterator[None]:
        yield

    def update(self) -> None:
        pass


class PlainView:
    """Line after line, for logs, pipes and screen readers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, int] = {}
        self._demo: Demo | None = None

    def preparing(self) -> None:
        self._line("", "starting a model server on this machine ...", "dim")

    @contextlib.contextmanager
    def showing(self, demo: Demo) -> Iterator[None]:
        self._demo = demo
        for line in _introduction(demo):
            self._line("", line)
        yield

    def update(self) -> None:
        assert self._demo is not None
        news = [
            (note, side)
            for side in (self._demo.plain, self._demo.healed)
            for note in side.notes[self._shown.get(side.name, 0) :]
        ]
        for note, side in sorted(news, key=lambda found: found[0].at_s):
            self._shown[side.name] = self._shown.get(side.name, 0) + 1
            self._note(note, side)

    def _note(self, note: Note, side: Side) -> None:
        assert self._demo is not None
        who = "without " if side is self._demo.plain else "unbroken"
        text, style = note.text, ""
        if note.kind == "fault":
            text, style = f"{_BREAK} {text}", "yellow"
        elif note.kind != "end":
            text = f"  {text}"
        elif side is self._demo.plain:
            text, style = _last_words(side, self._demo), "red"
        else:
            text, style = _last_words(side, self._demo), "green"
        self._line(f"{note.at_s:5.1f} s  {who}  ", text, style)

    def _line(self, head: str, text: str, style: str = "") -> None:
        self._console.print(Text.assemble((head, "dim"), (text, style)))
        self._console.file.flush()


class LiveView:
    """Two columns that grow: on the left without Unbroken, on the right with it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._fallback: PlainView | None = None
        if console.width < _NARROWEST or console.height < _AROUND_TEXT_ROWS + _FEWEST_ROWS:
            self._fallback = PlainView(console)
        self._live: Live | None = None
        self._demo: Demo | None = None
        self._frame = 0

    def preparing(self) -> None:
        if self._fallback is not None:
            self._fallback.preparing()
        else:
            self._console.print(Text("starting a model server on this machine ...", "dim"))

    @contextlib.contextmanager
    def showing(self, demo: Demo) -> Iterator[None]:
        if self._fallback is not None:
            with self._fallback.showing(demo):
                yield
            return
        self._demo = demo
        self._console.print()
        for line in _introduction(demo):
            self._console.print(Text(line, "dim"))
        self._console.print()
        with Live(console=self._console, auto_refresh=False, transient=False) as self._live:
            self.update()
            yield

    def update(self) -> None:
        if self._fallback is not None:
            self._fallback.update()
            return
        assert self._live is not None
        self._frame += 1
        self._live.update(self._columns(), refresh=True)

    def _columns(self) -> RenderableType:
        assert self._demo is not None
        demo = self._demo
        width = min(self._console.width, _WIDEST)
        inner = width // 2 - 4
        rows = self._rows(inner)
        table = Table.grid(expand=False)
        table.add_column(width=width // 2)
        table.add_column(width=width - width // 2)
        table.add_row(
            self._panel(demo.plain, "without Unbroken", demo.app.plain_code, inner, rows),
            self._panel(demo.healed, "with Unbroken", demo.app.healed_code, inner, rows),
        )
        return table

    def _rows(self, inner: int) -> int:
        assert self._demo is not None
        needed = len(Text(self._demo.truth).wrap(self._console, inner))
        room = self._console.height - _AROUND_TEXT_ROWS
        return max(_FEWEST_ROWS, min(needed, room, _MOST_ROWS))

    def _panel(self, side: Side, title: str, code: str, inner: int, rows: int) -> Panel:
        assert self._demo is not None
        demo = self._demo
        good = side is demo.healed
        style = "cyan" if not side.over else "green" if good and side.text == demo.truth else "red"
        code_lines = Text(code if "\n" in code else f"{code}\n ", "bold")
        return Panel(
            Group(
                code_lines,
                Text(),
                _answer(side, self._console, inner, rows),
                Text(),
                _bar(side, demo, inner),
                self._state_of(side, inner),
            ),
            title=Text(title, "bold"),
            title_align="left",
            border_style=style,
            padding=(0, 1),
        )

    def _state_of(self, side: Side, inner: int) -> Text:
        assert self._demo is not None
        demo = self._demo
        spin = _SPINNER[self._frame % len(_SPINNER)]
        if side.over:
            good = side is demo.healed and side.text == demo.truth
            text = Text(_last_words(side, demo), "bold green" if good else "bold red")
        elif side.state == "recovering":
            last = side.recoveries[-1]
            how = _DOING.get(last.rung, last.rung)
            text = Text.assemble((f"{_BREAK} {last.kind}\n", "yellow"), f"{spin} {how}")
        elif side.notes and side.notes[-1].kind == "stall":
            text = Text.assemble((f"{_BREAK} only pings, no token\n", "yellow"), f"{spin} waiting")
        else:
            text = Text(f"{spin} streaming" if side.text else f"{spin} asking", "dim")
        lines = text.wrap(self._console, inner)
        return Text("\n").join([*lines[:3], *[Text()] * (3 - len(lines))])


_DOING = {
    "retry": "asking again: nothing was shown yet",
    "replay": "asking again, comparing each word",
    "prefill": "going on from what was shown",
    "user-turn": "asking to go on from what was shown",
}


def _introduction(demo: Demo) -> Iterator[str]:
    yield "One answer, one code, one set of faults: without Unbroken, and with it."
    yield f"server  {demo.upstream.name}: its words are invented, its bytes are real"
    yield f"code    {demo.app.name}, the same on both sides"
    if demo.upstream.uses_proxy:
        yield "proxy   between them, breaks the answer again and again"
    else:
        yield "faults  dealt by the server itself: it breaks the answer again and again"


def _last_words(side: Side, demo: Demo) -> str:
    """What the end of a side means."""
    got = f"{side.words} of {demo.truth_words} words"
    if side.error is not None:
        return f"✗ raised {type(side.error).__name__} after {got}"
    if side is demo.plain:
        return f"✗ Just stops: {got}. No exception, no warning."
    if side.text != demo.truth:
        return f"✗ Not the answer: {got}."
    faults = amount(len(side.faults), "fault")
    return f"✓ Whole: {got}, each once, through {faults}."


def _answer(side: Side, console: Console, inner: int, rows: int) -> Text:
    """The last rows of the text, with marks where it broke and was joined."""
    text = Text()
    last = 0
    for place in side.breaks:
        text.append(side.text[last:place])
        text.append(_BREAK, "bold yellow")
        last = place
    text.append(side.text[last:])
    text = text[len(text.plain) - len(text.plain.lstrip()) :]
    if side.over and side.finish_reason is None:
        text.append(" ▌", "bold red")
    elif not side.over:
        text.append("▌", "dim")
    lines = text.wrap(console, inner)
    shown = list(lines)[-rows:]
    return Text("\n").join([*shown, *[Text()] * (rows - len(shown))])


def _bar(side: Side, demo: Demo, inner: int) -> Text:
    """How much of the whole answer is there, with marks where it broke."""
    count = f" {side.words:>3}/{demo.truth_words} words"
    width = max(8, inner - len(count))
    whole = max(1, len(demo.truth))
    filled = min(width, round(width * len(side.text) / whole))
    good = not side.over or side.text == demo.truth
    cells = ["━"] * filled + ["╌"] * (width - filled)
    joined = [min(width - 1, round(width * place / whole)) for place in side.breaks]
    for at in joined:
        cells[at] = "╋"
    bar = Text("".join(cells))
    bar.stylize("green" if good else "red", 0, filled)
    bar.stylize("dim", filled)
    for at in joined:
        bar.stylize("bold yellow", at, at + 1)
    bar.append(count)
    return bar


def account_of(report: DemoReport) -> Iterator[RenderableType]:
    """Yield the account, to be printed below."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("what broke the answer")
    table.add_column("Unbroken saw", style="yellow", no_wrap=True)
    table.add_column("recovered by", style="cyan", no_wrap=True)
    table.add_column("proof", style="green", no_wrap=True)
    for fault in report.faults:
        table.add_row(fault.dealt, fault.kind or "-", fault.rung or "-", fault.guarantee or "-")
    yield ""
    yield Padding(table, (0, 0, 1, 0))
    for rung in dict.fromkeys(fault.rung for fault in report.faults if fault.rung):
        yield Text(f"{rung}: {_RUNGS.get(rung, rung)}", "dim")
    yield ""
    yield _row("without", report.plain.equal, _plain_words(report))
    yield _row("unbroken", report.healed.equal, _healed_words(report))
    if not report.proven:
        yield Text(f"This demo did not show what it should: {report.why_not}.", "bold red")


_RUNGS = {
    "retry": "nothing had been shown, so the same request was sent again.",
    "replay": "the same request again; what it repeats is compared and not shown twice.",
    "prefill": "the answer so far as a begun turn; its last words must come again first.",
    "user-turn": "asked to go on; the last words must come again first.",
}


def _row(name: str, good: bool, words: str) -> Text:
    mark = ("✓ ", "bold green") if good else ("✗ ", "bold red")
    return Text.assemble(mark, (f"{name:<9}", "bold"), words)


def _plain_words(report: DemoReport) -> str:
    side = report.plain
    got = f"{side.bytes} of {report.truth_bytes} bytes, {side.seconds:.1f} s"
    if side.raised is not None:
        return f"{got}. Raised {side.raised}."
    return f"{got}. Raised nothing; the only trace is finish_reason={side.finish_reason}."


def _healed_words(report: DemoReport) -> str:
    side = report.healed
    got = f"{side.bytes} of {report.truth_bytes} bytes, {side.seconds:.1f} s"
    same = "Byte for byte the unbroken answer" if side.equal else "Not the unbroken answer"
    end = (
        f"raised {side.raised}"
        if side.raised
        else f"end proven, finish_reason={side.finish_reason}"
    )
    return f"{got}. {same}; {end}."
