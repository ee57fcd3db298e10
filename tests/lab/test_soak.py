"""The soak script: a few streams of it, what it reports, and that it notices what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
SOAK = ROOT / "scripts" / "soak.py"


def soak(*arguments: str) -> tuple[int, dict[str, Any], str]:
    ran = subprocess.run(
        [sys.executable, str(SOAK), "--json", "-", *arguments],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert ran.stdout, f"exit code {ran.returncode}: {ran.stderr}"
    return ran.returncode, json.loads(ran.stdout), ran.stderr


def test_forty_streams_are_healed_or_honest_errors() -> None:
    code, report, told = soak("--streams", "40", "--seed", "1", "--jobs", "2")
    assert code == 0, json.dumps(report["failures"], indent=2) + told
    assert report["streams"] == 40
    assert report["healed"] > 20
    assert report["streams_with_faults"] > 30
    for name in ("lost", "repeated", "reordered", "invented", "laundered", "hung", "crashed"):
        assert report[name] == 0
    assert report["tokens"] > 1000
    assert report["worst_rss_mb"] > 10
    assert {"drop", "reorder", "duplicate"} <= report["left_out"].keys()


def test_the_same_seed_is_the_same_stream() -> None:
    _, first, _ = soak("--only", "42", "--only", "43")
    _, again, _ = soak("--only", "43", "--only", "42")
    assert first["faults_by_kind"] == again["faults_by_kind"]
    assert first["clients"] == again["clients"]


@pytest.fixture
def _beside_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SOAK.parent))


@pytest.mark.usefixtures("_beside_the_script")
def test_every_plan_that_is_drawn_can_be_read() -> None:
    import soak_cases

    from unbroken.lab.injectors import INJECTORS
    from unbroken.lab.plan import parse_plan

    cases = [soak_cases.draw(seed) for seed in range(3000)]
    drawn = {
        spec.name
        for case in cases
        for attempt in parse_plan(case.plan).attempts
        for spec in attempt
    }
    aws_only = {"checksum"}
    assert drawn == INJECTORS.keys() - aws_only - {"tool-cut"}
    assert {case.drive for case in cases} == soak_cases.DIALECTS.keys()
    assert soak_cases.draw(7) == soak_cases.draw(7)
    kept = [soak_cases.draw(seed, ["cut"]).plan for seed in range(500)]
    assert not any(plan.startswith("cut") for plan in kept)


@pytest.mark.usefixtures("_beside_the_script")
@pytest.mark.parametrize(
    ("text", "verdict"), [("whole", "healed"), ("short", "laundered"), ("wrong", "corrupted")]
)
def test_what_is_wrong_is_called_so(text: str, verdict: str) -> None:
    import soak
    import soak_cases

    from unbroken.lab.testing import Fault, Lab

    lab = Lab()
    try:
        fault = Fault(lab, "ok", tokens=30)
        said = {"whole": fault.expected, "short": fault.expected[:100], "wrong": "Sorry."}[text]
        case = soak_cases.draw(1)
        job = soak.Job(width=1, without=[])
        result = job._judge(case, fault, said, None, False, None)
    finally:
        lab.close()
    assert result.verdict == verdict
    tally = soak.Tally()
    tally.add(result)
    assert tally.ok == (verdict == "healed")
