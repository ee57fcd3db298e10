"""Drive the real SDKs as a careful application does, and keep all that it saw.

    drive = run("openai-chat", server.url)                       # the plain SDK
    drive = run("openai-chat-async", server.url, transport=T)    # over a transport
    assert drive.verdict(STORY.text) == "ok"

Each SDK has one function per call style, sync and async, all with the same argument, a
`Wire`; `DRIVES` lists the vendors' own, `SECOND_ROW` the others. Sync and async share the
function that reads an event. As a script this module runs one drive, named by JSON on stdin, and
prints the result as JSON (`environments.py` uses that for other SDK versions).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any, Literal

from tests.support import (  # noqa: F401  fill DRIVES and SECOND_ROW
    drive_anthropic,
    drive_frameworks,
    drive_more,
    drive_openai,
    drive_others,
)
from tests.support.driving import (
    DRIVES,
    SECOND_ROW,
    Drive,
    DriveSpec,
    Wire,
    http_library,
    spec_of,
)

__all__ = [
    "ASYNC_DRIVES",
    "DRIVES",
    "SECOND_ROW",
    "SYNC_DRIVES",
    "Drive",
    "DriveSpec",
    "Wire",
    "http_library",
    "run",
    "spec_of",
]

SYNC_DRIVES = tuple(name for name, spec in DRIVES.items() if not spec.is_async)
ASYNC_DRIVES = tuple(name for name, spec in DRIVES.items() if spec.is_async)


def run(
    name: str, base_url: str, *, backend: Literal["asyncio", "trio"] = "asyncio", **wire: Any
) -> Drive:
    """Run one drive to its end and return what it saw; `wire` are the fields of `Wire`.

    An async drive gets an event loop of its own, so what it runs over is best made in it:
    `http_client` and `transport` may be functions without arguments, sync or async alike.
    What they made is closed at the end.
    """
    spec = spec_of(name)
    made = {
        key: value
        for key, value in wire.items()
        if not (key in ("http_client", "transport") and callable(value))
    }
    late = {key: value for key, value in wire.items() if key not in made}

    def build() -> Wire:
        built = {key: make() for key, make in late.items()}
        return Wire(base_url=base_url, **made, **built)

    if not spec.is_async:
        options = build()
        try:
            result = spec.function(options)
            assert isinstance(result, Drive)
            return result
        finally:
            if "http_client" in late:
                options.http_client.close()

    async def main() -> Drive:
        options = build()
        try:
            outcome = spec.function(options)
            assert not isinstance(outcome, Drive)
            return await outcome
        finally:
            if "http_client" in late:
                await options.http_client.aclose()

    if backend == "asyncio":
        return asyncio.run(main())
    import anyio

    return anyio.run(main, backend=backend)


def main() -> None:
    """Run the drive that stdin describes; see `environments.Environment.drive`."""
    job = json.load(sys.stdin)
    wire = job.get("wire", {})
    for key in ("http_client", "transport"):
        made = job.get(key)
        if made is not None:  # "package.module:function" and its keyword arguments
            module, _, function = made["factory"].partition(":")
            factory = getattr(importlib.import_module(module), function)
            wire[key] = lambda factory=factory, made=made: factory(**made.get("kwargs", {}))
    drive = run(job["drive"], job["base_url"], **wire)
    print(json.dumps(drive.as_json()))


if __name__ == "__main__":
    main()
