"""Starting the programs that are measured, what they use, and their certain end. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_WITHIN_S = 5.0


class NotReady(Exception):  # noqa: N818
    """A program did not start; says what it printed last."""


def more_files() -> int:
    """Raise the soft limit of open files as far as one may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """Return a process and all that it started, as they are now."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(path.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds (user and system) that processes used so far.

    The kernel's CPU clock of a process counts nanoseconds and the threads that ended, where
    utime and stime of /proc come in hundredths of a second.
    """
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def rss_bytes(pids: list[int]) -> int:
    """Return the memory that processes hold, shared pages counted once for each of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


class Program:
    """A program in a session of its own, its output in a file; ended with all it started."""

    def __init__(self, command: list[str], *, log: Path, env: dict[str, str] | None = None) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=ROOT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_until(self, ready: Callable[[], bool], within_s: float) -> None:
        """Wait until `ready` says so.

        Raises:
            NotReady: The program ended, or time was up.
        """
        until = time.monotonic() + within_s
        while not ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise NotReady(self.said())
            time.sleep(0.05)

    def said(self) -> str:
        """Return the end of what it printed."""
        return self._log.read_text("utf-8", "replace").strip()[-800:]

    def stop(self) -> None:
        for number, wait_s in ((signal.SIGTERM, STOP_WITHIN_S), (signal.SIGKILL, STOP_WITHIN_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
        # Children that outlived their parent are still of the same group.


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
