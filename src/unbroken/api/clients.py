"""HTTP clients: for SDKs, with Unbroken under them; and a plain one for our own requests."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any

from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import Sink, must_make_sinks
from unbroken.telemetry import Callbacks, HealthMonitor
from unbroken.telemetry.recording.flight import shared_flight_recorder
from unbroken.telemetry.recording.tape import Tapes

__all__ = ["LIBRARIES", "async_http_client", "http_client", "load_library", "plain_client"]

LIBRARIES = ("httpx2", "httpx")
_TIMEOUT_S, _CONNECT_S = 600.0, 5.0  # as the vendors' own clients
_MAX_CONNECTIONS, _MAX_KEEPALIVE = 1000, 100


Wrap = Callable[[Any], Any]


def load_library(name: str) -> tuple[Any, Any]:
    """Return the HTTP library and our transports for it."""
    if name not in LIBRARIES:
        msg = f"library must be httpx2 or httpx, not {name!r}"
        raise ValueError(msg)
    try:
        return import_module(name), import_module(f"unbroken.transports.{name}")
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        msg = f"the library {name} is not installed: pip install 'unbroken[{name}]'"
        raise ImportError(msg) from None


def _keepalive() -> list[tuple[int, int, int]]:
    """Return socket options that find a peer that vanished without a word."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    idle = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
    for name, value in ((idle, 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
        number = getattr(socket, name, None)
        if number is not None:
            options.append((socket.IPPROTO_TCP, number, value))
    return options


def _guarded_client(
    asynchronous: bool,
    library: str,
    options: Options | None,
    observer: Callbacks,
    sink: Callable[[], Sink] | None,
    health: HealthMonitor | None,
    recorder: Tapes | None,
    transport: Any,
    client_options: dict[str, Any],
) -> Any:
    must_make_sinks(sink)
    http, ours = load_library(library)
    kind = ours.AsyncTransport if asynchronous else ours.Transport
    tapes = recorder or shared_flight_recorder()
    wrap = partial(kind, options=options, observer=observer, sink=sink, health=health, tapes=tapes)
    return _client(asynchronous, http, wrap, transport, client_options)


def plain_client(library: str, *, asynchronous: bool) -> Any:
    """Return a client with the same settings, but without Unbroken and without timeouts."""
    http, _ = load_library(library)
    return _client(asynchronous, http, lambda inner: inner, None, {"timeout": None})


def _client(
    asynchronous: bool, http: Any, wrap: Wrap, transport: Any, client_options: dict[str, Any]
) -> Any:
    prefix = "Async" if asynchronous else ""
    inner = getattr(http, f"{prefix}HTTPTransport")
    settings = {
        "timeout": http.Timeout(_TIMEOUT_S, connect=_CONNECT_S),
        "follow_redirects": True,
        **client_options,
    }
    limits = settings.pop(
        "limits",
        http.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_KEEPALIVE),
    )
    network: dict[str, Any] = {
        name: settings.pop(name)
        for name in ("verify", "cert", "http1", "http2", "trust_env")
        if name in settings
    }
    trust_env = network.get("trust_env", True)

    if "socket_options" in signature(inner).parameters:  # not before httpx 0.25
        network["socket_options"] = _keepalive()

    def guarded(proxy: Any = None) -> Any:
        if isinstance(proxy, str):  # httpx before 0.26 takes no address
            proxy = http.Proxy(proxy)
        return wrap(inner(limits=limits, proxy=proxy, **network))

    proxy = settings.pop("proxy", None)
    mounts = {
        pattern: None if mounted is None else wrap(mounted)
        for pattern, mounted in (settings.pop("mounts", None) or {}).items()
    }
    if transport is not None:
        main = wrap(transport)
    else:
        main = guarded(proxy)
        if proxy is None and trust_env:
            for pattern, address in _environment_proxies(http).items():
                mounts.setdefault(pattern, None if address is None else guarded(address))
    return getattr(http, f"{prefix}Client")(
        transport=main, mounts=mounts or None, trust_env=trust_env, **settings
    )


def _environment_proxies(http: Any) -> dict[str, str | None]:
    """Return the proxies that the environment names, as the library reads them.

    A client that is given a transport no longer looks at the environment itself.
    """
    utils = import_module(f"{http.__name__}._utils")
    found: dict[str, str | None] = utils.get_environment_proxies()
    return found


def http_client(
    *,
    options: Options | None = None,
    library: str = "httpx2",
    on_outcome: Callable[[Outcome], object] | None = None,
    on_stall: Callable[[StallNotice], object] | None = None,
    on_reconnect: Callable[[Reconnecting], object] | None = None,
    sink: Callable[[], Sink] | None = None,
    health: HealthMonitor | None = None,
    recorder: Tapes | None = None,
    transport: Any = None,
    **client_options: Any,
) -> Any:
    """Return an HTTP client for an SDK's ``http_client=``, under which streams are unbreakable.

    Its settings are those of the vendors' own clients: redirects followed, 1000 connections
    of which 100 are kept, TCP keep-alive, 600 s timeouts and 5 s to connect. Requests that do
    not stream, or that speak no known dialect, pass untouched. The caller owns the client and
    closes it (the SDK does so with its own).

    Args:
        options: How to treat streams.
        library: ``httpx2``, or ``httpx`` for SDKs that are still on it.
        on_outcome: Called with the outcome of every stream.
        on_stall: Called when nothing moves for a while.
        on_reconnect: Called before every further upstream request.
        sink: Makes what each stream is written to while it comes; see `unbroken.sinks`.
        health: Watches each stream; see `unbroken.telemetry.HealthMonitor`.
        recorder: Records each stream: an `unbroken.telemetry.Recorder` every byte of it, to a
            file. None takes the process's flight recorder, which keeps the last reads of each
            stream in memory, for `Outcome.flight` of one that fails.
        transport: An inner transport of the library's, in place of a new one.
        client_options: What the library's ``Client`` takes besides.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If the library is neither of the two.
    """
    observer = Callbacks(on_stall=on_stall, on_reconnect=on_reconnect, on_outcome=on_outcome)
    return _guarded_client(
        False, library, options, observer, sink, health, recorder, transport, client_options
    )


def async_http_client(
    *,
    options: Options | None = None,
    library: str = "httpx2",
    on_outcome: Callable[[Outcome], object] | None = None,
    on_stall: Callable[[StallNotice], object] | None = None,
    on_reconnect: Callable[[Reconnecting], object] | None = None,
    sink: Callable[[], Sink] | None = None,
    health: HealthMonitor | None = None,
    recorder: Tapes | None = None,
    transport: Any = None,
    **client_options: Any,
) -> Any:
    """Return the async twin of `http_client`, for ``AsyncOpenAI(http_client=...)`` and kin."""
    observer = Callbacks(on_stall=on_stall, on_reconnect=on_reconnect, on_outcome=on_outcome)
    return _guarded_client(
        True, library, options, observer, sink, health, recorder, transport, client_options
    )
