"""What became of real streams is counted, and never the stream's concern."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.knowledge.evidence import Evidence, EvidenceError, evidence, told_by_evidence

SECRET = "sk-the-key and the prompt"


def broken(kind: FaultKind) -> Fault:
    return Fault.of(kind, f"ended after 3 frames {SECRET}")


def outcome(*attempts: tuple[str, FaultKind | None], wrote: tuple[int, ...] = ()) -> Outcome:
    """An outcome whose attempts came by these rungs and ended by these faults."""
    records = [
        AttemptRecord(number=n, rung=rung, fault=broken(kind) if kind else None)
        for n, (rung, kind) in enumerate(attempts, 1)
    ]
    provenance = [
        Provenance(attempt=n, start=n, end=n + 1, rung="x", guarantee="byte-exact") for n in wrote
    ]
    return Outcome(
        dialect="anthropic-messages", text=SECRET, attempts=records, provenance=provenance,
        faults=[record.fault for record in records if record.fault],
    )  # fmt: skip


CUT, RESET = FaultKind.TRUNCATED_BETWEEN_EVENTS, FaultKind.CONNECTION_RESET
# attempts of a stream, and its counts: (fault, rung, healed, failed)
STREAMS = [
    ([("first", None)], (), []),
    ([("first", CUT), ("prefill", None)], (1, 2), [(CUT, "prefill", 1, 0)]),
    ([("first", CUT)], (1,), [(CUT, "none", 0, 1)]),
    (
        [("first", CUT), ("prefill", RESET), ("retry", None)],
        (1, 3),
        [(RESET, "retry", 1, 0), (CUT, "prefill", 0, 1)],
    ),
    (
        [("first", CUT), ("prefill", CUT)],
        (1, 2),  # the second went on for a while
        [(CUT, "none", 0, 1), (CUT, "prefill", 1, 0)],
    ),
]


@pytest.mark.parametrize(("attempts", "wrote", "expected"), STREAMS)
def test_counts(attempts: list, wrote: tuple, expected: list, tmp_path: Path) -> None:
    store = Evidence(tmp_path / "made" / "evidence.db")
    store.outcome(outcome(*attempts, wrote=wrote))
    counts = store.counts()
    assert [(c.fault, c.rung, c.healed, c.failed) for c in counts] == [
        (fault.value, rung, healed, failed) for fault, rung, healed, failed in expected
    ]
    for count in counts:
        assert count.provider == "anthropic"
        assert count.record.startswith("llm/")
        assert count.first_day == count.last_day


def test_what_was_put_in_order_counts_as_healed(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.db")
    one = outcome(("first", None))
    one.faults = [Fault.of(FaultKind.OUT_OF_ORDER, "event 3 came before 2")] * 5
    store.outcome(one)
    assert [(c.fault, c.rung, c.healed) for c in store.counts()] == [("out-of-order", "order", 1)]


def test_there_is_no_text_of_any_stream_in_it(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.db")
    store.outcome(outcome(("first", CUT), ("retry", RESET)))
    assert b"sk-the-key" not in (tmp_path / "evidence.db").read_bytes()
    assert b"prompt" not in (tmp_path / "evidence.db").read_bytes()


def test_a_healthy_stream_makes_no_file(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.db")
    store.outcome(outcome(("first", None)))
    store.notice(object())
    store.internal_error(ValueError())
    assert list(tmp_path.iterdir()) == []
    assert store.counts() == []


def work(path: str, streams: int) -> None:
    store = Evidence(path)
    for _ in range(streams):
        store.outcome(outcome(("first", CUT), ("prefill", None), wrote=(1, 2)))
    deadline = time.monotonic() + 20
    while store._waiting and time.monotonic() < deadline:  # what another process was in the way of
        store.outcome(outcome(("first", None)))


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "evidence.db")
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(path, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    (count,) = Evidence(path).counts()
    assert (count.healed, count.failed) == (150, 0)


def test_what_cannot_be_written_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "place"
    folder.write_text("a file where the folder should be")
    store = Evidence(folder / "evidence.db")
    with caplog.at_level(logging.WARNING, "unbroken"):
        for _ in range(3):
            store.outcome(outcome(("first", CUT)))
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text
    folder.unlink()
    store.outcome(outcome(("first", CUT)))
    assert [count.failed for count in store.counts()] == [4]


def test_a_file_that_another_holds_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    store = Evidence(path)
    store.outcome(outcome(("first", CUT)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    store.outcome(outcome(("first", CUT)))
    assert time.monotonic() - start < 2  # 0.05 s, on a machine that is not busy
    other.execute("ROLLBACK")
    other.close()
    store.outcome(outcome(("first", None)))
    assert [count.failed for count in store.counts()] == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_full_disk_harms_nothing(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from tests.knowledge.test_evidence import CUT, Evidence, outcome
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
store = Evidence(sys.argv[1])
for _ in range(3):
    store.outcome(outcome(("first", CUT)))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.outcome(outcome(("first", CUT)))
print([count.failed for count in store.counts()])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "evidence.db")], capture_output=True,
        text=True, check=True, cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert ran.stdout.strip() == "[4]"


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    store = Evidence(path)
    store.outcome(outcome(("first", CUT)))  # which does not raise
    assert path.read_bytes() == before
    with pytest.raises(EvidenceError, match="no store of evidence"):
        store.counts()
    path.write_bytes(b"no database at all" * 100)
    store.outcome(outcome(("first", CUT)))
    with pytest.raises(EvidenceError, match="no store of evidence"):
        store.counts()


@pytest.mark.parametrize("value", ["x", -1.5, b"\xff"])
def test_counts_that_are_none_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    path = tmp_path / "evidence.db"
    Evidence(path).outcome(outcome(("first", CUT)))
    with sqlite3.connect(path) as store:
        store.execute("UPDATE counts SET healed = ?", (value,))
    with pytest.raises(EvidenceError, match="no store of evidence"):
        Evidence(path).counts()
    monkeypatch.setenv("UNBROKEN_EVIDENCE", str(path))
    assert told_by_evidence("llm/stream-stalled") == ""


def test_it_is_off_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNBROKEN_EVIDENCE", raising=False)
    assert evidence() is None
    assert told_by_evidence("llm/stream-stalled") == ""
    monkeypatch.setenv("UNBROKEN_EVIDENCE", str(tmp_path / "evidence.db"))
    store = evidence()
    assert store is not None
    assert evidence() is store
    store.outcome(outcome(("first", CUT), ("retry", None)))
    store.outcome(outcome(("first", CUT)))
    (id,) = {count.record for count in store.counts()}
    assert told_by_evidence(id) == "healed 1 of 2 times"
    assert "2" in told_by_evidence(id, "zh")
    assert told_by_evidence("llm/stream-stalled") == ""
