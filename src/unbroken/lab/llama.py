"""A real llama.cpp server in a process of its own, by way of the package ``xllamacpp``.

Of its own, so that a test can kill it in the middle of an answer and start it again on
the same port, as happens to servers. Run as a module, this file is that process::

    python -m unbroken.lab.llama --model FILE [--port PORT]

How parent and child hold together:

- The child writes one line of JSON to its standard output when it listens. llama.cpp may
  log to that stream too, so the child keeps a copy of the file and points the original
  at standard error, which the parent puts into a temporary file, for error messages.
- The child's standard input is a pipe that the parent never writes to. When the parent
  dies, whatever the way, the pipe closes and the child goes (and takes a temporary model
  with it). That needs no feature of Linux, and unlike a death signal it does not fire
  when only the *thread* ended that had started the child.
- The child has a process group of its own: Ctrl-C in a terminal reaches the parent alone,
  which closes its child in good order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from unbroken.lab.tiny_model import write_tiny_model

__all__ = ["LlamaServer", "LlamaStartError", "llama_available", "main"]

_MODEL_NAME = "tiny-random-words"
_WATCH_STEP_S = 0.5
_RETRY_STEP_S = 0.05
_LOG_TAIL_BYTES = 2000


class LlamaStartError(RuntimeError):
    """The server process did not come up; the message holds the end of its log."""


def llama_available() -> bool:
    """Whether the packages are installed that `LlamaServer` needs without a model file."""
    return all(find_spec(name) is not None for name in ("xllamacpp", "gguf", "numpy"))


class LlamaServer:
    """Run a real OpenAI-compatible model server on 127.0.0.1, as a context manager.

    The constructor returns when the server answers its health check. The settings make
    greedy answers repeat to the byte, also when they are resumed by a prefill.

    Args:
        model: A GGUF file; None writes the tiny random model to a temporary folder.
        port: The port; 0 takes a free one, and `restart` then keeps it.
        slots: How many answers the server writes at the same time.
        context_tokens: Longest conversation of one slot, answer included.
        start_timeout_s: How long to wait for it to be healthy.

    Attributes:
        port: Where it listens.
        model: The name of the model for requests (any name is accepted).
        startup_s: How long the last start took.

    Raises:
        ModuleNotFoundError: If ``xllamacpp``, or ``gguf`` for the tiny model, is missing.
        LlamaStartError: If it is not healthy in time.
    """

    model = _MODEL_NAME

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        port: int = 0,
        slots: int = 2,
        context_tokens: int = 8192,
        start_timeout_s: float = 20.0,
    ) -> None:
        if find_spec("xllamacpp") is None:
            msg = "the llama.cpp server needs the package xllamacpp: install it"
            raise ModuleNotFoundError(msg, name="xllamacpp")
        self.port = port
        self.startup_s = 0.0
        self._slots = slots
        self._context_tokens = context_tokens
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="unbroken-llama-"))
        # Also when nobody calls close(): at the end of the object or of the program.
        self._remove_folder = weakref.finalize(self, _remove, self._folder, os.getpid())
        self._temporary_model = model is None
        self._model_path = self._folder / "tiny.gguf" if model is None else Path(model).absolute()
        try:
            if self._temporary_model:
                write_tiny_model(self._model_path)
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its ``base_url``."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        return None if self._child is None else self._child.pid

    def kill(self) -> None:
        """End the server by SIGKILL, in mid-answer where one runs. Twice is fine."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        """Start the server again on the same port; one that still runs is killed first."""
        self.kill()
        self._start()

    def close(self) -> None:
        """End the server and remove what it left on the disk. Twice is fine."""
        self.kill()
        self._remove_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        began = time.monotonic()
        deadline = began + self._start_timeout_s
        while not self._try_start(deadline):
            # Somebody else holds the port that we had before: it may be free in a moment.
            if time.monotonic() >= deadline:
                msg = f"port {self.port} did not come free in {self._start_timeout_s:g} s"
                raise LlamaStartError(msg)
            time.sleep(_RETRY_STEP_S)
        self._wait_healthy(deadline)
        self.startup_s = time.monotonic() - began

    def _try_start(self, deadline: float) -> bool:
        if self.port and not _port_is_free(self.port):
            return False
        command = [sys.executable, "-m", "unbroken.lab.llama"]
        command += ["--model", str(self._model_path), "--port", str(self.port)]
        command += ["--slots", str(self._slots), "--context-tokens", str(self._context_tokens)]
        command += ["--parent", str(os.getpid())]
        if self._temporary_model:
            command += ["--remove-when-orphaned", str(self._folder)]
        with self._log_path.open("wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        assert self._child.stdout is not None
        line = _read_line(self._child.stdout, deadline)
        try:
            self.port = int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError):
            raise LlamaStartError(self._why_not()) from None
        return True

    def _wait_healthy(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                # An opener without proxies: the environment's would be asked for 127.0.0.1.
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"{self.url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                pass
            if self._child is None or self._child.poll() is not None:
                break
            time.sleep(_RETRY_STEP_S)
        raise LlamaStartError(self._why_not())

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    def _why_not(self) -> str:
        state = "still runs"
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                state = f"ended with status {self._child.wait(timeout=0.2)}"
        tail = self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        return (
            f"the llama.cpp server did not become healthy (its process {state};"
            f" limit {self._start_timeout_s:g} s); end of its log: {tail or 'empty'}"
        )


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a process forked from it, which ends earlier
        shutil.rmtree(folder, ignore_errors=True)


def _port_is_free(port: int) -> bool:
    # llama.cpp says it only in its log, and by ending: too late to tell it from other ends.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _read_line(stream: IO[bytes], deadline: float) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
            break
        piece = os.read(stream.fileno(), 4096)
        if not piece:
            break
        line += piece
    return line


# ---------------------------------------------------------------- the child's side


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a model until the parent closes our standard input or dies."""
    parser = argparse.ArgumentParser(prog="python -m unbroken.lab.llama")
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--context-tokens", type=int, default=8192)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("--remove-when-orphaned", default=None)
    options = parser.parse_args(arguments)

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch = threading.Thread(
        target=_leave_with_parent,
        args=(options.parent, options.remove_when_orphaned),
        daemon=True,
    )
    watch.start()
    server = _serve(options)
    port = int(server.listening_address.rsplit(":", 1)[1])
    answers.write(json.dumps({"port": port}) + "\n")
    answers.close()
    with contextlib.suppress(KeyboardInterrupt):
        watch.join()
    os._exit(0)  # the server's own threads are not asked: it may be in mid-answer


def _serve(options: argparse.Namespace) -> Any:
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {_MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.context_tokens * options.slots
    # A resumed greedy answer equals the uninterrupted one only if a token that is read
    # leaves the same bits behind as one that was written; else a near-tie falls the other
    # way some time later. With llama.cpp's defaults a server that had to read the text
    # anew (after a restart, say) went another way at 32 of 50 cuts (seen November 2026).
    # So: no flash attention, no 16-bit cache, no GPU, one thread, and one token at a time,
    # which also keeps answers that are written side by side out of each other's sums.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.n_ubatch = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.offline = True
    return xllamacpp.Server(params)


def _leave_with_parent(parent: int, folder: str | None) -> None:
    # The pipe tells at once. Looking at the parent's id as well helps where a process
    # that was forked from the parent still holds the other end of the pipe.
    while os.getppid() == parent:
        if select.select([0], [], [], _WATCH_STEP_S)[0] and not os.read(0, 1024):
            break
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
