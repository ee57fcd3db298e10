"""Which exception of a chain says most: the most specific one, wherever it stands.

An exception that wraps another may say nothing (``APIConnectionError: Connection error.``); then
what it wraps is what happened. Or it may say more than what it wraps: ``UnknownApiResponseError``
names the SDK and the case, the ``JSONDecodeError`` below it is raised for anything. So leading
wrappers count `OUTER`, the first exception behind them counts whole, and what lies below that a
little less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["EVERYDAY", "GENERAL", "OUTER", "WRAPPERS", "class_weights", "line_weights"]

OUTER = 0.5
"""How much what only wraps counts; the cause counts 1."""
_BELOW = 0.8

# Raised for anything: of themselves they say nothing.
EVERYDAY = frozenset(
    (
        "AssertionError", "AttributeError", "ConnectionError", "Error", "Exception", "HTTPError",
        "IOError", "IndexError", "KeyError", "LookupError", "OSError", "RequestException",
        "RuntimeError", "SyntaxError", "TimeoutError", "TypeError", "ValueError",
        "UnicodeError", "ClientError", "ServerError", "TransportError", "ValidationException",
        "HTTPStatusError", "RequestError", "APIStatusError", "AbortError", "BadRequestError",
        "NotFoundError", "OpenAIError", "AnthropicError", "InternalServerError", "APIException",
        "ValidationError",
    )
)  # fmt: skip
# Say in which layer it was seen, and nothing of what it was.
WRAPPERS = EVERYDAY | {
    "APIConnectionError", "APITimeoutError", "APIConnectionTimeoutError", "ConnectError",
    "MaxRetryError", "NewConnectionError", "ClientConnectionError", "NetworkError", "RetryError",
    "StreamingError", "IncompleteStreamError", "StreamTimeoutError", "BaseException",
    "ExceptionGroup", "BaseExceptionGroup", "APIError", "Timeout", "ServiceUnavailableError",
}  # fmt: skip
# Of the standard library, for what is read by any program.
GENERAL = frozenset(("JSONDecodeError", "UnicodeDecodeError", "ConnectionResetError"))

_LINKS = (
    "The above exception was the direct cause of the following exception",
    "During handling of the above exception, another exception occurred",
)
_HEAD = "Traceback (most recent call last)"
_RAISED = re.compile(r"(?:[a-z_]\w*\.)*([A-Z]\w+)(?::|\s*$)")
_CAUSE = re.compile(r"\s*(?:\[?cause\]?|caused by)\s*:", re.IGNORECASE)


def class_weights(names: Sequence[str]) -> list[float]:
    """Return how much each exception of a chain counts; names come the outermost first."""
    last = len(names) - 1
    first = next((at for at, name in enumerate(names) if name not in WRAPPERS), last)
    if first == last or all(name in WRAPPERS for name in names[first + 1 :]):
        below = 1.0 if first == last else _BELOW
    else:
        below = _BELOW
    return [OUTER if at < first else 1.0 if at == first else below for at in range(len(names))]


def line_weights(text: str) -> tuple[float, ...]:
    """Return how much each line of a text counts, or nothing where all count alike."""
    if any(link in text for link in _LINKS):
        return _of_python(text.split("\n"))
    if "cause" in text.lower():
        return _of_node(text.split("\n"))
    return ()


def _of_python(lines: list[str]) -> tuple[float, ...]:
    weights = [1.0] * len(lines)
    chain: list[tuple[int, int, str]] = []  # the innermost first: from, to, the class
    start, linked = 0, True
    for at in range(len(lines) + 1):
        line = lines[at] if at < len(lines) else ""
        if at < len(lines) and any(link in line for link in _LINKS):
            chain.append((start, at, _raised(lines[start:at], last=True)))
            start, linked = at, True
        elif at == len(lines) or line.startswith(_HEAD):
            between = lines[start:at]
            done = next((n for n, one in enumerate(between) if n and _is_raised(one)), None)
            if chain and linked and done is not None:
                end = start + done + 1
                chain.append((start, end, _raised(between[: done + 1], last=True)))
                _weigh(chain, weights)
                chain, linked = [], False
            if not chain:
                start, linked = at, True
    return tuple(weights)


def _weigh(chain: list[tuple[int, int, str]], weights: list[float]) -> None:
    names = [name for _, _, name in reversed(chain)]
    for (start, end, _), weight in zip(reversed(chain), class_weights(names), strict=True):
        weights[start:end] = [weight] * (end - start)


def _is_raised(line: str) -> bool:
    return bool(_RAISED.match(line)) and not line.startswith(_HEAD)


def _raised(lines: list[str], *, last: bool) -> str:
    found = [match[1] for line in lines if (match := _RAISED.match(line))]
    return (found[-1] if last else found[0]) if found else ""


def _of_node(lines: list[str]) -> tuple[float, ...]:
    """What Node prints of an error with a cause: the outer one first."""
    cause = next((at for at, line in enumerate(lines) if at and _CAUSE.match(line)), None)
    outer = next((match for line in lines if (match := _RAISED.match(line))), None)
    if cause is None or outer is None or outer[1] not in WRAPPERS:
        return ()
    return tuple(OUTER if at < cause else 1.0 for at in range(len(lines)))
