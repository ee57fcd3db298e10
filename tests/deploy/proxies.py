"""The real nginx and HAProxy, run by what deploy/ has for them, on ports of the test's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["DEPLOY", "KINDS", "Proxy", "certificate", "free_port", "haproxy", "nginx", "program",
           "proxy", "put", "start_nginx", "until", "unbroken"]  # fmt: skip

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
KINDS = ("nginx", "haproxy")

_NGINX = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(kw_only=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        kind: Which one.
        url: Without TLS.
        log: Where its access log is.
        tls_url: With TLS; empty where the configuration has none.
    """

    kind: str
    url: str
    log: Path
    tls_url: str = ""


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is missing")
    return found


_given: set[int] = set()  # the kernel may give one again, to the next server of the same test


def free_port() -> int:
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def until(true, limit_s: float = 15, why=lambda: "") -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"it did not happen: {why()}"
        time.sleep(0.02)


def put(text: str, changes: dict[str, str]) -> str:
    """Put what a test needs in place of what a machine has; each must be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not there any more"
        text = text.replace(old, new)
    return text


def certificate(folder: Path) -> tuple[Path, Path]:
    key, cert = folder / "tls.key", folder / "tls.crt"
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=llm.example.com", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@contextlib.contextmanager
def _running(command: Sequence[str | Path], port: int, said: Path) -> Iterator[None]:
    with said.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def listens() -> bool:
        assert process.poll() is None, said.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        until(listens, why=said.read_text)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_nginx(folder: Path, site: str, port: int):
    """Look at a configuration with ``nginx -t``, and run it."""
    (folder / "site.conf").write_text(site, "utf-8")
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not read the folder
    main = folder / "nginx.conf"
    main.write_text(_NGINX.format(folder=folder, user=user), "utf-8")
    command = [program("nginx"), "-e", str(folder / "error.log"), "-c", str(main)]
    looked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stderr
    # That it will be written otherwise from nginx 1.25 on, the file itself says.
    warnings = [line for line in looked.stderr.splitlines() if "[warn]" in line]
    assert not [line for line in warnings if "http2" not in line], warnings
    return _running(command, port, folder / "said")


@contextlib.contextmanager
def nginx(folder: Path, gateways: Sequence[int], *, read_timeout_s: float = 900) -> Iterator[Proxy]:
    """Run deploy/nginx/unbroken.conf before gateways on these ports."""
    plain, tls = free_port(), free_port()
    key, cert = certificate(folder)
    one = "server 127.0.0.1:8411 max_fails=0;"
    proxying = put(
        (DEPLOY / "nginx/unbroken_proxy.conf").read_text("utf-8"),
        {"proxy_read_timeout 900s;": f"proxy_read_timeout {read_timeout_s:g}s;"},
    )
    (folder / "unbroken_proxy.conf").write_text(proxying, "utf-8")
    site = put(
        (DEPLOY / "nginx/unbroken.conf").read_text("utf-8"),
        {
            one: "\n".join(one.replace("8411", str(port)) for port in gateways),
            "listen 443 ssl http2;": f"listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;",
            "/etc/nginx/tls/llm.example.com.crt": str(cert),
            "/etc/nginx/tls/llm.example.com.key": str(key),
            "/etc/nginx/unbroken_proxy.conf": str(folder / "unbroken_proxy.conf"),
            "/var/log/nginx/unbroken.log": str(folder / "access.log"),
        },
    )
    with start_nginx(folder, site, plain):
        yield Proxy(
            kind="nginx",
            url=f"http://127.0.0.1:{plain}",
            tls_url=f"https://127.0.0.1:{tls}",
            log=folder / "access.log",
        )


@contextlib.contextmanager
def haproxy(
    folder: Path, gateways: Sequence[int], *, read_timeout_s: float = 900
) -> Iterator[Proxy]:
    """Run deploy/haproxy/haproxy.cfg before gateways on these ports."""
    path = program("haproxy")
    plain, tls = free_port(), free_port()
    key, cert = certificate(folder)
    pem = folder / "tls.pem"
    pem.write_text(cert.read_text() + key.read_text())
    one = "server unbroken-1 127.0.0.1:8411"
    servers = [
        one.replace("unbroken-1", f"unbroken-{n}").replace("8411", str(port))
        for n, port in enumerate(gateways, 1)
    ]
    text = put(
        (DEPLOY / "haproxy/haproxy.cfg").read_text("utf-8"),
        {
            one: "\n    ".join(servers),
            "timeout server 900s": f"timeout server {round(read_timeout_s * 1000)}ms",
            "bind :443 ssl crt /etc/haproxy/llm.example.com.pem": f"bind 127.0.0.1:{plain}\n"
            f"    bind 127.0.0.1:{tls} ssl crt {pem}",
            "    log global": "    log stdout format raw local0",
            "maxconn 20000": "maxconn 200",
        },
    )
    config = folder / "haproxy.cfg"
    config.write_text(text, "utf-8")
    looked = subprocess.run([path, "-c", "-f", config], capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stderr + looked.stdout
    assert "WARNING" not in looked.stderr, looked.stderr
    with _running([path, "-db", "-f", str(config)], plain, folder / "said"):
        yield Proxy(
            kind="haproxy",
            url=f"http://127.0.0.1:{plain}",
            tls_url=f"https://127.0.0.1:{tls}",
            log=folder / "said",
        )


def proxy(kind: str, folder: Path, gateways: Sequence[int], **more: float):
    """Run the proxy of this name."""
    return {"nginx": nginx, "haproxy": haproxy}[kind](folder, gateways, **more)


def unbroken(*arguments: str) -> list[str]:
    """The command line of `unbroken`, as this Python has it."""
    return [sys.executable, "-c", "import unbroken.cli; unbroken.cli.main()", *arguments]
