"""The demo: ends by itself, proves its point, leaves nothing behind, needs no extra package."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.conftest import Command, environment
from unbroken.cli.demo import _protect
from unbroken.cli.demo_view import LiveView, PlainView, account_of
from unbroken.governor import HealBudget
from unbroken.lab.demo import Demo
from unbroken.lab.demo_client import HandWritten
from unbroken.lab.demo_script import told, write_script
from unbroken.lab.plan import parse_plan
from unbroken.lab.server.app import LabServer

ROOT = Path(__file__).parent.parent.parent
# As `uvx unbroken demo` finds the world: neither SDK nor model server.
ONLY_THE_BASE = """
import importlib.util, sys
real = importlib.util.find_spec
absent = {"openai", "xllamacpp", "gguf", "numpy", "aiohttp"}
importlib.util.find_spec = lambda name, *a: None if name in absent else real(name, *a)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
from unbroken.cli import main
main()
"""


def fast(seed: int = 1, **more: object) -> Demo:
    return Demo(_protect, seed=seed, tokens_per_second=2000.0, prefer_llama=False, **more)  # type: ignore[arg-type]


def run(demo: Demo) -> None:
    demo.start()
    while not demo.wait(0.05):
        pass


@pytest.fixture(autouse=True)
def _budget_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo is a process of its own, with ten heals a minute; here many share one."""
    monkeypatch.setattr("unbroken.governor.budget._shared", HealBudget())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def test_demo_ends_by_itself_without_a_terminal(unbroken: Command, temporary: Path) -> None:
    began = time.monotonic()
    ran = unbroken("demo", timeout_s=60)
    assert ran.code == 0, ran.text + ran.error
    assert time.monotonic() - began < 60
    assert not ran.error
    assert "Just stops" in ran.text
    assert "Byte for byte the unbroken answer" in ran.text
    assert ran.text.count("prefix-verified") >= 4
    assert not list(temporary.iterdir())


def test_demo_with_the_base_install_alone(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ONLY_THE_BASE, "demo", "--json"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\n") == 1
    told = json.loads(ran.stdout)
    assert "built-in" in told["server"]
    assert "httpx2 loop" in told["client"]
    assert told["proven"] is True
    assert told["healed"]["bytes"] == told["truth_bytes"] > told["plain"]["bytes"]


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("uv") is None, reason="there is no uv here")
def test_demo_in_a_fresh_environment(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(["uv", "venv", "-q", "-p", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", python, ROOT], check=True)
    ran = subprocess.run(
        [python.with_name("unbroken"), "demo"], env=environment(), cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "the openai SDK is not installed" in ran.stdout


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("at_line", [1, 9], ids=["at-the-start", "in-the-middle"])
def test_signal_leaves_nothing_behind(temporary: Path, blow: signal.Signals, at_line: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "unbroken.cli", "demo", "--plain"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for _ in range(at_line):
            running.stdout.readline()
        children = _processes_of_session(running.pid) - {running.pid}
        running.send_signal(blow)
        _, said = running.communicate(timeout=10)
    assert running.returncode == 128 + blow
    assert "Traceback" not in said
    assert not list(temporary.iterdir())
    deadline = time.monotonic() + 5
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(filter(_runs, children))


def test_reader_that_leaves_ends_it(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "unbroken.cli", "demo"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=10) == 141
    assert not list(temporary.iterdir())


def _processes_of_session(session: int) -> set[int]:
    told = subprocess.run(
        ["ps", "-A", "-o", "pid=,sess="], capture_output=True, text=True, check=False
    ).stdout
    pairs = (line.split() for line in told.splitlines())
    return {int(pair[0]) for pair in pairs if len(pair) == 2 and pair[1] == str(session)}


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize("seed", range(6))
def test_every_seed_proves_the_point(seed: int) -> None:
    with fast(seed) as demo:
        run(demo)
        report = demo.report()
    assert report.proven, report.why_not
    assert [fault.guarantee for fault in report.faults] == ["prefix-verified"] * 4
    assert {fault.kind for fault in report.faults} == {
        "truncated-between-events", "connection-reset", "stalled"
    }  # fmt: skip


def test_loop_by_hand_is_as_blind_as_the_sdk() -> None:
    with fast(app=HandWritten()) as demo:
        run(demo)
        assert demo.report().proven, demo.report().why_not


def test_demo_that_proves_nothing_says_so() -> None:
    """With a client that does not heal, both sides are short."""

    def careless(side: object, library: str) -> object:
        import httpx2

        return httpx2.Client()

    with Demo(careless, tokens_per_second=2000.0, prefer_llama=False) as demo:
        run(demo)
        report = demo.report()
    assert not report.proven
    assert "not the answer's" in report.why_not


def test_users_switches_and_proxies_do_not_reach_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBROKEN_MODE", "off")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with fast() as demo:
        run(demo)
        assert demo.report().proven, demo.report().why_not
    assert os.environ["UNBROKEN_MODE"] == "off"
    assert "NO_PROXY" not in os.environ or os.environ["NO_PROXY"] != "127.0.0.1"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (200, 60), (50, 20), (80, 10)])
def test_live_view_fits_its_terminal(width: int, height: int) -> None:
    console = Console(
        force_terminal=True, width=width, height=height, file=io.StringIO(), record=True,
        color_system=None,
    )  # fmt: skip
    view = LiveView(console)
    with fast() as demo, view.showing(demo):
        demo.start()
        while not demo.wait(0.05):
            view.update()
        view.update()
        for part in account_of(demo.report()):
            console.print(part)
    text = console.export_text()
    assert "Whole: 96 of 96 words" in re.sub(r"\s+", " ", text.replace("│", ""))
    # Between two frames the cursor goes up, unseen in the export.
    frames = re.sub("╯(?!╰)", "╯\n", text)
    longest = max(frames.splitlines(), key=len)
    assert len(longest) <= width, longest


def test_plain_view_tells_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(Console(soft_wrap=True, highlight=False))
    with fast() as demo, view.showing(demo):
        demo.start()
        while not demo.wait(0.02):
            view.update()
        view.update()
    told = capsys.readouterr().out
    assert told.count("⚡") == 5  # four on the healed side, one on the plain
    assert told.count("seen as") == 4
    assert told.count("Just stops") == 1
    assert told.count("✓ Whole") == 1


def test_script_is_the_seeds_and_begins_with_what_nobody_notices() -> None:
    scripts = [write_script(seed=seed, tokens=96) for seed in range(50)]
    assert scripts[3] == write_script(seed=3, tokens=96)
    assert len(set(scripts)) > 40
    for script in scripts:
        [first], *later = parse_plan(script.healed).attempts
        assert script.plain == str(first)
        assert told(first) == "clean end in mid-answer"
        faults = [first, *(fault for [fault] in later)]
        assert len({told(fault) for fault in faults}) == 4
        places = [fault.place.amount for fault in faults if fault.place is not None]
        assert len(places) == 4
        assert places == sorted(places)
        assert places[-1] < 96


def test_client_that_resets_an_idle_connection_is_not_reported(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with LabServer() as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        deadline = time.monotonic() + 5
        while server.open_connections and time.monotonic() < deadline:
            time.sleep(0.01)
    assert capfd.readouterr().err == ""
