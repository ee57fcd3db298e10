"""What ``unbroken lab serve`` and ``faults`` show: a line a request, a line a fault."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from unbroken.cli.screen import amount, line

if TYPE_CHECKING:
    from unbroken.lab.injectors import Injector
    from unbroken.lab.server.sessions import AttemptLog

__all__ = ["Account", "fault_lines", "line_of"]

_STYLES = {"whole": "green", "refused": "yellow", "left": "dim"}
_LATE_S = 0.25  # from here on the lab says that it fell behind its own pace


def line_of(log: AttemptLog) -> Text:
    """Return one request as a line."""
    took_s = (log.ended_at_s or log.at_s) - log.at_s
    struck = ", ".join(what for _, what in log.strikes)
    parts: list[str | tuple[str, str]] = [
        (time.strftime("%H:%M:%S"), "dim"),
        f"  {log.dialect:18} {log.model or log.path}  attempt {log.number + 1}",
        f" ({log.asked})" if log.asked != "whole" else "",
        "  ",
        (log.error or struck or "no fault", "red" if log.error or struck else "dim"),
        f"  {amount(log.sent_tokens, 'delta')}  {took_s:.1f} s  ",
        (log.ended, _STYLES.get(log.ended, "red")),
    ]
    if log.status not in (200, None):
        parts.append(f" {log.status}")
    if log.late_s > _LATE_S:
        parts.append((f"  (up to {log.late_s:.1f} s behind its pace)", "yellow"))
    return line(*parts)


class Account:
    """What was done in all."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()
        self._requests = self._strikes = self._tokens = 0

    def add(self, log: AttemptLog) -> None:
        self._requests += 1
        self._strikes += len(log.strikes)
        self._tokens += log.sent_tokens

    def line(self) -> str:
        """Return it as a line."""
        took_s = time.monotonic() - self._since_s
        told = f"lab: stopped after {took_s:.0f} s: {amount(self._requests, 'request')}, "
        told += f"{amount(self._strikes, 'fault')} struck, {amount(self._tokens, 'delta')} sent"
        return told


def fault_lines(injectors: Mapping[str, type[Injector]]) -> Iterator[Text]:
    """Yield a line or two for each fault."""
    width = max(map(len, injectors), default=0)
    for name, cls in sorted(injectors.items()):
        yield line((f"{name:{width}}", "bold"), f"  {cls.summary}")
        facts: list[Any] = []
        if cls.hows:
            facts.append("variants " + ", ".join(f".{how}" for how in cls.hows))
        if cls.takes:
            facts.append("takes " + ", ".join(_VALUES[what] for what in sorted(cls.takes)))
        if cls.kind:
            facts.append(f"kind {cls.kind}")
        if cls.dialects is not None:
            facts.append("only in " + ", ".join(sorted(cls.dialects)))
        if facts:
            yield line((" " * width + "  " + "; ".join(facts), "dim"))


_VALUES = {"place": "a place (@30t)", "seconds": "a time (@3s)", "count": "a number (@x5)"}
