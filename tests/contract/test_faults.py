"""Every SDK, every fault, in `heal` and in `raise`: the law, and what the table expects."""

import pytest

from tests.contract.expectations import FEWER, cases, expected, kinds_of
from tests.contract.oracle import lawful, met, same, tells
from tests.contract.rig import guarded, plain, script_for

_SDK_TIMEOUT_S = {"no_head": 0.3}


_CASES = [(name, fault, "heal") for name, fault in cases()] + [
    (name, fault, "raise") for name, fault in cases(drives=FEWER)
]


@pytest.mark.seed(
    "003-quick-terminated",
    "003-quick-no-finish",
    "003-quick-invalid-json",
    "003-quick-no-data",
    "003-dont-ignore-errors",
    "003-dont-trust",
    "002-dead-end-ignore",
)
@pytest.mark.parametrize(("name", "fault", "mode"), _CASES)
def test_fault(name, fault, mode):
    wish = expected(name, fault, mode)
    wire = {"timeout_s": _SDK_TIMEOUT_S[fault]} if fault in _SDK_TIMEOUT_S else {}
    run = guarded(name, script_for(name, fault), mode=mode, fault=fault, **wire)
    if wish in ("odd", "sdk", "before"):
        same(run, plain(name, script_for(name, fault), **wire))
        if wish == "before":
            assert run.outcomes == []
        elif run.outcomes:  # an SDK that fails in its own loop may leave the stream open
            tells(run, kinds_of(name, fault))
            assert run.outcome.status != "failed"
        return
    lawful(run)
    met(run, wish, kinds_of(name, fault))
