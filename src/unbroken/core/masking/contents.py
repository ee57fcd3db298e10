r"""Prompts and outputs: overwritten in a body, byte for byte, as it is read.

What may stay is a list of what is harmless: the framing, the structure of JSON with the names of
its known fields, ids, numbers, and the few texts that say what an event is. Every other text is
overwritten, also one whose place is not understood. SSE, NDJSON, JSON and JSON arrays are told
line by line, from what is there; what is none of them is overwritten whole.
"""

from __future__ import annotations

import re

from unbroken.core.masking.letters import Letters, whole_characters
from unbroken.core.masking.values import MOST_HELD, JsonMask

__all__ = ["ContentMask"]

_MOST_LINE = 256  # of a line of SSE that is looked at before it is told what it holds

_ID = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,128}\Z")
_EVENT = re.compile(rb"[a-z][A-Za-z]*(?:[._-][a-z][A-Za-z]*)*\Z")
# Before a payload told that it is SSE it may be anybody's text, and what it says is little.
_EARLY_ID = re.compile(rb"(?=[^0-9]{0,40}[0-9])[A-Za-z0-9_-]{1,64}\Z")
_EARLY_EVENT = re.compile(
    rb"(?:message|messages|error|ping|content|response|thread|interaction|step|done|end|start|stop"
    rb"|delta|chunk|conversation|heartbeat|completion|metadata|stream|tool|text|event|data|close"
    rb"|open|result|status|output|usage|citation|transcript|session|created)"
    rb"(?:[._-][a-z]+){0,4}\Z"
)
_COMMENT = re.compile(
    rb"(?i)\s?(?:ping|hb|heartbeat|keep-?alive|connected|openrouter processing)?\s*\Z"
)
_BLANK = re.compile(rb"[ \t]*")
_LINE = re.compile(rb"[^\r\n]*")
_FIELDS = (b"data:", b"error:", b"event:", b"id:", b"retry:")
_PAYLOADS = (b"data:", b"error:")  # the latter is llama.cpp's
_DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"


class ContentMask(JsonMask):
    """Overwrite the contents of one body.

    Args:
        letters: What stands in their place.
        streamed: Texts come in pieces, one in each event, and belong together.
        after_gap: The body's beginning is not there: nothing is known up to the next line.
    """

    def __init__(
        self, letters: Letters, *, streamed: bool = False, after_gap: bool = False
    ) -> None:
        super().__init__(letters, streamed=streamed)
        if after_gap:
            self._place = "text"
        self._beginning = not after_gap  # a byte order mark may come
        self._first = True
        self._told = False  # a payload said that it is SSE
        self._empty = True  # nothing stands in the line so far
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        """Return what is decided after more bytes came."""
        if len(data) <= MOST_HELD:
            return self._feed(data)
        # What is at work at a time is a window, however much was read at once.
        whole = bytearray()
        for at in range(0, len(data), MOST_HELD):
            whole += self._feed(data[at : at + MOST_HELD])
        return bytes(whole)

    def _feed(self, data: bytes) -> bytes:
        self._buffer = self._buffer[self._at :] + data if self._at else self._buffer + data
        self._at = 0
        while self._at < len(self._buffer) and self._step():
            pass
        out = b"".join(self._out)
        self._out.clear()
        return out

    def end(self) -> bytes:
        """Return what was held back, at the body's end."""
        self._ended = True
        return self.feed(b"")

    def _step(self) -> bool:
        """Take one step; False where more bytes are needed for it."""
        match self._place:
            case "line":
                return self._line()
            case "data":
                return self._data()
            case "text":
                return self._text()
            case _:
                return self._json()

    def _line(self) -> bool:
        buffer, at = self._buffer, self._at
        if not self._stack and not self._beginning and buffer.startswith(b"data: {", at):
            self._sse, self._first, self._empty, self._after_cr = True, False, False, False
            self._told = True
            self._place = "json"  # as all that follows would find, in fewer steps
            return self._put(b"data: ")
        if self._beginning:
            rest = buffer[at : at + len(_BOM)]
            if rest != _BOM and _BOM.startswith(rest) and not self._ended:
                return False
            self._beginning = False
            if rest == _BOM:
                return self._put(_BOM)
        char = buffer[at : at + 1]
        if char in b"\r\n":
            if not (char == b"\n" and self._after_cr):
                if self._empty and self._sse:
                    self._forget_json()  # the event is over
                    self._event = b""
                self._empty = True
            self._after_cr = char == b"\r"
            return self._put(char)
        self._after_cr = False
        if char in b" \t":
            return self._put(char)
        self._empty = False
        if char in b'{["]},' or (self._stack and not self._sse):
            self._first = False
            if char == b"{" and self._stack and self._stack[-1].is_object:
                self._forget_json()  # the object before never ended
            self._place = "json"
            return True
        return self._field()

    def _field(self) -> bool:
        rest = self._buffer[self._at : self._at + 8]
        if rest[:1] == b":":
            return self._whole_line(b":")
        for field in _FIELDS:
            if rest.startswith(field):
                self._sse, self._first = True, False
                if field not in _PAYLOADS:
                    return self._whole_line(field)
                self._place = "data"
                return self._put(field)
            if field.startswith(rest) and not self._ended:
                return False
        if self._first and rest[:1] == b"<":
            self._put(b"<")  # HTML, whatever it says
        self._first = False
        self._place = "text"
        return True

    def _whole_line(self, field: bytes) -> bool:
        """Take a line whose value is short: an event's name, an id, a comment."""
        found = _LINE.match(self._buffer, self._at)
        assert found is not None
        raw = found[0]
        if found.end() == len(self._buffer) and not self._ended and len(raw) <= _MOST_LINE:
            return False
        value = raw[len(field) :]
        bare = value.strip(b" ")
        event, identifier = (_EVENT, _ID) if self._told else (_EARLY_EVENT, _EARLY_ID)
        known = len(raw) <= _MOST_LINE and (
            (field == b"event:" and len(bare) < 64 and event.match(bare))
            or (field == b"id:" and identifier.match(bare))
            or (field == b"retry:" and bare.isdigit())
            or (field == b":" and _COMMENT.match(value))
            or not bare
        )
        if known:
            if field == b"event:":
                self._named(bare)
            return self._put(raw)
        lead = field + (b" " if value.startswith(b" ") else b"")
        self._put(lead)
        self._place = "text"
        return True

    def _named(self, event: bytes) -> None:
        """Take note of an event's name: some write the type behind what it is the type of."""
        self._event = event
        if event.endswith(b".done"):
            self._chains.pop((b"delta",), None)  # whose place came behind it, too

    def _data(self) -> bool:
        """Decide what the payload of a data line is."""
        blank = _BLANK.match(self._buffer, self._at)
        if blank is not None and blank[0]:
            return self._put(blank[0])
        rest = self._buffer[self._at : self._at + len(_DONE)]
        if rest[:1] in b"\r\n":
            self._place = "line"
            return True
        if not self._stack and _DONE.startswith(rest) and rest != _DONE and not self._ended:
            return False
        if not self._stack and rest == _DONE:
            self._place, self._told = "line", True
            return self._put(_DONE)
        if self._stack or rest[:1] in b'{["]}':
            self._told = self._told or rest[:1] == b"{"
            self._place = "json"
            return True
        self._place = "text"
        return True

    def _text(self) -> bool:
        """Overwrite up to the line's end; a long line in pieces."""
        found = _LINE.match(self._buffer, self._at, self._at + MOST_HELD)
        assert found is not None
        length = found.end() - self._at
        if found.end() == len(self._buffer) and not self._ended and length < MOST_HELD:
            return False
        if length:
            length = whole_characters(found[0])
            self._put(self._letters.whole(found[0][:length]))
        if self._at < len(self._buffer) and self._buffer[self._at] in b"\r\n":
            self._place = "line"
            self._first = False
        return True
