"""The debugger: record what passes on the wire, say what happened, play it again.

What the names below give is loaded when it is used: `report` says what a recording shows,
`replay` serves it again, `diff` compares two, `shrink` makes one small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unbroken.debugger.comparing import Diff, diff
    from unbroken.debugger.replaying import ReplayServer, replay
    from unbroken.debugger.reporting import Report, report
    from unbroken.debugger.shrinking import Shrunk, shrink

__all__ = ["Diff", "Report", "ReplayServer", "Shrunk", "diff", "replay", "report", "shrink"]

_HOMES = {
    "Diff": "comparing",
    "Report": "reporting",
    "ReplayServer": "replaying",
    "Shrunk": "shrinking",
    "diff": "comparing",
    "replay": "replaying",
    "report": "reporting",
    "shrink": "shrinking",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"unbroken.debugger.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
