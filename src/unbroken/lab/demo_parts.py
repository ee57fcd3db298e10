"""What the demo stands on: a model server on this machine, and what breaks its answers.

With llama.cpp, a fault proxy before it for each side. Where that, or aiohttp for the proxy, is
missing, the lab's scripted model, which breaks its own answers by the same plans.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from unbroken.lab.injectors.spec import Spec
from unbroken.lab.llama import LlamaServer, LlamaStartError, llama_available
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.plan import parse_fault
from unbroken.lab.server.app import LabServer
from unbroken.lab.tiny_model import invented_words

if TYPE_CHECKING:
    from unbroken.lab.proxy.app import FaultProxy

__all__ = ["Breaker", "Dealt", "Upstream", "start_upstream"]

_VOCABULARY = 290
_PACE = "drip"  # no fault, but how the proxy is made slow enough to watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """A fault that was really dealt out.

    Attributes:
        attempt: To which attempt, from 1.
        fault: Which.
    """

    attempt: int
    fault: Spec

    @property
    def words(self) -> int:
        """After how many words of that attempt: each is a content frame of its own."""
        return int(self.fault.place.amount) if self.fault.place is not None else 0


class Breaker(Protocol):
    """Where one side asks: its answers break by its plan."""

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its ``base_url``."""

    def dealt(self) -> list[Dealt]:
        """Return what it has dealt out so far, oldest first."""


class Upstream(Protocol):
    """A model server on 127.0.0.1 whose answers can be broken.

    Attributes:
        name: What it is, in one phrase.
        model: The name of its model.
        uses_proxy: Whether a proxy before it breaks the answers, and not itself.
    """

    name: str
    model: str
    uses_proxy: bool

    @property
    def base_url(self) -> str:
        """Where answers are whole: what an OpenAI SDK takes as its ``base_url``."""

    def breaking(self, plan: str, *, tokens_per_second: float) -> AbstractContextManager[Breaker]:
        """Give a side the place to ask at, in a pace for people to watch."""

    def close(self) -> None:
        """End it for good; the caller must do so."""


def start_upstream(*, prefer_llama: bool = True, words: int = 400, seed: int = 1) -> Upstream:
    """Start a model server, which the caller must close.

    Args:
        prefer_llama: Take the real llama.cpp server where it is installed and starts.
        words: Length of the scripted model's text.
        seed: Chooses that text.
    """
    reason = "asked for"
    if prefer_llama:
        reason = "xllamacpp or gguf is not installed"
        if llama_available():
            reason = "aiohttp is not installed"
            if find_spec("aiohttp") is not None:
                try:
                    return _Llama()
                except (LlamaStartError, OSError, ImportError) as error:
                    reason = f"llama.cpp did not start: {type(error).__name__}"
    return _Scripted(f"the built-in model server ({reason})", words=words, seed=seed)


class _Llama:
    """llama.cpp; each side has a proxy of its own, and so meets no faults of the other's."""

    name = "llama.cpp (xllamacpp) with a tiny random model"
    uses_proxy = True

    def __init__(self) -> None:
        # Only here: aiohttp is in no base install.
        from unbroken.lab.proxy.app import FaultProxy

        self._proxy = FaultProxy
        self._server = LlamaServer()
        self.model = self._server.model

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @contextlib.contextmanager
    def breaking(self, plan: str, *, tokens_per_second: float) -> Iterator[Breaker]:
        pace = f"{_PACE}@0f@{1000 / tokens_per_second:.3f}ms"
        attempts = [f"{attempt}+{pace}" for attempt in plan.split(",")]
        with self._proxy(self._server.url, ",".join([*attempts, f"{pace}*"])) as proxy:
            yield _ByProxy(proxy)

    def close(self) -> None:
        self._server.close()


class _Scripted:
    """The lab's scripted model, with words as llama.cpp's tiny model would write them."""

    model = "builtin-words"
    uses_proxy = False

    def __init__(self, name: str, *, words: int, seed: int) -> None:
        self.name = name
        vocabulary = invented_words(_VOCABULARY, seed=seed)
        text = " ".join(random.Random(seed).choices(vocabulary, k=words))
        self._settings = AnswerSettings(text=text, tokens=words, delta="token", seed=seed)
        self._server = LabServer(settings=self._settings).start()

    @property
    def base_url(self) -> str:
        return f"{self._server.url}/v1"

    @contextlib.contextmanager
    def breaking(self, plan: str, *, tokens_per_second: float) -> Iterator[Breaker]:
        settings = replace(self._settings, tps=tokens_per_second)
        with LabServer(plan=plan, settings=settings) as server:
            yield _ByItself(server)

    def close(self) -> None:
        self._server.close()


class _ByProxy:
    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self.base_url = f"{proxy.url}/v1"

    def dealt(self) -> list[Dealt]:
        log = self._proxy.log.entries()
        return [one for entry in log for one in _dealt(entry.attempt, entry.strikes)]


class _ByItself:
    def __init__(self, server: LabServer) -> None:
        self._server = server
        self.base_url = f"{server.url}/v1"

    def dealt(self) -> list[Dealt]:
        log = [one for session in self._server.sessions.values() for one in session.attempts]
        return [one for attempt in log for one in _dealt(attempt.number, attempt.strikes)]


def _dealt(number: int, strikes: list[tuple[float, str]]) -> Iterator[Dealt]:
    """Read the log of an attempt, counted from 0 as plans count: ``cut.rst@30t: and how``."""
    for _, what in tuple(strikes):  # the server's thread may add to it
        fault = parse_fault(what.partition(":")[0])
        if fault.name != _PACE:
            yield Dealt(attempt=number + 1, fault=fault)
