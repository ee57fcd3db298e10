"""The SDKs that run under trio, there: the same law, and the same expectations."""

import pytest

from tests.contract.expectations import expected, kinds_of
from tests.contract.oracle import lawful, met, same
from tests.contract.rig import TIMED, guarded, model_for, plain, script_for
from tests.support.drives import ASYNC_DRIVES, DRIVES
from tests.support.faults import FAULTS, Break, breaking

_DRIVES = tuple(name for name in ASYNC_DRIVES if DRIVES[name].sdk in ("openai", "anthropic"))
_FAULTS = (
    "ok",
    "cut_fin",
    "cut_rst",
    "cut_clean",
    "cut_midline",
    "no_done",
    "no_finish",
    "bad_json",
    "error_obj",
    "html200",
    "empty",
    "gzip_cut",
    "cut_before",
    "http503",
    "stall",
    "ka_dead",
)
_PAIRS = [
    (name, fault)
    for name in _DRIVES
    for fault in _FAULTS
    if DRIVES[name].dialect in FAULTS[fault].dialects and not (fault in TIMED and "helper" in name)
]


_CASES = [(name, fault, mode) for mode in ("heal", "raise") for name, fault in _PAIRS] + [
    (name, fault, "observe")
    for name, fault in _PAIRS
    if fault in ("ok", "cut_rst", "cut_clean", "error_obj", "stall") and "helper" not in name
]


@pytest.mark.parametrize(("name", "fault", "mode"), _CASES)
def test_fault_under_trio(name, fault, mode):
    wish = expected(name, fault, mode)
    wire = {"timeout_s": 0.5} if mode == "observe" else {}
    run = guarded(name, script_for(name, fault), mode=mode, fault=fault, backend="trio", **wire)
    if mode == "observe" or wish == "before":
        same(run, plain(name, script_for(name, fault), backend="trio", **wire))
        return
    lawful(run)
    met(run, wish, kinds_of(name, fault))


@pytest.mark.parametrize("name", _DRIVES)
def test_two_breaks_under_trio(name):
    plan = (Break("stall", at=14), Break("cut_clean", at=6))
    run = guarded(name, breaking(model_for(name), *plan), fault="stall", backend="trio")
    lawful(run, deadlines=2)
    met(run, "healed", {"stalled"})
    assert len(run.exchanges) == 3
