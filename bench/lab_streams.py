"""Whether one lab server keeps its own pace with 1,000 streams open at once.

    python -m bench.lab_streams [--streams 1000] [--per-second 20] [--seconds 10] [--json]

The server is `unbroken lab serve` in a process of its own. This process opens all streams within
`--ramp` seconds, reads them by bare sockets, and notes when each content frame came. All are open
together for `--seconds`.

*Late* is a frame against its own stream's pace: the stream's earliest frame, relative to its
number, sets the beat. What the reader does not get to in time counts as late too, so the figure is
an upper bound. Shares are of the pace (the time from one frame to the next); the goal is that the
99th percentile stays under one while all streams are open. While they are being opened the server
also writes their answers, each for a model's name of its own, so nothing is remembered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import time
import urllib.request
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVE = [sys.executable, "-m", "unbroken.cli", "lab", "serve", "--port", "0", "--json", "--quiet"]
REQUEST = """\
POST /v1/chat/completions HTTP/1.1\r
host: 127.0.0.1\r
content-type: application/json\r
content-length: {length}\r
connection: close\r
\r
{body}"""
GOAL_SHARE = 1.0
GIVE_UP_S = 60.0


class Reader:
    """One stream: its socket, and when each frame came."""

    __slots__ = ("came", "socket", "tail")

    def __init__(self, port: int, model: str) -> None:
        self.came = array("d")
        self.tail = b""
        body = json.dumps({"model": model, "stream": True, "messages": []})
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(REQUEST.format(length=len(body), body=body).encode())
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Note the frames that are there; return False at the end."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        now = time.monotonic()
        # A frame ends in an empty line; one that is cut between two reads is not counted twice.
        for _ in range((self.tail + data).count(b"\n\n")):
            self.came.append(now)
        self.tail = data[-1:] if data[-1:] == b"\n" and data[-2:] != b"\n\n" else b""
        return bool(data)


def lateness(came: array[float], frames: int, pace_s: float) -> Iterator[tuple[float, float]]:
    """Yield when each content frame came, and how late; the first of all only opens the answer."""
    content = came[1 : frames + 1]
    against = [at - number * pace_s for number, at in enumerate(content)]
    beat = min(against)
    return zip(content, (one - beat for one in against), strict=True)


def spread(late: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and worst, in seconds."""
    late.sort()
    return {"median": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "worst": late[-1]}


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100
    told = subprocess.run(
        ["ps", "-o", "cputime=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    seconds = 0.0
    for part in told.stdout.strip().split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def run(streams: int, per_second: float, seconds: float, ramp_s: float) -> dict[str, Any]:
    """Open the streams, read them to their ends, and return the figures."""
    with contextlib.suppress(ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    frames = int((seconds + ramp_s) * per_second)
    settings = f"tokens={frames};tps={per_second:g};delta=token"
    server = subprocess.Popen(SERVE, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        port = int(url.rpartition(":")[2])
        Reader(port, f"lab/ok;{settings};id=warm").socket.close()
        readers, figures, (steady, first_end) = _read(server.pid, port, streams, settings, ramp_s)
        with urllib.request.urlopen(f"{url}/_lab/sessions") as told:
            logs = [log for one in json.load(told)["sessions"] for log in one["attempts"]]
    finally:
        server.terminate()
        server.wait(10)
    short = sum(len(reader.came) < frames + 1 for reader in readers)
    pace_s = 1 / per_second
    assert any(len(reader.came) > 1 for reader in readers), "the server sent nothing"
    phases: dict[str, list[float]] = {"opening": [], "all open": [], "ending": []}
    for reader in readers:
        for at, late_s in lateness(reader.came, frames, pace_s) if len(reader.came) > 1 else ():
            phase = "opening" if at < steady else "all open" if at < first_end else "ending"
            phases[phase].append(late_s)
    return {
        "streams": streams,
        "frames": sum(map(len, phases.values())),
        "short_streams": short,
        "pace_s": pace_s,
        **figures,
        "late_s": {phase: spread(late) for phase, late in phases.items() if late},
        "servers_own_worst_s": max(log["late_s"] for log in logs),
    }


def _read(
    pid: int, port: int, streams: int, settings: str, ramp_s: float
) -> tuple[list[Reader], dict[str, float], tuple[float, float]]:
    selector = selectors.DefaultSelector()
    readers: list[Reader] = []
    running = most = 0
    began = steady = time.monotonic()
    cpu = cpu_began = cpu_s(pid)
    first_end = 0.0
    while running or len(readers) < streams:
        now = time.monotonic()
        while len(readers) < streams and began + len(readers) * ramp_s / streams <= now:
            reader = Reader(port, f"lab/ok;{settings};id=b{len(readers)}")
            readers.append(reader)
            selector.register(reader.socket, selectors.EVENT_READ, reader)
            running += 1
            if len(readers) == streams:
                steady, cpu_began = time.monotonic(), cpu_s(pid)
            if time.monotonic() > now + 0.005:
                break
        most = max(most, running)
        for key, _ in selector.select(0.001 if len(readers) < streams else 0.5):
            if not key.data.read():
                if not first_end:
                    first_end, cpu = time.monotonic(), cpu_s(pid)
                selector.unregister(key.data.socket)
                key.data.socket.close()
                running -= 1
        if time.monotonic() > began + ramp_s + GIVE_UP_S:
            break
    together_s = max(first_end - steady, 0.001)
    figures = {
        "most_at_once": most,
        "together_s": together_s,
        "cpu_share": (cpu - cpu_began) / together_s,
    }
    return readers, figures, (steady, first_end)


def main() -> int:
    """Run, print, and return 1 if the server fell behind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--per-second", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--ramp", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    busy = os.getloadavg()[0]  # what else runs here takes the server's turns
    got = run(given.streams, given.per_second, given.seconds, given.ramp)
    p99 = got["late_s"]["all open"]["p99"] / got["pace_s"]
    fine = p99 < GOAL_SHARE and not got["short_streams"]
    if given.json:
        print(
            json.dumps(
                {**got, "load_before": busy, "p99_in_paces": p99, "goal": GOAL_SHARE, "met": fine}
            )
        )
        return 0 if fine else 1
    print(
        f"{got['most_at_once']} streams open at once, {given.per_second:g} frames a second each,"
        f" together for {got['together_s']:.1f} s: {got['frames']:,} frames"
    )
    print(f"  load before: {busy:.1f} on {os.cpu_count()} cores")
    for phase, late in got["late_s"].items():
        for name, late_s in late.items():
            share = late_s / got["pace_s"]
            print(f"  {phase:8}  {name:6} late  {late_s * 1000:7.1f} ms  {share:6.2f} of the pace")
    print(f"  worst as the server saw it  {got['servers_own_worst_s'] * 1000:7.1f} ms")
    print(f"  CPU of the server  {got['cpu_share']:.0%} of a core")
    if got["short_streams"]:
        print(f"SHORT: {got['short_streams']} streams")
    if not fine:
        print(f"OVER: the 99th percentile must be under {GOAL_SHARE:g} of the pace")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
