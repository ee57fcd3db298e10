"""Results without a run: what the views show."""

from __future__ import annotations

from unbroken.lab.score.results import Card, Result, Skipped
from unbroken.lab.score.verdict import VERDICTS, Facts, Found, Request, Verdict


def result(name: str, verdict: Verdict = "healed", **more: object) -> Result:
    facts = Facts(
        tokens=200,
        got=200 if verdict == "healed" else 60,
        lost=Found(count=3, first=17) if verdict == "corrupted" else Found(),
        told="corrupted: tokens 17-19 lost" if verdict == "corrupted" else "truncated: 60 tokens",
        laundered=verdict == "truncated silently",
        whole=verdict == "healed",
        requests=2,
        attempts=2,
        tokens_bought=240,
        time_to_detect_s=0.02 if verdict in ("healed", "honest error") else None,
        time_to_heal_s=1.25 if verdict == "healed" else None,
        duration_s=2.5,
        error="APIError: stream ended <early> & so on" if verdict == "honest error" else "",
    )
    known = {
        "scenario": name, "plan": "cut@0.5", "verdict": verdict, "facts": facts,
        "ok": verdict in ("healed", "honest error"), "model": f"lab/cut@0.5;id={name}",
        "requests": [Request(at_s=0.1, dialect="openai-chat", strikes=[(0.2, "cut@50%")])],
        "exit_code": 0, "tags": ("cut",), "life": "A proxy dies, \"quietly\".",
    }  # fmt: skip
    return Result(**{**known, **more})  # type: ignore[arg-type]


def card(*results: Result, **more: object) -> Card:
    known = {
        "label": "client.py", "suite": "core", "dialect": "openai-chat",
        "command": ("python", "client.py"), "started_at": "2026-11-21T08:00:00+00:00",
        "duration_s": 12.3, "unbroken": "0.1.0",
        "results": list(results) or [result(word.replace(" ", "-"), word) for word in VERDICTS],
        "skipped": [Skipped(scenario="tool-cut", why="the command prints no tool arguments")],
    }  # fmt: skip
    return Card(**{**known, **more})  # type: ignore[arg-type]
