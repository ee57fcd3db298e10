"""Targets: who else may write the answer, where the user has listed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from unbroken.core.faults import FaultKind

__all__ = ["Target"]

_FAILURES = frozenset(
    kind
    for kind in FaultKind
    if kind
    not in (
        FaultKind.LENGTH_LIMIT,
        FaultKind.CONTENT_FILTERED,
        FaultKind.CANCELLED,
        FaultKind.INVALID_TOOL_ARGUMENTS,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Another model, key or provider that may take over (rung 7).

    What is not given stays as in the request. A key of the request is never sent to
    another host.

    Attributes:
        name: What provenance calls it; by default its host and model.
        model: The model to ask for.
        base_url: As an SDK takes it, for example ``https://api.groq.com/openai/v1``.
        api_key: Its key.
        headers: Further headers for it; they win.
        dialect: What it speaks; another one than the request's takes over only before
            content, since there is no way to continue in it.
        when: The kinds of fault at which it may take over.
        mid_answer: Whether it may go on with an answer that another model began.
    """

    name: str = ""
    model: str | None = None
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    dialect: str | None = None
    when: frozenset[FaultKind] = _FAILURES
    mid_answer: bool = True

    def __post_init__(self) -> None:
        for name in ("name", "model", "base_url", "api_key", "dialect"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                msg = f"a target's {name} must be a string, not {type(value).__name__}"
                raise TypeError(msg)
        if self.model is None and self.base_url is None and self.api_key is None:
            msg = "a target needs a model, a base_url or an api_key of its own"
            raise ValueError(msg)
        if self.dialect is not None and self.base_url is None:
            msg = f"a target that speaks {self.dialect} needs a base_url"
            raise ValueError(msg)
        if self.base_url is not None and not urlsplit(self.base_url).hostname:
            msg = f"a target's base_url must be an absolute URL, not {self.base_url!r:.80}"
            raise ValueError(msg)
        unknown = [kind for kind in self.when if kind not in set(FaultKind)]
        if unknown:
            msg = f"a target's when holds unknown fault kinds: {', '.join(map(repr, unknown))}"
            raise ValueError(msg)
        object.__setattr__(self, "when", frozenset(FaultKind(kind) for kind in self.when))

    @property
    def label(self) -> str:
        """What provenance calls it."""
        host = urlsplit(self.base_url).hostname if self.base_url else None
        return self.name or " ".join(part for part in (host, self.model) if part) or "another key"
