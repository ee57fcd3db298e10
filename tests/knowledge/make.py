"""Records for tests, as short as a test wants them."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.knowledge import Base, Record

GOOD: dict[str, Any] = {
    "id": "sdk/made-up",
    "signature": "the gadget lost its thread",
    "signature_zh": "小工具丢失了线程",
    "regex": "gadget lost its thread",
    "category": "runtime_error",
    "root_cause": "Somebody cut it.",
    "root_cause_zh": "有人把它剪断了。",
    "dead_ends": [
        {
            "action": "pull harder",
            "why_fails": "it is cut",
            "fail_rate": 1.0,
            "action_zh": "用力拉",
            "why_fails_zh": "线已经断了",
        }
    ],
    "workarounds": [
        {"action": "Tie a knot.", "success_rate": 0.5},
        {"action": "Take another thread.", "success_rate": 0.9},
    ],
    "workarounds_zh": ["打一个结。", "换一根线。"],
    "official_doc_url": "https://example.com/gadgets",
    "last_confirmed": "2026-11-01",
    "sources": ["https://example.com/gadgets/1"],
    "evidence_count": 1,
}


def record(id: str = "sdk/made-up", **fields: Any) -> Record:
    """Return a good record, with some fields as the test wants them."""
    return msgspec.convert({**GOOD, "id": id, **fields}, Record)


def bare(id: str, **fields: Any) -> Record:
    """Return a record with nothing but what the test gives it."""
    return msgspec.convert({"id": id, "signature": "", "root_cause": "x", **fields}, Record)


def known(*records: Record) -> Base:
    return Base(records)
