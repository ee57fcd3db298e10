"""The rows of the comparison, and the gateways that some of them go through.

`clients/*.toml` holds them, one file a family; a new client is a new table, or a new file:

    [[row]]
    name = "openai-chat.plain"      # of its own
    client = "openai-chat"          # what the variants of one client share
    label = "openai, chat completions"
    language = "python"             # python, node, gateway
    package = "openai"              # whose version stands in the table
    dialect = "openai-chat"         # what the lab is asked in
    variant = "plain"               # plain, configured, unbroken (under it), gateway (before it)
    environment = "sdks"            # of environments.py; `node` needs none
    command = ["{python}", "{compare}/drivers/drive_openai.py", "chat", "--plain"]
    gateway = "..."                 # a [[gateway]], if it goes through one
    upstream = "..."                # the [[gateway]] that this one asks in place of the lab
    cannot = ["tool"]               # what LAB_SAY must not ask of it; notes say why
    without = ["..."]               # scenarios that would say nothing about it; notes say why
    notes = "the settings, and where they are documented"

    [[gateway]]
    name = "litellm-proxy.plain"
    package = "litellm"
    environment = "litellm-proxy"
    config = "settings/litellm-proxy.yaml"   # its @BLANKS@ are filled in
    command = ["{bin}/litellm", "--config", "{config}", "--port", "{port}"]
    env = { LAB_OPENAI_BASE_URL = "{lab}/v1" }
    ready = "/health/liveliness"             # answers 200 once it is up

In commands and env: ``{python}`` and ``{bin}`` are the environment's, ``{compare}`` this folder,
``{lab}`` the root of the lab or of the gateway to ask, ``{port}`` a free port, ``{config}`` the
file with its blanks filled in: ``@LAB@``, and as drivers/driver.py has them ``@LIMIT_S@``,
``@LIMIT_MS@``, ``@HALF_S@``, ``@FINAL_S@`` and ``@RECOVERY_S@``.

    for row in rows():
        with through(row, lab_url, patience_s=12) as url:   # the lab itself, or its gateway
            subprocess.run(row.argv(python_of(row.environment)), env=variables(url) | {...})
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Gateway", "GatewayError", "Row", "gateways", "rows", "running", "through", "variables"]

_COMPARE = Path(__file__).resolve().parent
_UP_WITHIN_S = 90.0
_DOWN_WITHIN_S = 10.0


class GatewayError(Exception):
    """A gateway did not start; says what it wrote last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One client in one variant; the fields are those of the file."""

    name: str
    client: str
    label: str
    language: str
    package: str
    dialect: str
    variant: str
    environment: str
    command: tuple[str, ...]
    notes: str
    gateway: str | None = None
    upstream: str | None = None
    cannot: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def gateways(self) -> list[str]:
        """What it goes through, from the lab on."""
        return [name for name in (self.upstream, self.gateway) if name is not None]

    def argv(self, python: Path | str) -> list[str]:
        """The command for an environment's interpreter."""
        blanks = {"{python}": str(python), "{compare}": str(_COMPARE)}
        return [_filled(word, blanks) for word in self.command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A process between clients and the lab; the fields are those of the file."""

    name: str
    package: str
    environment: str
    command: tuple[str, ...]
    ready: str
    config: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def rows() -> list[Row]:
    """All rows, in the order of the files' names."""
    found = [Row(**_tuples(table)) for table in _tables("row")]
    _unique([row.name for row in found])
    return found


def gateways() -> dict[str, Gateway]:
    """All gateways by name."""
    found = [Gateway(**_tuples(table)) for table in _tables("gateway")]
    _unique([gateway.name for gateway in found])
    return {gateway.name: gateway for gateway in found}


def variables(url: str) -> dict[str, str]:
    """What a client is told: addresses and dummy keys, for a lab or a gateway at `url`."""
    url = url.rstrip("/")
    keys = ("OPENAI", "ANTHROPIC", "GEMINI", "CO", "MISTRAL")
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "OLLAMA_HOST": url,
        "CO_API_URL": url,
        "MISTRAL_SERVER_URL": url,
        "LAB_BASE_URL": url,
        **{f"{name}_API_KEY": "lab-key" for name in keys},
    }


@contextlib.contextmanager
def through(row: Row, lab: str, *, patience_s: float) -> Iterator[str]:
    """Give the address that a row's clients are told, with its gateways running if it has any.

    Raises:
        GatewayError: One of them did not start.
    """
    if __package__:
        from compare.environments import make
    else:  # a script of this folder
        from environments import make

    known = gateways()
    with contextlib.ExitStack() as stack:
        url = lab
        for name in row.gateways:
            gateway = known[name]
            python = make(gateway.environment) if gateway.environment != "node" else None
            url = stack.enter_context(running(gateway, url, patience_s=patience_s, python=python))
        yield url


@contextlib.contextmanager
def running(
    gateway: Gateway, lab: str, *, patience_s: float, python: Path | None = None
) -> Iterator[str]:
    """Start a gateway on a free port of 127.0.0.1, and stop it; gives its root address.

    Raises:
        GatewayError: It ended, or did not answer, within 90 s.
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        blanks = {"{lab}": lab.rstrip("/"), "{port}": str(port), "{compare}": str(_COMPARE)}
        if python is not None:
            blanks |= {"{python}": str(python), "{bin}": str(python.parent)}
        if gateway.config is not None:
            source = _COMPARE / gateway.config
            text = _filled(source.read_text("utf-8"), _settings(lab, patience_s))
            config = Path(folder) / source.name
            config.write_text(text, "utf-8")
            blanks["{config}"] = str(config)
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env |= {name: _filled(value, blanks) for name, value in gateway.env.items()}
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [_filled(word, blanks) for word in gateway.command],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=folder,
                start_new_session=True,
            )
        try:
            _await(process, f"http://127.0.0.1:{port}{gateway.ready}", gateway.name, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_DOWN_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _settings(lab: str, patience_s: float) -> dict[str, str]:
    """What a configuration's blanks are filled with; the shares are those of drivers/driver.py."""
    limit_s = patience_s / 6
    return {
        "@LAB@": lab.rstrip("/"),
        "@LIMIT_S@": f"{limit_s:.3f}",
        "@HALF_S@": f"{limit_s / 2:.3f}",
        "@LIMIT_MS@": str(int(limit_s * 1000)),
        "@FINAL_S@": f"{patience_s * 0.65:.3f}",
        "@RECOVERY_S@": f"{patience_s * 0.45:.3f}",
    }


def _await(process: subprocess.Popen[bytes], url: str, name: str, log: Path) -> None:
    until = time.monotonic() + _UP_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.2)
    msg = f"gateway {name} did not start: {log.read_text('utf-8', 'replace').strip()[-800:]}"
    raise GatewayError(msg)


def _filled(text: str, blanks: Mapping[str, str]) -> str:
    for blank, value in blanks.items():
        text = text.replace(blank, value)
    return text


def _tables(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted((_COMPARE / "clients").glob("*.toml")):
        yield from tomllib.loads(path.read_text("utf-8")).get(kind, ())


def _tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _unique(names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        msg = f"rows or gateways with the same name: {', '.join(sorted(twice))}"
        raise ValueError(msg)
