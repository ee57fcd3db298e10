"""What a coding agent may ask: the answers, without the protocol.

Everything here only reads, and reads only regular files below a size. Nothing that a model or a
user wrote is in an answer: sizes, kinds, times and the knowledge base are.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import msgspec

from unbroken.core.dialects import DIALECTS
from unbroken.core.recording import RecordingError
from unbroken.core.verdict import check as judge

__all__ = ["AskedWrongError", "Tools"]

MOST_TEXT_BYTES = 1024 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024
MOST_RECORDING_BYTES = 2 * 1024 * 1024 * 1024
_MOST_STREAMS = 20
_MOST_FAULTS = 50
# What a page draws pictures from, and an agent has no use for.
_PICTURES = ("reads", "histogram", "throughput", "bands", "marks")
_ENDS = ("eof", "reset")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{0,64}\Z")


class AskedWrongError(ValueError):
    """What was asked cannot be answered; the text says why, and what to ask instead."""


class Tools:
    """The three tools.

    Args:
        root: Files must be in this folder or below it; None: anywhere.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._root = None if root is None else Path(root).resolve()

    def explain(
        self, text: str, *, lang: str = "en", provider: str = "", limit: int = 3
    ) -> dict[str, Any]:
        """Return what the knowledge base says of a message, a traceback or a log.

        Raises:
            AskedWrongError: If there is nothing to explain, or too much.
        """
        from unbroken.knowledge import explain

        if not text.strip():
            msg = "there is nothing to explain: give the error's message, a traceback or a log"
            raise AskedWrongError(msg)
        if len(text.encode("utf-8", "replace")) > MOST_TEXT_BYTES:
            msg = f"the text is longer than {MOST_TEXT_BYTES:,} bytes: give its last part"
            raise AskedWrongError(msg)
        try:
            return explain(text, lang=lang, provider=provider, limit=limit).to_dict()
        except ValueError as error:
            raise AskedWrongError(str(error)) from None

    def check(
        self, *, path: str = "", body: str = "", dialect: str = "auto", end: str = "eof"
    ) -> dict[str, Any]:
        """Return the verdict on a recorded response body, without its texts.

        Raises:
            AskedWrongError: If neither or both of path and body are given, or one cannot be.
        """
        from unbroken.knowledge import records_for

        if bool(path) == bool(body):
            msg = "give the path of a file that holds a response body, or the body itself: one"
            raise AskedWrongError(msg)
        if dialect != "auto" and dialect not in DIALECTS:
            msg = f"no dialect is called {dialect!r}; there are auto, {', '.join(DIALECTS)}"
            raise AskedWrongError(msg)
        if end not in _ENDS:
            msg = f"end is eof (it ended cleanly) or reset (the connection failed), not {end!r}"
            raise AskedWrongError(msg)
        data = self._bytes_of(path) if path else body.encode("utf-8", "surrogatepass")
        if data.startswith(b'{"type":"recording"'):
            msg = "this is a recording, not a body: ask for a report on it"
            raise AskedWrongError(msg)
        outcome = judge(data, dialect, "reset" if end == "reset" else "eof")
        told = outcome.to_dict(records_for)
        calls = [
            {"index": call.index, "name": _plain(call.name), "complete": call.complete,
             "arguments_characters": len(call.arguments)}
            for call in outcome.tool_calls
        ]  # fmt: skip
        for name in ("text", "reasoning"):
            told[f"{name}_characters"] = len(told.pop(name))
        told["stop_reason"] = _plain(told["stop_reason"])
        count = len(told["faults"])
        told["faults"] = told["faults"][:_MOST_FAULTS]
        return {**told, "tool_calls": calls, "faults_in_all": count}

    def report(self, path: str, *, stream: int | None = None, full: bool = False) -> dict[str, Any]:
        """Return what a recording shows, without its texts.

        Raises:
            AskedWrongError: If the file is none, or has no such stream.
        """
        from unbroken.debugger.reporting import report

        file = self._file(path, MOST_RECORDING_BYTES)
        try:
            found = report(file, stream=stream).to_dict()
        except (RecordingError, ValueError) as error:
            raise AskedWrongError(str(error)) from None
        except OSError as error:
            raise AskedWrongError(_unreadable(path, error)) from None
        streams = found.get("streams", [])
        found["streams"] = streams[:_MOST_STREAMS]
        found["streams_left_out"] = max(0, len(streams) - _MOST_STREAMS)
        if not full:
            for one in found["streams"]:
                for name in _PICTURES:
                    one.pop(name, None)
        return found

    # -- files -----------------------------------------------------------------------------

    def _bytes_of(self, path: str) -> bytes:
        file = self._file(path, MOST_BODY_BYTES)
        try:
            with file.open("rb") as opened:
                data = opened.read(MOST_BODY_BYTES + 1)
        except OSError as error:
            raise AskedWrongError(_unreadable(path, error)) from None
        if len(data) > MOST_BODY_BYTES:
            msg = f"{path} has grown beyond {MOST_BODY_BYTES:,} bytes"
            raise AskedWrongError(msg)
        return data

    def _file(self, path: str, most_bytes: int) -> Path:
        """Return a file that may be read."""
        if path.lower().startswith(("http://", "https://")):
            msg = "addresses are not read here, only files: save the body first"
            raise AskedWrongError(msg)
        try:
            # Not `expanduser`: a path is what it says.
            file = Path(path).resolve()
            if self._root is not None and not file.is_relative_to(self._root):
                msg = f"{path} is outside of {self._root}, which is all that may be read"
                raise AskedWrongError(msg)
            known = file.stat()
        except AskedWrongError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise AskedWrongError(_unreadable(path, error)) from None
        if not stat.S_ISREG(known.st_mode):
            msg = f"{path} is no regular file"
            raise AskedWrongError(msg)
        if known.st_size > most_bytes:
            msg = f"{path} has {known.st_size:,} bytes; at most {most_bytes:,} are read"
            raise AskedWrongError(msg)
        return file


def _plain(name: str | None) -> str | None:
    """Return a name that an answer gave; a text in its place could speak to the agent."""
    return name if name is None or _NAME.match(name) else "[removed]"


def _unreadable(path: str, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot read {path}: {why[:1].lower()}{why[1:]}"


def as_json(value: Any) -> Any:
    """Return plain lists, dicts, texts and numbers."""
    return msgspec.to_builtins(value, str_keys=True)
