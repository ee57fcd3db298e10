"""Dialects that other packages bring, by the entry points of the group ``unbroken.dialects``.

They are loaded when a dialect is first looked up. What cannot be loaded, or does not keep the
rules, is logged once and left out: it never harms a stream of another dialect.
"""

from __future__ import annotations

import logging
import threading
from importlib import metadata

from unbroken.core import dialects
from unbroken.core.dialects.base import Dialect

__all__ = ["GROUP", "left_out", "load_dialects", "register_dialect"]

GROUP = "unbroken.dialects"
_log = logging.getLogger("unbroken")
_lock = threading.RLock()
_done: set[str] = set()  # of "begun" and "loaded"
_left_out: dict[str, str] = {}


def register_dialect(dialect: Dialect) -> None:
    """Add a dialect of your own to this process; see docs/how-to/write-a-dialect.md.

    Packages that are installed name theirs by an entry point instead. Those that come with
    Unbroken are asked first whether a request is theirs.

    Args:
        dialect: An instance; it serves all streams, so it carries no state.

    Raises:
        TypeError: If it is no `Dialect`, or its reader is not a `Reader`.
        ValueError: If its name is taken or none, or there is no such wire.
    """
    dialects.register(dialect, on_failure=_leave_out)


def left_out() -> dict[str, str]:
    """Return the dialects that were left out, by name, and the classes of the errors."""
    return dict(_left_out)


def load_dialects() -> None:
    """Load what installed packages bring, once in a process."""
    if "loaded" in _done:
        return
    with _lock:
        if "begun" in _done:  # by another thread, or for a package that looks one up itself
            return
        _done.add("begun")
        for entry in _entries():
            try:
                found = entry.load()
                register_dialect(found() if isinstance(found, type) else found)
            except Exception as error:  # noqa: BLE001 - told; streams go on without it
                _leave_out(f"{entry.name} ({entry.value})", error)
        _done.add("loaded")


def _entries() -> list[metadata.EntryPoint]:
    try:
        return sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    except Exception as error:  # noqa: BLE001 - a broken installation of some other package
        _leave_out(GROUP, error)
        return []


def _leave_out(name: str, error: Exception) -> None:
    _left_out[name] = type(error).__name__
    _log.warning("the dialect %s is left out", name, exc_info=error)
