"""The first bytes of a body: which service sent it, and whether it is a stream at all."""

from __future__ import annotations

from copy import copy

from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.dialects.base import Dialect, Variant
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.problems import error_in, short_words

__all__ = ["Beginning"]

_HEAD_BYTES = 4096
_SNIFF_BYTES = 64 * 1024
_BLANK = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the first byte that tells: a byte order mark, white space."""


class Beginning:
    """Look at the first bytes of a body, and keep a page or an error in JSON from the decoder.

    Attributes:
        head: The first 4 KiB.

    Args:
        dialect: What the body is read as.
        findings: Takes the faults.
        completeness: Is told of an error.
        host: The upstream's host name, which may tell the variant.
        content_type: The response's content type, as evidence.
        never_begins: See `Decoder.never_begins`.
    """

    def __init__(
        self,
        dialect: Dialect,
        findings: Findings,
        completeness: Completeness,
        *,
        host: str,
        content_type: str,
        never_begins: bytes,
    ) -> None:
        self.head = b""
        self._first = b""  # of this connection
        self._dialect = dialect
        self._findings = findings
        self._completeness = completeness
        self._host = host
        self._content_type = content_type
        self._never_begins = never_begins
        self._settled = False  # it is a stream, or was told not to be one
        self._foreign: list[bytes] | None = None  # what came instead of one

    def fork(self, findings: Findings, completeness: Completeness) -> Beginning:
        """Return an independent copy, beside copies of what it reports to."""
        twin = copy(self)
        twin._findings, twin._completeness = findings, completeness
        twin._foreign = None if self._foreign is None else list(self._foreign)
        return twin

    @property
    def variant(self) -> Variant:
        """The declared service, by host or by marks in the first bytes."""
        return self._dialect.variant(self._host, self.head)

    def admits(self, data: bytes, *, size_bytes: int) -> bool:
        """Take body bytes; return whether they are for the decoder.

        Args:
            data: The bytes.
            size_bytes: Of the body so far, with them.
        """
        if (room := _HEAD_BYTES - len(self.head)) > 0:
            self.head += data[:room]
        if not self._settled and len(self._first) < _HEAD_BYTES:
            self._first += data[:_HEAD_BYTES]
        if self._settled or self._looks_right():
            return True
        assert self._foreign is not None
        self._foreign.append(data[:_SNIFF_BYTES])
        if size_bytes >= _SNIFF_BYTES:
            self._tell(self._foreign, size_bytes)
        return False

    def close(self, *, size_bytes: int) -> bool:
        """The body ended; return whether it was no stream, which is a fault now."""
        if self._foreign is None:
            return False
        self._tell(self._foreign, size_bytes)
        return True

    def look_again(self) -> None:
        """The body goes on over another connection, with a whole frame."""
        self._settled, self._foreign = False, None
        self._first = b""

    def _looks_right(self) -> bool:
        """Whether the body looks like the dialect's framing; decided on its first byte."""
        if self._foreign is not None:
            return False
        head = self._first.lstrip(_BLANK)
        if not head:
            return True  # nothing to see yet; the decoder can have the blank lines
        if head[0] in self._never_begins:
            self._foreign = []
            return False
        self._settled = True
        return True

    def _tell(self, foreign: list[bytes], size_bytes: int) -> None:
        body = b"".join(foreign)[:_SNIFF_BYTES].lstrip(_BLANK)
        self._settled, self._foreign = True, None
        looks = "an HTML or XML page" if body[:1] == b"<" else "a JSON body"
        size = f"{size_bytes}" if size_bytes < _SNIFF_BYTES else f"{_SNIFF_BYTES} or more"
        error = error_in(body)
        said = ""
        if error is not None:
            names = short_words([error.type, error.code])
            said = f", an error ({names or 'no type given'})"
        declared = f" of type {self._content_type}" if self._content_type else ""
        self._completeness.error_seen = error is not None
        self._findings.reject(
            Fault.of(
                FaultKind.NOT_A_STREAM,
                f"instead of a stream came {looks}{declared} ({size} bytes){said}",
                at_byte=0,
                retryable=error is None or error.retryable,
            )
        )
