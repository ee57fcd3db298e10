"""Scenario files: plans by names, so that a client can ask for ``lab/NAME``.

[scenarios]
flaky = "cut@30t,http.503*2"

[scenarios.slow-tool]
plan = "stall.ping@3s"
settings = { say = "tool", tps = 20 }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbroken.lab.injectors import INJECTORS
from unbroken.lab.injectors.base import FaultError

__all__ = ["read_scenarios", "word_of"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_HOW = 'write [scenarios] and below it name = "plan", or a table with plan and settings'


def read_scenarios(path: str | Path) -> dict[str, str]:
    """Return the plans of a scenario file, by name. What they say is not looked at.

    Raises:
        OSError: If the file cannot be read.
        FaultError: If it is no scenario file.
    """
    try:
        read = tomllib.loads(Path(path).read_bytes().decode())
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text (byte {error.start})"
        raise FaultError(msg) from None
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not TOML: {error}"
        raise FaultError(msg) from None
    scenarios = read.get("scenarios")
    if not isinstance(scenarios, dict) or not scenarios or set(read) - {"scenarios"}:
        msg = f"{path} is no scenario file: {_HOW}"
        raise FaultError(msg)
    return {name: _plan(f"{path}: scenario {name!r}", name, said)
            for name, said in scenarios.items()}  # fmt: skip


def word_of(value: Any) -> str:
    """Return a value of TOML or JSON as it is written in a plan."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-".join(map(word_of, value)) if isinstance(value, list) else str(value)


def _plan(where: str, name: str, said: Any) -> str:
    if not _NAME.fullmatch(name):
        msg = f"{where}: letters, digits, . _ and - may be in a name, a letter first"
        raise FaultError(msg)
    if name.partition(".")[0] in INJECTORS or name == "ok":
        msg = f"{where}: that is the name of a fault; take another"
        raise FaultError(msg)
    if isinstance(said, str):
        return said
    if (
        not isinstance(said, Mapping)
        or set(said) - {"plan", "settings"}
        or not isinstance(said.get("plan", ""), str)
        or not isinstance(said.get("settings", {}), Mapping)
    ):
        msg = f"{where}: {_HOW}"
        raise FaultError(msg)
    settings = {key: word_of(value) for key, value in said.get("settings", {}).items()}
    if any(";" in value for value in settings.values()):
        msg = f"{where}: no setting can hold a semicolon"
        raise FaultError(msg)
    return ";".join([said.get("plan", ""), *(f"{k}={v}" for k, v in settings.items())])
