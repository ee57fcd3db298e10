"""Put Unbroken under a drive, run it against a script, and keep all that was seen.

    run = guarded("anthropic-helper", Scripted(model, Break("cut_rst", at=12)), mode="heal")
    run.drive          # what the application saw
    run.outcome        # what Unbroken says of it
    run.requests       # what the server was asked, before it was stopped

A client that is made anew for each case is what lets a leaked connection show. What makes a
new one dear is its TLS context, so all share one.
"""

from __future__ import annotations

import importlib
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import unbroken
from tests.support.bodies import Answer, tokens_of
from tests.support.drives import Drive, run, spec_of
from tests.support.faults import FAULTS, STORY, Break, breaking, keepalive
from tests.support.faultserver import Exchange, FaultServer, Script
from tests.support.model import Model
from unbroken.telemetry import Callbacks

__all__ = [
    "CLOCKS",
    "DEADLINE_S",
    "PARAMS",
    "PATIENT",
    "TIMED",
    "TIMEOUT_S",
    "Run",
    "client_for",
    "guarded",
    "model_for",
    "options",
    "plain",
    "request_for",
    "script_for",
    "transport_for",
]

DEADLINE_S = 0.3
"""What the short clocks allow."""
TIMEOUT_S = 10.0
"""The read timeout given to the SDK; it must not be what ends a stall under us."""
TIMED = ("stall", "ka_stall", "ka_dead", "empty_dead", "endless_comments")
"""Faults that a clock ends; only for them are the clocks short, lest a busy machine be one."""
PATIENT = unbroken.Clocks(
    connect_s=TIMEOUT_S,
    first_event_s=TIMEOUT_S,
    silence_s=TIMEOUT_S,
    progress_text_s=TIMEOUT_S,
    progress_slow_s=TIMEOUT_S,
)
CLOCKS = unbroken.Clocks(
    connect_s=2.0,
    first_event_s=DEADLINE_S,
    silence_s=DEADLINE_S,
    progress_text_s=DEADLINE_S,
    progress_slow_s=DEADLINE_S,
)
_MAX_FRAME_BYTES = 1 << 20

# Faults that would last too long, or weigh too much, as they come.
PARAMS: Mapping[str, Mapping[str, Any]] = {
    "slow_drip": {"pace_s": 0.01},
    "ka_stall": {"every_s": 0.05, "for_s": 1.0},
    "huge_line": {"size": _MAX_FRAME_BYTES + 65536},
    "endless_comments": {"size": 200_000},
}


@dataclass(slots=True, kw_only=True)
class Run:
    """One drive over Unbroken (or without it), and what the server and the observer saw."""

    drive: Drive
    outcomes: list[unbroken.Outcome] = field(default_factory=list)
    stalls: list[Any] = field(default_factory=list)
    reconnects: list[Any] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    leaked: int = 0
    timed: bool = False

    @property
    def outcome(self) -> unbroken.Outcome:
        """The one outcome; there must be just one."""
        assert len(self.outcomes) == 1, [outcome.status for outcome in self.outcomes]
        return self.outcomes[0]

    @property
    def observer(self) -> dict[str, Callable[[Any], object]]:
        return {
            "on_outcome": self.outcomes.append,
            "on_stall": self.stalls.append,
            "on_reconnect": self.reconnects.append,
        }


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def options(mode: str = "heal", **more: Any) -> unbroken.Options:
    """Options of the tests: no budget that other tests could use up, and patient clocks."""
    settings: dict[str, Any] = {
        "clocks": PATIENT,
        "heals_always": 10**6,
        "max_frame_bytes": _MAX_FRAME_BYTES,
    }
    return unbroken.Options(mode=mode, **settings | more)  # type: ignore[arg-type]


def client_for(name: str, opts: unbroken.Options, **more: Any) -> Any:
    """A client of ours for a drive's SDK: sync or async, of its HTTP library."""
    spec = spec_of(name)
    make = unbroken.async_http_client if spec.is_async else unbroken.http_client
    return make(options=opts, library=spec.library, verify=_tls(), **more)


def transport_for(name: str, opts: unbroken.Options, inner: Any = None, **observer: Any) -> Any:
    """A transport of ours around one of the library's; for ollama, which takes no client."""
    spec = spec_of(name)
    library = importlib.import_module(spec.library)
    ours = importlib.import_module(f"unbroken.transports.{spec.library}")
    if inner is None:
        kind = library.AsyncHTTPTransport if spec.is_async else library.HTTPTransport
        inner = kind(verify=_tls())
    wrap = ours.AsyncTransport if spec.is_async else ours.Transport
    return wrap(inner, options=opts, observer=Callbacks(**observer))


def model_for(name: str, answer: Answer = STORY, **more: Any) -> Model:
    """A model of the drive's dialect that obeys."""
    if spec_of(name).as_json:
        whole = json.dumps({"text": answer.text}, ensure_ascii=False)
        answer = replace(answer, tokens=tokens_of(whole))
    return Model(dialect=spec_of(name).dialect, answer=answer, **more)


def request_for(name: str, *, deterministic: bool = False) -> dict[str, Any]:
    """Arguments of the call that leave the ladder open.

    The answers of Responses are kept at the provider unless told otherwise, and then are not
    continued by another request.
    """
    request: dict[str, Any] = {}
    if spec_of(name).dialect == "openai-responses":
        request["store"] = False
    if deterministic or spec_of(name).as_json:  # an object is never continued in its middle
        match spec_of(name).dialect:
            case "ollama":
                request["options"] = {"temperature": 0}
            case "gemini":
                request["config"] = {"temperature": 0}
            case "anthropic-messages":  # the SDK has no argument for it any more
                request["extra_body"] = {"temperature": 0}
            case _:
                request["temperature"] = 0
    return request


def _keepalive(dialect: str) -> bytes:
    """A keep-alive that the SDK bears; google-genai and ollama fail on those of the others."""
    return {"gemini": b"\r\n", "ollama": b" "}.get(dialect) or keepalive(dialect)


def script_for(name: str, fault: str, *, at: int = 12, role: str = "text", **params: Any) -> Script:
    """A model that obeys; its first answer breaks by `fault`, all later ones are whole."""
    settings = {**PARAMS.get(fault, {}), **params}
    if FAULTS[fault].endless or fault == "ka_stall":
        settings.setdefault("keepalive", _keepalive(spec_of(name).dialect))
    return breaking(model_for(name), Break(fault, at=at, role=role, params=settings))


def guarded(
    name: str,
    script: Script,
    *,
    mode: str = "heal",
    opts: unbroken.Options | None = None,
    fault: str = "",
    backend: Any = "asyncio",
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    **wire: Any,
) -> Run:
    """Run a drive over Unbroken.

    Args:
        name: The drive.
        script: What the server does.
        mode: Of Unbroken; `opts` takes its place.
        opts: Options, complete.
        fault: What will happen; short clocks if it needs one.
        backend: Event loop of async drives.
        client: Further arguments of our client.
        server: Further arguments of `FaultServer`.
        wire: Fields of `Wire`.
    """
    found = Run(drive=Drive(name=name))
    chosen = opts or options(mode, clocks=CLOCKS if fault in TIMED else PATIENT)
    found.timed = chosen.clocks is CLOCKS
    if spec_of(name).sdk == "ollama":
        wire["transport"] = lambda: transport_for(name, chosen, **found.observer)
    else:
        wire["http_client"] = lambda: client_for(name, chosen, **found.observer, **(client or {}))
    return _run(found, name, script, backend=backend, server=server or {}, wire=wire)


def plain(name: str, script: Script, *, backend: Any = "asyncio", **wire: Any) -> Run:
    """The same without Unbroken."""
    return _run(Run(drive=Drive(name=name)), name, script, backend=backend, server={}, wire=wire)


@cache
def _warm(name: str) -> None:
    """Use an SDK once: what it imports and builds then would count as time of the stream."""
    with FaultServer(model_for(name)) as server:
        assert run(name, server.url).error is None


def _run(
    found: Run,
    name: str,
    script: Script,
    *,
    backend: Any,
    server: Mapping[str, Any],
    wire: dict[str, Any],
) -> Run:
    settings: dict[str, Any] = {"timeout_s": TIMEOUT_S, "max_retries": 0} | wire
    settings.setdefault("request", request_for(name))
    _warm(name)
    with FaultServer(script, **server) as faults:
        found.drive = run(name, faults.url, backend=backend, **settings)
        faults.wait_for_open(0, within_s=1.0)
        found.leaked = faults.open_connections
        found.exchanges = list(faults.exchanges)
    return found
