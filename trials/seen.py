"""Whether a scenario is the error that its record describes.

Two looks: what the plain application meets, or the client or proxy whose message the record is
about, must be explained by this record before all others; or Unbroken, healing nothing, must
report a fault of the kind that the record is about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import traceback
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import unbroken
from trials import proxies
from trials.play import Bench, Scene
from trials.ways import App, plain
from unbroken.core.faults import Fault

__all__ = ["Seen", "see"]

_MOST_S = 8.0


class Seen:
    """What was seen of a record in its scenario.

    Attributes:
        by: Who saw it, such as ``the exception`` or ``nginx``; ``""``: nobody.
        instead: What was seen in its place, for the table.
    """

    def __init__(self, by: str = "", instead: str = "") -> None:
        self.by = by
        self.instead = instead

    def __bool__(self) -> bool:
        return bool(self.by)


def see(bench: Bench, scene: Scene, record: dict[str, Any]) -> Seen:
    """Play a record's scenario once for each that might see it; stop at the first that does."""
    instead: list[str] = []
    name = record["id"].partition("/")[2]
    behind = replace(scene, plan=_BEHIND[name]) if name in _BEHIND else scene
    for by, look in _looks(record):
        told = _within(lambda look=look: look(bench.app(behind)))  # type: ignore[misc]
        for what in told:
            found = [match.record.id for match in unbroken.explain(what, limit=3).matches]
            if found[:1] == [record["id"]] or _is_kind(record, what):
                return Seen(by)
            instead.extend(found[:1])
    if kinds := record.get("structure", {}).get("fault_kinds", []):
        most = 5 if name == "stream-cancelled" else None  # its reader is the one who leaves
        observed = _within(lambda: _observed(bench.app(scene), most=most))
        # Of other records a kind says too little: they are about a message.
        if record["id"].startswith("llm/"):
            if set(kinds) & set(observed):
                return Seen("its fault kind")
            app = bench.app(scene)
            if set(kinds) & {*proxies.checked(app.url, app.ask.model)}:
                return Seen("unbroken check")
        instead.extend(observed)
    return Seen(instead=", ".join(dict.fromkeys(instead)))


def _is_kind(record: dict[str, Any], what: Any) -> bool:
    """Whether that is a fault of the kind that a record is about."""
    kinds = record.get("structure", {}).get("fault_kinds", [])
    return isinstance(what, Fault) and record["id"].startswith("llm/") and what.kind.value in kinds


def _within(look: Callable[[], list[Any]]) -> list[Any]:
    """Give a look its time; what hangs saw nothing."""
    got: list[Any] = []

    def run() -> None:
        try:
            got.extend(look())
        except Exception as error:  # noqa: BLE001 - an application's own end
            got.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_MOST_S)
    return list(got)


def _looks(record: dict[str, Any]) -> list[tuple[str, Callable[[App], list[Any]]]]:
    name = record["id"].partition("/")[2]
    found = [(by, look) for start, by, look in _SPECIAL if name.startswith(start)]
    return [*found, ("the exception", _exception)]


def _exception(app: App) -> list[Any]:
    """The plain application's exception: as it is, its last line, and its whole traceback."""
    try:
        plain(app)
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return [error, *_as_text(error)]
    return []


def _as_text(error: BaseException) -> list[str]:
    return [traceback.format_exception_only(error)[-1], "".join(traceback.format_exception(error))]


def _naive(read: Callable[[App], object]) -> Callable[[App], list[Any]]:
    def look(app: App) -> list[Any]:
        try:
            read(app)
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            return [error, *_as_text(error)]
        return []

    return look


def _by_httpx(app: App) -> object:
    import httpx2

    with httpx2.stream("POST", app.url + "/v1/chat/completions", json=_json(app), timeout=1) as r:
        return [*r.iter_lines()]


def _by_requests(app: App) -> object:
    import requests

    url = app.url + "/v1/chat/completions"
    with requests.post(url, json=_json(app), stream=True, timeout=1) as response:
        return [*response.iter_lines()]


def _by_aiohttp(app: App) -> object:
    import aiohttp

    async def read() -> bytes:
        timeout = aiohttp.ClientTimeout(sock_read=1)
        async with (
            aiohttp.ClientSession(app.url, timeout=timeout) as session,
            session.post("/v1/chat/completions", json=_json(app)) as response,
        ):
            return await response.read()

    return asyncio.run(read())


def _json(app: App) -> dict[str, Any]:
    message = {"role": "user", "content": "hi"}
    return {"model": app.ask.model, "stream": True, "messages": [message]}


def _key_error(app: App) -> object:
    text = ""
    for line in app.dialect.lines(app.client(), app.ask):
        if line.startswith("data: {"):
            text += json.loads(line[6:])["choices"][0]["delta"]["content"]
    return text


def _none_added(app: App) -> object:
    text = ""
    for chunk in app.dialect.stream(app.client(), app.ask):
        text += chunk.choices[0].delta.content
    return text


def _first_choice(app: App) -> object:
    return [chunk.choices[0].delta for chunk in app.dialect.stream(app.client(), app.ask)]


def _arguments(app: App) -> object:
    return json.loads(app.read())


def _parsed(app: App) -> object:
    from pydantic import BaseModel

    class Answer(BaseModel):
        text: str

    return app.client().chat.completions.parse(
        model=app.ask.model,
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=app.ask.max_tokens or 20,
        response_format=Answer,
    )


def _observed(app: App, *, most: int | None = None) -> list[Any]:
    """The kinds of the faults that Unbroken reports and does not heal."""
    from unbroken import Clocks, Options

    outcomes: list[Any] = []
    clocks = Clocks(
        silence_s=0.6,
        progress_text_s=0.6,
        first_event_s=0.6,
        floor_chars_per_s=60,
        floor_window_s=1,
    )
    options = Options(mode="raise", clocks=clocks)
    http = unbroken.http_client(options=options, on_outcome=outcomes.append, timeout=1.0)
    client = app.dialect.client(app.url, timeout_s=1.0, retries=0, http_client=http)
    with contextlib.suppress(Exception):  # the outcome tells
        stream = app.dialect.stream(client, app.ask)
        for _ in islice(app.dialect.events(stream), most):
            pass
        stream.close()
    return [str(fault.kind.value) for outcome in outcomes for fault in outcome.faults]


def _healed(app: App) -> list[Any]:
    """The faults of a stream that Unbroken heals."""
    outcomes: list[Any] = []
    http = unbroken.http_client(on_outcome=outcomes.append, timeout=1.0)
    with contextlib.suppress(Exception):
        app.read(app.dialect.client(app.url, timeout_s=1.0, retries=0, http_client=http))
    return [fault for outcome in outcomes for fault in outcome.faults]


def _two_loops(app: App) -> object:
    import openai

    client = openai.AsyncOpenAI(base_url=f"{app.url}/v1", api_key="trial", max_retries=0)

    async def read() -> None:
        stream = await client.chat.completions.create(**_json(app))
        async for _ in stream:
            pass

    asyncio.run(read())
    return asyncio.run(read())


def _closed_by_another(app: App) -> object:
    import openai

    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=f"{app.url}/v1", api_key="trial") as client:
            stream = await client.chat.completions.create(**_json(app))

            async def read() -> AsyncGenerator[object]:
                async for chunk in stream:
                    yield chunk

            chunks = read()
            reader: asyncio.Task[object] = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0)
            try:
                await chunks.aclose()
            finally:
                reader.cancel()

    return asyncio.run(run())


def _small_pool(app: App) -> object:
    import httpx2

    limits = httpx2.Limits(max_connections=1)
    timeout = httpx2.Timeout(3.0, pool=0.3)
    with httpx2.Client(limits=limits, timeout=timeout, base_url=app.url) as client:
        path = "/v1/chat/completions"
        with client.stream("POST", path, json=_json(app)):
            return client.post(path, json=_json(app))


def _said_by(ask: Callable[[str, str], str]) -> Callable[[App], list[Any]]:
    return lambda app: [said] if (said := ask(app.url, app.ask.model)) else []


_BEHIND = {
    "nginx-upstream-timed-out": "stall@20t",
    "haproxy-timeout": "stall@20t",
    "connect-failed": "cut.rst@0.5,refuse*9",
}
"""What to look at in place of the record's own scenario: what happens behind a proxy that makes
another fault of it, for its client to see; and a stream that breaks first, since of one that never
began no outcome is told."""

_SPECIAL: list[tuple[str, str, Callable[[App], list[Any]]]] = [
    ("curl-", "curl", _said_by(proxies.curl)),
    ("nginx-", "nginx", _said_by(proxies.nginx)),
    ("haproxy-", "HAProxy", _said_by(proxies.haproxy)),
    ("bad-gateway-502", "nginx", _said_by(proxies.nginx)),
    ("gateway-timeout-504", "nginx", _said_by(proxies.nginx)),
    ("node-terminated", "Node", _said_by(proxies.node)),
    ("abort-error", "Node", _said_by(proxies.node)),
    ("httpx-", "httpx2", _naive(_by_httpx)),
    ("requests-", "requests", _naive(_by_requests)),
    ("aiohttp-", "aiohttp", _naive(_by_aiohttp)),
    ("streaming-chunk-missing-content-field", "json and a KeyError", _naive(_key_error)),
    ("delta-content-none", "the plain loop", _naive(_none_added)),
    ("openai-choices-index-error", "the plain loop", _naive(_first_choice)),
    ("azure-empty-first-choices", "the plain loop", _naive(_first_choice)),
    ("tool-arguments-json-decode-error", "json.loads of the arguments", _naive(_arguments)),
    ("openai-length-finish-reason-error", "chat.completions.parse", _naive(_parsed)),
    ("httpx-connect-timeout-or-pool-timeout", "a small pool", _naive(_small_pool)),
    ("event-loop-is-closed", "two event loops", _naive(_two_loops)),
    ("async-generator-abandoned", "aclose by another task", _naive(_closed_by_another)),
    ("connect-failed", "a stream that was healed", _healed),
    ("continuation-thrown-away", "a stream that was healed", _healed),
    ("browser-fetch-failed", "Chromium", _said_by(proxies.browser)),
    ("ai-sdk-no-output-generated", "the AI SDK", _said_by(proxies.ai_sdk)),
    ("openai-content-filter-finish-reason-error", "chat.completions.parse", _naive(_parsed)),
]
