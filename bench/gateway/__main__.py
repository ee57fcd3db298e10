"""What a gateway costs between a client and a model: ours and others, same load, one run.

    python -m bench.gateway [--quick] [--only nginx,unbroken] [--load paced] [--rounds 3]
                            [--json] [--write]

The upstream (`upstream.py`) and the load generator (`load.py`) are processes of their own that
handle prebuilt bytes on bare sockets. All gateways run at once and take turns within a round. Pairs
in the tables are the least and the median over the rounds; *added* is against the direct way in the
same round. Four loads:

- *full*: waves of 50 streams on new connections, 200 events each, an answer in one write.
- *each*: the same, every event a write of its own: the other end of what "full speed" may mean.
- *paced*: 1,000 streams, an event on each every 100 ms, looked at for `--seconds`.
- *idle*: 2,000 streams with 100 KiB requests that say nothing after their first event: what the
  gateway's memory grew by, in a process just started.

docs/reference/gateway-speed.md says more about how it is measured. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.gateway import report
from bench.gateway.contenders import CONTENDERS, Contender, Running
from bench.gateway.processes import ROOT, NotReady, Program, more_files

LOADS = ("full", "each", "paced", "idle")
REQUEST_BYTES = 300
IDLE_REQUEST_BYTES = 100 * 1024
LOAD_WITHIN_S = 400.0


class Bench:
    """One run: the upstream, the gateways that run now, and what was measured."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self._given = given
        self._folder = folder
        self.runs: list[dict[str, Any]] = []
        self.out: dict[str, str] = {}  # gateways that are not measured, and why

    @contextlib.contextmanager
    def upstream(self) -> Iterator[None]:
        log = self._folder / "upstream.log"
        program = Program([sys.executable, "-m", "bench.gateway.upstream"], log=log)
        try:
            program.wait_until(lambda: b"\n" in log.read_bytes(), 20.0)
            self._port = int(log.read_text().split()[0])
            yield
        finally:
            program.stop()

    @contextlib.contextmanager
    def running(self, contender: Contender) -> Iterator[Running | None]:
        """Run a gateway; None if it does not start."""
        running = None
        try:
            if contender.name not in self.out:
                folder = Path(tempfile.mkdtemp(dir=self._folder))
                running = contender.start(folder, self._port)
        except (NotReady, OSError) as exc:
            self.out[contender.name] = f"does not start: {str(exc)[-300:]}"
        try:
            yield running
        finally:
            if running is not None and running.program is not None:
                running.program.stop()

    def measure(self, contender: Contender, running: Running, load: str, number: int) -> None:
        given = self._given
        pid = running.program.pid if running.program is not None else 0
        streams = {"paced": given.paced_streams, "idle": given.idle_streams}.get(load, 50)
        most = {"paced": contender.paced_streams, "idle": contender.idle_streams}.get(load)
        job = {
            "load": "full" if load == "each" else load,
            "port": running.port,
            "upstream": self._port,
            "pid": pid,
            "path": contender.path,
            "model": contender.model,
            "headers": contender.headers,
            "streams": streams if most is None else min(most, streams),
            "seconds": given.seconds if load == "paced" else given.full_seconds,
            "burst": 1 if load == "each" else 200,
            "request_bytes": IDLE_REQUEST_BYTES if load == "idle" else REQUEST_BYTES,
        }
        self.say(f"round {number + 1}, {load}: {contender.label}")
        told = subprocess.run(
            [sys.executable, "-m", "bench.gateway.load", json.dumps(job)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LOAD_WITHIN_S,
            check=False,
        )
        if told.returncode:
            self.say(f"  failed: {told.stderr.strip()[-400:]}")
            return
        run = {"gateway": contender.name, "load": load, "round": number, "pid": pid}
        run |= json.loads(told.stdout)
        if run["refused"] or run["cut"]:
            self.say(f"  {run['cut']} cut, {run['refused']} refused: {run['refusal'][:300]}")
        self.runs.append(run)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def chosen(given: argparse.Namespace) -> list[Contender]:
    """Return who is measured; direct always is, the others are held against it."""
    names = [name for name in given.only.split(",") if name]
    unknown = set(names) - {one.name for one in CONTENDERS}
    if unknown:
        have = ", ".join(one.name for one in CONTENDERS)
        print(f"do not know {', '.join(sorted(unknown))}; there are: {have}", file=sys.stderr)
        sys.exit(2)
    return [one for one in CONTENDERS if not names or one.name in names or one.name == "direct"]


def run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure all, and return everything that is known."""
    who = chosen(given)
    loads = [load for load in LOADS if load in given.load.split(",")]
    bench = Bench(given, folder)
    bench.out = {one.name: reason for one in who if (reason := one.missing())}
    load_before = os.getloadavg()[0]
    with bench.upstream():
        # Memory first, of processes that have served nothing else; one figure is enough, for
        # other programs on the machine do not change it.
        for one in who if "idle" in loads else ():
            with bench.running(one) as running:
                if running is not None and running.program is not None:
                    bench.measure(one, running, "idle", 0)
        with contextlib.ExitStack() as stack:
            up = [(one, stack.enter_context(bench.running(one))) for one in who]
            for number in range(given.rounds):
                for load in (load for load in loads if load != "idle"):
                    for one, running in up:
                        if running is not None:
                            bench.measure(one, running, load, number)
    found = report.figures(bench.runs, IDLE_REQUEST_BYTES)
    return {
        "format": 1,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
        },
        "settings": {
            name: getattr(given, name)
            for name in ("rounds", "seconds", "full_seconds", "paced_streams", "idle_streams")
        },
        "gateways": {
            one.name: {
                "label": one.label,
                "version": one.version() if one.name not in bench.out else "",
                "features": one.features,
                "not_measured": bench.out.get(one.name, ""),
            }
            for one in who
        },
        "figures": found,
        "goals": {
            name: report.goals(found, name) for name in ("unbroken", "unbroken-resume", "bare")
        },
        "runs": bench.runs,
    }


TITLES = {
    "full": "Full speed: waves of 50 streams, 200 events each, an answer in one write",
    "each": "Full speed, every event a write of its own",
    "paced": "Paced: an event each 100 ms on every stream",
    "idle": "Idle: streams that say nothing, 100 KiB requests",
}


def show(got: dict[str, Any]) -> None:
    """Print the tables, who was measured with what on, and the goals."""
    labels = {name: one["label"] for name, one in got["gateways"].items()}
    for load in LOADS:
        if any(load in by for by in got["figures"].values()):
            print(f"\n{TITLES[load]}\n")
            print("\n".join(report.table(got["figures"], labels, load)))
    machine = got["machine"]
    print(
        f"\nload {machine['load_before']:.1f} before, {machine['load_after']:.1f} after,", end=" "
    )
    print(f"on {machine['cores']} cores: delays mean something only where nothing else runs")
    for one in got["gateways"].values():
        if one["not_measured"]:
            print(f"not measured: {one['label']}: {one['not_measured']}")
        elif one["version"]:
            print(f"{one['label']}: {one['version']}; {one['features']}")
    for name in ("unbroken", "unbroken-resume"):
        for goal in got["goals"][name]:
            sign = "met " if goal["met"] else "OVER"
            said = f"{goal['is']:.3g} (at most {goal['at_most']:.3g})"
            print(f"{sign}  {labels[name]}  {goal['goal']}: {said}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="names, with commas; direct is always there")
    parser.add_argument("--load", default=",".join(LOADS), help="of full,each,paced,idle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each paced run")
    parser.add_argument("--full-seconds", type=float, default=2.0, help="of each full-speed run")
    parser.add_argument("--paced-streams", type=int, default=1000)
    parser.add_argument("--idle-streams", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="one short round, a tenth of the load")
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead")
    parser.add_argument(
        "--write", action="store_true", help="keep everything in bench/gateway/results/"
    )
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.full_seconds = 1, 3.0, 1.0
        given.paced_streams, given.idle_streams = 200, 200
    return given


def main() -> int:
    """Run, print, keep if asked."""
    if not Path("/proc/self/stat").exists():
        print("bench/gateway reads /proc: Linux only; skipped", file=sys.stderr)
        return 0
    given = arguments()
    more_files()
    # What runs is ended on the way out; SIGTERM goes the same way as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
            got = run(given, Path(folder))
    except KeyboardInterrupt:
        return 130
    if given.write:
        path = Path(__file__).with_name("results") / f"{got['date']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(got, indent=1) + "\n", "utf-8")
        print(f"written: {path.relative_to(ROOT)}", file=sys.stderr)
    if given.json:
        print(json.dumps(got))
    else:
        show(got)
    return 0


if __name__ == "__main__":
    sys.exit(main())
