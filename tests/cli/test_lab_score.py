"""``unbroken lab score``, in a process of its own: outputs, exit codes, one line a mistake."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.lab.score.clients import command

SUITE = """
[settings]
tokens = 40
[[scenario]]
name = "fine"
plan = "ok"
[[scenario]]
name = "cut"
plan = "cut@0.5"
life = "A proxy dies."
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(SUITE, "utf-8")
    return file


def test_a_careful_client_passes_and_all_outputs_say_so(
    unbroken: Command, suite: Path, tmp_path: Path
) -> None:
    xml, page = tmp_path / "card.xml", tmp_path / "card.html"
    ran = unbroken(
        "lab", "score", "--suite", suite, "--json", "--junit", xml, "--html", page,
        "--label", "careful", "--", *command("careful"),
    )  # fmt: skip
    assert ran.code == 0, ran.error
    card = json.loads(ran.out)
    assert card["label"] == "careful"
    assert [result["verdict"] for result in card["results"]] == ["healed", "honest error"]
    assert card["summary"]["honest error"] == 1
    assert ET.parse(xml).getroot()[0].get("failures") == "0"
    assert b"careful" in page.read_bytes()
    assert "1/2 " in ran.error
    assert "Traceback" not in ran.error


def test_a_careless_one_does_not(unbroken: Command, suite: Path) -> None:
    ran = unbroken("lab", "score", "--suite", suite, "--", *command("naive"))
    assert ran.code == 1
    lines = ran.text.splitlines()
    assert any(line.startswith("cut ") and "truncated silently" in line for line in lines)
    assert any(line.startswith("1 healed, 1 truncated silently") for line in lines)


def test_cards_are_merged_into_one_page(unbroken: Command, suite: Path, tmp_path: Path) -> None:
    files = []
    for name in ("careful", "naive"):
        ran = unbroken(
            "lab", "score", "--suite", suite, "--json", "--label", name, "--", *command(name)
        )
        files.append(tmp_path / f"{name}.json")
        files[-1].write_bytes(ran.out)
    page = tmp_path / "both.html"
    ran = unbroken("lab", "score", "--merge", *files, "--html", page)
    assert ran.code == 1  # one of them truncates
    assert "careful, suite mine" in ran.text
    assert page.read_text("utf-8").count('role="gridcell"') == 4


def test_only_one_scenario_and_other_tokens(unbroken: Command, suite: Path) -> None:
    ran = unbroken(
        "lab", "score", "--suite", suite, "--only", "f*", "--tokens", "7", "--seed", "5", "--json",
        "--", *command("naive"),
    )  # fmt: skip
    (fine,) = json.loads(ran.out)["results"]
    assert (fine["scenario"], fine["facts"]["tokens"]) == ("fine", 7)
    assert "seed=5" in fine["model"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the client's command behind --"),
        (("--suite", "cores", "--", "x"), "no such suite; the suites are core, full"),
        (("--only", "cut-cleann", "--", sys.executable), "did you mean cut-clean?"),
        (("--", "/no/such/program"), "cannot run /no/such/program: no such file"),
        (("--", sys.executable, "-c", "pass"), "made no request"),
        (("--html", "/no/such/folder/x.html", "--", "x"), "no such folder"),
        (("--merge",), "--merge needs files"),
        (("--merge", "/no/such.json"), "/no/such.json: no such file"),
        (("--gateway", "http://127.0.0.1:9"), "--gateway needs --listen PORT"),
        (("--gateway", "http://127.0.0.1:9", "--listen", "1", "--", "x"), "not both"),
        (("--jobs", "0", "--", "x"), "jobs"),
        (("--patience", "0", "--", "x"), "patience_s must be above 0"),
    ],
)
def test_mistakes_are_told_in_one_line(
    unbroken: Command, arguments: tuple[str, ...], said: str
) -> None:
    ran = unbroken("lab", "score", *arguments)
    assert ran.code == 2
    assert said in ran.error.splitlines()[-1]
    assert "Traceback" not in ran.error
    assert not ran.out


def test_a_taken_port_is_told(unbroken: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = unbroken("lab", "score", "--gateway", "http://127.0.0.1:9", "--listen", port)
    assert ran.code == 2
    assert f"port {port}" in ran.error_line
    assert "in use" in ran.error_line


def test_a_gateway_is_scored_through_its_own_upstream(unbroken: Command, suite: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_forward, args=(listener, port), daemon=True).start()
        ran = unbroken(
            "lab", "score", "--suite", suite, "--json", "--listen", str(port),
            "--gateway", f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
        )  # fmt: skip
    assert ran.code == 1, ran.error
    fine, cut = json.loads(ran.out)["results"]
    assert (fine["verdict"], cut["verdict"]) == ("healed", "truncated silently")
    assert fine["facts"]["more"]["same_events"] is True


def _forward(listener: socket.socket, port: int) -> None:
    """The plainest gateway: bytes to the upstream, and bytes back."""
    while True:
        try:
            down, _ = listener.accept()
        except OSError:
            return
        up = socket.create_connection(("127.0.0.1", port))
        for here, there in ((down, up), (up, down)):
            threading.Thread(target=_copy, args=(here, there), daemon=True).start()


def _copy(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := here.recv(65536):
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_takes_its_clients_along(
    suite: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    pids = tmp_path / "pids"
    stuck = command("stuck")
    stuck[-1] = f"open({str(pids)!r}, 'a').write(str(__import__('os').getpid()) + ' ')\n{stuck[-1]}"
    process = subprocess.Popen(
        [*COMMAND, "lab", "score", "--suite", str(suite), "--", *stuck],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _until(lambda: len(pids.read_text().split()) == 3 if pids.exists() else False)
        time.sleep(0.5)  # the last of them is to hang in its stream
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in error
    _until(lambda: not any(_runs(int(pid)) for pid in pids.read_text().split()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until(true: object, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
