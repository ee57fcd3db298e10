"""`unbroken shrink`: what it writes, says and returns."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.debugger.recordings import PING, attempt, delta, recording, whole

CLIENT = Path(__file__).parents[1] / "debugger" / "shrinking" / "client.py"
TEST = shlex.join([sys.executable, str(CLIENT), "cuts"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    frames = whole(*[f"word{n} " for n in range(30)])
    return recording(tmp_path / "a.jsonl", attempt([*frames[:9], PING, *frames[9:]], gap_s=0.001))


def test_it_writes_the_smallest_and_a_test(unbroken: Command, path: Path, tmp_path: Path) -> None:
    test_file = tmp_path / "test_it.py"
    ran = unbroken("shrink", path, "--test", TEST, "--pytest", test_file)
    assert ran.code == 0, ran.error
    small = tmp_path / "a.small.jsonl"
    assert ": ping" in small.read_text()
    assert "word" not in small.read_text()
    assert "now:  1 frame in 1 read, 8 bytes, 0 s" in ran.text
    assert "it says: ValueError: a ping is beyond me" in ran.text
    assert ran.text.endswith(f"wrote {small}\nwrote {test_file}\n")
    assert "1 try, times: 33 frames" in ran.error
    assert "frames: 1 frame in 1 read" in ran.error


def test_json_is_one_object_without_progress(unbroken: Command, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ran = unbroken("shrink", path, "--test", TEST, "-o", out, "--tries", "2", "--json")
    assert (ran.code, ran.error) == (0, "")
    found = json.loads(ran.out)
    assert (found["tries"], found["interrupted"], found["written"]) == (2, True, [str(out)])


def test_by_a_fault(unbroken: Command, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([delta("a"), b"data: {\n\n", delta("b")]))
    ran = unbroken("shrink", path, "--fault", "malformed-json", "-q")
    assert ran.code == 0
    assert "now:  1 frame in 1 read, 9 bytes" in ran.text


def test_another_failure_is_told(unbroken: Command, path: Path) -> None:
    code = (
        "import os, urllib.request as u;"
        "b = u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit(f'failed: long' if len(b) > 500 else 'other: short')"
    )
    ran = unbroken("shrink", path, "-q", "--test", shlex.join([sys.executable, "-c", code]))
    assert ran.code == 0
    assert "the whole recording made it say something else (failed: long): --expect" in ran.error


def test_ctrl_c_keeps_the_smallest_so_far(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [*COMMAND, "shrink", path, "--test", TEST, "-o", out], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("1 try, times")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped before nothing more could be left out" in error
    assert ": ping" in out.read_text()


@pytest.mark.parametrize("which", ["small", "out", "pytest"])
def test_nothing_is_written_over_unless_asked_for(
    unbroken: Command, tmp_path: Path, which: str
) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([delta("a"), b"data: {\n\n", delta("b")]))
    place = {"small": "a.small.jsonl", "out": "out.jsonl", "pytest": "test_it.py"}[which]
    there = tmp_path / place
    there.write_text("mine")
    more: list[str | Path] = [] if which == "small" else [f"--{which}", there]
    ran = unbroken("shrink", path, "--fault", "malformed-json", "-q", *more)
    assert ran.code == 2
    assert f"{there} is there already: --force writes over it" in ran.error_line
    assert there.read_text() == "mine"
    assert unbroken("shrink", path, "--fault", "malformed-json", "-q", *more, "--force").code == 0
    assert there.read_text() != "mine"


def test_times_are_told_as_somebody_reads_them(unbroken: Command, tmp_path: Path) -> None:
    frames = [delta("a"), b"data: {\n\n"]
    reads = [(2.0, frames[0]), (4.314159265, frames[1])]
    path = recording(tmp_path / "a.jsonl", attempt(reads, gap_s=0.013291))
    ran = unbroken("shrink", path, "--fault", "malformed-json", "-q")
    assert " bytes, 4.33 s; the file" in ran.text


def test_its_time_limit_has_a_variable_of_its_own(unbroken: Command, path: Path) -> None:
    ran = unbroken("shrink", "--help")
    assert "UNBROKEN_SHRINK_TIMEOUT" in ran.text
    bad = {"UNBROKEN_TIMEOUT": "nonsense"}
    assert unbroken("shrink", path, "--fault", "stalled", env=bad).code == 2
    assert "is shown by no body" in unbroken("shrink", path, "--fault", "stalled", env=bad).error


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{path}"], "--test COMMAND or --fault KIND, one of them"),
        (["{path}", "--test", "true", "--fault", "x"], "one of them"),
        (["{path}", "--test", "true"], "does not fail with the recording as it is"),
        (["{path}", "--test", "no-such-command"], "cannot run no-such-command: no such file"),
        (["{path}", "--fault", "stalled"], "is shown by no body"),
        (["{path}", "--test", "false", "--expect", "("], "--expect is no regular expression"),
        (["/no/such", "--test", "false"], "cannot use /no/such: no such file or directory"),
        (["{path}", "--fault", "truncated-between-events", "-o", "/no/such/out"], "no attempt"),
    ],
)
def test_bad_input_is_one_line(
    unbroken: Command, path: Path, arguments: list[str], why: str
) -> None:
    ran = unbroken("shrink", *(word.format(path=path) for word in arguments))
    assert ran.code == 2
    assert why in ran.error_line


def test_a_test_that_fails_whatever_comes_is_told(unbroken: Command, path: Path) -> None:
    code = (
        "import os, urllib.request as u;"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit('failed')"
    )
    ran = unbroken("shrink", path, "--test", shlex.join([sys.executable, "-c", code]))
    assert ran.code == 0
    assert "no frame is left" in ran.error
