"""What can be set, as plain values. Reading and checking them is done elsewhere.

Each class is a table of the configuration file; its docstring is what the reference page says.
None means no limit, and is written ``"none"`` in the file, since TOML has no null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from unbroken.core.options import Mode
from unbroken.gateway.config.secret import Secret, Value
from unbroken.telemetry.health.prices import Price

__all__ = [
    "CallerConfig",
    "CallerLimits",
    "GatewayConfig",
    "JournalConfig",
    "LimitsConfig",
    "OwnLimits",
    "ResumeConfig",
    "RouteConfig",
    "TargetConfig",
    "TelemetryConfig",
    "UpstreamConfig",
]

_MIB = 1024 * 1024
_Seconds = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]


class UpstreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider that requests may be sent to.

    Attributes:
        url: Where its API is: the ``base_url`` that its SDK takes, or its host alone. What the
            end of it and the beginning of a request's path have in common (``/v1``) is taken
            once. May be left out of the upstreams that have a name of the built-in ones.
        dialect: What it speaks; empty tells it from each request's path.
        key: Sent to it in place of the caller's. Without one the caller's own headers pass, but
            for the gateway's own keys.
        headers: Further headers for it; they win over the request's. A value may be a secret.
        cafile: A file with the certificates (PEM) of the authority that signed its
            certificate; empty takes the system's.
        proxy: The URL of an HTTP proxy to reach it through. May be a secret, for a proxy that
            asks for a password.
        connect_s: Seconds to open a connection to it.
        reuse: Whether connections to it are used again.
    """

    url: str = ""
    dialect: str = ""
    key: Secret | None = None
    headers: dict[str, Value] = {}
    cafile: str = ""
    proxy: Value | None = None
    connect_s: _Seconds = 10.0
    reuse: bool = True


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may take over when a route's upstream fails (the last rung of the ladder).

    Attributes:
        upstream: The name of an upstream; empty stays with the route's.
        model: The model to ask for; empty leaves the request's.
        when: The kinds of fault at which it may take over; empty takes the default, every
            failure.
        mid_answer: Whether it may go on with an answer that another model began.
    """

    upstream: str = ""
    model: str = ""
    when: tuple[str, ...] = ()
    mid_answer: bool = True


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests go to which upstream, and how they are treated. The first match wins.

    Attributes:
        upstream: The name of an upstream.
        name: What metrics and the page call the route; empty takes the upstream's name.
        path: A pattern for the request's path without ``prefix``: ``*`` stands for any text,
            slashes too, ``?`` for one character.
        prefix: What the path begins with, and what is taken off before it is sent on, as
            ``/groq``.
        model: A pattern for the request's model; a request that names none matches ``*`` only.
        targets: Who may take over, in this order.
        mode: ``heal``, ``raise``, ``observe`` or ``off``; not set takes the gateway's.
        profile: ``interactive`` shortens the clocks for somebody who is watching.
        options: Any other plain field of `unbroken.Options`, and ``clocks`` as a table.
        on_disconnect: What happens when a client goes without Stop: ``cancel`` closes the
            upstream, ``drain`` reads the answer to its end, ``keep 30s`` waits so long for the
            client to come back. ``auto`` is ``cancel``, and ``keep 30s`` for a stream that its
            client can resume.
        heartbeat_s: Seconds of silence after which a heartbeat is sent, where the dialect
            has one; none sends no heartbeats.
    """

    upstream: str
    name: str = ""
    path: str = "*"
    prefix: str = ""
    model: str = "*"
    targets: tuple[TargetConfig, ...] = ()
    mode: Mode | None = None
    profile: Literal["default", "interactive"] = "default"
    options: dict[str, Any] = {}
    on_disconnect: str = "auto"
    heartbeat_s: _Seconds | None = 15.0


class CallerLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each caller may do, unless its own entry says otherwise.

    Attributes:
        streams: Requests running at once.
        requests_per_minute: Requests begun within any minute, by a bucket that holds so many.
        bytes_per_minute: Bytes of requests and answers within any minute, by such a bucket;
            an answer that is running is never cut for it.
    """

    streams: _Count | None = None
    requests_per_minute: _Count | None = None
    bytes_per_minute: _Count | None = None


class OwnLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One caller's own limits, in place of those in ``limits.per_caller``.

    Attributes:
        streams: Requests running at once.
        requests_per_minute: Requests begun within a minute.
        bytes_per_minute: Bytes of requests and answers within a minute.
    """

    streams: _Count | UnsetType | None = UNSET
    requests_per_minute: _Count | UnsetType | None = UNSET
    bytes_per_minute: _Count | UnsetType | None = UNSET


class CallerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call, with a key of the gateway's own. Make one by ``unbroken serve --new-key``.

    Attributes:
        team: Its name in logs, metrics and on the page.
        key_sha256: The SHA-256 of its key, in hex; or several while keys are changed.
        key: The key itself, as a secret, in place of its hash.
        limits: Its own limits; what is not set is as in ``limits.per_caller``.
    """

    team: str
    key_sha256: str | tuple[str, ...] = ()
    key: Secret | None = None
    limits: OwnLimits = OwnLimits()

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes that the entry lists, whether one or several."""
        return (self.key_sha256,) if isinstance(self.key_sha256, str) else self.key_sha256


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker takes on. Beyond them a request is refused, never cut.

    Attributes:
        max_request_bytes: Largest body of a request.
        max_head_bytes: Largest head of a request.
        head_s: Seconds for a request's head to arrive.
        body_idle_s: Seconds without a byte of a request's body after which it is given up.
        keep_alive_s: Seconds that an idle connection of a client's is kept.
        max_connections: Connections of clients at once, in one worker.
        max_buffer_bytes: Bytes held for all streams of one worker: journal windows, held
            frames, request bodies that may be sent again.
        per_caller: What each caller may do.
    """

    max_request_bytes: _Count = 64 * _MIB
    max_head_bytes: _Count = 64 * 1024
    head_s: _Seconds = 10.0
    body_idle_s: _Seconds = 30.0
    keep_alive_s: _Seconds = 75.0
    max_connections: _Count = 20_000
    max_buffer_bytes: _Count = 1024 * _MIB
    per_caller: CallerLimits = CallerLimits()


class ResumeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reading a stream on after the client's connection was lost.

    Attributes:
        enabled: Whether clients may ask for it.
        keep_s: Seconds that an ended stream can be read.
        on_conflict: What a second request with the Idempotency-Key of a running stream gets:
            ``attach`` the same stream, ``409`` that status.
        forward_key: Whether Idempotency-Key is sent upstream too.
        token_s: Seconds that a browser's token is good for.
        secret: Signs those tokens; at least 32 characters. Not set takes a random one, which
            only this process and its workers know: tokens end with it.
    """

    enabled: bool = True
    keep_s: Annotated[float, Meta(ge=0)] = 600.0
    on_conflict: Literal["attach", "409"] = "attach"
    forward_key: bool = False
    token_s: _Seconds = 900.0
    secret: Secret | None = None


class JournalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where delivered streams are kept, so that they can be read again.

    Attributes:
        kind: ``memory``, of one process, or ``redis``, which several workers and replicas
            share.
        url: Of Redis: ``redis://host:6379/0``, ``rediss://`` for TLS, ``unix:///path``.
            Without a password.
        password: The password of Redis.
        key: What the journal in Redis is encrypted with: 32 bytes in base64.
        old_keys: Earlier ones, which what is there already may still be read with.
        max_stream_bytes: Most bytes kept of one stream.
        max_total_bytes: Most bytes kept of all streams, in memory.
        flush_s: Seconds that writes are gathered before they go to Redis.
    """

    kind: Literal["memory", "redis"] = "memory"
    url: str = ""
    password: Secret | None = None
    key: Secret | None = None
    old_keys: tuple[Secret, ...] = ()
    max_stream_bytes: _Count = 4 * _MIB
    max_total_bytes: _Count = 512 * _MIB
    flush_s: Annotated[float, Meta(ge=0)] = 0.02


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the gateway tells of itself.

    Nothing of it holds a key, and nothing a prompt or an answer but a recording that keeps them.

    Attributes:
        access_log: Where one JSON line for each request goes: ``-`` is standard output, else
            the path of a file; empty writes none.
        otlp_endpoint: Where OpenTelemetry's traces and metrics go, by OTLP over HTTP; empty
            sends none.
        page: Whether the live page, its feed and the metrics are served below ``/_unbroken/``.
        prices: What a million tokens cost, in any currency; the first entry that fits a stream's
            upstream and model counts. Cost is then in the log and the metrics, also that of
            streams that were cut or cancelled, as far as the provider said what it billed.
        flight_dir: A folder into which the last reads of each stream that failed are written, for
            ``unbroken report``; a file each, without contents. Empty writes none.
        record_dir: A folder into which every stream is recorded, byte for byte, without keys; a
            file for each worker and start. It grows without end: for hunting a fault, not for
            always. Empty records nothing.
        record_contents: What becomes of prompts and answers in recordings: ``removed``,
            ``hashed`` or ``kept``.
    """

    access_log: str = ""
    otlp_endpoint: str = ""
    page: bool = True
    prices: tuple[Price, ...] = ()
    flight_dir: str = ""
    record_dir: str = ""
    record_contents: Literal["removed", "hashed", "kept"] = "removed"


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration.

    Attributes:
        version: Of this format.
        listen: Where to listen, as ``host:port``; port 0 takes a free one.
        workers: Processes that serve.
        allow_anonymous: Whether callers without a key are served beyond this machine.
        hosts: Names by which the gateway is called, beside those of loopback; other ``Host``
            headers are refused.
        origins: Web pages that may call it from a browser, as ``https://chat.example.com``.
        mode: The mode of every route that names none.
        drain_s: Seconds that running streams have to end after SIGTERM.
        upstreams: Providers, by a name of your choice.
        routes: Which requests go where; the first match wins. Without any: see below.
        callers: Who may call.
        limits: What one worker takes on, and what each caller may do.
        resume: Reading a stream on.
        journal: Where delivered streams are kept.
        telemetry: What the gateway tells of itself.
    """

    version: Literal[1] = 1
    listen: str = "127.0.0.1:8411"
    workers: _Count = 1
    allow_anonymous: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    mode: Mode = "heal"
    drain_s: Annotated[float, Meta(ge=0)] = 600.0
    upstreams: dict[str, UpstreamConfig] = {}
    routes: tuple[RouteConfig, ...] = ()
    callers: tuple[CallerConfig, ...] = ()
    limits: LimitsConfig = LimitsConfig()
    resume: ResumeConfig = ResumeConfig()
    journal: JournalConfig = JournalConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; an IPv6 host without its brackets.

        Raises:
            ValueError: If ``listen`` is not ``host:port``.
        """
        host, colon, port = self.listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            msg = f"listen must be host:port, as 127.0.0.1:8411, not {self.listen!r:.60}"
            raise ValueError(msg)
        return host, int(port)
