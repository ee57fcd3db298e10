"""Records are read from the package, from a folder of the user's, and in the old form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from tests.knowledge.make import GOOD, record
from unbroken.knowledge import KnowledgeError, base, explain, read_records
from unbroken.knowledge.load import Base

SEEDS = Path(__file__).with_name("seeds")


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    return path


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("*.txt")), ids=lambda path: path.stem[:3])
def test_seeds_load_unchanged(seed: Path) -> None:
    (loaded,) = read_records(seed)
    raw = json.loads(seed.read_text("utf-8"))
    again = msgspec.to_builtins(loaded)

    def same(ours: object, theirs: object) -> bool:
        if isinstance(theirs, dict) and isinstance(ours, dict):
            return all(same(ours[name], value) for name, value in theirs.items())
        if isinstance(theirs, list) and isinstance(ours, list):
            return len(ours) == len(theirs) and all(map(same, ours, theirs))
        return ours == theirs

    assert same(again, raw)


def test_the_three_seeds_are_here() -> None:
    assert len(list(SEEDS.glob("*.txt"))) == 3


def test_the_package_has_records() -> None:
    assert len(base()) > 80
    assert base() is base()
    assert base().problems == []


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", "data"),
        (b"{", "data"),
        (b"\xff\xfe", "malformed"),
        (b'{"id": "a/b"}', "signature"),
        (json.dumps({**GOOD, "frobnicate": 1}).encode(), "frobnicate"),
        (json.dumps({**GOOD, "confidence": "high"}).encode(), "$.confidence"),
        (json.dumps([GOOD, {**GOOD, "dead_ends": [{"action": 1}]}]).encode(), "dead_ends"),
        (b"[" * 100_000, "."),
    ],
    ids=["empty", "cut", "bytes", "little", "unknown", "type", "list", "deep"],
)
def test_a_bad_file_is_named_with_what_is_wrong(content: bytes, names: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(KnowledgeError) as caught:
        read_records(path)
    assert str(path) in str(caught.value)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="no such file"):
        read_records(tmp_path / "none.json")


def test_a_folder_is_read_with_all_below_it(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.json", {**GOOD, "id": "a/one"})
    write(tmp_path / "two.json", [{**GOOD, "id": "a/two"}, {**GOOD, "id": "a/three"}])
    (tmp_path / "note.txt").write_text("no record")
    assert [r.id for r in Base(read_records(tmp_path)).records] == ["a/one", "a/three", "a/two"]


def run(code: str, **env: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **env},
    )  # fmt: skip
    return ran.stdout.strip()


def test_records_of_the_users_come_beside_ours_and_over_them(tmp_path: Path) -> None:
    write(tmp_path / "mine.json", {**GOOD, "id": "mine/gadget"})
    write(tmp_path / "better.json", {**GOOD, "id": "llm/stream-stalled", "signature": "mine now"})
    (tmp_path / "bad.json").write_text("{")
    code = (
        "import unbroken; from unbroken.knowledge import base;"
        "print(unbroken.explain('the gadget lost its thread').record.id,"
        " base().by_id['llm/stream-stalled'].signature, len(base().problems))"
    )
    assert run(code, UNBROKEN_KNOWLEDGE=str(tmp_path)) == "mine/gadget mine now 1"


def test_a_folder_that_is_not_there_harms_nothing() -> None:
    code = "from unbroken.knowledge import base; print(len(base()) > 80, len(base().problems))"
    assert run(code, UNBROKEN_KNOWLEDGE="/no/such/folder") == "True 1"


def test_nothing_is_read_before_somebody_asks() -> None:
    code = (
        "import sys, unbroken; a = 'unbroken.knowledge' in sys.modules; import unbroken.knowledge;"
        "print(a, unbroken.knowledge.load._base, 'sqlite3' in sys.modules)"
    )
    assert run(code) == "False None False"


def test_a_child_can_read_while_the_parents_thread_did() -> None:
    code = """
import os, unbroken.knowledge.load as load
load._lock.acquire()  # as another thread holds it that reads just now
child = os.fork()
if child == 0:
    os._exit(0 if len(load.base()) > 80 else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run(code) == "0"


def test_many_threads_get_the_same() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(id(explain("stalled").record)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_of_two_with_one_id_the_later_counts() -> None:
    made = Base([record("a/b", signature="one"), record("a/b", signature="two")])
    assert [r.signature for r in made.records] == ["two"]
    assert made.near("a/c") == ["a/b"]
