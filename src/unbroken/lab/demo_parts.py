"""What the demo stands on: an upstream that runs on this machine alone."""

from __future__ import annotations

from typing import Protocol

from unbroken.lab.builtin_server import BuiltinServer
from unbroken.lab.llama import LlamaServer, LlamaStartError, llama_available

__all__ = ["Upstream", "start_upstream"]


class Upstream(Protocol):
    """A model server on 127.0.0.1 that can be cut off and started again."""

    port: int
    model: str

    @property
    def url(self) -> str:
        """The root, without a slash at the end."""

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its ``base_url``."""

    def kill(self) -> None:
        """End it in the middle of what it does."""

    def restart(self) -> None:
        """Start it again on the same port."""

    def close(self) -> None:
        """End it for good; the caller must do so."""


def start_upstream(
    *,
    prefer_llama: bool = True,
    tokens_per_second: float | None = None,
    words: int = 400,
) -> tuple[Upstream, str]:
    """Start a model server, and say in one phrase which.

    Args:
        prefer_llama: Take the real llama.cpp server where it is installed and starts.
        tokens_per_second: Pace of the built-in server; llama.cpp runs at its own.
        words: Length of the built-in server's text.

    Returns:
        The server, which the caller must close, and what it is.
    """
    reason = "asked for"
    if prefer_llama:
        reason = "xllamacpp or gguf is not installed"
        if llama_available():
            try:
                return LlamaServer(), "llama.cpp (xllamacpp) with a tiny random model"
            except (LlamaStartError, OSError, ImportError) as error:
                reason = f"llama.cpp did not start: {type(error).__name__}"
    server = BuiltinServer(tokens_per_second=tokens_per_second, words=words)
    return server, f"the built-in model server ({reason})"
