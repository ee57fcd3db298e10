"""The command `unbroken lab proxy`, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.proxy.rig import FRAMES, ask
from tests.relay.raw import CHUNKED, chunk, raw_server, sends

WHOLE = sends(CHUNKED, *map(chunk, FRAMES), b"0\r\n\r\n")


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start it, and yield it with its first line."""
    command = [sys.executable, "-m", "unbroken.cli", "lab", "proxy", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unbroken.cli", "lab", "proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_log_and_the_end(number: signal.Signals) -> None:
    with (
        raw_server(WHOLE) as server,
        running("--upstream", server.url, "--plan", "cut@3t", "--json") as (process, first),
    ):
        told = json.loads(first)
        port = int(told["url"].rpartition(":")[2])
        assert (told["upstream"], told["plan"]) == (server.url, "cut@3t")
        assert ask(port).body == b"".join(FRAMES[:3])
        assert process.stdout is not None
        entry = json.loads(process.stdout.readline())
        assert (entry["went"], entry["faults"], entry["status"]) == ("clean", "cut@3t", 200)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 0
    assert stderr == "lab proxy: stopped after 1 request\n"
    with pytest.raises(OSError):  # noqa: PT011 - any
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_lines_for_people() -> None:
    with raw_server(WHOLE) as server, running("--upstream", server.url) as (process, first):
        assert f" -> {server.url}" in first
        port = int(first.partition(" -> ")[0].rpartition(":")[2])
        ask(port, "/v1/chat/completions?key=SECRET", headers={"x-lab-plan": "cut.rst@3t"})
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=10)
    assert "POST /v1/chat/completions 200 [cut.rst@3t at 0." in stdout
    assert stdout.rstrip().endswith("s rst")
    assert "SECRET" not in stdout


def test_ctrl_c_ends_open_streams() -> None:
    with raw_server(sends(CHUNKED, chunk(FRAMES[0]), then=lambda c: c.recv(1) and None)) as server:
        with running("--upstream", server.url, "--json") as (process, first):
            port = int(json.loads(first)["url"].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                assert connection.recv(10)
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=5)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--upstream", "api.openai.com"], "is no upstream: write it as https://api.openai.com"),
        (["--upstream", "http://x", "--plan", "cut"], "give a place such as cut@30t"),
        (["--upstream", "http://x", "--plan", "nope@1"], "no fault is called 'nope'"),
        (["--upstream", "http://x", "--cafile", "absent.pem"], "there is no file 'absent.pem'"),
        (["--upstream", "http://x", "--scenarios", "absent.toml"], "cannot read absent.toml: no"),
        (["--upstream", "http://x", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port"),
        ([], "missing option '--upstream'"),
    ],
)
def test_one_clear_line(arguments: list[str], why: str) -> None:
    ran = run(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("unbroken: ")
    assert why in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_busy_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("--upstream", "http://x", "--port", str(port))
    assert ran.returncode == 2
    assert ran.stderr == (
        f"unbroken: cannot listen on 127.0.0.1 port {port}: address already in use; "
        "--port 0 takes a free one\n"
    )


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    ran = run("--upstream", "https://x", "--port", "0", "--cafile", str(tmp_path / "empty.pem"))
    assert ran.returncode == 2
    assert "holds no certificates in PEM form" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_without_aiohttp_it_says_what_to_install(monkeypatch, capsys) -> None:
    from unbroken.cli import app, lab_proxy

    monkeypatch.setattr(lab_proxy, "find_spec", lambda _: None)
    assert app.run(["lab", "proxy", "--upstream", "http://x"]) == 2
    assert capsys.readouterr().err == (
        "unbroken: the proxy needs aiohttp: pip install 'unbroken[lab]'\n"
    )
