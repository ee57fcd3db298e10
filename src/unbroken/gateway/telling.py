"""What the gateway tells of itself beside its page: access log, audit of resends, and traces."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unbroken.core.request import Request
from unbroken.gateway.config import ConfigError, Problem
from unbroken.gateway.config.settings import TelemetryConfig
from unbroken.gateway.control import owns
from unbroken.gateway.exchange import Exchange
from unbroken.gateway.relaying import Asked
from unbroken.gateway.streaming import Run
from unbroken.journal.base import Meta
from unbroken.telemetry.access_log import AccessLog, Resends, path_of, stream_facts, stream_hash
from unbroken.telemetry.health import HealthMonitor, StreamHealth
from unbroken.telemetry.recording import FlightRecorder, Recorder, Tapes
from unbroken.telemetry.recording.flight import Landed

__all__ = ["Telling"]

_CLIENTS_ID = re.compile(r"[0-9A-Fa-f-]{8,64}")
"""A request id of the client's that may be logged: a UUID, say, but nothing that is a key."""
_FLIGHT_BYTES = 16 * 1024
"""What the flight recorder keeps of a stream: thousands may run at once."""
_FLIGHTS = 32
"""How many streams that failed can be asked for at ``/_unbroken/flights``."""
_TROUBLE = ("journal-down", "journal-full", "journal-lost", "writer-lost")
"""What went wrong with reading streams on: counted, since no stream's figures tell of it."""


class Telling:
    """Access log, audit and traces of one worker.

    Args:
        config: What is told, and where.

    Attributes:
        monitor: Watches all streams.
        tapes: Record all streams: the flight recorder always, and a recorder where asked for.

    Raises:
        ConfigError: If OpenTelemetry is asked for and not installed.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        self.monitor = _monitor(config)
        self._log = self._open(config.access_log)
        self.tapes: Tapes = _tapes(config)
        self._ended: list[Tapes] = []  # of configurations before: streams may still be on them

    def _open(self, where: str) -> AccessLog | None:
        if not where:
            return None
        return AccessLog(where, on_lost=lambda n: self.monitor.trouble("access-log-lost", n))

    def reload(self, config: TelemetryConfig) -> None:
        """Open the access log again, or another one. The collector stays the same."""
        if self._log is not None and config.access_log:
            self._log.reopen(config.access_log)
        elif self._log is not None:
            self._log.close(limit_s=0)
            self._log = None
        else:
            self._log = self._open(config.access_log)
        self._ended.append(self.tapes)
        self.tapes = _tapes(config)

    def close(self) -> None:
        """Write and send what is left; waits for a few seconds at most."""
        if self._log is not None:
            self._log.close()
        for each in (*self._ended, self.tapes):
            if isinstance(each, Recorder):
                each.close()
        close = getattr(self.monitor, "close", None)
        if close is not None:
            close()

    @property
    def flights(self) -> Sequence[Landed]:
        """The latest streams that failed; none where all are recorded to a file."""
        return tuple(getattr(self.tapes, "latest", ()))

    @contextlib.contextmanager
    def request(self, exchange: Exchange) -> Iterator[None]:
        """Around a request: it goes on with its client's trace, and gets its line."""
        if owns(exchange.path):
            yield  # probes and the page would be most of a log
            return
        began = time.monotonic()
        if self._log is not None:
            exchange.facts["request_id"] = request_id = secrets.token_hex(8)
            exchange.more.append(("x-unbroken-request-id", request_id))
        try:
            with _trace_of(self.monitor, exchange):
                yield
        finally:
            for kind in (exchange.facts.get("error"), exchange.facts.get("not_kept")):
                if kind in _TROUBLE:
                    self.monitor.trouble(kind)
            if self._log is not None:
                self._log.write("request", _request_facts(exchange, time.monotonic() - began))

    def stream(self, exchange: Exchange, asked: Asked, health: StreamHealth) -> Asked:
        """Return a request for a stream as it is told of.

        Args:
            exchange: Whose request it is.
            asked: What goes upstream.
            health: Who observes it.
        """
        labels = health.labels
        facts = {
            "stream": stream_hash(health.id),
            "route": labels.route,
            "provider": labels.provider,
            "model": labels.model,
            "trace_id": getattr(health, "trace_id", "") or None,
        }
        exchange.facts.update(facts)
        stamp = getattr(health, "stamp", None)
        asked = replace(asked, tapes=self.tapes)
        if self._log is None:
            return asked if stamp is None else replace(asked, stamp=stamp)
        team = health.team or None
        named = {"request_id": exchange.facts.get("request_id"), "team": team, **facts}
        resends = Resends(self._log, named)
        return replace(asked, observer=resends, stamp=_Stamping(resends, stamp))

    def reading(self, exchange: Exchange, meta: Meta, *, attached: bool) -> None:
        """A client reads a stream from the journal.

        Args:
            exchange: Its request.
            meta: The stream.
            attached: The stream was there already: it is read on, or by somebody else too.
        """
        exchange.facts.update(
            stream=stream_hash(meta.id),
            route=meta.route,
            provider=meta.provider,
            model=meta.model,
            attached=True if attached else None,
            resumed=True if exchange.header("last-event-id") else None,
        )

    def facts_of(self, run: Run) -> dict[str, Any]:
        """Return what is said of a stream that is over."""
        if self._log is None:
            return {}
        return stream_facts(run.health.row(self.monitor.clock()), run.outcome)

    def ended(self, run: Run, facts: dict[str, Any]) -> None:
        """A stream that its clients read from the journal is over: it has a line of its own.

        Args:
            run: The stream.
            facts: What was known of it when it began.
        """
        if self._log is not None:
            team = run.health.team or None
            self._log.write("stream", {**facts, "team": team, **self.facts_of(run)})


@dataclass(frozen=True, slots=True)
class _Stamping:
    """Each request of a stream on its way out: told to the audit, and given its trace."""

    resends: Resends
    stamp: Callable[[Request], Request] | None

    def __call__(self, request: Request) -> Request:
        self.resends.sent(request)
        return request if self.stamp is None else self.stamp(request)


def _request_facts(exchange: Exchange, duration_s: float) -> dict[str, Any]:
    downstream, caller = exchange.downstream, exchange.caller
    clients_id = exchange.header("x-request-id") or ""
    length = exchange.header("content-length") or ""
    facts = dict(exchange.facts)
    return {
        "request_id": facts.pop("request_id", None),
        "client_request_id": clients_id if _CLIENTS_ID.fullmatch(clients_id) else None,
        "team": None if caller is None else caller.team or None,
        "method": exchange.method,
        "path": path_of(exchange.target),
        "dialect": exchange.dialect or None,
        "status": downstream.status or None,
        "bytes_in": facts.pop("bytes_in", 0) or int(length if length.isdigit() else 0),
        "bytes_out": downstream.sent_bytes,
        "duration_s": round(duration_s, 4),
        "client_left": True if downstream.lost else None,
        **facts,
    }


def _tapes(config: TelemetryConfig) -> Tapes:
    """Return what records streams.

    Raises:
        ConfigError: If the folder for recordings cannot be written to.
    """
    if not config.record_dir:
        folder = config.flight_dir or None
        return FlightRecorder(folder, max_bytes=_FLIGHT_BYTES, keep=_FLIGHTS)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{secrets.token_hex(2)}"
    path = Path(config.record_dir) / f"gateway-{stamp}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Recorder(path, contents=config.record_contents, side="gateway", in_thread=True)
    except OSError as error:
        key, text = "telemetry.record_dir", f"cannot record into it ({error.strerror})"
        remedy = "name a folder that the gateway may write to"
        raise ConfigError([Problem(key=key, text=text, remedy=remedy)]) from error


def _monitor(config: TelemetryConfig) -> HealthMonitor:
    if not config.otlp_endpoint and not _sdk_is_set_up():
        return HealthMonitor(prices=config.prices)
    try:
        from unbroken.telemetry import otel

        return otel.observe(endpoint=config.otlp_endpoint, prices=config.prices)
    except ImportError as error:
        key, remedy = "telemetry.otlp_endpoint", 'pip install "unbroken[otel]"'
        problem = Problem(key=key, text="OpenTelemetry is not installed", remedy=remedy)
        raise ConfigError([problem]) from error
    except ValueError as error:
        problem = Problem(key="telemetry.otlp_endpoint", text=str(error), remedy="correct it")
        raise ConfigError([problem]) from error


def _sdk_is_set_up() -> bool:
    """Whether somebody has set up OpenTelemetry in this process, as opentelemetry-instrument."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    unset = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
    return not isinstance(trace.get_tracer_provider(), unset)


def _trace_of(
    monitor: HealthMonitor, exchange: Exchange
) -> contextlib.AbstractContextManager[None]:
    if not hasattr(monitor, "tracer"):
        return contextlib.nullcontext()
    from unbroken.telemetry.otel import continued

    return continued(exchange.headers)
