"""A command that is run against a replay."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

import msgspec

from unbroken.debugger.replaying.environment import own_with

__all__ = ["Ran", "run_before", "run_watched"]

_KEPT_BYTES = 256 * 1024
_GRACE_S = 2.0


class Ran(msgspec.Struct, kw_only=True):
    """How a command ended.

    Attributes:
        code: Its exit code; of one that a signal ended, 128 and the signal's number.
        hung: It did not end in time, and was killed.
        output: The end of what it wrote, at most 256 KiB.
    """

    code: int
    hung: bool = False
    output: str = ""


def run_before(command: Sequence[str], more: Mapping[str, str]) -> int:
    """Run a command on our own terminal; return its exit code.

    Ctrl-C reaches it as it reaches us, and it has a moment to end.

    Args:
        command: Program and arguments.
        more: What its environment has beside ours.

    Raises:
        OSError: If it cannot be started.
    """
    with subprocess.Popen(list(command), env=own_with(more)) as process:
        try:
            return _shell_code(process.wait())
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_S)
            if process.poll() is None:
                process.kill()
            raise


def run_watched(
    command: Sequence[str], more: Mapping[str, str], *, timeout_s: float, cwd: str | None = None
) -> Ran:
    """Run a command without a terminal, in a process group of its own that ends with it.

    Args:
        command: Program and arguments.
        more: What its environment has beside ours.
        timeout_s: After so long it is killed, with all that it started.
        cwd: Its working directory; None: ours.

    Raises:
        OSError: If it cannot be started.
    """
    with tempfile.TemporaryFile() as output:  # a pipe could be held open by a child of it
        process = subprocess.Popen(
            list(command),
            env=own_with(more),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        hung = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            _kill(process)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _KEPT_BYTES))
        said = output.read().decode("utf-8", "replace")
    return Ran(code=_shell_code(process.returncode), hung=hung, output=said)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code
