"""Write the tables of docs/reference/gateway-config.md, and its JSON Schema, from the settings.

python scripts/config_table.py [--check]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from unbroken.gateway.config import (
    CallerConfig,
    CallerLimits,
    GatewayConfig,
    JournalConfig,
    LimitsConfig,
    OwnLimits,
    ResumeConfig,
    RouteConfig,
    TargetConfig,
    TelemetryConfig,
    UpstreamConfig,
    schema,
)
from unbroken.gateway.config.load import variables
from unbroken.telemetry.health.prices import Price

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
PAGE = REFERENCE / "gateway-config.md"
SCHEMA = REFERENCE / "gateway-config.schema.json"
BEGIN, END = "<!-- tables: written by scripts/config_table.py -->", "<!-- end of tables -->"

__all__ = ["PAGE", "SCHEMA", "page", "schema_text"]

_TABLES: tuple[tuple[str, str, type[Any]], ...] = (
    ("At the top", "", GatewayConfig),
    ("`[upstreams.NAME]`", "", UpstreamConfig),
    ("`[[routes]]`", "", RouteConfig),
    ("`[[routes.targets]]`", "", TargetConfig),
    ("`[[callers]]`", "", CallerConfig),
    ("`[callers.limits]`", "", OwnLimits),
    ("`[limits]`", "limits.", LimitsConfig),
    ("`[limits.per_caller]`", "limits.per_caller.", CallerLimits),
    ("`[resume]`", "resume.", ResumeConfig),
    ("`[journal]`", "journal.", JournalConfig),
    ("`[telemetry]`", "telemetry.", TelemetryConfig),
    ("`[[telemetry.prices]]`", "", Price),
)


def _doc(cls: type[Any]) -> tuple[str, dict[str, str]]:
    """Return what a Google-style docstring says, and what it says of each attribute."""
    text, _, section = (cls.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {12})*)", section, re.MULTILINE)
    return _one_line(text), {name: _one_line(words) for name, words in found}


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")


def _default(field: Any) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        value = "" if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    match value:
        case _ if field.required:
            return "required"
        case bool():
            return f"`{str(value).lower()}`"
        case int() if value >= 1024 and value % 1024 == 0:
            mib = value % 1024**2 == 0
            return f"{value // 1024**2} MiB" if mib else f"{value // 1024} KiB"
        case float() if value == int(value):
            return f"`{int(value)}`"
        case int() | float():
            return f"`{value}`"
        case str() if value:
            return f'`"{value}"`'
        case _:
            return "none"


def _kind(kind: Any) -> str:
    match kind:
        case inspect.Metadata():
            return _kind(kind.type)
        case inspect.UnionType():
            return " or ".join(
                _kind(each) for each in kind.types if not isinstance(each, inspect.NoneType)
            )
        case inspect.LiteralType():
            return ", ".join(f"`{json.dumps(each)}`" for each in kind.values)
        case inspect.VarTupleType():
            return f"list of {_kind(kind.item_type)}s"
        case inspect.DictType():
            return "table"
        case inspect.CustomType():
            return "secret" if kind.cls.__name__ == "Secret" else "string or secret"
        case inspect.IntType():
            return "whole number"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
        case inspect.StructType():
            return "table"
        case _:
            return "string"


def _tables() -> str:
    by_path: dict[str, str] = {}
    for name, path in variables().items():
        by_path.setdefault(path, name)
    lines: list[str] = []
    for title, before, cls in _TABLES:
        text, meanings = _doc(cls)
        lines += [f"### {title}", "", text, ""]
        lines += ["| setting | value | default | meaning |", "|---|---|---|---|"]
        for field in inspect.type_info(cls).fields:  # type: ignore[attr-defined]
            row = [f"`{field.name}`", _kind(field.type), _default(field), meanings[field.name]]
            if before + field.name in by_path and (before or cls is GatewayConfig):
                row[0] += f"<br>`{by_path[before + field.name]}`"
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with its tables as they must be.

    Args:
        text: The page as it is.

    Raises:
        KeyError: If a setting is not in its docstring.
        ValueError: If the page has no place for tables.
    """
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        msg = f"{PAGE.name} must hold the lines {BEGIN} and {END}"
        raise ValueError(msg)
    return f"{head}{BEGIN}\n\n{_tables()}\n{END}{tail}"


def schema_text() -> str:
    """Return the JSON Schema as its file must hold it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write both files; with ``--check`` only say whether they are up to date."""
    text = PAGE.read_text("utf-8")
    if arguments == ["--check"]:
        return int(text != page(text) or SCHEMA.read_text("utf-8") != schema_text())
    PAGE.write_text(page(text), "utf-8")
    SCHEMA.write_text(schema_text(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
