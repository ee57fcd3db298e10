"""Scenario files: plans by names, and one clear line for each that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.server.scenarios import read_scenarios

GOOD = """
[scenarios]
flaky = "cut@30t,cut*2"
[scenarios.slow-tool]
plan = "stall@3s"
settings = { say = "tool", tps = 20.5, usage = false, no = ["seed", "prefill"] }
"""


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(GOOD)
    assert read_scenarios(file) == {
        "flaky": "cut@30t,cut*2",
        "slow-tool": "stall@3s;say=tool;tps=20.5;usage=off;no=seed-prefill",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[scenarios", "is not TOML"),
        (b"\xff", "is not UTF-8 text"),
        (b"", "is no scenario file"),
        (b"scenarios = 3", "is no scenario file"),
        (b"[scenarios]\na = 'ok'\n[others]", "is no scenario file"),
        (b"[scenarios]\na = 3", "scenario 'a'"),
        (b"[scenarios.a]\nplans = 'cut'", "scenario 'a'"),
        (b"[scenarios.a]\nsettings = { text = 'x;y' }", "semicolon"),
        (b"[scenarios]\ncut = 'ok'", "name of a fault"),
        (b"[scenarios]\n'a b' = 'ok'", "letters, digits"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(text)
    with pytest.raises(FaultError, match=says) as told:
        read_scenarios(file)
    assert "bad.toml" in str(told.value)
    assert "\n" not in str(told.value)
