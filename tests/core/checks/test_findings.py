"""The list of faults that all checks of an attempt share."""

from __future__ import annotations

from unbroken.core.checks.findings import MOST_FAULTS, Findings
from unbroken.core.faults import Fault, FaultKind


def fault(at: int | None, *, fatal: bool = False) -> Fault:
    kind = FaultKind.MALFORMED_JSON if fatal else FaultKind.OUT_OF_ORDER
    return Fault.of(kind, f"at {at}", at_byte=at)


def places(findings: Findings) -> list[int | None]:
    return [each.at_byte for each in findings.faults]


def test_the_first_fatal_fault_stops_the_reading() -> None:
    findings = Findings()
    findings.add(fault(1))
    assert not findings.stopped
    findings.add_all([fault(2, fatal=True), fault(3, fatal=True)])
    assert findings.stopped
    assert findings.fatal is findings.faults[1]


def test_a_lenient_reading_ends_only_with_a_rejection() -> None:
    findings = Findings(lenient=True)
    findings.add(fault(1, fatal=True))
    assert not findings.stopped
    findings.reject(fault(2, fatal=True))
    assert findings.stopped
    assert findings.fatal is findings.faults[0]


def test_notes_have_a_limit_and_what_ends_the_attempt_has_none() -> None:
    findings = Findings()
    findings.add_all(fault(at) for at in range(MOST_FAULTS + 9))
    findings.add_in_order([fault(3)], since=0)
    assert len(findings.faults) == MOST_FAULTS
    findings.add(fault(MOST_FAULTS + 9, fatal=True))
    assert findings.fatal is findings.faults[MOST_FAULTS]


def test_the_wires_faults_come_in_the_order_of_the_bytes() -> None:
    findings = Findings()
    findings.add_all([fault(50), fault(10), fault(30)])  # 50: of an earlier read
    findings.add_in_order([fault(5), fault(20), fault(30), fault(40)], since=1)
    assert places(findings) == [50, 5, 10, 20, 30, 30, 40]


def test_what_the_wire_found_behind_the_end_is_not_told() -> None:
    findings = Findings()
    findings.add(fault(10, fatal=True))
    findings.add_in_order([fault(4), fault(11)], since=0)
    assert places(findings) == [4, 10]


def test_a_fork_is_independent_and_another_connection_begins_anew() -> None:
    findings = Findings()
    findings.add(fault(1, fatal=True))
    twin = findings.fork()
    findings.forget()
    assert not findings.stopped
    assert not findings.faults
    assert twin.stopped
    assert places(twin) == [1]


def test_what_a_check_says_of_undecodable_bytes_replaces_the_warning() -> None:
    def at(place: int, *, fatal: bool = False) -> Fault:
        severity = "fatal" if fatal else "warning"
        return Fault.of(FaultKind.INVALID_UTF8, "bytes", severity=severity, at_byte=place)

    early, late = Findings(), Findings()
    early.add_all([at(5), fault(6)])  # its frame waited for its turn
    judged = at(5, fatal=True)
    early.judge_anew(judged)
    assert early.faults == [fault(6), judged]
    late.judge_anew(judged)
    late.add_in_order([at(3), at(5)], since=0)
    assert late.faults == [at(3), judged]
    assert early.fatal is late.fatal is judged
