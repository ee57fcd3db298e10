"""The first bytes of a body: a stream, or a page in its place."""

from __future__ import annotations

import pytest

from unbroken.core.checks.beginning import Beginning
from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.dialects import by_name

DIALECT = by_name("openai-chat")
PAGE = b"<html>" + b"x" * (64 * 1024)
ERROR = b'{"error": {"type": "overloaded_error", "message": "no"}}'


def begin(*, host: str = "") -> Beginning:
    return Beginning(
        DIALECT,
        Findings(lenient=True),
        Completeness(DIALECT),
        host=host,
        content_type="text/html",
        never_begins=b"<{[",
    )


def admit(beginning: Beginning, *reads: bytes) -> list[bool]:
    size, found = 0, []
    for read in reads:
        size += len(read)
        found.append(beginning.admits(read, size_bytes=size))
    return found


@pytest.mark.parametrize("lead", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n \t"])
def test_a_stream_is_admitted_whatever_it_holds_later(lead: bytes) -> None:
    beginning = begin()
    assert all(admit(beginning, *([lead] if lead else []), b"data: {}\n\n", b"<html>"))
    assert not beginning.close(size_bytes=99)
    assert not beginning._findings.faults


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_a_page_is_told_after_64_kib_however_it_is_cut(size: int) -> None:
    beginning = begin()
    reads = [PAGE[at : at + size] for at in range(0, 64 * 1024, size)]
    assert not any(admit(beginning, *reads))
    (fault,) = beginning._findings.faults
    assert fault.kind.value == "not-a-stream"
    assert "an HTML or XML page of type text/html (65536 or more bytes)" in fault.detail
    assert beginning._findings.stopped, "a lenient reader stops too"
    assert len(beginning.head) == 4096


def test_an_error_in_json_is_told_at_the_end_with_its_name() -> None:
    beginning = begin()
    assert admit(beginning, b" ", ERROR[:9], ERROR[9:]) == [True, False, False]
    assert not beginning._findings.faults
    assert beginning.close(size_bytes=len(ERROR) + 1)
    (fault,) = beginning._findings.faults
    assert fault.detail.endswith("(57 bytes), an error (overloaded_error)")
    assert fault.retryable
    assert beginning._completeness.error_seen
    assert not beginning.close(size_bytes=len(ERROR) + 1), "told once"


def test_a_fork_collects_for_itself() -> None:
    beginning = begin()
    admit(beginning, ERROR[:9])
    twin = beginning.fork(Findings(), Completeness(DIALECT))
    assert not twin.admits(b"x" * 70_000, size_bytes=70_009)
    assert len(twin._findings.faults) == 1
    assert not beginning._findings.faults
    assert not beginning.admits(ERROR[9:], size_bytes=len(ERROR))
    assert beginning.close(size_bytes=len(ERROR))
    assert beginning._findings.faults[0].detail.endswith("(overloaded_error)")


def test_the_variant_is_known_by_the_host() -> None:
    assert begin(host="openrouter.ai").variant is DIALECT.variant("openrouter.ai", b"")
    assert begin(host="openrouter.ai").variant is not begin().variant
