"""Records of deadends.dev, in its nested form or the flat one of the seeds, as records of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from unbroken.knowledge.load import KnowledgeError, records_in
from unbroken.knowledge.record import Record
from unbroken.knowledge.schema import DATE

__all__ = ["Imported", "import_file", "import_record", "write_record"]

_SYSTEMS = {"linux": "linux", "macos": "darwin", "darwin": "darwin", "windows": "windows"}
_TIERS = {
    "auto_generated": "ai_generated",
    "human_reviewed": "sourced",
    "community_verified": "community",
}
_ENDS = ("action", "why_fails", "fail_rate", "condition", "sources")
_WAYS = ("action", "success_rate", "how", "condition", "tradeoff", "sources")
_EDGES = ("error_id", "probability", "condition", "distinction", "typical_delay")
_RATES = ("fail_rate", "success_rate", "probability")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A record, and what of its source found no place in it.

    Attributes:
        record: The record.
        dropped: Names of fields, with their values where they are short.
    """

    record: Record
    dropped: list[str]


def import_file(path: str | os.PathLike[str]) -> list[Imported]:
    """Return the records of a file, in whichever form it has.

    Raises:
        KnowledgeError: If it cannot be read, or is in neither form.
    """
    name = os.fspath(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise KnowledgeError(f"{name}: {error.strerror or error}") from None  # noqa: EM102
    try:
        parsed = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KnowledgeError(f"{name}: no JSON: {error}") from None  # noqa: EM102
    many = parsed if isinstance(parsed, list) else [parsed]
    if not any(isinstance(one, dict) and isinstance(one.get("error"), dict) for one in many):
        return [Imported(record=record, dropped=[]) for record in records_in(raw, name)]
    try:
        return [import_record(one) for one in many]
    except KnowledgeError as error:
        raise KnowledgeError(f"{name}: {error}") from None  # noqa: EM102


def import_record(canon: Any) -> Imported:
    """Return a record in the nested form of deadends.dev (an ErrorCanon) as one of ours.

    The id becomes ``area/words-environment``, here and in edges, since ours has two parts.

    Raises:
        KnowledgeError: If it lacks what a record cannot be without.
    """
    source = _Source(canon)
    error, verdict = source.part("error"), source.part("verdict")
    runtime = source.part("environment").part("runtime")
    metadata = source.part("metadata")
    verified = _date(metadata, "last_verification")
    fields: dict[str, Any] = {
        "id": _id(source.text("id")),
        "signature": error.text("signature"),
        "regex": error.text("regex", ""),
        "domain": error.text("domain", "llm"),
        "category": error.text("category", ""),
        "root_cause": verdict.text("summary"),
        "confidence": verdict.take("confidence", 0.5),
        "fix_success_rate": verdict.take("fix_success_rate", 0.5),
        "resolvable": verdict.take("resolvable", "partial"),
        "last_updated": _date(verdict, "last_updated"),
        "first_seen": _date(error, "first_seen"),
        "last_confirmed": _date(error, "last_confirmed") or verified,
        "evidence_count": metadata.take("evidence_count", 0),
        "verification_tier": _TIERS.get(metadata.text("review_status", ""), "ai_generated"),
        "dead_ends": list(source.items("dead_ends", _ENDS)),
        "workarounds": list(source.items("workarounds", _WAYS)),
        "sources": [address] if (address := source.text("url", "")) else [],
    }
    graph = source.part("transition_graph")
    fields["transition_graph"] = {
        name: [
            {**edge, "error_id": _id(str(edge["error_id"]))}
            for edge in graph.items(name, _EDGES)
            if edge.get("error_id")
        ]
        for name in ("leads_to", "preceded_by", "frequently_confused_with")
    }
    fields["versions"] = _versions(runtime, source.part("environment"))
    system = _SYSTEMS.get(source.part("environment").text("os", "any").lower())
    if system is not None:
        fields["os_specific"] = {system: {"notes": f"it was recorded on {system}"}}
    try:
        record = msgspec.convert(fields, Record)
    except msgspec.ValidationError as invalid:
        raise KnowledgeError(f"{fields['id']}: {invalid}") from None  # noqa: EM102
    source.take("schema_version", None)
    return Imported(record=record, dropped=sorted(source.dropped()))


class _Source:
    """An object of the source, which remembers what was not taken from it."""

    def __init__(self, raw: Any, path: str = "") -> None:
        if not isinstance(raw, Mapping):
            msg = f"{path or 'it'} is no object"
            raise KnowledgeError(msg)
        self._raw = dict(raw)
        self._path = path
        self._parts: dict[str, _Source] = {}
        self._more: list[str] = []

    def part(self, name: str) -> _Source:
        if name not in self._parts:
            raw = self._raw.pop(name, {})
            path = f"{self._path}{name}"
            self._parts[name] = _Source(raw if raw is not None else {}, f"{path}.")
        return self._parts[name]

    def take(self, name: str, default: Any) -> Any:
        value = self._raw.pop(name, None)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            what = "is not there" if value is None else "is no text"
            raise KnowledgeError(f"{self._path}{name} {what}")  # noqa: EM102
        return value

    def items(self, name: str, known: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Yield a list's objects with the fields that we know; the others are noted."""
        for number, raw in enumerate(self.take(name, [])):
            if not isinstance(raw, Mapping):
                self._more.append(f"{self._path}{name}[{number}]")
                continue
            made = {key: value for key, value in raw.items() if key in known and value is not None}
            for rate in _RATES:
                if made.get(rate) in ("", []):
                    del made[rate]
            self._more += [
                _named(f"{self._path}{name}[{number}].{key}", value)
                for key, value in raw.items()
                if key not in known and value not in (None, "", [])
            ]
            yield made

    def dropped(self) -> Iterator[str]:
        yield from self._more
        for name, value in self._raw.items():
            if value not in (None, "", [], {}):
                yield _named(f"{self._path}{name}", value)
        for part in self._parts.values():
            yield from part.dropped()


def _named(path: str, value: Any) -> str:
    said = msgspec.json.encode(value).decode()
    return f"{path} ({said})" if len(said) <= 60 else path


def _id(name: str) -> str:
    """Return ``area/words/environment`` as ``area/words-environment``."""
    first, _, rest = name.lower().partition("/")
    area = re.sub(r"[^a-z0-9]+", "-", first).strip("-")
    parts = [re.sub(r"[^a-z0-9.]+", "-", part).strip("-") for part in rest.split("/")]
    return (
        f"{re.sub(r'[^a-z0-9]+', '-', area).strip('-')}/{'-'.join(part for part in parts if part)}"
    )


def _date(source: _Source, name: str) -> str | None:
    value = source.take(name, None)
    return value if isinstance(value, str) and re.match(DATE, value) else None


def _versions(runtime: _Source, environment: _Source) -> list[dict[str, str]]:
    made = []
    name = runtime.take("name", None)
    if name:
        # Ranges such as ">=3.8,<3.13" stay; "any" and words say nothing that could be compared.
        numbers = str(runtime.take("version_range", "")).replace("v", "").strip()
        made.append(f"{name}{numbers}" if re.match(r"[<>=!~]", numbers) else f"{name} {numbers}")
    python = environment.take("python", None)
    if python:
        made.append(f"python{python}")
    return [{"version": version.strip()} for version in made]


def write_record(record: Record, folder: str | os.PathLike[str], *, replace: bool = False) -> Path:
    """Write a record to ``FOLDER/area/words.json`` and return the path.

    Raises:
        KnowledgeError: If there is such a file already (unless `replace`), or it cannot be made.
    """
    area, _, words = record.id.partition("/")
    if not area or not words or ".." in record.id or "/" in words or record.id.startswith("."):
        msg = f"the id {record.id!r} is not area/words-with-hyphens"
        raise KnowledgeError(msg)
    path = Path(folder) / area / f"{words}.json"
    raw = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb" if replace else "xb") as file:
            file.write(raw)
    except FileExistsError:
        msg = f"{path} is there already"
        raise KnowledgeError(msg) from None
    except OSError as error:
        raise KnowledgeError(f"cannot write {path}: {error.strerror or error}") from None  # noqa: EM102
    return path
