"""The bodies that many tests read: our own, and the recorded ones where they are present."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unbroken.core.attempt import Attempt, Step
from unbroken.core.dialects import by_name
from unbroken.core.received import Received

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "tests" / "bodies"
CORPUS = ROOT.parent / "shared" / "corpus"
WIRES = {
    "openai-chat": "openai-chat",
    "openai-responses": "openai-responses",
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
    "ollama": "ollama",
    "openai-completions": "openai-completions",
    "cohere": "cohere",
    "gemini-interactions": "gemini-interactions",
    "openai-assistants": "openai-assistants",
    "bedrock-converse": "bedrock-converse",
    "bedrock-invoke": "bedrock-invoke",
}
FRAMINGS = ("sse", "ndjson", "jsonarray", "eventstream")

OWN_ROWS: list[dict[str, Any]] = json.loads((OWN / "index.json").read_text("utf-8"))


def own(file: str) -> bytes:
    return (OWN / file).read_bytes()


def own_bodies() -> list[Any]:
    return [pytest.param(row, id=row["file"]) for row in OWN_ROWS]


def corpus_bodies() -> list[Any]:
    """Rows of the wires that we speak; one skipped case where there is no corpus."""
    index = CORPUS / "index.jsonl"
    if not index.exists():
        skip = pytest.mark.skip(f"no recorded streams at {CORPUS.parent.name}/{CORPUS.name}")
        return [pytest.param(None, id="corpus", marks=skip)]
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()]
    return [
        pytest.param(row, id=Path(row["file"]).stem)
        for row in rows
        if row["wire"] in WIRES and row["framing"] in FRAMINGS
    ]


def dialect_of(row: dict[str, Any]) -> str:
    """Return the name of the dialect that reads a row, ours or a recorded one."""
    if "wire" not in row:
        return str(row["dialect"])
    return "gemini-array" if row["framing"] == "jsonarray" else WIRES[row["wire"]]


def open_attempt(row: dict[str, Any], *, lenient: bool = True) -> Attempt:
    """Return an attempt that is told what a stream would know of the body: host and choices."""
    texts = row.get("texts_by_choice") or {}
    return Attempt(
        by_name(dialect_of(row)),
        host=row.get("host") or row.get("provider_host") or "",
        choices=max(1, len(texts)),
        lenient=lenient,
    )


def take(received: Received, steps: list[Step]) -> None:
    for step in steps:
        received.add(step.frame, step.events)
