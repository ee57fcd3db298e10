"""Mask the lines of one stream's recording, held back until what they hold is decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from unbroken.core.masking.coded import CODINGS, CodedBody
from unbroken.core.masking.contents import ContentMask
from unbroken.core.masking.fields import FieldMask
from unbroken.core.masking.keys import REMOVED, KeyMask, Secrets
from unbroken.core.masking.letters import Letters
from unbroken.core.masking.names import REASONS
from unbroken.core.recording import (
    Contents,
    Delivered,
    End,
    Line,
    Lost,
    NoticeSeen,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    WithBytes,
    bytes_fields,
)

__all__ = ["LineMask"]

_MOST_WAITING = 4096
_UNREADABLE = ("application/vnd.amazon.eventstream", "application/octet-stream")
_BINARY = (b"\x00", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # an event stream's length, gzip, zstd
_QUOTING = frozenset({"provider-error", "not-a-stream", "malformed-json", "http-error"})


class LineMask:
    """Masks one stream's lines, in order.

    Args:
        contents: What becomes of prompts and outputs; keys are always removed.
        salt: The key of the hash for ``hashed``, at most 64 bytes. The same for all streams of a
            recording; random, and kept by nobody, or else whoever has it can try texts.
        secrets: Keys that are known already, as from a first pass over the same lines.
    """

    def __init__(
        self, contents: Contents, *, salt: bytes = b"", secrets: Secrets | None = None
    ) -> None:
        self._contents = contents
        self._letters = Letters(salt if contents == "hashed" else None)
        self._secrets = Secrets() if secrets is None else secrets
        self._bodies: dict[tuple[str, int], _AnyBody] = {}
        self._codings: dict[tuple[str, int], str] = {}
        self._opaque: set[tuple[str, int]] = set()
        self._gap = False
        self._waiting: deque[tuple[Line, _AnyBody | None, int]] = deque()

    def learn(self, body: bytes) -> None:
        """Learn the keys in a request's body that is not put yet, for what is put before it."""
        self._secrets.learn_body(body)

    def put(self, line: Line, data: bytes | None = None) -> list[Line]:
        """Take in a line; return those that are decided now, in order, masked.

        Args:
            line: It; not used by the caller any more.
            data: Its bytes, where they do not stand in it yet.
        """
        body: _AnyBody | None = None
        size = 0
        if isinstance(line, WithBytes):
            if data is None:
                data = line.data
            if data is not None:
                if type(line) is Sent:
                    self._secrets.learn_body(data)
                body = self._body_of(line, data)
                line.text = line.base64 = None
                if body is None:
                    line.size = len(data)
                else:
                    size = len(data)
                    body.feed(data)
        else:
            line = self._plain(line)
        if not self._waiting and body is None:
            return [line]
        self._waiting.append((line, body, size))
        if len(self._waiting) > _MOST_WAITING:
            self._gap = True  # what the bodies go on with is not known any more
            return self.finish()
        return self._decided()

    def finish(self) -> list[Line]:
        """Return all that is held back: nothing more comes, or it has waited too long."""
        for body in self._bodies.values():
            body.end()
        self._bodies.clear()
        return self._decided()

    def _decided(self) -> list[Line]:
        waiting, found = self._waiting, []
        while waiting:
            line, body, size = waiting[0]
            if body is not None:
                if len(body.ready) >= size:
                    _fill(line, bytes(body.ready[:size]))
                    del body.ready[:size]
                elif body.hidden:
                    assert isinstance(line, WithBytes)
                    line.size = size
                else:
                    break
            found.append(line)
            waiting.popleft()
        return found

    def _plain(self, line: Line) -> Line:
        """Mask what is no body, and note what it says of bodies."""
        match line:
            case RequestSent():
                self._note("sent", line.attempt, line.headers)
                headers = self._secrets.headers(line.headers)  # first: the address may repeat them
                return msgspec.structs.replace(
                    line, url=self._secrets.url(line.url), headers=headers
                )
            case ResponseHead():
                self._note("read", line.attempt, line.headers)
                headers = self._secrets.headers(line.headers)
                return msgspec.structs.replace(line, headers=headers, reason=self._reason(line))
            case End():
                body = self._bodies.pop(("read", line.attempt), None)
                if body is not None:
                    body.end()
                return msgspec.structs.replace(line, detail=self._secrets.text(line.detail))
            case NoticeSeen():
                return msgspec.structs.replace(line, detail=self._secrets.text(line.detail))
            case OutcomeSeen():
                return self._outcome(line)
            case Lost():
                for body in self._bodies.values():
                    body.end()
                self._bodies.clear()
                self._gap = True
        return line

    def _reason(self, line: ResponseHead) -> str:
        """Return the words of a status: a server may say anything there."""
        if self._contents == "kept" or line.reason.lower() in REASONS:
            return self._secrets.text(line.reason)
        return REMOVED

    def _outcome(self, line: OutcomeSeen) -> OutcomeSeen:
        faults = [
            msgspec.structs.replace(
                fault,
                detail=""
                if self._contents != "kept" and fault.kind in _QUOTING
                else self._secrets.text(fault.detail),
            )
            for fault in line.faults
        ]
        return msgspec.structs.replace(line, faults=faults)

    def _note(self, kind: str, attempt: int, headers: Iterable[tuple[str, str]]) -> None:
        """Take note of a body that cannot be read as it is."""
        for name, value in headers:
            said, value = name.lower(), value.lower()
            coded = said == "content-encoding" and value not in ("", "identity")
            if coded and self._contents == "kept":
                self._codings[kind, attempt] = value.strip()
            elif coded or (said == "content-type" and value.startswith(_UNREADABLE)):
                self._opaque.add((kind, attempt))

    def _body_of(self, line: WithBytes, data: bytes) -> _AnyBody | None:
        """Return the body that bytes belong to; None where only their number may be kept."""
        kind = {Sent: "sent", Read: "read", Delivered: "delivered"}.get(type(line), "")
        key = (kind, 0 if kind == "delivered" else line.attempt)
        if self._contents != "kept" and key in self._opaque:
            return None
        body = self._bodies.get(key)
        if body is None and key in self._codings:
            coding = self._codings[key]
            if coding not in CODINGS or (self._gap and kind != "sent"):
                return None  # nobody can say what is in it
            body = CodedBody(coding, self._keys(kind, False), self._keys(kind, False))
            self._bodies[key] = body
        if body is None:
            if self._contents != "kept" and data.startswith(_BINARY):
                self._opaque.add(key)
                return None
            gap = self._gap and kind != "sent"
            contents = None
            if self._contents != "kept":
                contents = ContentMask(self._letters, streamed=kind != "sent", after_gap=gap)
            body = self._bodies[key] = _Body(self._keys(kind, gap), contents)
        return body

    def _keys(self, kind: str, gap: bool) -> _Keys:
        return _Keys(
            FieldMask(self._secrets.learn_field, sent=kind == "sent", after_gap=gap),
            KeyMask(self._secrets, after_gap=gap),
        )


class _Keys:
    """All that looks for keys in one body."""

    __slots__ = ("_fields", "_keys")

    def __init__(self, fields: FieldMask, keys: KeyMask) -> None:
        self._fields = fields
        self._keys = keys

    def feed(self, data: bytes) -> bytes:
        return self._keys.feed(self._fields.feed(data))

    def end(self) -> bytes:
        return self._keys.feed(self._fields.end()) + self._keys.end()


class _Body:
    """One body on its way through the masks."""

    __slots__ = ("_contents", "_keys", "ready")

    hidden = False

    def __init__(self, keys: _Keys, contents: ContentMask | None) -> None:
        self._keys = keys
        self._contents = contents
        self.ready = bytearray()

    def feed(self, data: bytes) -> None:
        found = self._keys.feed(data)
        self.ready += found if self._contents is None else self._contents.feed(found)

    def end(self) -> None:
        found = self._keys.end()
        if self._contents is not None:
            found = self._contents.feed(found) + self._contents.end()
        self.ready += found


_AnyBody: TypeAlias = _Body | CodedBody


def _fill(line: Line, data: bytes) -> None:
    assert isinstance(line, WithBytes)
    fields = bytes_fields(data)
    line.text, line.base64, line.size = fields.get("text"), fields.get("base64"), None
