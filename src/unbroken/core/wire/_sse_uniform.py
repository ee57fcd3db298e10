r"""The fast path of SSE: a run of blocks that all have the same shape.

What providers send, nearly always, is a run of ``data: ...`` blocks or of ``event: ...`` +
``data: ...`` blocks with one kind of line end. Such a run is taken apart by one `split`
in C. That it *is* such a run is then proven: no part holds a further line end, so that no
block hides a comment, an id or a second data line. Whatever does not prove itself is left
to the line-by-line decoder, which decides alone what a block means; here is only speed.
"""

from __future__ import annotations

from unbroken.core.frames import Frame

__all__ = ["uniform_frames", "uniform_payloads"]


def uniform_frames(body: bytes, offset: int, last_id: str) -> list[Frame] | None:
    """Return the frames of `body`, or None if it is not a run of blocks of one shape.

    Args:
        body: Whole blocks; must end in a blank line.
        offset: Of `body` in the stream.
        last_id: The event id in force.
    """
    if b"\r" in body:
        # As many CR as LF, and every LF proven to follow a CR: then there is no lone CR.
        if not body.endswith(b"\r\n\r\n") or body.count(b"\r") != body.count(b"\n"):
            return None
        eol = b"\r\n"
    else:
        eol = b"\n"
    if body.startswith(b"data:"):
        frames = _data_only(body, offset, last_id, eol)
    elif body.startswith(b"event: "):
        frames = _named(body, offset, last_id, eol)
    else:
        return None
    if frames is not None and not body.isascii():
        try:
            # One by one: decoding slows down for good at the first character that is not
            # Latin, and most frames are ASCII in most languages.
            for frame in frames:
                if not frame.raw.isascii():
                    frame.raw.decode()
        except UnicodeDecodeError:
            return None
    return frames


def _data_only(body: bytes, offset: int, last_id: str, eol: bytes) -> list[Frame] | None:
    blank = eol + eol
    head = b"data: "
    if body[5] != 32:  # no space after the colon (DashScope): then in no block of the run
        head = b"data:"
        if blank + b"data: " in body:
            return None
    around = len(head) + len(blank)
    payloads = body[len(head) : -len(blank)].split(blank + head)
    # Joined and searched once: a fifth of the time of looking into each, or of counting.
    if b"\n" in b"".join(payloads):
        return None
    frames: list[Frame] = []
    end = 0
    for payload in payloads:
        start = end
        end += len(payload) + around
        frames.append(Frame("message", payload, last_id, None, body[start:end], offset + start))
    return frames


def _named(body: bytes, offset: int, last_id: str, eol: bytes) -> list[Frame] | None:
    blank, head, middle = eol + eol, b"event: ", eol + b"data: "
    around = len(head) + len(blank)
    frames: list[Frame] = []
    payloads: list[bytes] = []
    names: dict[bytes, str] = {}  # a handful of names, each thousands of times
    end = 0
    for block in body[len(head) : -len(blank)].split(blank + head):
        name, found, payload = block.partition(middle)
        event = names.get(name)
        if event is None:
            if b"\n" in name:
                return None
            names[name] = event = name.decode("utf-8", "replace") or "message"
        if not found:
            return None
        payloads.append(payload)
        start = end
        end += len(block) + around
        frames.append(Frame(event, payload, last_id, None, body[start:end], offset + start))
    return None if b"\n" in b"".join(payloads) else frames


def uniform_payloads(body: bytes) -> list[bytes] | None:
    """Return the payloads of `body`, or None if its blocks are not alike but for them.

    Alike are ``data: ...`` blocks, and ``event: X`` + ``data: ...`` blocks of one X, all with
    LF as line end.

    Args:
        body: Whole blocks without a CR; must end in a blank line.
    """
    if body.startswith(b"data: "):
        head = b"data: "
    elif body.startswith(b"event: "):
        head = body[: body.find(b"\n") + 1] + b"data: "
        if not body.startswith(head) or not head.isascii():
            return None
    else:
        return None
    payloads = body[len(head) : -2].split(b"\n\n" + head)
    if b"\n" in (payloads[0] if len(payloads) == 1 else b"".join(payloads)):
        return None
    if not body.isascii():
        try:
            for payload in payloads:
                if not payload.isascii():
                    payload.decode()
        except UnicodeDecodeError:
            return None
    return payloads
