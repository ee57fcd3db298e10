"""Who is measured: how each is started, what it had switched on, and its version."""

from __future__ import annotations

import dataclasses
import getpass
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.gateway.processes import ROOT, Program, answers, free_port

COMPARE = ROOT / "compare"
NODE = COMPARE / "node" / "node_modules" / ".bin" / "node"
PORTKEY = COMPARE / "node" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"

NGINX = """\
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid {tmp}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {tmp}/body;
    proxy_temp_path {tmp}/proxy;
    fastcgi_temp_path {tmp}/fastcgi;
    uwsgi_temp_path {tmp}/uwsgi;
    scgi_temp_path {tmp}/scgi;
    keepalive_requests 1000000;
    client_body_buffer_size 128k; # so that it keeps the request in memory, as the others do
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 4096;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""
LITELLM = """\
model_list:
  - model_name: "bench"
    litellm_params:
      model: "openai/bench"
      api_base: "http://127.0.0.1:{upstream}/v1"
      api_key: bench-key
general_settings:
  dangerously_permit_weak_or_unset_master_key: true # it listens on 127.0.0.1 only
litellm_settings:
  telemetry: false
"""
TENSORZERO = """\
[gateway]
observability.enabled = false # no database
[models.bench]
routing = ["mock"]
[models.bench.providers.mock]
type = "openai"
model_name = "bench"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "env::OPENAI_API_KEY"
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A gateway that answers: its process (None: nothing between) and its port."""

    program: Program | None
    port: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the table.

    Attributes:
        name: What `--only` calls it.
        label: What the table calls it.
        features: What was switched on.
        start: Takes a folder for its files and the upstream's port; returns what runs.
        missing: Returns why it cannot run here, or "".
        version: Returns its version.
        paced_streams: Most streams of the paced load; None: as many as asked.
        idle_streams: The same, of the idle load.
    """

    name: str
    label: str
    features: str
    start: Callable[[Path, int], Running]
    missing: Callable[[], str]
    version: Callable[[], str]
    path: str = "/v1/chat/completions"
    model: str = "bench"
    headers: dict[str, str] = field(default_factory=dict)
    paced_streams: int | None = None
    idle_streams: int | None = None


def _installed(*names: str) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _in_environment(name: str, package: str) -> str:
    found = importlib.metadata.distributions(
        path=[str(p) for p in (ROOT / ".venvs" / f"compare-{name}").glob("lib/*/site-packages")]
    )
    versions = {one.metadata["Name"].lower(): one.version for one in found}
    return f"{package} {versions.get(package, 'unknown')}"


def _environment_missing(name: str) -> str:
    python = ROOT / ".venvs" / f"compare-{name}" / "bin" / "python"
    return "" if python.exists() else f"run python compare/environments.py {name}"


def _nginx() -> str:
    return shutil.which("nginx") or "/usr/sbin/nginx"


def _start_direct(_tmp: Path, upstream: int) -> Running:
    return Running(program=None, port=upstream)


def _start_nginx(tmp: Path, upstream: int) -> Running:
    port = free_port()
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    config = tmp / "nginx.conf"
    config.write_text(NGINX.format(user=user, tmp=tmp, upstream=upstream, port=port), "utf-8")
    command = [_nginx(), "-p", str(tmp), "-c", str(config), "-e", "stderr"]
    return _started(command, tmp / "nginx.log", port)


def _nginx_version() -> str:
    told = subprocess.run([_nginx(), "-v"], capture_output=True, text=True, check=False)
    return (told.stderr or told.stdout).strip().rpartition("/")[2]


def _start_bare(tmp: Path, upstream: int) -> Running:
    port = free_port()
    url = f"http://127.0.0.1:{upstream}"
    listen = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "bench.gateway.bare", "--listen", listen, "--upstream", url]
    return _started(command, tmp / "bare.log", port)


def _start_unbroken(tmp: Path, upstream: int) -> Running:
    port = free_port()
    url = f"http://127.0.0.1:{upstream}"
    listen = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "unbroken.cli", "serve", "--upstream", url]
    return _started([*command, "--listen", listen], tmp / "unbroken.log", port, ready="/healthz")


def _unbroken_missing() -> str:
    told = subprocess.run(
        [sys.executable, "-m", "unbroken.cli", "serve", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if told.returncode == 0 else "unbroken serve does not start here"


def _start_litellm(tmp: Path, upstream: int) -> Running:
    port = free_port()
    config = tmp / "litellm.yaml"
    config.write_text(LITELLM.format(upstream=upstream), "utf-8")
    binary = ROOT / ".venvs" / "compare-litellm-proxy" / "bin" / "litellm"
    command = [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    return _started(
        [*command, "--telemetry", "False"],
        tmp / "litellm.log",
        port,
        env=env,
        ready="/health/liveliness",
    )


def _start_portkey(tmp: Path, upstream: int) -> Running:
    port = free_port()
    url = f"http://127.0.0.1:{upstream}"
    command = [str(NODE), str(COMPARE / "node" / "portkey.mjs"), str(port), url, "--plain"]
    return _started(command, tmp / "portkey.log", port)


def _portkey_missing() -> str:
    if PORTKEY.exists() and NODE.exists():
        return ""
    return "run npm install in compare/node"


def _start_tensorzero(tmp: Path, upstream: int) -> Running:
    config = tmp / "tensorzero.toml"
    config.write_text(TENSORZERO.format(upstream=upstream), "utf-8")
    python = ROOT / ".venvs" / "compare-tensorzero" / "bin" / "python"
    script = Path(__file__).with_name("tensorzero_server.py")
    log = tmp / "tensorzero.log"
    env = {"OPENAI_API_KEY": "bench-key"}
    program = Program([str(python), str(script), str(config)], log=log, env=env)

    def ports() -> list[int]:
        lines = log.read_text("utf-8", "replace").splitlines()
        return [
            int(line.split(":")[2].split("/")[0]) for line in lines if line.startswith("http://")
        ]

    return _ready(program, lambda: bool(ports()), ports)


def _started(
    command: list[str], log: Path, port: int, *, env: dict[str, str] | None = None, ready: str = "/"
) -> Running:
    program = Program(command, log=log, env=env)
    url = f"http://127.0.0.1:{port}{ready}"
    return _ready(program, lambda: answers(url), lambda: [port])


def _ready(program: Program, ready: Callable[[], bool], ports: Callable[[], list[int]]) -> Running:
    try:
        program.wait_until(ready, 90.0)
    except BaseException:
        program.stop()
        raise
    return Running(program=program, port=ports()[0])


UNBROKEN = Contender(
    name="unbroken",
    label="unbroken serve",
    features="checks of every event, healing (heal mode), health, metrics and page; resume offered",
    start=_start_unbroken,
    missing=_unbroken_missing,
    version=lambda: _installed("unbroken", "uvicorn", "aiohttp"),
)
CONTENDERS = (
    Contender(
        name="direct",
        label="direct",
        features="nothing between",
        start=_start_direct,
        missing=lambda: "",
        version=lambda: "",
    ),
    Contender(
        name="nginx",
        label="nginx",
        features="1 worker, proxy_buffering off, HTTP/1.1 and keep-alive upstream, no log",
        start=_start_nginx,
        missing=lambda: "" if Path(_nginx()).exists() else "nginx is not installed",
        version=_nginx_version,
    ),
    Contender(
        name="bare",
        label="bare uvicorn+aiohttp",
        features="bytes passed on, no checks, no health; no gateway to use",
        start=_start_bare,
        missing=lambda: "",
        version=lambda: _installed("uvicorn", "aiohttp", "httptools", "uvloop"),
    ),
    UNBROKEN,
    dataclasses.replace(
        UNBROKEN,
        name="unbroken-resume",
        label="unbroken serve, resume asked",
        features=f"{UNBROKEN.features}, and asked for: ids on events, journal in memory",
        headers={"x-unbroken-resume": "1"},
    ),
    Contender(
        name="tensorzero",
        label="TensorZero, embedded gateway",
        features="OpenAI-compatible endpoint, one model, observability off, no database",
        start=_start_tensorzero,
        missing=lambda: _environment_missing("tensorzero"),
        version=lambda: _in_environment("tensorzero", "tensorzero"),
        path="/openai/v1/chat/completions",
        model="tensorzero::model_name::bench",
    ),
    Contender(
        name="portkey",
        label="Portkey",
        features="custom host, no retries, no fallbacks, no log page",
        start=_start_portkey,
        missing=_portkey_missing,
        version=lambda: "@portkey-ai/gateway " + json.loads(PORTKEY.read_text())["version"],
    ),
    Contender(
        name="litellm",
        label="LiteLLM proxy",
        features="one model, 1 worker, no database, no callbacks, telemetry off",
        start=_start_litellm,
        missing=lambda: _environment_missing("litellm-proxy"),
        version=lambda: _in_environment("litellm-proxy", "litellm"),
        # It cannot hold more on one core: a thousand streams would be five times its capacity.
        paced_streams=100,
        idle_streams=500,
    ),
)
