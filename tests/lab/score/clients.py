"""Clients of a few lines, good and bad, as commands."""

from __future__ import annotations

import sys
import textwrap

__all__ = ["command"]

_READ = """
import json, os, sys, time, urllib.request
def ask(more=()):
    body = {"model": os.environ["LAB_MODEL"], "stream": True, "seed": int(os.environ["LAB_SEED"]),
            "messages": [{"role": "user", "content": os.environ["LAB_PROMPT"]}, *more]}
    if os.environ["LAB_SAY"] == "tool":
        body["tools"] = [{"type": "function", "function": {"name": "write", "parameters": {
            "type": "object", "properties": {"text": {"type": "string"}}}}}]
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                yield None
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise OSError(event["error"]["message"])
            for choice in event["choices"]:
                delta = choice["delta"]
                calls = delta.get("tool_calls") or ()
                yield delta.get("content") or "".join(
                    call["function"].get("arguments") or "" for call in calls)
def say(text):
    print(text, end="", flush=True)
"""

_CLIENTS = {
    # Takes every end for the end.
    "naive": """
        for text in ask():
            say(text or "")
    """,
    # Wants the last marker, and says so.
    "careful": """
        done = False
        for text in ask():
            done = done or text is None
            say(text or "")
        if not done:
            sys.exit("StreamError: no end")
    """,
    # Begins anew, behind what it has printed.
    "doubling": """
        for attempt in range(2):
            done = False
            for text in ask():
                done = done or text is None
                say(text or "")
            if done:
                break
    """,
    # Collects, and begins anew.
    "patient": """
        for attempt in range(3):
            try:
                parts = list(ask())
            except Exception:
                continue
            if parts[-1] is None:
                say("".join(parts[:-1]))
                break
        else:
            sys.exit("StreamError: gave up")
    """,
    "stuck": """
        for text in ask():
            say(text or "")
        if os.environ["LAB_MODEL"].startswith("lab/cut"):
            time.sleep(600)
    """,
    "buggy": """
        parts = list(ask())
        if parts[-1] is not None:
            None.finish()
        say("".join(parts[:-1]))
    """,
    "killed": """
        parts = list(ask())
        if parts[-1] is not None:
            os.kill(os.getpid(), 11)
        say("".join(parts[:-1]))
    """,
    # Leaves a child behind that holds its standard output open.
    "parent": """
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, file=sys.stderr, flush=True)
        for text in ask():
            say(text or "")
    """,
    "silent": "pass",
    "absent": "sys.exit('ModuleNotFoundError: no module named openai')",
}


def command(name: str) -> list[str]:
    """Return the command that runs a client."""
    return [sys.executable, "-c", _READ + textwrap.dedent(_CLIENTS[name])]
