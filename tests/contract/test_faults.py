"""Every SDK, every fault, in `heal` and in `raise`: the law, and what the table expects."""

import pytest

from tests.contract.expectations import cases, expected, kinds_of
from tests.contract.oracle import lawful, met, same, tells
from tests.contract.rig import guarded, plain, script_for

_SDK_TIMEOUT_S = {"no_head": 0.3}


@pytest.mark.parametrize("mode", ["heal", "raise"])
@pytest.mark.parametrize(("name", "fault"), cases())
def test_fault(name, fault, mode):
    wish = expected(name, fault, mode)
    wire = {"timeout_s": _SDK_TIMEOUT_S[fault]} if fault in _SDK_TIMEOUT_S else {}
    run = guarded(name, script_for(name, fault), mode=mode, **wire)
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
