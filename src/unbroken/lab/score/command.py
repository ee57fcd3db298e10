"""Plays a command: a process of its own, watched from outside, ended with all its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence

from unbroken.lab.score.player import CannotPlayError, Kind, Turn
from unbroken.lab.score.verdict import Ran

__all__ = ["CommandPlayer"]

_STDOUT_MOST_BYTES = 32_000_000
_STDERR_KEPT_BYTES = 16_000
_PIPES_S = 1.0  # for what is still in the pipes once the process is gone
_GRACE_S = 0.5  # between SIGTERM and SIGKILL
_CLOSED_S = 5.0  # for a killed process to be gone
_LOOPBACK = "127.0.0.1,localhost,::1"


class CommandPlayer:
    """Runs one command a turn, in a process group of its own."""

    kind: Kind = "command"

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def play(self, turn: Turn) -> Ran:
        """Run the command until it ends by itself, or until patience does."""
        started_s = time.monotonic()
        transport, watched = await self._spawn(turn)
        group = transport.get_pid()
        try:
            hung = not await _within(watched.exited, turn.patience_s)
            ended_s = time.monotonic()
            if hung:
                _kill(group, signal.SIGTERM)
                if not await _within(watched.exited, _GRACE_S):
                    _kill(group, signal.SIGKILL)
            await _within(watched.drained, _PIPES_S)
            _kill(group, signal.SIGKILL)  # what it left running
            await _within(watched.drained, _PIPES_S)
        finally:
            await _ended(transport, watched)
        code = transport.get_returncode()
        return Ran(
            exit_code=code if code is not None and code >= 0 and not hung else None,
            signal=-code if code is not None and code < 0 else None,
            hung=hung,
            stdout=watched.out.data.decode("utf-8", "replace"),
            stderr=watched.complaints.data.decode("utf-8", "replace"),
            started_s=started_s,
            ended_s=ended_s,
            printed_s=tuple(watched.out.times_s),
        )

    async def _spawn(self, turn: Turn) -> tuple[asyncio.SubprocessTransport, _Watched]:
        loop = asyncio.get_running_loop()
        spawning = asyncio.ensure_future(
            loop.subprocess_exec(
                _Watched,
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(turn.environment),
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(spawning)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            msg = f"cannot run {self._command[0]}: {why}"
            raise CannotPlayError(msg) from None
        except asyncio.CancelledError:
            # Stopped while it starts: half a start would leave a transport behind.
            await asyncio.wait({spawning})
            if not spawning.cancelled() and spawning.exception() is None:
                await _ended(*spawning.result())
            raise


class _Watched(asyncio.SubprocessProtocol):
    """What a process prints, and how far its end is."""

    def __init__(self) -> None:
        self.out, self.complaints = _Kept(_STDOUT_MOST_BYTES), _Tail(_STDERR_KEPT_BYTES)
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()  # both pipes are closed; a child of it may hold them open
        self.closed = asyncio.Event()  # nothing of it is left in the loop
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.out if fd == 1 else self.complaints).add(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


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


async def _within(event: asyncio.Event, time_s: float) -> bool:
    """Wait for an event; False if time ended first."""
    try:
        await asyncio.wait_for(event.wait(), time_s)
    except TimeoutError:
        return False
    return True


async def _ended(transport: asyncio.SubprocessTransport, watched: _Watched) -> None:
    """End a process with its group, and all of it in the loop, also if cancelled meanwhile.

    A transport that outlives its loop complains when it is collected, long after the command
    has said its last word.
    """
    _kill(transport.get_pid(), signal.SIGKILL)
    gone = asyncio.ensure_future(_closed(transport, watched))
    try:
        await asyncio.shield(gone)
    except asyncio.CancelledError:
        await asyncio.wait({gone})
        raise


async def _closed(transport: asyncio.SubprocessTransport, watched: _Watched) -> None:
    await _within(watched.exited, _CLOSED_S)
    transport.close()
    await _within(watched.closed, _CLOSED_S)


def _kill(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return our own environment with the client contract, and no proxy on the way to the lab."""
    known = {**os.environ, **more}
    for name in ("NO_PROXY", "no_proxy"):
        known[name] = f"{known[name]},{_LOOPBACK}" if known.get(name) else _LOOPBACK
    return known
