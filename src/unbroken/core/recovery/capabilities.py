"""What providers and models can do to continue an answer: a table, which users can extend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

import msgspec

__all__ = ["Capability", "built_in_rows", "capability_for", "check_rows"]


class Capability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row. The first row that matches a request is the one that counts.

    Attributes:
        note: Why the row is here, and how it is known.
        dialect: Exact name of the dialect, or None for any.
        host: Pattern searched in the host name, or None for any.
        path: Pattern searched in the URL's path, or None for any.
        model: Pattern searched in the model's name, or None for any.
        local: Whether the host must be an address of a private network or this machine.
        prefill: The begun turn of the assistant is continued.
        with_thinking: A begun turn is also taken when the request turns thinking on.
        deterministic: The same request gives the same answer.
        message: Fields to add to the begun turn.
        body: Fields to add to the request.
    """

    note: str = ""
    dialect: str | None = None
    host: str | None = None
    path: str | None = None
    model: str | None = None
    local: bool | None = None
    prefill: bool = False
    with_thinking: bool = True
    deterministic: bool = False
    message: dict[str, Any] = {}
    body: dict[str, Any] = {}

    def matches(self, *, dialect: str, host: str, path: str, model: str) -> bool:
        """Whether the row speaks of such a request."""
        return (
            (self.dialect is None or self.dialect == dialect)
            and (self.host is None or re.search(self.host, host) is not None)
            and (self.path is None or re.search(self.path, path) is not None)
            and (self.model is None or re.search(self.model, model) is not None)
            and (self.local is None or self.local == _is_local(host))
        )


class _Table(msgspec.Struct):
    version: int
    rows: list[Capability]


@lru_cache(maxsize=1)
def built_in_rows() -> tuple[Capability, ...]:
    """Return the table that comes with Unbroken."""
    raw = files("unbroken.core.recovery").joinpath("capabilities.json").read_bytes()
    return tuple(msgspec.json.decode(raw, type=_Table).rows)


def capability_for(
    *,
    dialect: str,
    host: str,
    path: str,
    model: str,
    extra: Iterable[Mapping[str, Any]] = (),
) -> Capability:
    """Return what is known of a target; for an unknown one, a row that allows nothing.

    Args:
        dialect: The dialect's name.
        host: The request's host.
        path: The URL's path.
        model: The model asked for.
        extra: The user's own rows; they come first.

    Raises:
        ValueError: If a row of the user's does not have the form of `Capability`.
    """
    for row in extra:
        own = _row(row)
        if own.matches(dialect=dialect, host=host, path=path, model=model):
            return own
    for known in built_in_rows():
        if known.matches(dialect=dialect, host=host, path=path, model=model):
            return known
    return Capability(note="unknown target")


def check_rows(extra: Iterable[Mapping[str, Any]]) -> None:
    """Refuse rows of the user's that would be of no use, before a stream needs them.

    Raises:
        ValueError: If a row does not have the form of `Capability`, or a pattern is none.
    """
    for row in extra:
        own = _row(row)
        for name in ("host", "path", "model"):
            try:
                re.compile(getattr(own, name) or "")
            except re.error as error:
                msg = f"a capability row is not valid: {name} is no pattern ({error})"
                raise ValueError(msg) from None


def _row(row: Mapping[str, Any]) -> Capability:
    try:
        return msgspec.convert(dict(row), Capability)
    except msgspec.ValidationError as error:
        msg = f"a capability row is not valid: {error}"
        raise ValueError(msg) from None


@lru_cache(maxsize=256)
def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith((".local", ".internal")) or "." not in host:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_private or address.is_loopback
