"""The faults, one function each; importing this fills the table `FAULTS`.

The first 23 names are those of the field tests of the plain SDKs; the others are ours.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

from tests.support.bodies import ALL_DIALECTS, DIALECTS, WireFrame, sse_frame
from tests.support.faultserver import Pause, Reply
from tests.support.scene import (
    Injector,
    Scene,
    empty_frame,
    error_frames,
    fault,
    hostile_frame,
    keepalive,
    numbered,
    with_text,
)

_NUMBERED = ("openai-responses",)
_HAS_END = ("openai-chat", "anthropic-messages")
_ON_SSE = tuple(name for name in ALL_DIALECTS if name != "ollama")
_HAS_ITEMS = ("openai-responses", "anthropic-messages")
_BETWEEN = "truncated-between-events"


def _terminal_role(frames: Sequence[WireFrame]) -> str:
    return "end" if any(frame.role == "end" for frame in frames) else "finish"


def _next_text(scene: Scene) -> WireFrame:
    return next(frame for frame in scene.after if frame.role == "text")


@fault("ok", None, "whole")
def _ok(scene: Scene) -> Reply:
    return scene.reply(scene.frames)


@fault("cut_fin", "connection-reset", "prefix")
def _cut_fin(scene: Scene) -> Reply:
    return scene.reply(scene.before, end="fin")


@fault("cut_rst", "connection-reset", "prefix")
def _cut_rst(scene: Scene) -> Reply:
    return scene.reply(scene.before, end="rst")


@fault("cut_clean", _BETWEEN, "prefix")
def _cut_clean(scene: Scene) -> Reply:
    return scene.reply(scene.before)


@fault("cut_close", _BETWEEN, "prefix")
def _cut_close(scene: Scene) -> Reply:
    return scene.reply(scene.before, framing="close")


@fault("cut_midline", "truncated-mid-event", "prefix")
def _cut_midline(scene: Scene) -> Reply:
    return scene.reply([*scene.before, scene.next[: len(scene.next) * 2 // 3]])


@fault(
    "no_done",
    _BETWEEN,
    "whole",
    kind_in=dict.fromkeys(_HAS_END, "missing-terminator"),
)
def _no_done(scene: Scene) -> Reply:
    role = _terminal_role(scene.frames)
    return scene.reply([frame for frame in scene.frames if frame.role != role])


@fault("no_finish", "missing-finish", "whole", dialects=_HAS_END)
def _no_finish(scene: Scene) -> Reply:
    return scene.reply([frame for frame in scene.frames if frame.role != "finish"])


@fault("bad_json", "malformed-json", "altered")
def _bad_json(scene: Scene) -> Reply:
    bad = scene.next.rstrip(b"\r\n")
    broken = bad[:-3] + scene.next[len(bad) :]  # the closing brackets are missing
    return scene.reply([*scene.before, broken, *scene.after[1:]])


def _hostile_frame(what: str) -> Injector:
    def inject(scene: Scene) -> Reply:
        hostile = hostile_frame(scene.dialect, _next_text(scene), what)
        return scene.reply(numbered(scene.dialect, [*scene.before, hostile, *scene.after]))

    return inject


for _name in ("no_content", "empty_choices"):
    fault(_name, None, "whole")(_hostile_frame(_name))


@fault("error_obj", "provider-error", "prefix")
def _error_obj(scene: Scene) -> Reply:
    return scene.reply(numbered(scene.dialect, [*scene.before, *error_frames(scene.dialect)]))


@fault("stall", "stalled", "prefix", endless=True)
def _stall(scene: Scene) -> Reply:
    return scene.reply(scene.before, end="stall")


@fault("slow_drip", "slow-drip", "whole")
def _slow_drip(scene: Scene) -> Reply:
    """`pace_s` between frames; slow only against a floor that is set higher."""
    return scene.reply(scene.frames, pace_s=scene.param("pace_s", 0.5))


@fault("ka_stall", "stalled", "whole")
def _ka_stall(scene: Scene) -> Reply:
    """Keep-alives each `every_s` for `for_s`, then the rest."""
    every_s = scene.param("every_s", 0.5)
    pings = int(scene.param("for_s", 5.0) / every_s)
    ping = scene.param("keepalive", keepalive(scene.dialect))
    return scene.reply([*scene.before, *[Pause(every_s), ping] * pings, *scene.after])


@fault("html200", "not-a-stream", "none")
def _html200(scene: Scene) -> Reply:
    page = b"<!DOCTYPE html>\n<html><body><h1>502 Bad Gateway</h1></body></html>\n"
    return scene.reply([page], headers={"content-type": "text/html"}, framing="length")


@fault("gzip", None, "whole")
def _gzip(scene: Scene) -> Reply:
    return scene.reply(_gzipped(scene.frames, end=True), headers={"content-encoding": "gzip"})


@fault("gzip_cut", "connection-reset", "prefix")
def _gzip_cut(scene: Scene) -> Reply:
    pieces = _gzipped(scene.before, end=False)
    return scene.reply(pieces, headers={"content-encoding": "gzip"}, end="fin")


@fault("dup", None, "altered", kind_in={"openai-responses": "duplicate-event"})
def _dup(scene: Scene) -> Reply:
    return scene.reply([*scene.before, *scene.before[-1:], *scene.after])


@fault("reorder", None, "altered", kind_in={"openai-responses": "out-of-order"})
def _reorder(scene: Scene) -> Reply:
    first, second, *rest = scene.after
    return scene.reply([*scene.before, second, first, *rest])


@fault("missing", None, "altered", kind_in={"openai-responses": "missing-event"})
def _missing(scene: Scene) -> Reply:
    return scene.reply([*scene.before, *scene.after[1:]])


@fault("cut_before", "connect-failed", "none")
def _cut_before(scene: Scene) -> Reply:
    """The request is read, then FIN (`end="rst"`: reset) without a byte."""
    return Reply(status=None, end=scene.param("end", "fin"))


def _http_error(status: int) -> Injector:
    def inject(scene: Scene) -> Reply:
        """With `retry_after` (a header value, as text) and `headers`."""
        headers = {"content-type": "application/json"} | scene.param("headers", {})
        if (retry_after := scene.param("retry_after", None)) is not None:
            headers["retry-after"] = str(retry_after)
        message = f"scripted status {status}"
        error: Any = {"type": "error", "message": message, "code": status, "status": "UNAVAILABLE"}
        if scene.dialect == "ollama":
            error = message
        pieces = [json.dumps({"type": "error", "error": error}).encode()]
        return Reply(status=status, headers=headers, pieces=pieces, framing="length")

    return inject


for _status in (503, 400, 429, 500, 529):
    fault(f"http{_status}", "http-error", "none")(_http_error(_status))


# ours


@fault("cut_length", "connection-reset", "prefix")
def _cut_length(scene: Scene) -> Reply:
    size = sum(map(len, scene.frames))
    return scene.reply(scene.before, framing="length", content_length=size, end="fin")


@fault("cut_midchar", "truncated-mid-event", "prefix")
def _cut_midchar(scene: Scene) -> Reply:
    """Clean end inside the first character of several bytes after the place."""
    rest = b"".join(scene.after)
    start = next(i for i, byte in enumerate(rest) if byte >= 0xC0)
    return scene.reply([*scene.before, rest[: start + 1]])


@fault("cut_no_blank", "truncated-mid-event", "prefix", dialects=_ON_SSE)
def _cut_no_blank(scene: Scene) -> Reply:
    """The next event is whole but for the blank line that would dispatch it."""
    return scene.reply([*scene.before, scene.next.rstrip(b"\r\n") + b"\n"])


@fault("gzip_cut_clean", _BETWEEN, "prefix")
def _gzip_cut_clean(scene: Scene) -> Reply:
    pieces = _gzipped(scene.before, end=False)
    return scene.reply(pieces, headers={"content-encoding": "gzip"})


@fault("empty", "empty-stream", "none")
def _empty(scene: Scene) -> Reply:
    return scene.reply([])


@fault("start_only", "empty-stream", "none", dialects=(*DIALECTS[:3], "cohere"))
def _start_only(scene: Scene) -> Reply:
    return scene.reply([frame for frame in scene.frames if frame.role == "start"])


@fault("json200", "not-a-stream", "none")
def _json200(scene: Scene) -> Reply:
    error = {"message": "Internal error", "type": "server_error", "code": 500}
    value = {"error": "Internal error" if scene.dialect == "ollama" else error}
    pieces = [json.dumps(value).encode()]
    return scene.reply(pieces, headers={"content-type": "application/json"}, framing="length")


@fault("garbage", "connect-failed", "none")
def _garbage(scene: Scene) -> Reply:
    """No HTTP at all."""
    return Reply(status=None, pieces=[b"SSH-2.0-OpenSSH_9.9\r\n" * 3], end="fin")


@fault("no_head", "stalled", "none", endless=True)
def _no_head(scene: Scene) -> Reply:
    """The request is read and never answered."""
    return Reply(status=None, end="stall")


@fault("ka_dead", "stalled", "prefix", endless=True)
def _ka_dead(scene: Scene) -> Reply:
    """Keep-alives each `every_s`, for ever."""
    ping = scene.param("keepalive", keepalive(scene.dialect))
    beat = (Pause(scene.param("every_s", 0.05)), ping)
    return scene.reply(lambda: chain(scene.before, chain.from_iterable(repeat(beat))))


@fault("empty_dead", "stalled", "prefix", endless=True)
def _empty_dead(scene: Scene) -> Reply:
    """Valid frames without text each `every_s`, for ever."""
    empty = empty_frame(scene.dialect, _next_text(scene))
    return scene.reply(lambda: chain(scene.before, _beating(scene, empty)))


def _beating(scene: Scene, frame: WireFrame) -> Iterator[Pause | WireFrame]:
    number = len(scene.before)
    while True:
        yield Pause(scene.param("every_s", 0.05))
        if scene.dialect in _NUMBERED:
            frame = frame.with_payload(frame.payload | {"sequence_number": number})
            number += 1
        yield frame


@fault("endless_comments", "stalled", "prefix", endless=True, dialects=_ON_SSE)
def _endless_comments(scene: Scene) -> Reply:
    """Comments of `size` bytes as fast as they are read, never a blank line."""
    comment = b":" + b" " * scene.param("size", 1000) + b"\n"
    return scene.reply(lambda: chain(scene.before, repeat(comment)))


@fault("huge_line", "oversized-event", "altered")
def _huge_line(scene: Scene) -> Reply:
    """The next text is `size` bytes long (33 MiB unless told), in pieces of 64 KiB."""
    size = scene.param("size", 33 << 20)
    mark = "@@huge@@"
    head, tail = with_text(scene.dialect, _next_text(scene), mark).split(mark.encode())
    part = b"x" * 65536
    parts, rest = divmod(size, len(part))

    def pieces() -> Iterator[bytes]:
        return chain(
            scene.before, [head], repeat(part, parts), [part[:rest], tail], scene.after[1:]
        )

    return scene.reply(pieces)


@fault("invalid_utf8", "invalid-utf8", "altered")
def _invalid_utf8(scene: Scene) -> Reply:
    """A byte that is no UTF-8 at the end of the next token."""
    mark = "@@byte@@"
    marked = with_text(scene.dialect, _next_text(scene), mark)
    return scene.reply([*scene.before, marked.replace(mark.encode(), b"\xff"), *scene.after[1:]])


@fault("error_nested", "provider-error", "prefix", dialects=_NUMBERED)
def _error_nested(scene: Scene) -> Reply:
    """The shape of `error` that is seen, not documented; `response.failed` follows."""
    error = {"type": "server_error", "code": "server_error", "message": "oops", "param": None}
    nested = sse_frame({"type": "error", "sequence_number": 0, "error": error}, event="error")
    start = scene.frames[0].payload["response"]
    failed = start | {"status": "failed", "error": {"code": "server_error", "message": "oops"}}
    kind = "response.failed"
    last = sse_frame({"type": kind, "sequence_number": 0, "response": failed}, event=kind)
    return scene.reply(numbered(scene.dialect, [*scene.before, nested, last]))


@fault("failed", "provider-error", "prefix", dialects=_NUMBERED)
def _failed(scene: Scene) -> Reply:
    """`response.failed` alone."""
    start = scene.frames[0].payload["response"]
    failed = start | {"status": "failed", "error": {"code": "server_error", "message": "oops"}}
    kind = "response.failed"
    last = sse_frame({"type": kind, "sequence_number": 0, "response": failed}, event=kind)
    return scene.reply(numbered(scene.dialect, [*scene.before, last]))


@fault("error_done", "provider-error", "prefix", dialects=("openai-chat",))
def _error_done(scene: Scene) -> Reply:
    """An error, then the last marker all the same (vLLM, SGLang, TGI)."""
    done = [frame for frame in scene.after if frame.role == "end"]
    return scene.reply([*scene.before, *error_frames(scene.dialect), *done])


@fault("error_field", "provider-error", "prefix", dialects=("openai-chat",))
def _error_field(scene: Scene) -> Reply:
    """An error in an SSE field of that name, which parsers ignore (older llama.cpp)."""
    error = b'error: {"code":500,"message":"context shift failed","type":"server_error"}\n\n'
    return scene.reply([*scene.before, error])


@fault("error_choice", "provider-error", "prefix", dialects=("openai-chat",))
def _error_choice(scene: Scene) -> Reply:
    """An error beside `finish_reason: "error"` in an otherwise normal frame (OpenRouter)."""
    payload = scene.next.payload
    payload["choices"][0] |= {"delta": {"content": ""}, "finish_reason": "error"}
    metadata = {"error_type": "provider_unavailable"}
    payload["error"] = {"code": 502, "message": "Provider disconnected", "metadata": metadata}
    done = [frame for frame in scene.after if frame.role == "end"]
    return scene.reply([*scene.before, scene.next.with_payload(payload), *done])


@fault("error_bare", "provider-error", "prefix", dialects=("gemini",))
def _error_bare(scene: Scene) -> Reply:
    """The error as indented JSON over several lines, without `data:`."""
    error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    bare = json.dumps({"error": error}, indent=2).replace("\n", "\r\n") + "\r\n"
    return scene.reply([*scene.before, bare.encode()])


@fault("unopened", "protocol-violation", "whole", dialects=_HAS_ITEMS)
def _unopened(scene: Scene) -> Reply:
    """The next text belongs to a block that was never opened."""
    key = "index" if scene.dialect == "anthropic-messages" else "output_index"
    lost = scene.next.with_payload(scene.next.payload | {key: 7})
    return scene.reply([*scene.before, lost, *scene.after[1:]])


@fault("two_starts", "protocol-violation", "whole", dialects=_HAS_ITEMS)
def _two_starts(scene: Scene) -> Reply:
    frames = [*scene.before, scene.frames[0], *scene.after]
    return scene.reply(numbered(scene.dialect, frames))


@fault("after_finish", "protocol-violation", "altered")
def _after_finish(scene: Scene) -> Reply:
    """Text goes on after the finish (in Gemini that is legal, and the text is the answer's)."""
    finish = next(i for i, frame in enumerate(scene.frames) if frame.role == "finish") + 1
    late = with_text(scene.dialect, _next_text(scene), " late")
    frames = [*scene.frames[:finish], late, *scene.frames[finish:]]
    return scene.reply(numbered(scene.dialect, frames))


# nothing wrong, only cut oddly: all of these must come through whole


@fault("false_type", None, "whole")
def _false_type(scene: Scene) -> Reply:
    return scene.reply(scene.frames, headers={"content-type": "text/plain"})


@fault("one_read", None, "whole")
def _one_read(scene: Scene) -> Reply:
    return scene.reply([b"".join(scene.frames)])


@fault("sliced", None, "whole")
def _sliced(scene: Scene) -> Reply:
    """The body in slices of `size` bytes (7 unless told), across frames and characters."""
    raw, size = b"".join(scene.frames), scene.param("size", 7)
    return scene.reply([raw[i : i + size] for i in range(0, len(raw), size)])


@fault("warm", None, "whole", dialects=(*DIALECTS[:3], "cohere"))
def _warm(scene: Scene) -> Reply:
    """A keep-alive before every frame."""
    ping = keepalive(scene.dialect)
    return scene.reply([piece for frame in scene.frames for piece in (ping, frame)])


@fault("close_delimited", None, "whole")
def _close_delimited(scene: Scene) -> Reply:
    return scene.reply(scene.frames, framing="close")


def _gzipped(frames: Iterable[bytes], *, end: bool) -> list[bytes]:
    """Compress so that each frame can be read as soon as its piece has come."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH) for frame in frames]
    return [*pieces, packer.flush()] if end else pieces
