"""What an exception says, with all its causes, its outcome, and what an SDK hung on it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from unbroken.core.errors import outcome_of
from unbroken.knowledge.chains import class_weights
from unbroken.knowledge.facts import Line, Query
from unbroken.knowledge.outcomes import outcome_query
from unbroken.knowledge.texts import facts_in, middle_of

__all__ = ["exception_query"]

_MOST_CAUSES = 12
_MODULES = {
    "anthropic": "anthropic", "google": "google", "ollama": "ollama", "cohere": "cohere",
    "botocore": "aws", "mistralai": "mistral", "groq": "groq",
}  # fmt: skip
# Whom nobody asks through the openai package, which speaks to many others.
_NOT_OPENAI = frozenset(("anthropic", "aws", "cohere"))
_HOSTS = (
    ("api.openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("googleapis.com", "google"),
    ("amazonaws.com", "aws"),
    ("azure.com", "azure"),
    ("openrouter.ai", "openrouter"),
    ("cohere.com", "cohere"),
    ("mistral.ai", "mistral"),
    ("groq.com", "groq"),
)
_PLAIN = frozenset(("Exception", "BaseException", "object", "ExceptionGroup", "BaseExceptionGroup"))
_OURS = frozenset(("StreamingError", "IncompleteStreamError", "StreamTimeoutError"))


def exception_query(error: BaseException) -> Query:
    """Return what an exception says; of a chain, the most specific one counts most."""
    chain = list(_causes(error))
    texts: list[tuple[str, float]] = []
    classes: dict[str, float] = {}
    statuses: set[int] = set()
    codes: set[str] = set()
    providers: set[str] = set()
    counts = class_weights([type(one).__name__ for one in chain])
    for one, weight in zip(chain, counts, strict=True):
        names = [kind.__name__ for kind in type(one).__mro__ if kind.__name__ not in _PLAIN]
        for steps, name in enumerate(names):
            classes[name] = max(classes.get(name, 0.0), weight * 0.5**steps)
        message = _message(one)
        texts += [(line, weight) for line in f"{names[0] if names else ''}: {message}".split("\n")]
        statuses.update(_statuses_of(one))
        codes.update(_codes_of(one))
        providers.update(_providers_of(one))
    outcome = outcome_of(error)
    told = outcome_query(outcome) if outcome is not None else Query()
    said = facts_in(texts)
    lines = [
        Line(text=middle_of(text).lower(), weight=weight) for text, weight in texts if text.strip()
    ]
    return Query(
        text="\n".join([*(line.text for line in lines), *(line.text for line in told.lines)]),
        weights=tuple(line.weight for line in (*lines, *told.lines)),
        lines=(*lines, *told.lines),
        classes={name: weight for name, weight in classes.items() if name not in _OURS},
        statuses=frozenset(statuses) or told.statuses or said["statuses"],
        codes=frozenset(codes) | said["codes"] | told.codes,
        kinds=told.kinds,
        providers=frozenset(providers) or told.providers or said["providers"],
        sure_provider=bool(providers) or told.sure_provider,
        not_providers=_NOT_OPENAI if any(_top(one) == "openai" for one in chain) else frozenset(),
        phases=told.phases,
        details=told.details,
        live=True,
    )


def _top(error: BaseException) -> str:
    """Return the package that an exception's class comes from."""
    return type(error).__module__.partition(".")[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it came from, the outermost first."""
    seen: set[int] = set()
    todo = [error]
    while todo and len(seen) < _MOST_CAUSES:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause is not None:
            todo.append(cause)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be shown is explained all the same
        return ""


def _read(of: object, *names: str) -> Any:
    """Return an attribute of an attribute, or None: properties of SDKs may raise."""
    for name in names:
        try:
            of = getattr(of, name, None)
        except Exception:  # noqa: BLE001 - somebody else's property
            return None
    return of


def _statuses_of(error: BaseException) -> Iterator[int]:
    for names in (("status_code",), ("response", "status_code"), ("status",), ("code",)):
        value = _read(error, *names)
        if isinstance(value, int) and 100 <= value <= 599:
            yield value
            return
    response = _read(error, "response")
    if isinstance(response, dict):  # botocore
        value = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
        if isinstance(value, int):
            yield value


def _codes_of(error: BaseException) -> Iterator[str]:
    number = _read(error, "errno")
    if isinstance(error, OSError) and isinstance(number, int) and number in errno.errorcode:
        yield errno.errorcode[number].lower()
    body = _read(error, "body")
    inner = body.get("error", body) if isinstance(body, dict) else None
    values = [_read(error, "code"), _read(error, "type"), _read(error, "status")]
    if isinstance(inner, dict):
        values += [inner.get("code"), inner.get("type"), inner.get("status")]
    for value in values:
        if isinstance(value, str) and 0 < len(value) <= 64:
            yield value.lower()


def _providers_of(error: BaseException) -> Iterator[str]:
    host = _read(error, "request", "url", "host")
    if isinstance(host, str):
        for end, name in _HOSTS:
            if host.endswith(end):
                yield name
                return
    if _top(error) in _MODULES:
        yield _MODULES[_top(error)]
