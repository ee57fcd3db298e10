"""Real nginx, HAProxy and other clients before the lab: what they say is what users meet."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ai_sdk", "browser", "checked", "curl", "haproxy", "nginx", "node"]

_PATH = "/v1/chat/completions"
_NGINX = """
worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error.log info;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url}; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1s;
    }}
  }}
}}
"""
_HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 1s
  timeout client 5s
  timeout server 1s
frontend f
  bind 127.0.0.1:{port}
  default_backend lab
backend lab
  server lab1 {host}
"""
_NODE = """
import util from 'util';
try {
  const r = await fetch(process.argv[1] + '/v1/chat/completions', {
    method: 'POST', headers: {'content-type': 'application/json'}, body: process.argv[2],
    signal: AbortSignal.timeout(3000),
  });
  await r.text();
} catch (e) { console.log(util.inspect(e, {depth: 4})); }
"""

_AI_SDK = """
import util from 'util';
try {
  const {streamText} = await import(process.argv[3] + '/ai/dist/index.js');
  const {createOpenAI} = await import(process.argv[3] + '/@ai-sdk/openai/dist/index.js');
  const model = createOpenAI({baseURL: process.argv[1] + '/v1', apiKey: 'trial'});
  const got = streamText({
    model: model.chat(process.argv[2]), prompt: 'hi', maxRetries: 0, onError: () => {},
  });
  await got.text;
} catch (e) { console.log(util.inspect(e, {depth: 1})); }
"""
_FETCH = """
([path, body]) => fetch(path, {method: 'POST', body}).then(r => r.text()).then(
  text => '', error => String(error))
"""
_MODULES = Path(__file__).resolve().parent.parent / "compare" / "node" / "node_modules"


def _body(model: str) -> str:
    message = '[{"role": "user", "content": "hi"}]'
    return f'{{"model": "{model}", "stream": true, "messages": {message}}}'


def curl(url: str, model: str) -> str:
    """Ask by curl; return what it says on standard error, and a page that came instead."""
    return "".join(_curl(url, model, most_s=2.0)).strip()


def _curl(url: str, model: str, *, most_s: float) -> tuple[str, str]:
    done = subprocess.run(
        [
            *("curl", "-sS", "-N", "-m", str(most_s), url + _PATH),
            *("-H", "content-type: application/json", "-d", _body(model)),
        ],
        capture_output=True,
        text=True,
        timeout=most_s + 5,
        check=False,
    )
    return done.stderr, done.stdout if done.stdout.lstrip().startswith("<") else ""


def node(url: str, model: str) -> str:
    """Ask by Node's fetch; return the error as Node prints it."""
    if not shutil.which("node"):
        return ""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _NODE, url, _body(model)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout.strip()


def ai_sdk(url: str, model: str) -> str:
    """Ask by Vercel's AI SDK, where the comparison has installed it; return its error."""
    if not shutil.which("node") or not (_MODULES / "ai").exists():
        return ""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _AI_SDK, url, model, str(_MODULES)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout.strip()


def browser(url: str, model: str) -> str:
    """Ask by the fetch of Chromium; return the error, as scripts and the console see it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return ""
    program = shutil.which("chromium")
    if not program:
        return ""
    said: list[str] = []
    with sync_playwright() as play:
        page = play.chromium.launch(executable_path=program, args=["--no-sandbox"]).new_page()
        page.on("console", lambda line: said.append(line.text))
        page.goto(url)
        said.append(page.evaluate(_FETCH, [_PATH, _body(model)]))
    return "\n".join(line for line in said if line)


def checked(url: str, model: str) -> list[str]:
    """Ask by ``unbroken check``; return the kinds of the faults that it found."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "unbroken.cli", "check", "--json", url + _PATH),
            *("-H", "content-type: application/json", "-d", _body(model)),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    try:
        return [fault["kind"] for fault in json.loads(done.stdout)["faults"]]
    except (ValueError, KeyError, TypeError):
        return []


def nginx(url: str, model: str) -> str:
    """Ask through nginx; return its page, if it sent one, and its log of errors."""
    program = shutil.which("nginx")
    if not program:
        return ""
    with tempfile.TemporaryDirectory() as name, _port() as port:
        conf = Path(name, "nginx.conf")
        conf.write_text(_NGINX.format(dir=name, port=port, url=url), "utf-8")
        with _running([program, "-c", str(conf), "-e", f"{name}/start.log"], port):
            _, page = _curl(f"http://127.0.0.1:{port}", model, most_s=4.0)
            time.sleep(0.2)
        log = Path(name, "error.log").read_text("utf-8")
    errors = [line for line in log.splitlines() if "[error]" in line]
    return "\n".join([*errors, page])


def haproxy(url: str, model: str) -> str:
    """Ask through HAProxy; return its page, if it sent one, and its log."""
    program = shutil.which("haproxy")
    if not program:
        return ""
    with tempfile.TemporaryDirectory() as name, _port() as port:
        conf, log = Path(name, "haproxy.cfg"), Path(name, "log")
        conf.write_text(_HAPROXY.format(port=port, host=url.removeprefix("http://")), "utf-8")
        with log.open("wb") as out, _running([program, "-f", str(conf)], port, out):
            _curl(f"http://127.0.0.1:{port}", model, most_s=4.0)
            time.sleep(0.2)
        lines = [line for line in log.read_text("utf-8").splitlines() if "/lab1 " in line]
    return "\n".join(lines)


@contextlib.contextmanager
def _port() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    yield port


@contextlib.contextmanager
def _running(command: list[str], port: int, out: object = subprocess.DEVNULL) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)  # type: ignore[call-overload]
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(5)
