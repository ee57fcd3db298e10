"""The JSON Schema of the configuration, for editors."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.gateway.config.secret import Value
from unbroken.gateway.config.settings import GatewayConfig

__all__ = ["schema"]

_WHERE: dict[str, Any] = {
    "type": "object",
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _secret(kind: type[Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, _WHERE]} if issubclass(kind, Value) else dict(_WHERE)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file (draft 2020-12)."""
    made = _without_null(msgspec.json.schema(GatewayConfig, schema_hook=_secret))
    # The words for a class are written for this page's reader: its first sentences will do.
    for part in made["$defs"].values():
        if "description" in part:
            part["description"] = part["description"].partition("\n\n")[0].replace("\n", " ")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, "title": "The configuration of Unbroken's gateway", **made}


def _without_null(part: Any) -> Any:
    """TOML has no null: a limit is taken away by ``"none"``, and all else by leaving it out."""
    if isinstance(part, list):
        return [_without_null(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: _without_null(each) for name, each in part.items() if name != "default"}
    if part.get("default") is not None and not isinstance(part["default"], dict):
        made["default"] = part["default"]
    choices = [each for each in made.get("anyOf", ()) if each != {"type": "null"}]
    if "anyOf" in made and len(choices) < len(made["anyOf"]):
        if any(each.get("type") in ("integer", "number") for each in choices):
            choices.append({"const": "none"})
        made["anyOf"] = choices
    if isinstance(made.get("enum"), list):
        made["enum"] = [each for each in made["enum"] if each is not None]
    return made
