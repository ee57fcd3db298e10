"""Plays a command: a process of its own, watched from outside, ended with all its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from unbroken.lab.score.player import CannotPlayError, Turn
from unbroken.lab.score.verdict import Ran

__all__ = ["CommandPlayer"]

_READ_BYTES = 65_536
_STDOUT_MOST_BYTES = 32_000_000
_STDERR_KEPT_BYTES = 16_000
_POLL_S = 0.02
_PIPES_S = 1.0  # for what is still in the pipes once the process is gone
_GRACE_S = 0.5  # between SIGTERM and SIGKILL
_LOOPBACK = "127.0.0.1,localhost,::1"


class CommandPlayer:
    """Runs one command a turn, in a process group of its own."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def play(self, turn: Turn) -> Ran:
        """Run the command until it ends by itself, or until patience does."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(turn.environment),
                start_new_session=True,
            )
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            msg = f"cannot run {self._command[0]}: {why}"
            raise CannotPlayError(msg) from None
        started_s = time.monotonic()
        assert process.stdout is not None
        assert process.stderr is not None
        out, complaints = _Kept(_STDOUT_MOST_BYTES), _Tail(_STDERR_KEPT_BYTES)
        readers = asyncio.gather(_drain(process.stdout, out), _drain(process.stderr, complaints))
        try:
            hung = not await _ended(process, turn.patience_s)
            ended_s = time.monotonic()
            if hung:
                await _end(process)
            await _finish(readers)
            _kill(process.pid, signal.SIGKILL)  # what it left running
            await _finish(readers)
        finally:
            _kill(process.pid, signal.SIGKILL)
            readers.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await readers
            await process.wait()
        code = process.returncode
        return Ran(
            exit_code=code if code is not None and code >= 0 and not hung else None,
            signal=-code if code is not None and code < 0 else None,
            hung=hung,
            stdout=out.data.decode("utf-8", "replace"),
            stderr=complaints.data.decode("utf-8", "replace"),
            started_s=started_s,
            ended_s=ended_s,
            printed_s=tuple(out.times_s),
        )


class _Kept:
    """The beginning of an output, and when its parts came. An endless one is not kept whole."""

    def __init__(self, most_bytes: int) -> None:
        self.data = bytearray()
        self.times_s: list[float] = []
        self._most_bytes = most_bytes

    def add(self, data: bytes) -> None:
        self.times_s.append(time.monotonic())
        self.data += data[: max(self._most_bytes - len(self.data), 0)]


class _Tail:
    """The end of an output."""

    def __init__(self, most_bytes: int) -> None:
        self.data = bytearray()
        self._most_bytes = most_bytes

    def add(self, data: bytes) -> None:
        self.data += data
        del self.data[: -self._most_bytes]


async def _drain(pipe: asyncio.StreamReader, into: _Kept | _Tail) -> None:
    while data := await pipe.read(_READ_BYTES):
        into.add(data)


async def _finish(readers: asyncio.Future[Any]) -> None:
    await asyncio.wait({readers}, timeout=_PIPES_S)


async def _ended(process: asyncio.subprocess.Process, patience_s: float) -> bool:
    """Wait for a process; False if patience ended first.

    `Process.wait` returns, in some versions of Python, only when the pipes are closed too, and
    a child that the command left behind may hold them for ever: so the exit is looked for.
    """
    until = time.monotonic() + patience_s
    waiting = asyncio.ensure_future(process.wait())
    try:
        while process.returncode is None:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            await asyncio.wait({waiting}, timeout=min(_POLL_S, left_s))
        return True
    finally:
        waiting.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process.pid, signal.SIGTERM)
    if not await _ended(process, _GRACE_S):
        _kill(process.pid, signal.SIGKILL)


def _kill(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return our own environment with the client contract, and no proxy on the way to the lab."""
    known = {**os.environ, **more}
    for name in ("NO_PROXY", "no_proxy"):
        known[name] = f"{known[name]},{_LOOPBACK}" if known.get(name) else _LOOPBACK
    return known
