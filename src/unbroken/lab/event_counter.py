"""Find where SSE events end in raw bytes, without trusting any decoder under test."""

from __future__ import annotations

__all__ = ["EventCounter"]


class EventCounter:
    """Count SSE blocks that hold data, and find the byte at which one ends.

    It knows only LF and CRLF line ends, which is what servers send.
    """

    def __init__(self) -> None:
        self.count = 0
        self._line = b""
        self._has_data = False

    def feed(self, data: bytes) -> None:
        """Take in what was sent."""
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            self._end_line(line)
        self._line = rest

    def end_of(self, wanted: int, data: bytes) -> int | None:
        """Return how much of `data` completes event number `wanted`, or None."""
        ahead = EventCounter()
        ahead.count, ahead._line, ahead._has_data = self.count, self._line, self._has_data
        start = 0
        while ahead.count < wanted:
            newline = data.find(b"\n", start)
            if newline < 0:
                return None
            ahead.feed(data[start : newline + 1])
            start = newline + 1
        return start

    def _end_line(self, line: bytes) -> None:
        if line.startswith(b"data"):
            self._has_data = True
        elif line in (b"", b"\r"):
            self.count += self._has_data
            self._has_data = False
