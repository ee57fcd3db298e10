"""Chaos for the gateway: lab, gateway and clients in processes of their own, 1,000 streams at once.

    python scripts/soak_gateway.py --streams 10000 --width 500     10,000 streams, 2 x 500 at once
    python scripts/soak_gateway.py --streams 2000 --kill-lab 5     the upstream dies every 5 s
    python scripts/soak_gateway.py --only 1000042                  one stream again

What is played is drawn from the seed, as soak.py draws it (soak_cases.py); half of the clients ask
to be able to resume, hang up in mid-answer, and read on. Each stream must end healed or with an
honest error, and nothing wrong before it; all else is printed, and the exit code is 1.

The gateway's memory is read each second. The clocks are soak.py's, times --slow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import soak_clients
from soak_cases import DIALECTS, Case, draw
from soak_gateway_client import Answer, Ask, read
from soak_report import GOOD, Result, Tally, show

from unbroken.lab.oracle import examine, examine_arguments
from unbroken.lab.server.sessions import Sessions

PATIENCE_S = 240.0
_PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
}
_STARTED_S = 30.0
_VARIANTS = 16  # answers that the lab's model gives to one question, at most so many requests


# ---------------------------------------------------------------- one stream


def ask_of(case: Case, gateway: str, leaves: float) -> Ask:
    """Return what a client asks, and how."""
    chance = random.Random(f"unbroken-soak-gateway/{case.seed}")
    how = chance.choices(("plain", "resume", "again"), (5, 3, 2))[0] if leaves else "plain"
    model = f"lab/{case.plan};id=g{case.seed}"
    path = _PATHS.get(case.dialect)
    body: dict[str, Any] = {**soak_clients._body(case)}
    if case.dialect == "gemini":
        path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
        turn = {"role": "user", "parts": [{"text": soak_clients._PROMPT[0]["content"]}]}
        body = {"contents": [turn], **body}
    else:
        name = "input" if case.dialect == "openai-responses" else "messages"
        body = {"model": model, name: soak_clients._PROMPT, "stream": True, **body}
        if case.dialect == "anthropic-messages":
            body.setdefault("max_tokens", 4000)
    return Ask(
        url=f"{gateway}{path}",
        gateway=gateway,
        dialect=case.dialect,
        say=case.say,
        body=body,
        key=f"key-{case.seed}",
        how=how,
        leaves=chance.choice((0.005, 0.02, 0.2)) * leaves,
        chance=chance,
    )


def judge(case: Case, ask: Ask, answer: Answer, *, hung: bool) -> Result:
    """Return what became of a stream."""
    numbered = Sessions().make(case.plan).numbered
    look = examine_arguments if case.say == "tool" else examine
    report = look(answer.text, numbered, ended_well=not answer.error)
    # What was lost before it was numbered is known only at the end, where Responses repeats all.
    told_loss = bool(
        answer.error
        and "missing-event" in answer.error + answer.body[-2000:].decode("utf-8", "replace")
        and report.lost
        and not (report.repeated or report.reordered)
        and len(report.invented) + report.glued <= len(report.lost)
    )
    # An error before the first number came: which answer it was, only the answers themselves tell.
    begun = bool(answer.error and case.say == "text") and any(
        replace(numbered, variant=variant).text.startswith(answer.text)
        for variant in range(_VARIANTS)
    )
    if begun and not report.got:
        report = look("", numbered, ended_well=False)
    if hung:
        verdict = "hung"
    elif report.verdict == "corrupted" and not told_loss:
        verdict = "corrupted"
    elif "lab: " in answer.error and "status 400" in answer.error:
        verdict = "not played"
    elif answer.error:
        verdict = "honest error"
    else:
        verdict = "healed" if report.whole else "laundered"
    return Result(
        seed=case.seed,
        case=f"{ask.how}, left {answer.left} times; {case}",
        drive=f"{ask.how}/{case.dialect}",
        verdict=verdict,
        tokens=report.got,
        lost=0 if told_loss else len(report.lost),
        lost_and_told=len(report.lost) if told_loss else 0,
        repeated=len(report.repeated),
        reordered=len(report.reordered),
        invented=0 if told_loss else len(report.invented) + report.glued,
        requests=1 + answer.left,
        told=report.describe(),
        raised=answer.error.partition(":")[0],
        error=answer.error,
    )


async def play(arguments: argparse.Namespace, seeds: Iterator[int]) -> None:
    """Play cases, `width` at once, and print a line of JSON for each."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, read_bufsize=2**18
    ) as session:

        async def one(seed: int) -> None:
            case = draw(seed, arguments.without)
            ask = ask_of(case, arguments.gateway, arguments.leaves)
            began_s = time.monotonic()
            answer, hung = Answer(error="nothing came"), False
            try:
                async with asyncio.timeout(PATIENCE_S):
                    answer = await read(session, ask)
            except TimeoutError:
                hung = True
            result = judge(case, ask, answer, hung=hung)
            if not arguments.kill_lab:
                await look_at_lab(session, arguments.lab, result)
            result.duration_s = round(time.monotonic() - began_s, 3)
            print(json.dumps(asdict(result)), flush=True)

        async def work() -> None:
            for seed in seeds:
                await one(seed)

        await asyncio.gather(*(work() for _ in range(arguments.width)))


async def look_at_lab(session: aiohttp.ClientSession, lab: str, result: Result) -> None:
    """Note what the lab dealt out, and have it forget the session."""
    url = f"{lab}/_lab/sessions/g{result.seed}"
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(url) as response:
            log = await response.json() if response.status == 200 else {"attempts": []}
        attempts = log["attempts"]
        result.requests = len(attempts)
        for attempt in attempts:
            for _, struck in attempt["strikes"]:
                name = struck.partition("@")[0].partition(":")[0]
                result.faults[name] = result.faults.get(name, 0) + 1
        refused = next((attempt["error"] for attempt in attempts if attempt["error"]), "")
        if refused and result.verdict in GOOD:
            result.verdict, result.told = "not played", refused
        if result.verdict not in (*GOOD, "not played"):
            result.timeline = json.dumps(attempts)
        else:
            async with session.delete(url):
                pass


# ---------------------------------------------------------------- processes


def config(lab: str, listen: str, arguments: argparse.Namespace) -> str:
    """Return the gateway's configuration."""
    clocks = ", ".join(
        f"{name} = {getattr(soak_clients._CLOCKS, name) * arguments.slow:g}"
        for name in ("first_event_s", "silence_s", "progress_text_s", "progress_slow_s", "notice_s")
    )
    redis = f'kind = "redis"\nurl = "{arguments.redis}"\nkey = {{ env = "SOAK_JOURNAL_KEY" }}'
    return f"""
version = 1
listen = "{listen}"
[upstreams.lab]
url = "{lab}"
[[routes]]
upstream = "lab"
heartbeat_s = {arguments.heartbeat_s}
[routes.options]
max_recovery_s = {20.0 * arguments.slow:g}
heal_share = 1.0
heals_always = 1_000_000_000
breaker_failures = 1_000_000
clocks = {{ {clocks} }}
[resume]
keep_s = {arguments.keep_s}
[journal]
max_total_bytes = {arguments.journal_mib * 1024 * 1024}
{redis if arguments.redis else ""}
"""


class Lab:
    """The lab's process; can be killed, and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.deaths = 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "unbroken.cli", "lab", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        listens(self.port)

    def die_and_rise(self, every_s: float, over: threading.Event) -> None:
        """Kill it at random moments until ``over``."""
        while not over.wait(random.uniform(0.5, 1.5) * every_s):
            self.process.kill()
            self.process.wait()
            self.deaths += 1
            over.wait(random.uniform(0, every_s / 4))
            self.start()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listens(port: int) -> None:
    """Wait until somebody listens on a port."""
    until_s = time.monotonic() + _STARTED_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Memory:
    """Reads the memory of a process each second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.samples: list[tuple[float, float]] = []
        self.began_s = time.monotonic()

    def follow(self, over: threading.Event) -> None:
        """Read it until ``over``."""
        while not over.wait(1.0):
            with contextlib.suppress(psutil.NoSuchProcess):
                mib = self._process.memory_info().rss / 2**20
                self.samples.append((round(time.monotonic() - self.began_s, 1), round(mib, 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return what is reported."""
        mib = [size for _, size in self.samples] or [0.0]
        fifth = len(mib) // 5
        parts = [mib[n * fifth : (n + 1) * fifth] or mib for n in range(5)]
        return {
            "gateway_mib_at_start": mib[0],
            "gateway_mib_most": {f"fifth {n}": round(max(part)) for n, part in enumerate(parts, 1)},
            "gateway_mib_at_end": mib[-1],
            "gateway_cpu_s": round(sum(self._process.cpu_times()[:2]), 1),
        }


def soak(arguments: argparse.Namespace) -> tuple[Tally, dict[str, Any]]:
    """Start everything, play, and return the sums and what else is known."""
    lab = Lab()
    port = free_port()
    gateway = f"http://127.0.0.1:{port}"
    over = threading.Event()
    tally, lock, left = Tally(), threading.Lock(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.toml"
        file.write_text(config(lab.url, f"127.0.0.1:{port}", arguments), "utf-8")
        log = (Path(folder) / "gateway.log").open("w+")
        serving = subprocess.Popen(
            [sys.executable, "-m", "unbroken.cli", "serve", "--config", str(file)],
            stderr=log,
            stdout=log,
        )
        listens(port)
        memory = Memory(serving.pid)
        helpers = [threading.Thread(target=memory.follow, args=(over,))]
        if arguments.kill_lab:
            killing = (arguments.kill_lab, over)
            helpers.append(threading.Thread(target=lab.die_and_rise, args=killing))
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        more = ["--gateway", gateway, "--lab", lab.url]
        clients = [
            subprocess.Popen(
                [*own, *more, "--job", f"{n}/{arguments.jobs}"], stdout=subprocess.PIPE, text=True
            )
            for n in range(arguments.jobs)
        ]

        def follow(client: subprocess.Popen[str]) -> None:
            assert client.stdout is not None
            for line in client.stdout:
                result = Result(**json.loads(line))
                with lock:
                    tally.add(result)
                    left["times"] += int(result.case.partition("left ")[2].partition(" ")[0])
                    if tally.streams % 500 == 0:
                        now = memory.samples[-1][1] if memory.samples else 0.0
                        print(f"{tally.line()} (gateway {now:.0f})", file=sys.stderr, flush=True)

        helpers += [threading.Thread(target=follow, args=(client,)) for client in clients]
        for helper in helpers:
            helper.start()
        for client in clients:
            client.wait()
        time.sleep(arguments.rest_s)
        over.set()
        for helper in helpers:
            helper.join()
        extra = memory.to_dict()
        alive = serving.poll() is None
        serving.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            serving.wait(20)
        serving.kill()
        lab.process.kill()
        log.seek(0)
        told = Counter(line.strip()[:160] for line in log if "listening" not in line)
        log.close()
    extra |= {
        "gateway_lived": alive,
        "gateway_exit_code": serving.returncode,
        "gateway_said": dict(told.most_common(10)),
        "clients_hung_up": left["times"],
        "lab_killed": lab.deaths,
    }
    return tally, extra


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=1000, help="how many streams")
    parser.add_argument("--minutes", type=float, help="how long, in place of --streams")
    parser.add_argument("--seed", type=int, default=1, help="of the first stream, in millions")
    parser.add_argument("--jobs", type=int, default=2, help="processes of clients")
    parser.add_argument("--width", type=int, default=100, help="streams at once in each of them")
    parser.add_argument("--slow", type=float, default=3.0, help="all clocks times this")
    parser.add_argument("--leaves", type=float, default=1.0, help="0: no client hangs up")
    parser.add_argument("--kill-lab", type=float, metavar="SECONDS", help="about so often")
    parser.add_argument("--redis", default="", metavar="URL", help="the journal is there")
    parser.add_argument("--keep-s", type=float, default=20.0, help="ended streams are kept")
    parser.add_argument("--journal-mib", type=int, default=64, help="the journal's most memory")
    parser.add_argument("--heartbeat-s", type=float, default=1.0)
    parser.add_argument("--rest-s", type=float, default=0.0, help="looks at memory so much longer")
    parser.add_argument("--only", type=int, action="append", metavar="SEED", help="these streams")
    parser.add_argument(
        "--without", action="append", default=[], metavar="FAULT", help="leave a fault out"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    for hidden in ("--job", "--gateway", "--lab"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        asyncio.run(play(arguments, seeds_of(arguments)))
        return 0
    tally, extra = soak(arguments)
    report = tally.to_dict(arguments.seed, arguments.without) | extra
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2), "utf-8")
    show(report, sys.stdout)
    return 0 if tally.ok and extra["gateway_lived"] else 1


def seeds_of(arguments: argparse.Namespace) -> Iterator[int]:
    """Yield this process's share of the seeds."""
    number, jobs = map(int, arguments.job.split("/"))
    if arguments.only:
        yield from arguments.only[number::jobs]
        return
    until_s = time.monotonic() + arguments.minutes * 60 if arguments.minutes else None
    at = number
    while at < arguments.streams if until_s is None else time.monotonic() < until_s:
        yield arguments.seed * 1_000_000 + at
        at += jobs


assert set(DIALECTS["astream"]) == {*_PATHS, "gemini"}

if __name__ == "__main__":
    sys.exit(main())
