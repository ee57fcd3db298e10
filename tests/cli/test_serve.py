"""The command line of the gateway: what it says when it cannot serve, and that it serves."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import signal
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unbroken.cli import serve as serve_module
from unbroken.cli.app import run

CONFIG = """
listen = "127.0.0.1:0"
[upstreams.here]
url = "http://127.0.0.1:9/v1"
[[routes]]
upstream = "here"
"""


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UPSTREAM", "CONFIG", "LISTEN", "WORKERS", "MODE"):
        monkeypatch.delenv(f"UNBROKEN_GATEWAY_{name}", raising=False)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["serve", *arguments])
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def test_a_good_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG, "utf-8")
    code, out, err = said(capsys, "--config", str(file), "--check-config")
    assert (code, out) == (0, "")
    assert "the configuration is fine" in err
    assert "upstreams: here" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('listen = "nowhere"', "bad.toml:1: listen: found 'nowhere'; write host:port"),
        ("worker = 2", "bad.toml:1: worker: there is no such setting; did you mean 'workers'?"),
        ("a = = 1", "bad.toml:1: it is not TOML"),
        ('listen = "0.0.0.0:80"', "callers need no key; add [[callers]]"),
        ("workers = 4", 'a journal in memory; set journal.kind = "redis"'),
    ],
)
def test_a_bad_configuration_is_told_with_file_key_and_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text, "utf-8")
    for arguments in (["--check-config"], []):
        code, _, err = said(capsys, "--config", str(file), *arguments)
        assert code == 2
        assert words in err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = said(capsys, "--config", str(tmp_path / "none.toml"))
    assert code == 2
    assert "none.toml: it cannot be read" in err


def test_errors_say_which_flag_or_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "flag --listen: listen: found 'x'" in said(capsys, "--listen", "x")[2]
    assert "flag --mode: mode: " in said(capsys, "--mode", "hael")[2]
    monkeypatch.setenv("UNBROKEN_GATEWAY_LISTEN", "y")
    assert "variable UNBROKEN_GATEWAY_LISTEN: listen: found 'y'" in said(capsys)[2]
    code, _, err = said(capsys, "--listen", "127.0.0.1:0", "--check-config")
    assert code == 0, "a flag wins over the environment"
    assert "1 worker on 127.0.0.1:0" in err


def test_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--print-schema")
    assert code == 0
    assert "GatewayConfig" in json.loads(out)["$defs"]


def test_a_new_key_is_shown_apart_from_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "--new-key", "docs")
    assert code == 0
    key = err.rpartition(" ")[2]
    assert key.startswith("sk-unbroken-")
    assert key not in out
    (caller,) = tomllib.loads(out)["callers"]
    assert caller == {"team": "docs", "key_sha256": hashlib.sha256(key.encode()).hexdigest()}


def test_a_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec

    def find_spec(name: str, *more: Any) -> Any:
        return None if name in ("uvicorn", "prometheus_client") else there(name, *more)

    monkeypatch.setattr(serve_module, "find_spec", find_spec)
    code, _, err = said(capsys)
    assert code == 2
    assert "needs prometheus-client, uvicorn: pip install 'unbroken[gateway]'" in err


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn")
    from unbroken.gateway.listening import bind

    taken = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    code, _, err = said(capsys, "--listen", f"127.0.0.1:{port}")
    taken.close()
    assert code == 2
    assert f"127.0.0.1:{port}: the port is in use" in err
    assert "--listen 127.0.0.1:0 takes a free one" in err


def test_the_help_tells_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["serve", "--help"])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert code == 0
    for words in ("base_url", "--upstream", "--check-config", "SIGHUP", "/_unbroken/", "/readyz"):
        assert words in out


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("uvicorn")
    pytest.importorskip("aiohttp")
    from tests.gateway.serving_process import Process

    command = [sys.executable, "-m", "unbroken.cli", "serve", "-c", str(tmp_path / "g.toml")]
    process = Process(tmp_path / "g.toml", "", command=command)
    yield process
    process.stop()


def test_the_gateway_itself(served: Any) -> None:
    with served.begin("/healthz") as sock:
        sock.settimeout(5)
    served.signal(signal.SIGTERM)
    assert served.end() == 0
