"""Ask an upstream with aiohttp: the bytes of its answer as they are, and how it ends.

Nothing is decompressed, no redirect followed, no cookie kept. Five things of aiohttp (3.14) need
care here:

- A failure hides what had been read before it: `Answer.read` gives that out first.
- A body whose chunked framing is broken is waited for without end: `_Response` notices that the
  connection is gone.
- A reset of a body that only the connection's end delimits passes for a clean end: `_Response`
  keeps what the connection said.
- A pooled connection that the server has just closed fails a POST that never reached anybody:
  connections are used once unless `UpstreamOptions.reuse` says otherwise.
- With every chunk that is read it has its parser go on, where that has nothing to do: `_Connection`
  lets it rest, which saves a tenth of what an event costs a gateway at full speed.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from unbroken.relay.headers import for_downstream, for_upstream, framing_of
from unbroken.relay.messages import FailedHow, RelayRequest, ResponseHead, UpstreamError

__all__ = ["Answer", "UpstreamClient", "UpstreamOptions"]

_HEADER_BYTES = 128 * 1024  # some gateways send whole policies in a header
_HEADERS = 256
_HEAD_BYTES = 512 * 1024
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """Who is asked, and how.

    Attributes:
        url: Scheme, host and port, such as ``https://api.openai.com``; a path in it is put
            before the path of each request.
        connect_s: Longest time for a connection with its TLS handshake; None waits for ever.
        silence_s: Longest time without a byte, before the head and in the body; None waits
            for ever.
        verify: Whether the certificate of a TLS upstream must be good.
        cafile: A PEM file with the authorities to trust, in place of the system's.
        trust_env: Whether ``HTTPS_PROXY`` and its like (and ``.netrc``) are obeyed.
        proxy: The address of the proxy to go through, in place of those; ``""`` for none.
        reuse: Whether connections are kept for later requests.
        codings: Compressions that may be asked for where a request does; by itself none, since a
            frame must be read as soon as it comes.
        hide: Headers of answers that are left out, by their beginnings in lower case: those that
            only we may send.
    """

    url: str
    connect_s: float | None = 10.0
    silence_s: float | None = None
    verify: bool = True
    cafile: str | Path | None = None
    trust_env: bool = False
    proxy: str = field(default="", repr=False)
    reuse: bool = False
    codings: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _is_upstream(self.url):
            shown = self.url.rpartition("@")[2].partition("?")[0]  # the rest may hold keys
            msg = f"{shown!r} is no upstream: write it as https://api.openai.com"
            raise ValueError(msg)
        if self.cafile is not None and not Path(self.cafile).is_file():
            msg = f"there is no file {str(self.cafile)!r} with certificates"
            raise ValueError(msg)

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return "://".join(urlsplit(self.url)[:2])


class UpstreamClient:
    """Sends requests to one upstream; an async context manager, bound to its loop.

    Args:
        options: Who is asked, and how.

    Raises:
        ValueError: On entering, if ``cafile`` holds no certificates.
    """

    def __init__(self, options: UpstreamOptions) -> None:
        self.options = options
        self._base = options.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        options = self.options
        connector = _Connector(limit=0, ssl=_trust(options), force_close=not options.reuse)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=options.trust_env,
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=options.connect_s, sock_read=options.silence_s
            ),
            read_bufsize=_READ_BYTES,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
            response_class=_Response,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def target_of(self, url: str) -> str | None:
        """Return what `ask` adds to this upstream's address for a URL; None if it is elsewhere."""
        target = url[len(self._base) :]
        return target if url.startswith(self._base) and target[:1] in ("/", "?", "") else None

    async def ask(self, request: RelayRequest) -> Answer:
        """Send a request; return when the head of its answer is there.

        Headers that do not pass are left out here.

        Raises:
            UpstreamError: If there is no head.
        """
        assert self._session is not None, "enter the client first"
        url = URL(self._base + request.target, encoded=True)
        body: bytes | AsyncIterable[bytes] | None = request.body
        headers = for_upstream(request.headers, codings=self.options.codings)
        if request.reading is not None:
            body = request.reading
            # As it was told: some servers refuse a body whose length they do not know.
            length = request.header("content-length")
            headers += [] if length is None else [("Content-Length", length)]
        try:
            response = await self._session.request(
                request.method,
                url,
                headers=headers,
                # An empty body of a GET is none; of a POST it is one of length 0.
                data=body or None,
                proxy=self.options.proxy or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._failed(error) from error
        assert isinstance(response, _Response)
        if (wrong := _wrong_head(response)) is not None:
            response.close()
            raise UpstreamError(how="not-http", address=self.options.address, detail=wrong)
        return Answer(response, request.method, self.options)

    def _failed(self, error: Exception) -> UpstreamError:
        how, detail = _what_failed(error, self.options)
        return UpstreamError(how=how, address=self.options.address, detail=detail)


class Answer:
    """An answer on its way; an `unbroken.relay.pump.Upstream`."""

    def __init__(self, response: _Response, method: str, options: UpstreamOptions) -> None:
        self._response = response
        self._options = options
        self._failure: UpstreamError | None = None
        raw = [(_text(name), _text(value)) for name, value in response.raw_headers]
        if options.hide:
            raw = [pair for pair in raw if not pair[0].lower().startswith(options.hide)]
        self.head = ResponseHead(
            status=response.status,
            reason=response.reason or "",
            headers=for_downstream(raw),
            framing=framing_of(method, response.status, raw),
        )

    async def read(self) -> bytes:
        """Return what came, at least one byte; ``b""`` at a proper end.

        Raises:
            UpstreamError: If the body breaks; all that came before was returned before.
        """
        if self._failure is not None:
            raise self._failure
        content = self._response.content
        try:
            data = await content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failure = self._broke(error)
            if unread := _unread(content):
                return unread
            raise self._failure from error
        if not data and self.head.framing == "close" and self._response.was_reset():
            self._failure = self._broke(None)
            raise self._failure
        return data

    @property
    def address(self) -> str:
        """Scheme, host and port of who answers."""
        return self._options.address

    def close(self) -> None:
        """Let go of the connection, at once if the body is not at its end."""
        self._response.close()

    def _broke(self, error: Exception | None) -> UpstreamError:
        how: FailedHow = "incomplete"
        detail = "closed the connection in the middle of the body"
        if isinstance(error, TimeoutError):
            how, detail = "silent", f"sent nothing for {self._options.silence_s:g} s"
        elif self._response.was_reset() or isinstance(error, ConnectionResetError):
            how, detail = "reset", "reset the connection in the middle of the body"
        return UpstreamError(how=how, address=self._options.address, detail=detail)


class _Connector(aiohttp.TCPConnector):
    """Makes connections of our own class; aiohttp's, if it renames what is set here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        loop = asyncio.get_running_loop()
        self._factory = partial(_Connection, loop=loop)  # type: ignore[assignment]


class _Connection(ResponseHandler):
    """A connection whose parser is told to go on only where it was told to pause."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        if getattr(self, "_reading_paused", True):
            super().resume_reading(resume_parser)


class _Response(aiohttp.ClientResponse):
    """A response that remembers how its connection ended."""

    _ending: asyncio.Future[None] | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        self._ending = getattr(connection.protocol, "closed", None)
        if self._ending is not None:
            self._ending.add_done_callback(self._connection_ended)
        return await super().start(connection)

    def _connection_ended(self, ending: asyncio.Future[None]) -> None:
        if not ending.cancelled():
            ending.exception()  # looked at, or asyncio complains that nobody did
        content: aiohttp.StreamReader | None = getattr(self, "content", None)
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body has no end"))

    def was_reset(self) -> bool:
        ending = self._ending
        return (
            ending is not None
            and ending.done()
            and not ending.cancelled()
            and ending.exception() is not None
        )


def _unread(content: aiohttp.StreamReader) -> bytes:
    """Return what came before a failure; aiohttp has it still, but raises first."""
    read = getattr(content, "_read_nowait", None)
    return bytes(read(-1)) if callable(read) else b""


def _wrong_head(response: aiohttp.ClientResponse) -> str | None:
    """Return why a head is no answer that can be passed on, or None."""
    if response.status < 200:
        return f"changed the protocol (status {response.status})"
    size = sum(len(name) + len(value) for name, value in response.raw_headers)
    return f"answered with {size} bytes of headers" if size > _HEAD_BYTES else None


def _is_upstream(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    return bool(known) and not (parts.query or parts.fragment or "@" in parts.netloc)


def _trust(options: UpstreamOptions) -> ssl.SSLContext | bool:
    if not options.verify:
        return False
    if options.cafile is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(options.cafile))
    except ssl.SSLError as error:
        msg = f"{str(options.cafile)!r} holds no certificates in PEM form"
        raise ValueError(msg) from error


def _text(header: bytes) -> str:
    return header.decode("latin-1")


def _what_failed(error: Exception, options: UpstreamOptions) -> tuple[FailedHow, str]:
    """Say in words what aiohttp raised before there was an answer."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return "tls", f"its certificate is not good: {reason}"
        case aiohttp.ClientSSLError():
            return "tls", "no TLS handshake; does it speak http:// rather than https://?"
        case aiohttp.ClientConnectorDNSError():
            return "unreachable", "there is no host of that name"
        case aiohttp.ClientProxyConnectionError():
            return "unreachable", "the proxy that the environment names was not reached"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            if number is None:  # asyncio puts all addresses that it tried into one text
                found = re.search(r"Errno (\d+)", str(error))
                number = int(found[1]) if found else None
            return "unreachable", os.strerror(number).lower() if number else "no connection"
        case aiohttp.ConnectionTimeoutError():
            return "unreachable", f"no connection within {options.connect_s:g} s"
        case TimeoutError():
            limit = "" if options.silence_s is None else f" within {options.silence_s:g} s"
            return "silent", f"no answer{limit}"
        case aiohttp.ServerDisconnectedError():
            return "no-answer", "closed the connection without an answer"
        case aiohttp.ClientHttpProxyError():
            return "unreachable", f"the proxy refused with {error.status}"
        case aiohttp.ClientResponseError():
            return "not-http", "what it answered is no HTTP"
        case ConnectionResetError() | BrokenPipeError():
            return "reset", "reset the connection before it answered"
        case OSError():
            if "reset" in str(error).lower():
                return "reset", "reset the connection before it answered"
            return "unreachable", (error.strerror or type(error).__name__).lower()
        case _:
            return "not-http", type(error).__name__
