"""Chaos for ourselves: Unbroken against the lab, with random faults, for as long as you like.

    python scripts/soak.py --streams 500          as many streams
    python scripts/soak.py --minutes 30 --jobs 4  as long
    python scripts/soak.py --only 1000042         one stream again, with its timeline

Each stream is drawn from its seed (soak_cases.py): client, dialect, answer, options, and what goes
wrong. It must end healed, which is the whole answer once and in order, or with an honest error,
and nothing wrong before it. All else is printed with seed and plan, and the exit code is 1.

Clocks are scaled: Unbroken waits one second where it would wait minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soak_cases import Case, draw
from soak_report import GOOD, Result, Tally, show

PATIENCE_S = 60.0
BUGS = (AttributeError, TypeError, LookupError, AssertionError, NameError, RecursionError)


# ---------------------------------------------------------------- one stream


class Job:
    """Plays streams in one process, with a lab of its own."""

    def __init__(self, *, width: int, without: list[str]) -> None:
        from unbroken.lab.testing import Lab

        self._width, self._without = width, without
        self._lab = Lab()

    async def run(self, seeds: Iterator[int], report: Callable[[Result], None]) -> None:
        """Play the cases of seeds, several at once."""

        async def work() -> None:
            for seed in seeds:
                report(await self._play(draw(seed, self._without)))

        try:
            await asyncio.gather(*(work() for _ in range(self._width)))
        finally:
            self._lab.close()

    async def _play(self, case: Case) -> Result:
        import soak_clients as clients

        from unbroken.lab.testing import Fault

        fault = Fault(self._lab, f"{case.plan};id=s{case.seed}")
        said: list[str] = []
        take = said.append
        streams: list[Any] = []
        opened = streams.append
        error: BaseException | None = None
        hung = False
        began_s = time.monotonic()

        async def gather() -> None:
            async for text in clients.ask_async(case, self._lab.url, fault.model, opened):
                take(text)

        def read() -> None:
            for text in clients.ask(case, self._lab.url, fault.model, opened):
                take(text)

        try:
            async with asyncio.timeout(PATIENCE_S):
                await (gather() if clients.is_async(case) else in_thread(read))
        except TimeoutError as late:
            hung, error = time.monotonic() - began_s >= PATIENCE_S, late
        except Exception as raised:  # noqa: BLE001  all are judged
            error = raised
        outcome = streams[0].outcome if streams and not hung else None
        result = self._judge(case, fault, "".join(said), error, hung, outcome)
        result.duration_s = round(time.monotonic() - began_s, 3)
        self._lab.server.forget(fault.session.id)
        return result

    def _judge(
        self,
        case: Case,
        fault: Any,
        text: str,
        error: BaseException | None,
        hung: bool,
        outcome: Any,
    ) -> Result:
        import soak_clients as clients

        import unbroken

        report = fault.note(text, error=error)
        outcome = outcome or unbroken.outcome_of(error)
        known = isinstance(error, clients.HONEST) or unbroken.outcome_of(error) is not None
        raised = "" if error is None else type(error).__name__ + ("" if known else " (not ours)")
        told_loss = _told_loss(report, error, outcome)
        if hung:
            verdict = "hung"
        elif report.verdict == "corrupted" and not told_loss:
            verdict = "corrupted"
        elif error is not None:
            verdict = "crashed" if isinstance(error, BUGS) and not known else "honest error"
        elif not report.whole:
            verdict = "laundered"
        else:
            same = case.say == "tool" or outcome is None or outcome.overflowed
            told = outcome is None or (outcome.complete and (same or outcome.text == text))
            verdict = "healed" if told else "untrue outcome"
        strikes = Counter(
            struck.partition("@")[0].partition(":")[0]
            for attempt in fault.attempts
            for _, struck in attempt.strikes
        )
        refused = next((attempt.error for attempt in fault.attempts if attempt.error), "")
        return Result(
            seed=case.seed,
            case=str(case),
            drive=f"{case.drive}/{case.dialect}",
            verdict="not played" if refused and verdict in GOOD else verdict,
            tokens=report.got,
            lost=0 if told_loss else len(report.lost),
            lost_and_told=len(report.lost) if told_loss else 0,
            repeated=len(report.repeated),
            reordered=len(report.reordered),
            invented=0 if told_loss else len(report.invented) + report.glued,
            requests=len(fault.attempts),
            faults=dict(strikes),
            told=refused or report.describe(),
            raised=raised,
            error=_said_of(error, known=known),
            rss_mb=_rss_mb(),
            timeline="" if verdict in GOOD else fault.timeline(),
        )


def _told_loss(report: Any, error: BaseException | None, outcome: Any) -> bool:
    """Whether all that is wrong is lost tokens, and the error says that something is missing.

    What was lost before it was numbered is known only at the end, where Responses repeats all.
    Pieces of tokens that were lost in part are no invention.
    """
    if error is None or outcome is None or report.repeated or report.reordered:
        return False
    if len(report.invented) + report.glued > len(report.lost):
        return False
    kinds = {fault.kind for fault in outcome.faults if fault.severity == "fatal"}
    return "missing-event" in kinds and bool(report.lost)


def _said_of(error: BaseException | None, *, known: bool) -> str:
    """Return an error's words, and where it came from if it is none of ours or the SDK's."""
    if error is None:
        return ""
    said = f"{type(error).__name__}: {error}"[:500]
    return said if known else said + "\n" + "".join(traceback.format_tb(error.__traceback__)[-4:])


async def in_thread(work: Callable[[], None]) -> None:
    """Do blocking work in a daemon thread, which a hang does not keep from ending the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001  handed on
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True).start()
    await done


def _rss_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


# ---------------------------------------------------------------- processes


def job(arguments: argparse.Namespace) -> int:
    """Play this process's share, and print a line of JSON for each stream."""
    number, jobs = map(int, arguments.job.split("/"))
    until_s = time.monotonic() + arguments.minutes * 60 if arguments.minutes else None

    def seeds() -> Iterator[int]:
        if arguments.only:
            yield from arguments.only[number::jobs]
            return
        at = number
        while at < arguments.streams if until_s is None else time.monotonic() < until_s:
            yield arguments.seed * 1_000_000 + at
            at += jobs

    def report(result: Result) -> None:
        print(json.dumps(asdict(result)), flush=True)

    # The lab may write a few times more to clients that have left, and asyncio would tell of each.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(Job(width=arguments.width, without=arguments.without).run(seeds(), report))
    return 0


def soak(arguments: argparse.Namespace) -> Tally:
    """Run the jobs, and sum up what they print."""
    own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
    tally, lock = Tally(), threading.Lock()
    shown_s = 0.0

    def follow(process: subprocess.Popen[str]) -> None:
        nonlocal shown_s
        assert process.stdout is not None
        for line in process.stdout:
            with lock:
                tally.add(Result(**json.loads(line)))
                if time.monotonic() - shown_s > 2:
                    shown_s = time.monotonic()
                    print(tally.line(), file=sys.stderr, flush=True)

    processes = [
        subprocess.Popen(
            [*own, "--job", f"{n}/{arguments.jobs}"], stdout=subprocess.PIPE, text=True
        )
        for n in range(arguments.jobs)
    ]
    followers = [threading.Thread(target=follow, args=(process,)) for process in processes]
    try:
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
    except KeyboardInterrupt:  # the report so far is still worth having
        for process in processes:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        if process.wait() not in (0, -signal.SIGTERM):
            tally.bad.append(
                Result(seed=0, case="a whole process", drive="", verdict="crashed",
                       told=f"a job ended with {process.returncode}")
            )  # fmt: skip
    return tally


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=500, help="how many streams")
    parser.add_argument("--minutes", type=float, help="how long, in place of --streams")
    parser.add_argument("--seed", type=int, default=1, help="of the first stream, in millions")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--width", type=int, default=8, help="streams at once in each process")
    parser.add_argument("--only", type=int, action="append", metavar="SEED", help="these streams")
    parser.add_argument(
        "--without", action="append", default=[], metavar="FAULT", help="leave a fault out"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there too; - prints it")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        return job(arguments)
    arguments.jobs = max(1, min(arguments.jobs, len(arguments.only or range(10_000))))
    tally = soak(arguments)
    report = tally.to_dict(arguments.seed, arguments.without)
    if arguments.json:
        text = json.dumps(report, indent=2)
        print(text) if arguments.json == "-" else Path(arguments.json).write_text(text, "utf-8")
    if arguments.json != "-":
        show(report, sys.stdout)
    return 0 if tally.ok else 1


if __name__ == "__main__":
    sys.exit(main())
