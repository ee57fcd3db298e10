"""``unbroken lab score``, in a process of its own: outputs, exit codes, one line a mistake."""

from __future__ import annotations

import contextlib
import json
import os
import re
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
    assert lines[-2].startswith("1 healed, 1 truncated silently")
    assert lines[-1].startswith("lost: tokens missing inside")


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
    (seed,) = re.findall(r";seed=(\d+)", fine["model"])
    assert int(seed) % 100 == 5  # beside what gives the scenario words of its own


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the client's command behind --"),
        (("--suite", "cores", "--", "x"), "no such suite; the suites are core, full"),
        (("--only", "cut-cleann", "--", sys.executable), "did you mean cut-clean?"),
        (("--only", "tag:cutt", "--", "x"), "did you mean tag:cut? (its tags: fine, cut, stall,"),
        (("--only", "zzz", "--", "x"), "all of them: unbroken lab score --list --suite core"),
        (("--list", "--only", "zzz"), "no scenario of suite core is called 'zzz'"),
        (("--dialect", "openai", "--", "x"), "did you mean openai-chat? there are openai-chat, "),
        (("--list", "--dialect", "openai"), "no dialect is called 'openai'"),
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


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(text, "utf-8")
    return file


FAR = '[[scenario]]\nname = "far"\nplan = "cut@9999t"\n'
PING = '[[scenario]]\nname = "ping"\nplan = "stall.ping@0.5"\n'


class TestWhatDidNotRun:
    def test_nothing_at_all_is_no_success(self, unbroken: Command, tmp_path: Path) -> None:
        ran = unbroken("lab", "score", "--suite", _file(tmp_path, PING), "--", *command("careful"))
        assert ran.code == 2
        last = ran.error.splitlines()[-1]
        assert last == "unbroken: nothing ran of suite own: openai-chat has no stall.ping"

    def test_a_plan_that_the_lab_refuses_is_a_mistake_in_ones_own_file(
        self, unbroken: Command, tmp_path: Path
    ) -> None:
        fine = '[[scenario]]\nname = "fine"\nplan = "ok"\n'
        ran = unbroken(
            "lab", "score", "--suite", _file(tmp_path, FAR + fine), "--", *command("careful")
        )
        assert ran.code == 2
        assert "own.toml: scenario 'far' did not run: cut@9999t" in ran.error.splitlines()[-1]
        assert any(line.startswith("fine ") and "healed" in line for line in ran.text.splitlines())

    def test_what_a_dialect_lacks_is_left_out_of_it(
        self, unbroken: Command, tmp_path: Path
    ) -> None:
        fine = '[[scenario]]\nname = "fine"\nplan = "ok"\n'
        ran = unbroken(
            "lab", "score", "--suite", _file(tmp_path, PING + fine), "--", *command("careful")
        )
        assert ran.code == 0
        assert "1 healed, 1 not run" in ran.text


def test_another_dialect_than_the_clients_is_refused(unbroken: Command, suite: Path) -> None:
    ran = unbroken(
        "lab", "score", "--suite", suite, "--dialect", "anthropic-messages",
        "--", *command("careful"),
    )  # fmt: skip
    assert ran.code == 2
    said = "the command speaks openai-chat, not anthropic-messages: leave --dialect out"
    assert said in ran.error.splitlines()[-1]


def test_a_model_of_the_clients_own_is_named(unbroken: Command, suite: Path) -> None:
    other = [word.replace('os.environ["LAB_MODEL"]', '"gpt-5"') for word in command("careful")]
    ran = unbroken("lab", "score", "--suite", suite, "--", *other)
    assert ran.code == 2
    assert "it asked for 'gpt-5', not for the model in LAB_MODEL" in ran.error.splitlines()[-1]
    wrong = [word.replace('"/chat/', '"/chatt/') for word in command("careful")]
    ran = unbroken("lab", "score", "--suite", suite, "--", *wrong)
    assert "it asked for POST /v1/chatt/completions, and the lab" in ran.error.splitlines()[-1]


def test_of_a_gateway_it_is_the_gateway_that_is_spoken_of(unbroken: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    lab = ("lab", "score", "--only", "cut-fin", "--listen", port, "--gateway")
    ran = unbroken(*lab, "http://127.0.0.1:9")
    assert "the gateway does not pass on a healthy answer" in ran.error
    assert "no request of it reached the lab" in ran.error
    # The lab for its own gateway: what reaches it has the name that was asked for.
    ran = unbroken(*lab, f"http://127.0.0.1:{port}", "--gateway-model", "gpt-5")
    assert "it asked for 'gpt-5', not for the lab's own name" in ran.error
    assert "1 of 36 scenarios of core" in ran.error


class TestWithoutATerminal:
    def test_nothing_is_wrapped_or_broken(self, unbroken: Command, suite: Path) -> None:
        ran = unbroken(
            "lab", "score", "--suite", suite, "--", *command("careful"), env={"COLUMNS": "40"}
        )
        (row,) = [line for line in ran.text.splitlines() if line.startswith("cut ")]
        assert row.endswith("tokens; StreamError: no end")
        assert ran.text.startswith("python")  # what stands behind -c is no name
        assert len(ran.text.splitlines()) == 7  # two heads, two rows, a note, summary, its words

    def test_a_suite_is_listed_one_line_a_scenario(self, unbroken: Command) -> None:
        ran = unbroken("lab", "score", "--list", "--only", "tag:cut", env={"COLUMNS": "40"})
        assert ran.code == 0
        head, *rows, tags = ran.text.splitlines()
        assert head.startswith("core: ")
        assert len(rows) == 10
        assert rows[1].split()[:3] == ["cut-fin", "cut.fin@0.5", "cut"]
        assert rows[1].endswith("in the middle of the body.")
        assert tags == "tags: cut"

    def test_or_as_json(self, unbroken: Command, suite: Path) -> None:
        ran = unbroken("lab", "score", "--list", "--suite", suite, "--json")
        listed = json.loads(ran.out)
        assert [one["plan"] for one in listed["scenarios"]] == ["ok", "cut@0.5"]
        assert listed["suite"] == "mine"


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


def test_stopped_it_keeps_what_was_finished(suite: Path, tmp_path: Path) -> None:
    xml, page = tmp_path / "card.xml", tmp_path / "card.html"
    process = subprocess.Popen(
        [*COMMAND, "lab", "score", "--suite", str(suite), "--jobs", "2", "--json",
         "--junit", str(xml), "--html", str(page), "--", *command("stuck")],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        told = ""
        while "1/2 fine" not in told and (line := process.stderr.readline()):
            told += line
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, told + error
    card = json.loads(out)
    assert (card["complete"], card["ok"]) == (False, False)
    assert [result["scenario"] for result in card["results"]] == ["fine"]
    assert [skip["scenario"] for skip in card["skipped"]] == ["cut"]
    assert ET.parse(xml).find(".//property[@name='complete']") is not None
    assert b"not complete: the run was stopped; 1 of 2 scenarios ended" in page.read_bytes()
    assert "losed" not in error  # "Loop ... is closed", "Event loop is closed"


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
