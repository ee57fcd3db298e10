"""Shrinking, with a real command against real replays: it is small, and it still fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import DONE, PING, attempt, delta, finish, frame, recording, whole
from unbroken.debugger import shrink
from unbroken.debugger.index import RecordingIndex
from unbroken.debugger.shrinking import DoesNotFailError, Progress, Shrunk, shows_fault
from unbroken.debugger.shrinking import sketch as module
from unbroken.debugger.shrinking.sketch import Play, TooLargeError, sketch_of

CLIENT = [sys.executable, str(Path(__file__).with_name("client.py"))]
WORDS = [f"word{n} " for n in range(30)]


def command(*fixed: str) -> list[str]:
    return [*CLIENT, *fixed]


def plays(path: Path) -> list[Play]:
    with RecordingIndex(path) as index:
        entries = [entry for stream in index.streams.values() for entry in stream.attempts]
        return list(sketch_of(index, entries).plays)


def run(tmp_path: Path, *attempts: Any, **more: Any) -> tuple[Shrunk, list[Play]]:
    path = recording(tmp_path / "a.jsonl", *attempts)
    found = shrink(path, tmp_path / "small.jsonl", **more)
    return found, plays(tmp_path / "small.jsonl")


def test_one_frame_of_many_is_left(tmp_path: Path) -> None:
    frames = whole(*WORDS)
    frames.insert(17, PING)
    found, [play] = run(
        tmp_path,
        attempt([b"".join(whole("other"))]),
        attempt(frames, stream=2, gap_s=0.001),
        test=command("cuts"),
    )
    assert play.body == PING
    assert play.stream == 2
    assert play.beside == ()
    assert (found.before.frames, found.after.frames) == (33, 1)
    assert found.after.lasts_s == 0
    assert found.said == "ValueError: a ping is beyond me"
    assert found.tries < 30
    assert not found.interrupted
    assert not found.flaky


def test_of_what_does_not_fit_one_stream_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    large, small = attempt(whole("x" * 2000)), attempt([delta("a"), PING], stream=2)
    _, [play] = run(tmp_path, large, small, test=command("cuts"))
    assert (play.stream, play.body) == (2, PING)
    with pytest.raises(TooLargeError, match="at most 1,000 fit"):
        run(tmp_path, large, test=command("cuts"))


def test_a_cut_inside_a_frame_is_kept_where_it_is_what_fails(tmp_path: Path) -> None:
    """Reads are joined, but for the one cut that the client cannot do with."""
    raw = b"".join(whole(*WORDS))
    place = raw.index(b"word12")
    edges = [0, 200, place + 3, 3000, len(raw)]
    reads = [raw[a:b] for a, b in pairwise(edges)]
    _, [play] = run(tmp_path, attempt(reads), test=command("pings"), expect="JSONDecodeError")
    pieces = [data for _, _, data in play.reads]
    assert len(pieces) == 2
    assert len(play.frames) == 1
    assert not pieces[0].endswith(b"\n")


def test_texts_become_as_short_as_they_can_be(tmp_path: Path) -> None:
    frames = whole("so long a text with a needle in a haystack and more")
    _, [play] = run(tmp_path, attempt(frames), test=command("cuts"), expect="needle")
    assert b'"content": "so long a text with a needle"' in play.body
    assert b'"id": ""' in play.body
    assert b"haystack" not in play.body


def test_times_are_zeroed_unless_one_is_what_fails(tmp_path: Path) -> None:
    slow = (
        "import os, time, urllib.request as u; began = time.monotonic();"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit(time.monotonic() - began > 0.3)"
    )
    frames = whole("a", "b", "c")
    reads = [(0.1, frames[0]), (0.2, frames[1]), (0.8, frames[2])]
    found, [play] = run(tmp_path, attempt(reads), test=[sys.executable, "-c", slow])
    assert found.before.lasts_s > 0.8
    assert 0.2 < found.after.lasts_s < 0.61
    assert len([gap for _, gap, _ in play.reads if gap]) <= 1


def test_what_is_left_starts_at_0(tmp_path: Path) -> None:
    """Also where an attempt was late, and where a time has to stay."""
    late = attempt([delta("a"), b"data: {\n\n"], stream=2, at_s=7.5)
    _, [play] = run(tmp_path, attempt(whole("a")), late, fault="malformed-json")
    assert play.request.at_s == 0
    with RecordingIndex(tmp_path / "small.jsonl") as index:
        [entry] = index.streams[2].attempts
        assert {line.at_s for line in index.lines_of(entry)} == {0.0}
    slow = (
        "import os, time, urllib.request as u; began = time.monotonic();"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit(time.monotonic() - began > 0.3)"
    )
    reads = [(0.1, delta("a")), (0.6, delta("b"))]
    _, [play] = run(
        tmp_path, attempt(reads, at_s=3.0), test=[sys.executable, "-c", slow], most_tries=3
    )
    assert play.request.at_s == 0
    assert play.gaps_s


def test_where_a_time_has_to_stay_the_others_go_first(tmp_path: Path) -> None:
    """Each try waits for them."""
    reads = [(0.05 * n, delta(f"{n}")) for n in range(1, 9)]
    phases: list[str] = []
    slow = (
        "import os, time, urllib.request as u; began = time.monotonic();"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit(time.monotonic() - began > 0.3)"
    )
    run(
        tmp_path, attempt([*reads, (0.9, delta("x"))]), test=[sys.executable, "-c", slow],
        most_tries=8, on_progress=lambda progress: phases.append(progress.phase),
    )  # fmt: skip
    assert phases[:2] == ["times", "gaps"]


def test_attempts_that_are_needed_stay(tmp_path: Path) -> None:
    twice = (
        "import os, urllib.request as u; url = os.environ['OPENAI_BASE_URL'];"
        "ask = lambda: u.urlopen(url + '/chat/completions', b'{}').read();"
        "first, second = ask(), ask();"
        "raise SystemExit(b'bad' in second and b'bad' not in first)"
    )
    _, found = run(
        tmp_path,
        attempt([b"fine"]), attempt([b"bad"], number=2), attempt([b"bad"], number=3),
        test=[sys.executable, "-c", twice],
    )  # fmt: skip
    assert [play.body for play in found] in ([b"", b"bad"], [b"fine", b"bad"])


def test_what_fails_for_want_of_a_recording_does_not_count(tmp_path: Path) -> None:
    """A client that asks two paths fails with 404 once one is left out: another failure."""
    frames = [delta("a"), PING, DONE]
    both = (
        "import os, subprocess, sys, urllib.request as u;"
        "u.urlopen(os.environ['UNBROKEN_REPLAY_URL'] + '/v1/models').read();"
        f"raise SystemExit(subprocess.run({command('cuts')!r}).returncode)"
    )
    _, found = run(
        tmp_path,
        attempt([b"{}"], path="/v1/models", method="GET", body=None),
        attempt(frames, stream=2),
        test=[sys.executable, "-c", both],
    )
    assert [play.stream for play in found] == [1, 2]
    assert found[1].body == PING


def test_the_url_stands_in_the_words(tmp_path: Path) -> None:
    code = (
        "import sys, urllib.request as u; raise SystemExit(b'x' in u.urlopen(sys.argv[1]).read())"
    )
    _, [play] = run(
        tmp_path,
        attempt([b"abcxyz\n", b"rest\n"], path="/here", method="GET", body=None),
        test=[sys.executable, "-c", code, "{url}/here"],
    )
    assert play.body == b"abcxyz\n"


def test_by_a_fault_no_command_is_needed(tmp_path: Path) -> None:
    frames = [*map(delta, WORDS), frame({"error": {"type": "overloaded_error", "message": "m"}})]
    found, [play] = run(tmp_path, attempt(frames), fault="provider-error")
    assert len(play.frames) == 1
    assert b"error" in play.body
    assert shows_fault(tmp_path / "small.jsonl", "provider-error")
    assert not shows_fault(tmp_path / "small.jsonl", "malformed-json")
    assert found.lasted_s < 5


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"test": ["true"]}, "does not fail with the recording as it is"),
        ({"test": ["false"]}, "without sending a request"),
        ({"test": command("cuts"), "expect": "nothing of it"}, "output that --expect matches"),
        ({"fault": "malformed-json"}, "no attempt of the recording shows the fault"),
    ],
)
def test_what_does_not_fail_cannot_be_shrunk(tmp_path: Path, more: Any, why: str) -> None:
    with pytest.raises(DoesNotFailError, match=why):
        run(tmp_path, attempt(whole("a", "b")[:2]), **more)
    assert not (tmp_path / "small.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "a test or a fault, one of them"),
        ({"test": "true", "fault": "malformed-json"}, "one of them"),
        ({"fault": "nonsense"}, "is no kind of fault"),
        ({"fault": "stalled"}, "is shown by no body"),
        ({"test": ""}, "an empty command"),
        ({"test": "a 'b"}, "closing quotation"),
    ],
)
def test_arguments_that_cannot_be(tmp_path: Path, more: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){why}"):
        run(tmp_path, attempt(whole("a")), **more)


def test_a_flaky_test_is_noticed(tmp_path: Path) -> None:
    """It fails the first time only, then always: the second run says so."""
    flag = tmp_path / "flag"
    code = (
        "import os, pathlib, urllib.request as u;"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        f"flag = pathlib.Path({str(flag)!r}); n = int(flag.read_text()) if flag.exists() else 0;"
        "flag.write_text(str(n + 1)); raise SystemExit(n != 1)"
    )
    found, _ = run(tmp_path, attempt(whole("a")), test=[sys.executable, "-c", code])
    assert found.flaky


def test_a_hang_fails_only_if_asked_for(tmp_path: Path) -> None:
    client = (
        "import os, urllib.request as u;"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read()"
    )
    lines = attempt([delta("a"), delta("b")], how="silent")
    words = [sys.executable, "-c", client]
    with pytest.raises(DoesNotFailError, match="only with --hang-fails"):
        run(tmp_path, lines, test=words, timeout_s=1.0)
    _, [play] = run(tmp_path, lines, test=words, timeout_s=1.0, hang_fails=True, most_tries=3)
    assert play.end is not None
    assert play.end.how == "silent"


def test_limits_keep_the_best_so_far(tmp_path: Path) -> None:
    frames = [*whole(*WORDS), PING]
    found, [play] = run(tmp_path, attempt(frames), test=command("cuts"), most_tries=4)
    assert found.interrupted
    assert found.tries == 4
    assert 1 < len(play.frames) < len(frames)
    assert PING in play.body
    found, _ = run(tmp_path, attempt(frames), test=command("cuts"), within_s=0.0)
    assert (found.tries, found.interrupted) == (0, True)


def test_progress_tells_tries_and_sizes(tmp_path: Path) -> None:
    told: list[Progress] = []
    run(tmp_path, attempt([*whole("a"), PING]), test=command("cuts"), on_progress=told.append)
    assert [one.tries for one in told] == list(range(1, len(told) + 1))
    sizes = [one.size.file_bytes for one in told]
    assert sizes == sorted(sizes, reverse=True)
    assert {"times", "frames", "headers"} <= {one.phase for one in told}


def test_nothing_is_tried_twice(tmp_path: Path) -> None:
    seen: list[bytes] = []
    from unbroken.debugger.shrinking.judging import FaultTest
    from unbroken.debugger.shrinking.sketch import Sketch
    from unbroken.debugger.shrinking.steps import Shrinker

    class Seen(FaultTest):
        def fails(self, sketch: Sketch) -> bool:
            seen.append(sketch.encode())
            return super().fails(sketch)

    path = recording(
        tmp_path / "a.jsonl", attempt([delta("a"), b"data: {\n\n", finish(), DONE], headers=())
    )
    with RecordingIndex(path) as index:
        sketch = sketch_of(index, index.streams[1].attempts)
    Shrinker(sketch, Seen("malformed-json")).run()
    assert len(seen) == len(set(seen))


def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([*whole(*WORDS), PING]))
    out = tmp_path / "small.jsonl"
    script = (
        "from unbroken.debugger import shrink\n"
        f"found = shrink({str(path)!r}, {str(out)!r}, test={command('cuts')!r},\n"
        "               on_progress=lambda p: print(p.tries, flush=True))\n"
        "print('interrupted', found.interrupted, found.after.frames)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.strip() == "3":
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert rest.strip().splitlines()[-1].startswith("interrupted True")
    assert PING in plays(out)[0].body


def test_what_a_run_leaves_behind_is_killed(tmp_path: Path) -> None:
    marker = f"sleep-{time.monotonic_ns()}"
    code = (
        "import os, subprocess, sys, urllib.request as u;"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {marker!r}]);"
        "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read();"
        "raise SystemExit(3)"
    )
    run(tmp_path, attempt(whole("a")), test=[sys.executable, "-c", code], most_tries=2)
    left = subprocess.run(["pgrep", "-f", marker], capture_output=True, check=False).stdout
    assert left == b""
