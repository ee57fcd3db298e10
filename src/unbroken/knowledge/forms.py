"""What is wrong with a record's form: all of it at once, where a decoder stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["pruned", "troubles_of"]

_MOST_SHOWN = 60


def troubles_of(value: Any, kind: Any, place: str = "") -> Iterator[str]:
    """Yield what keeps a JSON value from being of a type, each with its place.

    Args:
        value: As JSON has it.
        kind: The type: a struct, or what stands in one.
        place: Where it stands, such as ``dead_ends[1]``; ``""`` for the whole.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if isinstance(value, dict):
            yield from _struct(value, kind, place)
            return
    elif origin is list and isinstance(value, list):
        for number, one in enumerate(value):
            yield from troubles_of(one, arguments[0], f"{place}[{number}]")
        return
    elif origin is dict and isinstance(value, dict):
        for name, one in value.items():
            yield from troubles_of(one, arguments[1], _below(place, name))
        return
    else:
        some = next((one for one in arguments if _is_struct(one)), None)
        if some is not None and isinstance(value, dict):
            yield from troubles_of(value, some, place)
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        why = str(error).partition(" - at `")[0]
        yield f"{place or 'the record'}: {why[:1].lower()}{why[1:]}"


def pruned(value: Any, kind: Any) -> Any:
    """Return a JSON value without the fields that its type does not have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, list) and origin is list:
        return [pruned(one, arguments[0]) for one in value]
    if not isinstance(value, dict):
        return value
    if origin is dict:
        return {name: pruned(one, arguments[1]) for name, one in value.items()}
    struct = next((one for one in (kind, *arguments) if _is_struct(one)), None)
    if struct is None:
        return value
    hints = get_type_hints(struct)
    return {name: pruned(one, hints[name]) for name, one in value.items() if name in hints}


def _struct(value: dict[str, Any], kind: type[msgspec.Struct], place: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields:
            near = get_close_matches(name, fields, 1)
            meant = f" (is {near[0]} meant?)" if near and near[0] not in value else ""
            yield f"{_below(place, name[:_MOST_SHOWN])}: there is no such field{meant}"
    for name, field in fields.items():
        if name in value:
            yield from troubles_of(value[name], hints[field.name], _below(place, name))
        elif field.required:
            yield f"{_below(place, name)}: it is missing"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
