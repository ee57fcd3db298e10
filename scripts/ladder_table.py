"""Write docs/reference/ladder-and-capabilities.md from the ladder, the table and the dialects.

python scripts/ladder_table.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.core.options import RUNGS, Options
from unbroken.core.recovery.capabilities import Capability, built_in_rows
from unbroken.core.recovery.ladder import ANCHOR_LETTERS, REPLAY_ALWAYS_BELOW

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "ladder-and-capabilities.md"

__all__ = ["PAGE", "page"]

_HEAD = """\
<!-- Written by scripts/ladder_table.py from src/unbroken/core: change that, then run
     `python scripts/ladder_table.py`. -->
# Clocks, ladder and capabilities

This page says when an attempt is given up, in which order the ways to recover are tried, and what
Unbroken knows of providers and models.
[How recovery works](../explanation/how-recovery-works.md) explains them.

## Clocks

Each clock is an option of [`Clocks`](options.md). `on_stall` is called when a third of a
limit has passed, and when there has been no progress for `notice_s`; nothing else happens then.
Pings, comments and empty deltas are bytes, but no progress. If your own read timeout is shorter
than the clock, yours applies.

| clock | runs | by default | `profile="interactive"` |
|---|---|---|---|
{clocks}

## Rungs

| rung | open when | sends | must prove | guarantee |
|---|---|---|---|---|\
"""

_CLOCK_ROWS = {
    "connect_s": "while a connection is opened, for requests of ours",
    "first_event_s": "from the request to the first event",
    "silence_s": "while no byte comes",
    "progress_text_s": "while text is written and no content comes",
    "progress_slow_s": "before the first content, in thinking and in tool input",
    "notice_s": "until `on_stall` hears of missing progress",
    "floor_chars_per_s": "over `floor_window_s`, while text is written: characters a second",
    "total_s": "for the whole stream",
}

_RUNG_ROWS = {
    "cursor": (
        "the connection broke, and the provider keeps the answer so that it can be read on",
        "a GET with the place that was reached; no prompt",
        "nothing: it is the same answer",
        "`byte-exact`",
    ),
    "target": (
        ("you listed `targets`, and its `when` has the fault; another dialect only before content"),
        "to another model, key or provider what retry, prefill or user-turn would send",
        "what that rung must prove",
        "that of that rung",
    ),
    "retry": (
        "nothing of the answer was delivered, or only reasoning that can be closed legally",
        "the same request",
        "nothing: all of it is new",
        "`byte-exact`",
    ),
    "replay": (
        (
            f"temperature 0, a seed, a target that repeats itself, or under {REPLAY_ALWAYS_BELOW}"
            " characters of text delivered"
        ),
        "the same request",
        "that its answer begins with all that was delivered, tool calls included",
        "`prefix-verified`",
    ),
    "prefill": (
        "only text (and reasoning) was delivered, and the target takes a prefill",
        "the answer so far, less its anchor, as the assistant's begun turn",
        f"that it goes on with the anchor: the last words, {ANCHOR_LETTERS} letters or more",
        "`seam-verified`",
    ),
    "user-turn": (
        "only text (and reasoning) was delivered",
        "the answer so far as history, and a turn that asks to go on",
        f"that it goes on with the anchor: the last words, {2 * ANCHOR_LETTERS} letters or more",
        "`seam-verified`",
    ),
}

_RULES = """\

Some things close several rungs at once:

- After the finish was delivered, every rung is closed.
- After part of a tool call was delivered, and with `allow_resend=False`, only `cursor` is open.
- For an error that would come again (a wrong key, no quota), only `target` is open. For a safety
  block none is.
- After two requests in a row that got no stream, and with `targets` listed, only `cursor` and
  `target` are open.
- A request with work at the provider (hosted or MCP tools, `background`) is not sent again once
  more than a status arrived, unless `retry_server_tools` is set. This closes `retry`, `replay`,
  `prefill` and `user-turn`, and `target` by any of them.
- A signed request (AWS) is sent again only unchanged and within 300 s of its signature, or where
  `authorize` signs it anew.
- Nothing is sent beyond [the budgets](options.md), or while the circuit breaker of the one who
  would be asked is open.

`prefill` and `user-turn` are for requests of one choice. They are closed for JSON mode or a strict
schema, after a tool call, and where the provider keeps the answer under an id (Responses, unless
`store=False`). Each is tried twice at one place.

In an anchor an ideograph counts as two letters. An anchor grows, up to 512 characters, until it
stands nowhere else in the answer. Where there is no such anchor, the rung is closed.

## What targets can do

The first row that matches counts; an unknown target takes no prefill. A row of yours comes before
these: `Options(capabilities=({"host": r"example\\.com$", "prefill": True},))`. Its fields are
`dialect`, `host`, `path`, `model` (patterns, but for the dialect), `local`, `prefill`,
`with_thinking`, `deterministic`, `message` (fields for the begun turn), `body` (fields for the
request) and `note`.

| target | prefill | with thinking | repeats itself | adds | known by |
|---|---|---|---|---|---|\
"""

_DIALECTS = """\

## Dialects

*Repeats thinking*: after thinking, and no text yet, the turn may be issued again.

| dialect | wire | last marker | numbers events | repeats thinking | resume of its own |
|---|---|---|---|---|---|\
"""

_VARIANTS = """\

Services whose good answers end in another way than their dialect says:

| dialect | service | may leave out |
|---|---|---|\
"""


_RESUMES = {
    "openai-responses": "with `background: true`",
    "gemini-interactions": "where events carry an `event_id`",
    "openai-chat": "llama.cpp, with the header `X-Conversation-Id`",
    "openai-completions": "llama.cpp, with the header `X-Conversation-Id`",
}
_HAS_CURSOR = {name for name, each in DIALECTS.items() if type(each).cursor is not Dialect.cursor}
assert set(_RESUMES) == _HAS_CURSOR, _HAS_CURSOR


def _clock(name: str) -> str:
    def shown(value: float | None) -> str:
        unit = "" if name == "floor_chars_per_s" else " s"
        return "none" if value is None else f"{value:g}{unit}"

    ours = [getattr(Options(profile=p).timing, name) for p in ("default", "interactive")]
    return f"| `{name}` | {_CLOCK_ROWS[name]} | {shown(ours[0])} | {shown(ours[1])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _target(row: Capability) -> str:
    parts = [
        f"{name} `{value}`"
        for name in ("dialect", "host", "path", "model")
        if (value := getattr(row, name)) is not None
    ]
    if row.local is not None:
        parts.append("an address of a private network" if row.local else "a public address")
    return ", ".join(parts) or "any"


def _capability(row: Capability) -> str:
    adds = [
        f"`{msgspec.json.encode(value).decode()}` to the {where}"
        for where, value in (("turn", row.message), ("request", row.body))
        if value
    ]
    cells = (
        _target(row),
        _yes(row.prefill),
        _yes(row.with_thinking) if row.prefill else "-",
        _yes(row.deterministic),
        ", ".join(adds) or "-",
        row.note or "-",
    )
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _dialect(dialect: Dialect) -> str:
    marker = "none: the finish" if dialect.last_marker is None else f"`{dialect.last_marker}`"
    return (
        f"| `{dialect.name}` | {dialect.wire} | {marker} | {_yes(dialect.numbered)}"
        f" | {_yes(dialect.reissue_after_reasoning)} | {_RESUMES.get(dialect.name, 'no')} |"
    )


def page() -> str:
    """Return the page as Markdown.

    Raises:
        KeyError: If a rung is not described here.
    """
    rungs = [f"| `{rung}` | " + " | ".join(_RUNG_ROWS[rung]) + " |" for rung in RUNGS]
    variants = [
        f"| `{dialect.name}` | {variant.name} | "
        + " and ".join(
            word
            for word, legal in (
                ("the finish reason", variant.missing_finish_legal),
                ("the last marker", variant.missing_marker_legal),
            )
            if legal
        )
        + " |"
        for dialect in DIALECTS.values()
        for variant in dialect.variants
        if variant.missing_finish_legal or variant.missing_marker_legal
    ]
    clocks = "\n".join(map(_clock, _CLOCK_ROWS))
    return "\n".join(
        [
            _HEAD.format(clocks=clocks), *rungs, _RULES, *map(_capability, built_in_rows()),
            _DIALECTS, *map(_dialect, DIALECTS.values()), _VARIANTS, *variants, "",
        ]
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is up to date."""
    if arguments == ["--check"]:
        return int(PAGE.read_text("utf-8") != page())
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
