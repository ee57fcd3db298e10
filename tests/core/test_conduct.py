"""What a mode does to a stream."""

from __future__ import annotations

import pytest

from unbroken.core.conduct import Conduct
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Mode

REFUSED = Fault.of(FaultKind.CONNECT_FAILED, "refused")
STALLED = Fault.of(FaultKind.STALLED, "no head")
CUT = Fault.of(FaultKind.TRUNCATED_MID_EVENT, "cut")

# mode, owned: heals, ends attempts, bounds time; what it raises of the three faults above
TABLE = [
    ("heal", False, (True, True, True), [REFUSED, STALLED, CUT]),
    ("heal", True, (True, True, True), [REFUSED, STALLED, CUT]),
    ("raise", False, (False, True, True), [REFUSED, STALLED, CUT]),
    ("raise", True, (False, True, True), [REFUSED, STALLED, CUT]),
    ("observe", True, (False, False, True), [REFUSED, STALLED]),
    ("observe", False, (False, False, False), []),
]


@pytest.mark.parametrize(("mode", "owned", "does", "raised"), TABLE)
def test_the_table(
    mode: Mode, owned: bool, does: tuple[bool, bool, bool], raised: list[Fault]
) -> None:
    conduct = Conduct.of(mode, owned=owned)
    assert (conduct.heals, conduct.ends_attempts, conduct.bounds_time) == does
    assert [fault for fault in (REFUSED, STALLED, CUT) if conduct.raised(fault)] == raised
    assert conduct.raised(None) is None
