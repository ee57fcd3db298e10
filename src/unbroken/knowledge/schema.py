"""The published JSON Schema of a record, made from the structs."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.knowledge.record import Record

__all__ = ["DATE", "ID", "VERSION", "schema"]

VERSION = 1
ID = r"^[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*$"
DATE = r"^\d{4}-\d{2}-\d{2}$"
_RATES = ("confidence", "fix_success_rate", "fail_rate", "success_rate", "probability")
_DATES = ("first_seen", "last_confirmed", "last_updated", "date", "on")
_COUNTS = ("evidence_count", "tries", "worked")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that every record in the package satisfies."""
    (top,), parts = msgspec.json.schema_components([Record], ref_template="#/$defs/{name}")
    record = parts.pop("Record")
    assert top == {"$ref": "#/$defs/Record"}
    for struct in (record, *parts.values()):
        _narrow(struct.get("properties", {}))
    record["properties"]["id"]["pattern"] = ID
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:unbroken:knowledge:record:{VERSION}",
        **record,
        "title": "A record of Unbroken's knowledge base",
        "$defs": parts,
    }


def _narrow(properties: dict[str, Any]) -> None:
    """Add what the Python types do not say: ranges and the shape of dates."""
    for name, type_ in properties.items():
        if name in _RATES:
            _at(type_, "number", {"minimum": 0, "maximum": 1})
        elif name in _DATES:
            _at(type_, "string", {"pattern": DATE})
        elif name in _COUNTS:
            _at(type_, "integer", {"minimum": 0})


def _at(type_: dict[str, Any], kind: str, more: dict[str, Any]) -> None:
    for one in type_.get("anyOf", [type_]):
        if one.get("type") == kind:
            one.update(more)
