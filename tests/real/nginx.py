"""A real nginx for a test, run as the current user, with all it writes in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

_TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_START_S = 5.0


def nginx_program() -> str | None:
    # Debian puts it where only root's PATH looks.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """Proxy all requests to `upstream`; `settings` go into the location beside proxy_pass.

    With empty settings it is nginx as shipped: HTTP/1.0 upstream, buffering on.
    """

    def __init__(self, folder: Path, upstream: str, settings: str = "") -> None:
        program = nginx_program()
        assert program is not None, "ask nginx_program() first"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        config = folder / "nginx.conf"
        config.write_text(self._config(program, upstream, settings), "utf-8")
        self._process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def error_log(self) -> str:
        return (self._folder / "error.log").read_text("utf-8", "replace")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _config(self, program: str, upstream: str, settings: str) -> str:
        built = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
        paths = "\n".join(
            f"    {name}_temp_path {self._folder}/{name};"
            for name in _TEMPORARY_PATHS
            if f"--without-http_{name}_module" not in built
        )
        # Started by root the workers would be nobody's, and could not write to our folder.
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        return f"""
{user}
daemon off;
worker_processes 1;
pid {self._folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
{paths}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            proxy_pass {upstream};
            {settings}
        }}
    }}
}}
"""

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        self.close()
        raise RuntimeError(f"nginx did not start: {self.error_log}")
