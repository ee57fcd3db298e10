"""A long answer that breaks in its middle: throughput and peak memory, beside a plain read.

    python -m bench.large_answer [--mib 1024] [--frame 1024] [--json] [--only SUBSTRING]

A server in a process of its own writes an OpenAI chat stream on the fly. Each row reads it in a
fresh process and checks every character by a checksum. "healed" rows are reset in the middle
of the answer: the same request is sent again (it has a seed), and what was delivered is
compared piece by piece with the temporary file. Peak memory is the process's own (VmHWM on
Linux), without the page cache that the file may take. Rows:

- *httpx2*: the body's bytes, nothing else; no row can be faster, or smaller.
- *openai*: the SDK, plain.
- *direct*, *openai + unbroken*: without and with the SDK, on a healthy answer and healed.
- *direct, healed, to a file*: the same with `unbroken.sinks.TextFile`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.large_server import checksum, running

ROWS: dict[str, tuple[str, bool]] = {
    # name: (how it is read, whether it is reset in its middle)
    "httpx2": ("httpx2", False),
    "openai": ("openai-plain", False),
    "direct": ("direct", False),
    "direct, healed": ("direct", True),
    "direct, healed, to a file": ("sink", True),
    "openai + unbroken": ("openai", False),
    "openai + unbroken, healed": ("openai", True),
}
MAX_ADDED_MIB = 48
"""Most that a row of ours may add to the peak of the same read without us."""
MIB = 1024 * 1024


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there begins with the parent's
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def read(
    way: str, url: str, model: str, *, replay_bytes: int, folder: str | None
) -> dict[str, Any]:
    """Read one answer in this process; return what it took."""
    if way == "httpx2":
        return _plain(url, model)
    import unbroken

    outcomes: list[unbroken.Outcome] = []
    options = unbroken.Options(max_replay_bytes=replay_bytes, spill_dir=folder)
    began = time.monotonic()
    found = size = 0
    for text in _texts(way, url, model, options, outcomes, folder):
        found = zlib.crc32(text.encode(), found)
        size += len(text)
    result = {"seconds": time.monotonic() - began, "peak": peak_bytes()}
    result |= {"checksum": found, "characters": size}
    if outcomes:
        outcome = outcomes[0]
        result |= {
            "status": outcome.status,
            "rungs": [attempt.rung for attempt in outcome.attempts],
            "overflowed": outcome.overflowed,
            "counted": outcome.characters,
            "kept": len(outcome.text),
            "sink_error": outcome.sink_error,
        }
    return result


def _plain(url: str, model: str) -> dict[str, Any]:
    import httpx2

    began, size = time.monotonic(), 0
    with (
        httpx2.Client(timeout=600) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json={"model": model}) as response,
    ):
        for data in response.iter_raw():
            size += len(data)
    return {"seconds": time.monotonic() - began, "peak": peak_bytes(), "bytes": size}


def _texts(
    way: str, url: str, model: str, options: Any, outcomes: list[Any], folder: str | None
) -> Iterator[str]:
    import unbroken

    if way in ("direct", "sink"):
        sink = None
        if way == "sink":
            sink = unbroken.sinks.TextFile(f"{folder}/answer.txt", if_exists="overwrite")
        with unbroken.stream(
            "Q", model=model, base_url=f"{url}/v1", api_key="none", seed=1, options=options,
            sink=sink, on_outcome=outcomes.append,
        ) as stream:  # fmt: skip
            yield from stream.iter_text()
        return
    import openai

    http = None
    if way == "openai":
        http = unbroken.http_client(options=options, on_outcome=outcomes.append)
    with openai.OpenAI(api_key="none", base_url=f"{url}/v1", http_client=http) as client:
        for event in client.chat.completions.create(model=model, messages=[], seed=1, stream=True):
            yield event.choices[0].delta.content or ""


def measure(
    row: str, url: str, *, frames: int, size: int, replay_bytes: int, folder: str
) -> dict[str, Any]:
    """Read one answer in a process of its own; return what it took."""
    way, healed = ROWS[row]
    # The name of each row's model is its own: the server resets the first request of a name.
    model = f"frames={frames},size={size},row={sorted(ROWS).index(row)}"
    model += f",cut={frames // 2}" if healed else ""
    given = json.dumps({"way": way, "url": url, "model": model, "replay_bytes": replay_bytes,
                        "folder": folder})  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", "bench.large_answer", "--one", given],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def problems(row: str, found: dict[str, Any], *, frames: int, size: int, sum_: int) -> list[str]:
    """Return what is wrong with a row's answer."""
    way, healed = ROWS[row]
    if way == "httpx2":
        return [] if found["bytes"] > frames * size else ["bytes are missing"]
    wrong = [] if found["checksum"] == sum_ else ["the text is another one"]
    if found["characters"] != frames * size:
        wrong.append(f"{found['characters']} characters")
    if way != "openai-plain":
        rungs = ["first", "replay"] if healed else ["first"]
        wrong += [] if found["rungs"] == rungs else [f"attempts {found['rungs']}"]
        wrong += [] if found["status"] == "complete" else [found["status"]]
        wrong += [found["sink_error"]] if found["sink_error"] else []
    return wrong


def main() -> int:
    """Run, print, and return 1 if an answer was wrong or a goal was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=256, help="size of the answer's text")
    parser.add_argument("--frame", type=int, default=1024, help="characters in each frame")
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(read(**json.loads(given.one))))
        return 0
    frames, size = given.mib * MIB // given.frame, given.frame
    sum_ = checksum(frames, size)
    results: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    with running() as url, tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if given.only not in row and row != "httpx2":
                continue
            found = measure(row, url, frames=frames, size=size, replay_bytes=4 * MIB, folder=folder)
            found["mib_s"] = given.mib / found["seconds"]
            results[row] = found
            wrong += [f"{row}: {why}" for why in
                      problems(row, found, frames=frames, size=size, sum_=sum_)]  # fmt: skip
            base = results.get("openai" if row.startswith("openai") else "httpx2", found)
            added = (found["peak"] - base["peak"]) / MIB
            found["added_mib"] = added
            if added > MAX_ADDED_MIB and row != "openai":
                wrong.append(f"{row}: {added:.0f} MiB more than without us, goal {MAX_ADDED_MIB}")
            if not given.json:
                plain = results["httpx2"]
                print(
                    f"{row:28} {found['mib_s']:8.1f} MiB/s"
                    f" {found['mib_s'] / plain['mib_s']:6.2f} × httpx2"
                    f"   peak {found['peak'] / MIB:6.1f} MiB"
                    f" {found['peak'] / plain['peak']:5.2f} × httpx2",
                    flush=True,
                )
    if given.json:
        print(json.dumps({"mib": given.mib, "frame": size, "rows": results, "wrong": wrong}))
    else:
        for why in wrong:
            print(f"WRONG: {why}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
