"""The circuit breaker: when it opens, who may try, what closes it, and what it costs."""

from __future__ import annotations

import os
import threading

import pytest

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.request import Request
from unbroken.governor import Breaker, shared_breaker, speaks_against, target_of

OPEN_S = 30.0
ME, OTHER = object(), object()


class Clocked:
    """A breaker and a clock; one target unless another is named."""

    def __init__(self, after: int = 3) -> None:
        self.breaker, self.now, self.after = Breaker(), 0.0, after

    def fails(self, *, took_s: float = 1.0, target: str = "a") -> None:
        """A request is made now, and fails after so long."""
        began = self.now
        self.now += took_s
        self.breaker.failed(target, self.now, began=began, after=self.after)

    def ends_whole(self, *, took_s: float = 1.0) -> None:
        self.breaker.succeeded("a", began=self.now - took_s)

    def why(self, who: object = ME, target: str = "a") -> str | None:
        return self.breaker.blocked(target, self.now, open_s=OPEN_S, who=who)

    @property
    def state(self) -> str:
        return self.breaker.state("a", self.now, open_s=OPEN_S)


def test_a_row_of_failures_opens_it_for_this_target_alone() -> None:
    it = Clocked()
    for _ in range(2):
        it.fails()
        assert it.why() is None
    it.fails()
    assert it.state == "open"
    assert it.why() == "the circuit breaker is open for 30 s more (failures in a row: 3)"
    assert it.why(target="b") is None


def test_an_answer_that_came_whole_ends_the_row() -> None:
    it = Clocked()
    for _ in range(10):
        it.fails()
        it.fails()
        it.ends_whole()
    assert it.state == "closed"
    assert it.breaker.quiet


def test_streams_that_break_at_one_moment_are_one_failure() -> None:
    """A gateway restarts: a hundred streams break, and each can be continued."""
    it = Clocked()
    for _ in range(100):
        it.breaker.failed("a", 60.0, began=0.0, after=3)
    it.now = 60.0
    assert it.why() is None
    it.fails()  # their continuations fail too
    it.fails()
    assert it.state == "open"


def test_a_row_is_over_after_a_minute_without_a_failing_request() -> None:
    it = Clocked()
    it.fails()
    it.fails()
    it.now += 61.0
    it.fails()
    assert it.state == "closed"
    it.now += 59.0
    it.fails()
    it.fails()
    assert it.state == "open"


def test_requests_that_take_long_to_fail_are_a_row_too() -> None:
    it = Clocked()
    for _ in range(3):
        it.fails(took_s=120.0)
    assert it.state == "open"


def test_half_open_one_stream_may_try_and_ask_again() -> None:
    it = Clocked(after=1)
    it.fails()
    it.now += OPEN_S
    assert it.state == "half-open"
    assert it.why(ME) is None
    assert it.why(ME) is None, "the rung and its request are asked for apart"
    assert it.why(OTHER) == (
        "the circuit breaker is half-open (failures in a row: 1): another stream tries first"
    )
    it.now += OPEN_S
    assert it.why(OTHER) is None, "who tries and never ends must not hold everybody up"
    assert it.why(ME) is not None


def test_who_was_to_try_and_did_not_lets_another() -> None:
    it = Clocked(after=1)
    it.fails()
    it.now += OPEN_S
    assert it.why(ME) is None
    it.breaker.release(OTHER)
    assert it.why(OTHER) is not None
    it.breaker.release(ME)
    assert it.why(OTHER) is None


def test_a_try_that_fails_opens_it_again_and_one_that_ends_whole_closes_it() -> None:
    it = Clocked(after=1)
    it.fails()
    it.now += OPEN_S
    assert it.why() is None
    it.fails()
    assert it.state == "open"
    it.now += OPEN_S
    assert it.why() is None
    it.ends_whole(took_s=0.0)
    assert it.state == "closed"


def test_what_began_before_it_opened_says_nothing_about_now() -> None:
    it = Clocked(after=1)
    it.fails(took_s=10.0)
    opened = it.now
    it.now += 20.0
    it.breaker.failed("a", it.now, began=opened - 5.0, after=1)
    it.breaker.succeeded("a", began=opened - 5.0)
    assert it.state == "open"
    it.now = opened + OPEN_S
    assert it.state == "half-open", "an old stream's end does not keep it open"


def test_zero_failures_set_no_breaker() -> None:
    it = Clocked(after=0)
    for _ in range(100):
        it.fails()
    assert it.breaker.quiet
    assert it.why() is None


def test_memory_is_bounded_and_the_quiet_are_forgotten_first() -> None:
    it = Clocked(after=300)
    for number in range(300):
        it.fails(target=f"t{number}", took_s=0.1)
        it.fails(target="busy", took_s=0.1)
    assert len(it.breaker) == 256
    assert it.why(target="busy") is not None, "its row was never forgotten"
    assert "t0" not in it.breaker._targets
    assert "t299" in it.breaker._targets


def test_threads_count_together() -> None:
    breaker = Breaker()
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        for step in range(200):
            target = f"{number}-{step % 40}"
            breaker.failed(target, step, began=step, after=2)
            breaker.blocked(target, step, open_s=1.0, who=number)
            breaker.succeeded(f"{number}-{(step * 7) % 40}", began=step)
            breaker.release(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(breaker) <= 256


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_begins_anew_though_the_lock_was_held() -> None:
    parent = shared_breaker()
    parent.failed("forked", 0.0, began=0.0, after=1)
    with parent._lock:
        child = os.fork()
        if not child:  # nothing of the test's process may run on in it
            os._exit(0 if shared_breaker() is not parent and shared_breaker().quiet else 1)
    _, status = os.waitpid(child, 0)
    parent.succeeded("forked", began=0.0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_targets() -> None:
    def name(url: str, body: bytes = b'{"model": "m"}') -> str:
        headers = (("authorization", "Bearer sk-secret"),)
        return target_of(Request(method="POST", url=url, headers=headers, body=body))

    at = "https://api.example.com/v1/chat/completions"
    assert name(at) == "https://api.example.com:443 m"
    assert name(at) == name("https://API.example.com:443/v1/responses")
    assert name(at) != name(at, b'{"model": "n"}')
    assert name(at) != name("https://api.example.com:8443/v1/chat/completions")
    assert name(at) != name("http://api.example.com/v1/chat/completions")
    gemini = "https://g.example.com/v1beta/models/{}:streamGenerateContent?key=sk-secret"
    assert name(gemini.format("a"), b"{}") != name(gemini.format("b"), b"{}")
    assert "sk-secret" not in name(at) + name(gemini.format("a"), b"not json")
    assert name("http://[half/x") == "http://[half/x"


@pytest.mark.parametrize(
    ("kind", "status", "more", "counts"),
    [
        ("connect-failed", None, {}, True),
        ("connect-failed", None, {"retryable": False}, False),
        ("http-error", 503, {}, True),
        ("http-error", 500, {"retryable": False}, True),
        ("http-error", 429, {}, True),
        ("http-error", 400, {}, False),
        ("http-error", 401, {"retryable": False}, False),
        ("http-error", 404, {"retryable": False}, False),
        ("truncated-between-events", 200, {}, True),
        ("truncated-mid-event", 200, {}, True),
        ("connection-reset", 200, {}, True),
        ("stalled", 200, {}, True),
        ("slow-drip", 200, {}, True),
        ("malformed-json", 200, {"retryable": False}, True),
        ("invalid-utf8", 200, {"retryable": False}, True),
        ("invalid-utf8", 200, {"severity": "warning"}, False),
        ("provider-error", 200, {}, True),
        ("provider-error", 200, {"retryable": False}, False),
        ("not-a-stream", 200, {"retryable": False}, False),
        ("oversized-event", 200, {}, False),
        ("invalid-tool-arguments", 200, {}, False),
        ("cancelled", 200, {}, False),
        ("missing-terminator", 200, {}, False),
    ],
)
def test_which_faults_speak_against_a_target(
    kind: str, status: int | None, more: dict[str, bool], counts: bool
) -> None:
    assert speaks_against(Fault.of(FaultKind(kind), "x", **more), status) is counts
