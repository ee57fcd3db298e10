"""Run the law over a matrix in this Python, without pytest: for SDKs in other environments.

As a script it reads ``{"drives": [...], "faults": [...], "modes": [...]}`` from stdin and
prints what broke, as JSON: ``[[drive, fault, mode, what], ...]``.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable

from tests.contract.expectations import expected, kinds_of
from tests.contract.oracle import lawful, met, same, tells
from tests.contract.rig import Run, guarded, plain, script_for
from tests.support.drives import spec_of
from tests.support.faults import FAULTS

__all__ = ["broken", "judge"]


def judge(name: str, fault: str, mode: str) -> Run:
    """Run one case and assert what is expected of it."""
    wire = {"timeout_s": 0.5} if mode == "observe" or fault == "no_head" else {}
    run = guarded(name, script_for(name, fault), mode=mode, fault=fault, **wire)
    wish = "odd" if mode == "observe" else expected(name, fault, mode)
    if wish in ("odd", "sdk", "before"):
        same(run, plain(name, script_for(name, fault), **wire))
        if run.outcomes and wish != "before":
            tells(run, kinds_of(name, fault))
    else:
        if wish != "refused":
            lawful(run)
        met(run, wish, kinds_of(name, fault))
    return run


def broken(
    drives: Iterable[str], faults: Iterable[str], modes: Iterable[str]
) -> list[tuple[str, str, str, str]]:
    """Return the cases in which the law, or an expectation, was not met."""
    found = []
    faults, modes = list(faults), list(modes)
    for name in drives:
        for fault in faults:
            if spec_of(name).dialect not in FAULTS[fault].dialects:
                continue
            for mode in modes:
                try:
                    judge(name, fault, mode)
                except Exception as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    what = f"{type(error).__name__}: {error} ({last.name}, {last.line})"
                    found.append((name, fault, mode, what))
    return found


if __name__ == "__main__":
    print(json.dumps(broken(**json.load(sys.stdin))))
