"""What a HAR tells of its streams, as the lines of a recording.

A HAR knows far less than a recording. Bodies stand in it as a whole, without the reads in which
they came; where a request failed, most browsers leave out what had come before; content codings
are taken off, and of requests that nobody waited for there is nothing. The opening says so.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from unbroken.core.dialects import recognise_request
from unbroken.core.masking import LineMask
from unbroken.core.recording import (
    BodyEndHow,
    Connected,
    End,
    Line,
    Opening,
    Read,
    RecordingError,
    RequestSent,
    ResponseHead,
    Sent,
    bytes_fields,
)
from unbroken.core.request import Request as Asked
from unbroken.core.wire import SSEDecoder
from unbroken.debugger.har.entries import Content, Entry, Message, Pair, Response, entries_of

__all__ = ["lines_of_har"]

_STREAMED = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_A_DAY_S = 86_400.0
_MOST_SAID = 200
_OF_THE_CODING = frozenset({"content-encoding", "content-length"})
_NOTE = (
    "from a HAR by {maker}: no single reads (a body stands as one, at the time by which all of it"
    " had come, so nothing is known of pace, gaps or clumping), content codings taken off, and"
    " bodies of failed requests mostly missing"
)
# What browsers say of a failure, in the order in which it is looked for.
_FAILURES: tuple[tuple[str, BodyEndHow], ...] = (
    ("INCOMPLETE_CHUNKED", "incomplete"),
    ("CONTENT_LENGTH_MISMATCH", "incomplete"),
    ("PARTIAL_TRANSFER", "incomplete"),
    ("ABORTED", "left"),
    ("TIMED_OUT", "silent"),
    ("TIMEOUT", "silent"),
)


def lines_of_har(path: str | Path, *, every: bool = False) -> Iterator[Line]:
    """Yield what a HAR 1.2 file tells, each streamed answer as a stream of one attempt.

    Taken are requests to an API that is known, and answers of a streaming content type; keys
    are removed. Memory is bounded by the largest entry, which may be up to 512 MiB.

    Args:
        path: The file, as Chromium, Firefox or Playwright saves it.
        every: Take every request.

    Raises:
        OSError: If the file cannot be read.
        RecordingError: If it is no HAR, is broken, or holds no such request.
    """
    maker, entries = entries_of(path)
    seen = stream = 0
    began = 0.0
    with closing(entries):  # type: ignore[type-var]  # a generator
        for entry in entries:
            seen += 1
            if not (every or _is_wanted(entry)):
                continue
            stream += 1
            started = _epoch(entry.startedDateTime, seen)
            if stream == 1:
                began = started
                yield Opening(
                    version=1,
                    made_by=f"unbroken {version('unbroken')}",
                    started_at=began,
                    side="har",
                    note=_NOTE.format(maker=str(maker) or "an unnamed program"),
                )
            # A HAR need not be in order of time; a recording has no time before its beginning.
            mask = LineMask("kept")
            for line in _lines_of(entry, stream, max(0.0, started - began), started):
                yield from mask.put(line)
            yield from mask.finish()
    if not stream:
        msg = f"the HAR holds no request to a model's API among its {seen:,}"
        raise RecordingError(msg)


def _is_wanted(entry: Entry) -> bool:
    request = entry.request
    if request.method == "OPTIONS":  # what a browser asks before it asks
        return False
    kind = (entry.response.content.mimeType or _header(entry.response, "content-type")).lower()
    if kind.startswith(_STREAMED):
        return True
    return bool(_dialect(entry))


def _lines_of(entry: Entry, stream: int, asked_s: float, started: float) -> Iterator[Line]:
    request, response, timings = entry.request, entry.response, entry.timings
    at_s = asked_s
    yield RequestSent(
        at_s=at_s,
        stream=stream,
        method=request.method,
        url=request.url,
        headers=_pairs(request.headers),
        dialect=_dialect(entry),
    )
    at_s += _seconds(timings.blocked)
    reused = timings.connect is None or timings.connect <= 0
    # By the specification `connect` has `ssl` in it; Playwright's figures do not always.
    connecting = max(_seconds(timings.connect), _seconds(timings.ssl))
    at_s += _seconds(timings.dns) + (0.0 if reused else connecting)
    if entry.serverIPAddress or not reused:
        tls = request.url.startswith("https:")
        yield Connected(at_s=at_s, stream=stream, address=_address(entry), tls=tls, reused=reused)
    at_s += _seconds(timings.send)
    if body := _sent(entry):
        yield Sent(at_s=at_s, stream=stream, text=body)
    at_s += _seconds(timings.wait)
    status = int(response.status or 0)
    if status <= 0:
        failed = _failure(response) or "no response"
        yield End(at_s=at_s, stream=stream, how=_how(response, "unanswered"), detail=failed)
        return
    yield ResponseHead(
        at_s=at_s,
        stream=stream,
        status=status,
        reason=response.statusText or "",
        headers=[
            pair for pair in _pairs(response.headers) if pair[0].lower() not in _OF_THE_CODING
        ],
        framing=_framing(response),
    )
    ended_s = at_s + _seconds(timings.receive)
    for read in _reads(entry, stream, asked_s, at_s, ended_s, started):
        ended_s = max(ended_s, read.at_s)
        if read.size_bytes:
            yield read
    yield _end(response, stream, ended_s)


def _reads(
    entry: Entry, stream: int, asked_s: float, head_s: float, ended_s: float, started: float
) -> Iterator[Read]:
    """Yield the body: event by event where their times are known, else as one read."""
    content = entry.response.content
    body = _bytes_of(content)
    messages = entry.messages or []
    if messages:
        at_s = head_s
        for piece, after_s in zip(_cut(body, messages), _times(messages, started), strict=True):
            at_s = max(at_s, asked_s + after_s)
            yield _read(piece, at_s, stream)
    elif body:
        yield _read(body, ended_s, stream)
    elif body is None and content.size is not None and content.size > 0:
        yield Read(at_s=ended_s, stream=stream, size=int(content.size))


def _read(data: bytes, at_s: float, stream: int) -> Read:
    fields = bytes_fields(data)
    return Read(at_s=at_s, stream=stream, text=fields.get("text"), base64=fields.get("base64"))


def _cut(body: bytes | None, messages: list[Message]) -> list[bytes]:
    """Return the bytes that came by the time of each message.

    Without a body they are written anew from what the messages say.
    """
    if body is None:
        return [_written(message) for message in messages]
    decoder = SSEDecoder()
    frames = decoder.blocks(body)
    pieces = [b""]
    for frame in frames:
        pieces[-1] += frame.raw
        if frame.dispatched:
            pieces.append(b"")
    pieces[-1] += decoder.pending
    if len(pieces) <= len(messages):  # some events are not in the body: their times tell nothing
        return [b""] * (len(messages) - 1) + [body]
    return [*pieces[: len(messages) - 1], b"".join(pieces[len(messages) - 1 :])]


def _written(message: Message) -> bytes:
    lines = [f"data: {line}" for line in (message.data or "").split("\n")]
    if message.eventId:
        lines.insert(0, f"id: {message.eventId}")
    if message.eventName and message.eventName != "message":
        lines.insert(0, f"event: {message.eventName}")
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


def _times(messages: list[Message], started: float) -> list[float]:
    """Return when messages came, in seconds after the request began.

    Some write seconds, some milliseconds, some a date, and some no clock's time at all: then
    only the distances count.
    """
    times: list[float] = []
    for message in messages:
        time = message.time
        if isinstance(time, str):
            try:
                time = datetime.fromisoformat(time).timestamp()
            except ValueError:
                time = None
        times.append(times[-1] if time is None and times else float(time or 0.0))
    for scale in (1.0, 1000.0):
        if abs(times[0] / scale - started) < _A_DAY_S:
            return [time / scale - started for time in times]
    return [time - times[0] for time in times]


def _end(response: Response, stream: int, at_s: float) -> End:
    failed = _failure(response)
    how = _how(response, "eof")
    content = response.content
    if failed and content.text is None:
        failed += "; the HAR does not hold what had come before"
    elif content.file:
        failed = f"the body is in another file ({Path(content.file).name})"
    return End(at_s=at_s, stream=stream, how=how, detail=failed)


def _how(response: Response, otherwise: BodyEndHow) -> BodyEndHow:
    failed = _failure(response).upper()
    if not failed:
        return otherwise
    for word, how in _FAILURES:
        if word in failed:
            return how
    return "unanswered" if otherwise == "unanswered" else "reset"


def _failure(response: Response) -> str:
    return (response.error or response.failure or "")[:_MOST_SAID]


def _framing(response: Response) -> str:
    """Return how HTTP told the body's end; HTTP/2 and 3 have ways of their own."""
    if not (response.httpVersion or "").upper().startswith("HTTP/1"):
        return ""
    if "chunked" in _header(response, "transfer-encoding").lower():
        return "chunked"
    return "length" if _header(response, "content-length") else "close"


def _header(response: Response, name: str) -> str:
    return next((pair.value for pair in response.headers if pair.name.lower() == name), "")


def _pairs(headers: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.name, pair.value) for pair in headers if not pair.name.startswith(":")]


def _sent(entry: Entry) -> str:
    posted = entry.request.postData
    if posted is None or posted.text is None:
        return ""
    if posted.encoding == "base64":
        return _decoded(posted.text).decode("utf-8", "replace")
    return posted.text


def _bytes_of(content: Content) -> bytes | None:
    if content.text is None:
        return None
    if content.encoding == "base64":
        return _decoded(content.text)
    return content.text.encode("utf-8", "replace")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        msg = "the HAR holds a body that is no base64"
        raise RecordingError(msg) from None


def _dialect(entry: Entry) -> str:
    body = _sent(entry).encode("utf-8", "replace")
    asked = Asked(method=entry.request.method, url=entry.request.url, body=body)
    try:
        known = recognise_request(asked)
    except ValueError:
        return ""
    return "" if known is None else known.name


def _address(entry: Entry) -> str:
    host = entry.serverIPAddress or ""
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{int(entry.port)}" if entry.port else host


def _epoch(text: str, number: int) -> float:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        msg = f"entry {number} of the HAR does not say when it began"
        raise RecordingError(msg) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _seconds(milliseconds: float | None) -> float:
    return 0.0 if milliseconds is None or milliseconds < 0 else milliseconds / 1000
