"""Every SDK, every fault, in `heal` and in `raise`: the law, and what the table expects."""

import pytest

import unbroken
from tests.contract.expectations import FEWER, cases, expected, kinds_of
from tests.contract.oracle import lawful, met, same, tells
from tests.contract.rig import guarded, options, plain, script_for
from tests.support.drives import DRIVES
from tests.support.faults import reply

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


_ERRORS = ("error_obj", "error_nested", "failed", "error_done")


@pytest.mark.parametrize("mode", ["heal", "raise"])
@pytest.mark.parametrize(("name", "fault"), [c for c in cases() if c[1] in _ERRORS])
def test_the_provider_s_own_error_reaches_the_sdk_when_nothing_heals(name, fault, mode):
    always = reply(fault, DRIVES[name].dialect, at=12)
    opts = options(mode, max_attempts=2)
    run, without = guarded(name, always, opts=opts), plain(name, always)
    lawful(run)
    assert run.outcome.status == "failed"
    assert run.drive.odd == without.drive.odd
    assert run.drive.pieces == without.drive.pieces
    if without.drive.odd:  # the SDK raises nothing of its own, so the body ends with ours
        assert unbroken.outcome_of(run.drive.error) is run.outcome
    else:
        assert run.drive.raised == without.drive.raised
        assert str(run.drive.error) == str(without.drive.error)
