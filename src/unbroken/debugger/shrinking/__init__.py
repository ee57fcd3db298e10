"""Recordings, made as small as they can be while something still fails with them; see `shrink`.

sketch       a recording in memory: frames that can go, reads that can be joined
judging      whether it still fails: by a command against a replay, or by a fault's kind
ddmin, texts what can be left out: of a row of things, and of a text in JSON
steps        all of it in order, with what is known already
pytest_file  the test that repeats it
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from unbroken.core.recording import RecordingError
from unbroken.debugger.index import RecordingIndex, StreamEntry
from unbroken.debugger.shrinking.judging import CommandTest, FaultTest, words_of
from unbroken.debugger.shrinking.pytest_file import write_pytest
from unbroken.debugger.shrinking.sketch import Sketch, TooLargeError, sketch_of
from unbroken.debugger.shrinking.steps import Progress, Shrinker, Size

__all__ = [
    "CommandTest",
    "DoesNotFailError",
    "FaultTest",
    "Progress",
    "Shrunk",
    "Size",
    "shows_fault",
    "shrink",
    "words_of",
]

_MOST_ALONE = 50
"""Streams that are tried alone, where a test does not fail with all of them."""


class DoesNotFailError(ValueError):
    """The test does not fail with the recording as it is, so there is nothing to shrink."""


class Shrunk(msgspec.Struct, kw_only=True):
    """What became of a recording.

    Attributes:
        before: How large it was, or its one stream with which the test fails.
        after: How large the smallest is that still fails.
        tries: How often the test was run for it, without the first runs.
        lasted_s: How long that took.
        interrupted: Ctrl-C, or a limit, ended it before nothing more could be left out.
        flaky: The first run failed and the second did not: see ``repeat``.
        said_before: What the failing run said at its end, with the whole recording.
        said: The same with the smallest.
        written: Files that were written.
    """

    before: Size
    after: Size
    tries: int = 0
    lasted_s: float = 0.0
    interrupted: bool = False
    flaky: bool = False
    said_before: str = ""
    said: str = ""
    written: list[str] = []


def shrink(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    test: str | Sequence[str] | None = None,
    fault: str | None = None,
    pytest_file: str | os.PathLike[str] | None = None,
    streams: Sequence[int] | None = None,
    expect: str | None = None,
    timeout_s: float = 60.0,
    hang_fails: bool = False,
    speed: float = 1.0,
    repeat: int = 1,
    most_tries: int | None = None,
    within_s: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Shrunk:
    """Write the smallest recording with which something still fails.

    Args:
        path: A recording or HAR; of the streams taken, at most 64 MiB of bodies.
        out: Where to write the smallest.
        test: A command that is run against a replay: it fails by any exit code but 0. ``{url}``
            in it is the replay's address; SDKs find that in their own variables.
        fault: In place of a command: a kind of fault that `unbroken.check` finds.
        pytest_file: Write a test here that repeats it.
        streams: Only these; None: all.
        expect: A regular expression that the command's output must match to count as failing.
        timeout_s: After so long a run is killed.
        hang_fails: A run that is killed has failed; else it has not.
        speed: Of the replay; see `unbroken.debugger.replay`.
        repeat: How often the command is run until it fails, for one that fails now and then.
        most_tries: Runs after which it stops with the best so far; None: no limit.
        within_s: Seconds after which it stops with the best so far; None: no limit.
        on_progress: Called after each try.

    Returns:
        How small it became. Ctrl-C ends it with the best so far.

    Raises:
        OSError: If a file cannot be read or written, or the command not be run.
        RecordingError: If it is no recording, or has no such stream.
        DoesNotFailError: If nothing fails with the recording as it is.
        ValueError: If an argument cannot be.
    """
    if (test is None) == (fault is None):
        msg = "shrink needs a test or a fault, one of them"
        raise ValueError(msg)
    judge: CommandTest | FaultTest = (
        FaultTest(fault)
        if fault is not None
        else CommandTest(
            words_of(test or ""),
            expect=expect,
            timeout_s=timeout_s,
            hang_fails=hang_fails,
            speed=speed,
            repeat=repeat,
        )
    )
    began = time.monotonic()
    try:
        with RecordingIndex(path) as index:
            chosen = (
                list(index.streams.values())
                if streams is None
                else [index.stream(number) for number in streams]
            )
            sketch = _failing(index, chosen, judge)
        if isinstance(judge, CommandTest) and not judge.asked:
            msg = (
                "the test fails without sending a request to the replay: it finds that in"
                " OPENAI_BASE_URL and its like, or as {url} in its words"
            )
            raise DoesNotFailError(msg)
        shrunk = Shrunk(
            before=Size.of(sketch),
            after=Size.of(sketch),
            said_before=judge.said,
            flaky=isinstance(judge, CommandTest) and not judge.fails(sketch),
        )
        shrinker = Shrinker(
            sketch,
            judge,
            on_progress=on_progress,
            most_tries=most_tries,
            until_s=None if within_s is None else began + within_s,
        )
        try:
            shrinker.run()
        except KeyboardInterrupt:
            shrunk.interrupted = True
    finally:
        if isinstance(judge, CommandTest):
            judge.close()
    shrunk.interrupted |= shrinker.stopped
    shrunk.tries, shrunk.said = shrinker.tries, judge.said
    small = msgspec.structs.replace(
        shrinker.best.from_zero,
        opening=msgspec.structs.replace(
            shrinker.best.opening, note="made smaller by unbroken shrink"
        ),
    )
    shrunk.after = Size.of(small)
    shrunk.lasted_s = round(time.monotonic() - began, 3)
    data = small.encode()
    Path(out).write_bytes(data)
    shrunk.written = [os.fspath(out)]
    if pytest_file is not None:
        files = write_pytest(Path(pytest_file), data, judge, said=judge.said)
        shrunk.written += [str(file) for file in files]
    return shrunk


def shows_fault(path: str | os.PathLike[str], kind: str) -> bool:
    """Whether an attempt of a recording shows a fault; for tests that `shrink` writes.

    Raises:
        OSError: If it cannot be read.
        RecordingError: If it is no recording.
        ValueError: If there is no such kind of fault.
    """
    with RecordingIndex(path) as index:
        entries = [entry for stream in index.streams.values() for entry in stream.attempts]
        return FaultTest(kind).fails(sketch_of(index, entries))


def _failing(
    index: RecordingIndex, streams: list[StreamEntry], judge: CommandTest | FaultTest
) -> Sketch:
    """Return the recording, or a stream of it with which the test fails.

    A client that asks once gets the first stream, so one of the others may have to be alone.
    """
    too_large: TooLargeError | None = None
    tried = False
    for some in [streams, *([one] for one in streams[:_MOST_ALONE] if len(streams) > 1)]:
        try:
            sketch = sketch_of(index, (entry for one in some for entry in one.attempts))
        except TooLargeError as error:
            too_large = too_large or error
            continue
        if sketch.plays:
            tried = True
            if judge.fails(sketch):
                return sketch
    if too_large is not None:
        raise too_large
    if not tried:
        msg = f"{index.name} cannot be replayed: it does not say what was asked for"
        raise RecordingError(msg)
    raise DoesNotFailError(_why_not(judge))


def _why_not(judge: CommandTest | FaultTest) -> str:
    if isinstance(judge, FaultTest):
        return f"no attempt of the recording shows the fault {judge.kind}"
    hung = "" if judge.hang_fails else "; a run that hangs counts only with --hang-fails"
    matching = " with output that --expect matches" if judge.expect is not None else ""
    return f"the test does not fail{matching} with the recording as it is{hung}"
