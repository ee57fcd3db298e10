"""``unbroken lab serve`` and ``faults``: what is printed, refused, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from unbroken.lab.injectors import INJECTORS


@contextmanager
def serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[Any]:
    """Run a server on a free port; what is left of it is killed."""
    running = subprocess.Popen(
        [*COMMAND, "lab", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env),
        bufsize=0,  # what is read ahead of a line would be lost to `communicate`
    )  # fmt: skip
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def url_of(running: Any) -> str:
    for line in iter(running.stdout.readline, b""):
        if line.startswith(b"export LAB_BASE_URL="):
            return str(line.partition(b"=")[2].strip().decode())
    raise AssertionError(running.stderr.read().decode())


def ask(url: str, model: str) -> str:
    body = {"model": model, "stream": True, "messages": []}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def ended(running: Any, number: int) -> tuple[int, str, str]:
    """Send a signal; return exit code, the rest of the output, and the errors."""
    running.send_signal(number)
    out, error = running.communicate(timeout=20)
    return running.returncode, out.decode(), error.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_variables_a_line_a_request_and_an_account(number: int) -> None:
    with serving("--tokens", "9", "--delta", "token") as running:
        url = url_of(running)
        frames = ask(url, "lab/cut@3t;id=a").count("data: ")
        code, out, error = ended(running, number)
    assert frames == 4  # the role, and three tokens
    assert code == 0
    (line,) = [line for line in out.splitlines() if "openai-chat" in line]
    for told in ("lab/cut@3t;id=a", "attempt 1", "cut@3t", "3 deltas", "clean"):
        assert told in line
    assert error.startswith("lab: stopped after ")
    assert "1 request, 1 fault struck, 3 deltas sent" in error
    assert error.count("\n") == 1


def test_what_is_refused_has_its_line_too() -> None:
    with serving() as running:
        url = url_of(running)
        for model, path in (("lab/nonsense", "/v1/chat/completions"), ("x", "/v1/nowhere")):
            body = {"model": model, "stream": True, "messages": []}
            request = urllib.request.Request(url + path, json.dumps(body).encode())
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=20)
        _, out, _ = ended(running, signal.SIGTERM)
    plan, path = (line for line in out.splitlines() if "refused" in line)
    assert "lab/nonsense" in plan
    assert "no fault is called 'nonsense'" in plan
    assert "refused 400" in plan
    assert "/v1/nowhere" in path
    assert "refused 404" in path


def test_the_variables_can_be_pasted() -> None:
    with serving("--quiet") as running:
        url = url_of(running)
        _, out, _ = ended(running, signal.SIGTERM)  # the lines behind LAB_BASE_URL's
    script = f"OPENAI_BASE_URL=no\n{out}\necho $LAB_MODEL $OPENAI_API_KEY"
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "lab/ok lab-key\n"
    assert url.startswith("http://127.0.0.1:")


def test_json_is_one_object_a_line() -> None:
    with serving("--json", "--plan", "cut@2f") as running:
        first = json.loads(running.stdout.readline())
        assert first["environment"]["OPENAI_BASE_URL"] == first["url"] + "/v1"
        ask(first["url"], "gpt-5")
        log = json.loads(running.stdout.readline())
        code, out, _ = ended(running, signal.SIGINT)
    assert (log["faults"], log["ended"], log["session"]) == ("cut@2f", "clean", "gpt-5")
    assert (code, out) == (0, "")


def test_options_come_from_the_environment_and_files(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("Once upon a time.")
    (tmp_path / "s.toml").write_text("[scenarios]\nshort = 'cut@1t'\n")
    env = {
        "UNBROKEN_LAB_TEXT": str(tmp_path / "answer.txt"),
        "UNBROKEN_LAB_SCENARIOS": str(tmp_path / "s.toml"),
        "UNBROKEN_LAB_DELTA": "token",
    }
    with serving(env=env) as running:
        url = url_of(running)
        whole, short = ask(url, "lab/ok"), ask(url, "lab/short")
        ended(running, signal.SIGTERM)
    assert '"Once"' in whole
    assert '" time."' in whole
    assert '"Once"' in short
    assert "upon" not in short


def test_a_reader_that_leaves_ends_it() -> None:
    with serving("--json") as running:
        url = json.loads(running.stdout.readline())["url"]
        running.stdout.close()
        ask(url, "lab/ok;tokens=3")
        assert running.wait(20) == 141


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--plan", "nonsense"], "no fault is called 'nonsense'"),
        (["--plan", "cut@1.5"], "a share of an answer"),
        (["--tokens", "0"], "tokens is from 1"),
        (["--say", "song"], "say is one of"),
        (["--no", "cursor,hope"], "hope"),
        (["--jitter", "2"], "jitter is a share"),
        (["--scenarios", "{tmp}/none.toml"], "none.toml: no such file"),
        (["--scenarios", "{tmp}/bad.toml"], "scenario 'x': no fault is called 'nonsense'"),
        (["--scenarios", "{tmp}/broken.toml"], "is not TOML"),
        (["--replay", "{tmp}/nowhere"], "there is no such folder"),
        (["--port", "70000"], "65535"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_is_one_line(
    unbroken: Command, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "bad.toml").write_text("[scenarios]\nx = 'nonsense'\n")
    (tmp_path / "broken.toml").write_text("[scenarios\n")
    words = [word.replace("{tmp}", str(tmp_path)) for word in arguments]
    ran = unbroken("lab", "serve", "--port", "0", *words, timeout_s=20)
    assert ran.code == 2
    assert says in ran.error_line
    assert ran.text == ""


def test_a_busy_port_is_one_line(unbroken: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = unbroken("lab", "serve", "--port", port, timeout_s=20)
    assert ran.code == 2
    assert f"port {port}" in ran.error_line
    assert "already in use" in ran.error_line


def test_the_faults_are_listed(unbroken: Command) -> None:
    ran = unbroken("lab", "faults")
    assert ran.code == 0
    for name, injector in INJECTORS.items():
        assert f"\n{name} " in "\n" + ran.text
        assert injector.summary in ran.text
    assert ".rst" in ran.text
    assert "a place (@30t)" in ran.text


def test_the_faults_as_json(unbroken: Command) -> None:
    listed = json.loads(unbroken("lab", "faults", "--json").text)
    assert set(listed) == set(INJECTORS)
    assert listed["cut"]["kind"] == "truncated-between-events"
    assert "rst" in listed["cut"]["variants"]
    assert listed["cut"]["takes"] == ["place"]


@pytest.mark.parametrize("command", ["serve", "faults"])
def test_help_teaches_by_an_example(unbroken: Command, command: str) -> None:
    ran = unbroken("lab", command, "--help")
    assert ran.code == 0
    assert f"unbroken lab {command}" in ran.text.partition("Example")[2]
    for line in ran.text.partition("Options")[2].splitlines():
        if " --" in line and "--help" not in line:
            name = line.partition("--")[2].split()[0].upper()
            assert f"UNBROKEN_LAB_{name}" in ran.text.replace("\n", "").replace(" ", ""), line


def test_lab_alone_shows_its_commands(unbroken: Command) -> None:
    ran = unbroken("lab")
    assert "serve" in ran.text
    assert "faults" in ran.text


def test_it_needs_no_extra_package() -> None:
    """The base install serves: no SDK, no aiohttp."""
    refuse = "import sys\nfor m in ('aiohttp','openai','httpx'): sys.modules[m] = None\n"
    code = refuse + (
        "import sys; from unbroken.cli import main; sys.argv = ['unbroken', *sys.argv[1:]]; main()"
    )
    running = subprocess.Popen(
        [COMMAND[0], "-c", code, "lab", "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, running.stderr and running.stderr.read()
        assert "[DONE]" in ask(json.loads(line)["url"], "lab/ok;tokens=3")
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.communicate()
