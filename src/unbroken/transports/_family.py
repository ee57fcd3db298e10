"""httpx and httpx2 have the same interface in different classes: what both transports share."""

from __future__ import annotations

import logging
import os
import sys
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any

from unbroken.core.dialects import by_name, recognise_request
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.recovery.capabilities import check_rows
from unbroken.core.request import Request
from unbroken.telemetry import HealthMonitor, Observer, StreamHealth
from unbroken.telemetry.health import names_of
from unbroken.telemetry.recording.tape import Tape, Tapes
from unbroken.transports._decoding import Inflater, inflater_for
from unbroken.transports._errors import exception_for, explain

__all__ = [
    "LiveStreams",
    "Treatment",
    "ResponseFacts",
    "Wording",
    "checked",
    "in_mode",
    "treatment_for",
    "response_headers",
    "taped",
    "unanswered",
    "unread",
    "watched",
]

MODE_HEADER = "x-unbroken-mode"
_log = logging.getLogger("unbroken")


@dataclass(frozen=True, slots=True)
class Treatment:
    """How one request will be treated; there is none for those that Unbroken leaves alone."""

    request: Request
    dialect: Dialect
    options: Options
    wants_stream: bool | None


def checked(options: Options | None) -> Options:
    """Return the options in force, or the defaults; what is wrong with them is said now.

    Raises:
        TypeError: If they are not `Options`.
        ValueError: If a capability row is not valid, or a target speaks no known dialect.
    """
    if options is None:
        return Options()
    if not isinstance(options, Options):
        msg = f"options must be unbroken.Options, not {type(options).__name__}"
        raise TypeError(msg)
    check_rows(options.capabilities)
    for target in options.targets:
        if target.dialect is not None:
            by_name(target.dialect)
    return options


def in_mode(options: Options, named: str | None) -> Options:
    """Return the options in the mode that rules: the header's, else the environment's.

    Args:
        options: The options.
        named: What the header ``x-unbroken-mode`` says, if there is one.

    Raises:
        ValueError: If that is no mode; it says who named it.
    """
    mode = named or os.environ.get("UNBROKEN_MODE")
    if not mode or mode == options.mode:
        return options
    try:
        return options.with_mode(mode)
    except ValueError as error:
        source = f"the header {MODE_HEADER}" if named else "the environment variable UNBROKEN_MODE"
        msg = f"{source} names no mode: {error}"
        raise ValueError(msg) from None


def treatment_for(request: Any, options: Options, observer: Observer) -> Treatment | None:
    """Return how to treat a request of the library, or None to leave it alone.

    The mode comes from the header ``x-unbroken-mode`` (removed here), else from
    ``UNBROKEN_MODE`` in the environment, else from the options.

    Raises:
        ValueError: If the header or the environment names a mode that does not exist.
    """
    named = request.headers.pop(MODE_HEADER, None)
    options = in_mode(options, named)
    if options.mode == "off" or request.method != "POST":
        return None
    try:
        return _treatment(request, options)
    except Exception as bug:  # noqa: BLE001 - told; the request goes its way without us
        observer.internal_error(bug)
        return None


def _treatment(request: Any, options: Options) -> Treatment | None:
    body = _content(request)
    facts = Request(
        method=request.method,
        url=str(request.url),
        headers=tuple(request.headers.multi_items()),
        body=body or b"",
    )
    dialect = recognise_request(facts)
    if dialect is None:
        return None
    if body is None:
        once = replace(options, mode="raise") if options.mode == "heal" else options
        return Treatment(facts, dialect, once, None)
    if not dialect.wants_stream(facts):
        return None
    if not facts.signed:  # AWS refuses a request in which a signed header was changed
        request.headers["accept-encoding"] = "identity"
    headers = tuple(request.headers.multi_items())
    return Treatment(
        Request(method=facts.method, url=facts.url, headers=headers, body=body),
        dialect,
        options,
        True,
    )


def _content(request: Any) -> bytes | None:
    """Return the request's body, or None for one that can be read only once."""
    try:
        content: bytes = request.content
    except Exception:  # noqa: BLE001 - RequestNotRead, of either library
        library = sys.modules[type(request).__module__.partition(".")[0]]
        if not isinstance(request.stream, library.ByteStream):
            return None
        content = request.read()  # after a redirect: in memory, though it was not read yet
    return content


def is_protected(treatment: Treatment, response: Any) -> bool:
    """Whether a response's body is to be watched."""
    if not 200 <= response.status_code < 300:
        return False
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if treatment.wants_stream is None and kind not in treatment.dialect.content_types:
        return False
    if not _is_readable(response):
        _log.warning(
            "a stream came in an encoding that was not asked for and cannot be read (%.40r);"
            " it passes unprotected",
            response.headers["content-encoding"],
        )
        return False
    return True


def _is_readable(response: Any) -> bool:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity") or inflater_for(encoding) is not None:
        return True
    library = type(response).__module__.partition(".")[0]
    try:
        known = import_module(f"{library}._decoders").SUPPORTED_DECODERS
    except (ImportError, AttributeError):
        return False
    return all(each.strip() in known for each in encoding.split(","))


def response_headers(treatment: Treatment, response: Any) -> Any:
    """Return the headers for the SDK: those of the response, but for what no longer holds.

    In place of a page or a JSON error comes the stream of a later attempt, or our exception;
    cohere and mistralai look at the type before they read either.
    """
    headers = response.headers.copy()
    for name in ("content-encoding", "content-length"):
        headers.pop(name, None)
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if treatment.options.mode != "observe" and given not in treatment.dialect.content_types:
        headers["content-type"] = treatment.dialect.content_types[0]
    return headers


def watched(
    monitor: HealthMonitor | None, request: Request, dialect: Dialect, began: float | None = None
) -> StreamHealth | None:
    """Have a monitor watch a stream that begins; None where there is no monitor.

    Args:
        monitor: The user's.
        request: What is asked.
        dialect: How.
        began: When the request was sent, if it was.
    """
    if monitor is None:
        return None
    provider, model = names_of(request)
    return monitor.start(provider=provider, model=model, dialect=dialect.name, began=began)


def taped(tapes: Tapes | None, treatment: Treatment | None) -> Tape | None:
    """Begin to record a stream whose request is about to be sent; None where nothing is recorded.

    Args:
        tapes: Where tapes come from.
        treatment: Of the request.
    """
    if tapes is None or treatment is None:
        return None
    tape = tapes.stream()
    tape.request(treatment.request, 1, "first", treatment.dialect.name, time.monotonic())
    return tape


def unanswered(tape: Tape | None, error: BaseException) -> None:
    """No response came: note it. The error is the SDK's to deal with."""
    if tape is not None:
        now = time.monotonic()
        tape.ended(1, "unanswered", type(error).__name__, now)
        tape.close(now)


def unread(tape: Tape | None, response: Any) -> None:
    """A response is left to the SDK: note its head."""
    if tape is not None:
        now = time.monotonic()
        tape.answered(1, response.status_code, response.headers.multi_items(), now)
        tape.ended(1, "left", "no stream to be watched: the body passes unread", now)
        tape.close(now)


class ResponseFacts:
    """What both kinds of open body know about their response.

    Attributes:
        foreign: It came in an encoding that is left to the HTTP library.
    """

    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {
            name.lower(): value for name, value in response.headers.items()
        }
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        self._inflater: Inflater | None = inflater_for(encoding)
        self.foreign = self._inflater is None and encoding not in ("", "identity")
        self._socket: Any = None
        stream = response.extensions.get("network_stream")
        if stream is not None and response.extensions.get("http_version") != b"HTTP/2":
            self._socket = stream.get_extra_info("socket")

    def decoded(self, data: bytes) -> bytes:
        """Return the first part of what bytes of the body hold; `more` has the others."""
        return data if self._inflater is None else self._inflate(self._inflater.decode, data)

    def more(self) -> bytes:
        """Return the next part, or nothing."""
        return b"" if self._inflater is None else self._inflate(self._inflater.more)

    def rest(self) -> bytes:
        """Return what is left when the body has ended."""
        return b"" if self._inflater is None else self._inflate(self._inflater.flush)

    def _inflate(self, step: Callable[..., bytes], *data: bytes) -> bytes:
        try:
            return step(*data)
        except zlib.error as error:  # said as the library would have said it
            library = sys.modules[type(self.response).__module__.partition(".")[0]]
            raise library.DecodingError(str(error)) from error

    @property
    def can_abort(self) -> bool:
        """Whether the socket is in reach. On HTTP/2 it belongs to other streams too."""
        return self._socket is not None

    def abort(self) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.shutdown(2)  # SHUT_RDWR
        except OSError:
            return False
        return True


class LiveStreams:
    """The streams that a transport has open, for when it is closed under them.

    Closing a socket does not wake a read of another thread, and a pool that was closed would
    open connections again for recoveries.
    """

    def __init__(self) -> None:
        # Without a lock of its own, which a fork could leave held.
        self._drivers: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, driver: Any) -> None:
        self._drivers.add(driver)

    def abort(self) -> None:
        """End them: who reads gets an exception, unless the answer was whole."""
        while True:
            try:
                drivers = list(self._drivers)
            except RuntimeError:  # one began meanwhile, in another thread
                continue
            break
        for driver in drivers:
            driver.abort()


class Wording:
    """The library's exceptions, for one request."""

    def __init__(self, library: ModuleType, request: Any) -> None:
        self._library = library
        self.request = request

    def explain(self, error: Exception, *, connecting: bool) -> Fault:
        return explain(self._library, error, connecting=connecting)

    def abort(self) -> None:
        """There is no way: under a transport of the user's own, no socket is in reach yet."""

    def exception(self, outcome: Outcome, fault: Fault, request: Request) -> Exception:
        return exception_for(
            self._library,
            outcome,
            fault,
            request=self.request,
            user_agent=request.header("user-agent") or "",
        )

    def build(self, request: Request, *, connect_s: float | None, head_s: float | None) -> Any:
        """Return the library's request for one of ours, with the timeouts that rule it."""
        extensions = dict(self.request.extensions)
        if request.host != self.request.url.host:
            extensions.pop("sni_hostname", None)  # another target has a name of its own
        given = extensions.get("timeout") or {}
        extensions["timeout"] = {
            **given,
            "connect": _shorter(given.get("connect"), connect_s),
            "read": _shorter(given.get("read"), head_s),
        }
        return self._library.Request(
            request.method,
            request.url,
            headers=[
                (name, value)
                for name, value in request.headers
                if name.lower() not in ("content-length", "transfer-encoding")
            ],
            content=request.body,
            extensions=extensions,
        )


def _shorter(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
