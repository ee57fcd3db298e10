"""Exceptions that users of an HTTP library, and of the SDK above it, already catch."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from unbroken.core.errors import (
    IncompleteStreamError,
    StreamingError,
    StreamTimeoutError,
    error_class,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome

__all__ = ["exception_for", "explain"]


def explain(library: ModuleType, error: Exception, *, connecting: bool) -> Fault:
    """Return the fault that an exception of httpx or httpx2 is."""
    words = f"{type(error).__name__}: {str(error)[:160]}" if str(error) else type(error).__name__
    if _QUOTES.search(words):
        words = type(error).__name__  # h11 quotes what it could not read: output, or a key
    if connecting:
        if isinstance(error, library.ReadTimeout):
            return Fault.of(FaultKind.STALLED, f"no response head in time ({words})")
        unsendable = isinstance(error, (library.LocalProtocolError, library.UnsupportedProtocol))
        if unsendable or not isinstance(error, library.TransportError):
            # The request itself is at fault; its error may quote a header, and with it a key.
            name = type(error).__name__
            detail = f"the request could not be sent ({name})"
            return Fault.of(FaultKind.CONNECT_FAILED, detail, retryable=False)
        return Fault.of(FaultKind.CONNECT_FAILED, f"no response came ({words})")
    if isinstance(error, library.TimeoutException):
        return Fault.of(FaultKind.STALLED, f"the read timeout that was set passed ({words})")
    return Fault.of(FaultKind.CONNECTION_RESET, words)


@lru_cache(maxsize=64)
def _class_for(library: ModuleType, kind: type[StreamingError], sdk: str) -> type[StreamingError]:
    """Return a class that is both ours and the library's, and the SDK's where that is needed.

    Some SDKs do not wrap what a body raises (see `_unwrapping_sdk`), so there the class must
    be their own too; it is taken from the loaded module, never imported.
    """
    timeout = kind is StreamTimeoutError
    bases: tuple[type[Any], ...] = (
        kind,
        library.ReadTimeout if timeout else library.RemoteProtocolError,
    )
    module = sys.modules.get(sdk) if sdk else None
    if module is not None:
        own = getattr(module, "APITimeoutError" if timeout else "APIConnectionError", None)
        if isinstance(own, type):
            bases = (*bases, own)

    def init(self: Any, *, outcome: Outcome, fault: Fault, request: Any = None) -> None:
        StreamingError.__init__(self, outcome=outcome, fault=fault)
        self._request = request  # httpx's own place for it
        if module is not None:  # what handlers of the SDK's own errors look at
            self.request, self.message = request, str(self)
            self.body = self.type = self.param = None

    return type(kind.__name__, bases, {"__init__": init, "__module__": "unbroken"})


def exception_for(
    library: ModuleType, outcome: Outcome, fault: Fault, *, request: Any, user_agent: str
) -> Exception:
    """Return what to raise in the middle of a body.

    Args:
        library: ``httpx`` or ``httpx2``.
        outcome: How the stream ended.
        fault: What went wrong.
        request: The library's request object.
        user_agent: The request's User-Agent, which names the SDK.
    """
    kind = error_class(fault)
    assert kind in (IncompleteStreamError, StreamTimeoutError)
    sdk = _unwrapping_sdk(user_agent)
    made: Any = _class_for(library, kind, sdk if sdk in sys.modules else "")
    error: Exception = made(outcome=outcome, fault=fault, request=request)
    return error


_QUOTES = re.compile(r"bytearray\(|\bb['\"]|['\"]")
_USER_AGENT = re.compile(r"(?:Async)?(OpenAI|Anthropic|Groq)\w*/Python (\d+)\.(\d+)")
_OPENAI_WRAPS = (3, 52)
"""Seen from here on; 3.3, to which instructor is bound, does not."""


def _unwrapping_sdk(user_agent: str) -> str:
    """Return the SDK that lets a body's exception through as it is, or ``""``.

    Seen by running them: anthropic up to 2.11, groq 1.7, and openai up to 3.3.
    """
    found = _USER_AGENT.search(user_agent)
    if found is None:
        return ""
    name, version = found[1].lower(), (int(found[2]), int(found[3]))
    return "" if name == "openai" and version >= _OPENAI_WRAPS else name
