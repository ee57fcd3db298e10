"""A long answer passes in bounded memory, healed in its middle: real server, real SDK.

Each reading is a process of its own, so that its peak memory is that of the answer. What is
compared is a small answer and a large one: what the large one adds must not depend on its size.
"""

from __future__ import annotations

import pytest

from bench.large_answer import MIB, measure, problems
from tests.support.large_server import checksum, running

KIB = 1024
ADDED = 10 * MIB
"""Buffers, read-back blocks, the allocator's slack; a 64 MiB text would be six times that."""
HEALED = ["direct, healed", "direct, healed, to a file", "openai + unbroken, healed"]


def read(row: str, url: str, folder, *, mib: int, frame: int, replay_bytes: int):
    frames = mib * MIB // frame
    found = measure(
        row, url, frames=frames, size=frame, replay_bytes=replay_bytes, folder=str(folder)
    )
    sum_ = checksum(frames, frame)
    assert problems(row, found, frames=frames, size=frame, sum_=sum_) == []
    return found


@pytest.mark.seed("003-memory-limits", "003-memory-disk")
@pytest.mark.parametrize("row", HEALED)
def test_memory_does_not_grow_with_the_answer(row, tmp_path):
    given = {"frame": 8 * KIB, "replay_bytes": 256 * KIB}
    with running() as url:
        small = read(row, url, tmp_path, mib=1, **given)
        large = read(row, url, tmp_path, mib=64, **given)
    assert small["overflowed"]
    assert large["overflowed"]
    assert large["counted"] == 64 * MIB
    assert large["kept"] <= 256 * KIB
    assert large["peak"] - small["peak"] < ADDED
    left = [path.name for path in tmp_path.iterdir()]
    assert left == (["answer.txt"] if "file" in row else [])


@pytest.mark.soak
@pytest.mark.parametrize("row", HEALED)
def test_one_gigabyte_healed_in_its_middle(row, tmp_path):
    given = {"frame": 16 * KIB, "replay_bytes": 4 * MIB}
    with running() as url:
        small = read(row, url, tmp_path, mib=16, **given)
        large = read(row, url, tmp_path, mib=1024, **given)
    assert large["counted"] == 1024 * MIB
    print(f"{row}: {1024 / large['seconds']:.0f} MiB/s, peak {large['peak'] / MIB:.0f} MiB,"
          f" of 16 MiB {small['peak'] / MIB:.0f} MiB")  # fmt: skip
    assert large["peak"] - small["peak"] < ADDED
