"""The bodies are what `make.py` writes, and their index keeps its own rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unbroken.core.faults import Fault, FaultKind

HERE = Path(__file__).resolve().parent
ROWS: list[dict[str, Any]] = json.loads((HERE / "index.json").read_text("utf-8"))
STATUSES = {"complete", "limited", "filtered", "paused", "unconfirmed", "failed"}
NO_FILTER = {"ollama", "cohere", "gemini-interactions"}  # no word of their own for it
OF_NOTE = {"length-limit": "limited", "content-filtered": "filtered"}


def test_files_are_what_the_script_writes() -> None:
    made = subprocess.run(
        [sys.executable, str(HERE / "make.py"), "--check"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr


def test_each_dialect_has_good_and_bad_bodies() -> None:
    for dialect in {row["dialect"] for row in ROWS}:
        found = {row["status"] for row in ROWS if row["dialect"] == dialect}
        assert {"complete", "limited", "filtered", "failed"} <= found | (
            {"filtered"} if dialect in NO_FILTER else set()
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_row_keeps_the_rules_of_the_readme(row: dict[str, Any]) -> None:
    size = len((HERE / row["file"]).read_bytes())
    assert size <= 4096
    kinds = [FaultKind(kind) for kind in row["faults"]]
    mild = {FaultKind.INVALID_UTF8}  # a verdict on a recording reads on, with a warning
    if "whole_text" in row:
        mild.add(FaultKind.MISSING_EVENT)
    fatal = [kind not in mild and Fault.of(kind, "").fatal for kind in kinds]
    assert row["status"] in STATUSES
    if row["status"] == "unconfirmed":
        assert kinds == [FaultKind.MISSING_FINISH]
    else:
        assert (row["status"] == "failed") == any(fatal)
        assert not any(fatal) or fatal[0], "the first fatal fault comes first"
    for kind, status in OF_NOTE.items():
        if row["status"] == status:
            assert kind in row["faults"]

    claimed, proven = row["end_claimed_from_byte"], row["end_proven_from_byte"]
    if proven is not None:
        assert claimed is not None
        assert 0 < claimed <= proven <= size
        assert row["finish_reasons"], "an end is proven by a finish"
    if row["status"] in {"complete", "limited", "filtered", "paused"}:
        assert proven is not None
    assert ("error" in row) == ("provider-error" in row["faults"])
    if "texts_by_choice" in row:
        assert row["texts_by_choice"]["0"] == row["text"]
