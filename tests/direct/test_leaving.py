"""However a stream is left or ended from outside, its connection is released."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from typing import Any

import httpx2
import pytest

import unbroken
from tests.direct.helpers import asking, good, options, refusal
from tests.support.faults import reply
from tests.support.faultserver import FaultServer, Reply, unused_url


def stalling() -> Reply:
    return reply("stall", "openai-chat", at=5)


@pytest.mark.seed("003-handler-abort")
@pytest.mark.parametrize("method", ["abort", "close"])
@pytest.mark.parametrize("fault", ["stall", "no_head"])
@pytest.mark.parametrize("given", [False, True], ids=["own-client", "given-client"])
def test_another_thread_ends_a_read_that_waits(method: str, fault: str, given: bool) -> None:
    with FaultServer(reply(fault, "openai-chat", at=5)) as server:
        client = httpx2.Client() if given else None
        stream = unbroken.stream(**asking(server, client=client))
        thread = threading.Thread(target=lambda: ending(stream, server, method))
        thread.start()
        started = time.monotonic()
        with pytest.raises(unbroken.IncompleteStreamError) as caught:
            stream.text()
        assert time.monotonic() - started < 2
        thread.join()
        assert server.wait_for_open(0)
        if client is not None:
            assert not client.is_closed
            client.close()
    assert caught.value.code == "cancelled"
    assert "the stream was aborted" in str(caught.value)
    assert stream.outcome.status == "cancelled"
    assert list(stream) == []


def ending(stream: unbroken.EventStream, server: FaultServer, method: str) -> None:
    assert server.wait_for(lambda: len(server.requests) > 0)
    time.sleep(0.05)  # until the other thread waits in its read
    getattr(stream, method)()


def test_a_pause_before_an_attempt_ends_at_once_too() -> None:
    with FaultServer([refusal(429, retry_after="60")]) as server:
        stream = unbroken.stream(**asking(server))
        threading.Thread(target=lambda: ending(stream, server, "abort")).start()
        started = time.monotonic()
        with pytest.raises(unbroken.IncompleteStreamError, match="was aborted"):
            stream.text()
        assert time.monotonic() - started < 2
    assert stream.outcome.status == "cancelled"


def test_aborted_before_it_began_nothing_is_sent() -> None:
    stream = unbroken.stream(**asking(unused_url()))
    stream.abort()
    with pytest.raises(unbroken.IncompleteStreamError) as caught:
        stream.text()
    assert caught.value.code == "cancelled", "a request would have met no server"


def test_aborted_after_the_end_it_stays_whole() -> None:
    with FaultServer(good()) as server:
        stream = unbroken.stream(**asking(server))
        stream.text()
        stream.abort()
        stream.close()
    assert stream.outcome.status == "complete"


def leave_by_break(stream: unbroken.EventStream) -> None:
    with stream:
        for _ in stream:
            break


def leave_by_close(stream: unbroken.EventStream) -> None:
    next(stream)
    stream.close()


def leave_by_exception(stream: unbroken.EventStream) -> None:
    with contextlib.suppress(ZeroDivisionError), stream:
        for _ in stream:
            1 / 0  # noqa: B018


def leave_a_bare_loop(stream: unbroken.EventStream) -> None:
    for _ in stream:
        break


def leave_iter_text(stream: unbroken.EventStream) -> None:
    for _ in unbroken.iter_text(stream):
        break


LEAVING = [leave_by_break, leave_by_close, leave_by_exception, leave_a_bare_loop, leave_iter_text]


@pytest.mark.seed("003-handler-release", "003-do-clean-up", "003-dont-leak")
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("given", [False, True], ids=["own-client", "given-client"])
def test_leaving_releases_the_connection(leave: Any, given: bool) -> None:
    outcomes: list[unbroken.Outcome] = []
    client = httpx2.Client() if given else None
    with FaultServer(lambda request: stalling()) as server:
        gc.disable()  # nothing may wait for the collector
        try:
            for _ in range(3):
                asked = asking(server, client=client, on_outcome=outcomes.append)
                leave(unbroken.stream(**asked))
            assert server.wait_for_open(0)
        finally:
            gc.enable()
    assert [outcome.status for outcome in outcomes] == ["cancelled"] * 3
    if client is not None:
        client.close()


def test_an_end_releases_the_connection_whatever_it_is(no_waits: list[int]) -> None:
    replies = [good(), reply("cut_clean", "openai-chat", at=5), reply("html200", "openai-chat"),
               refusal(400), reply("garbage", "openai-chat")]  # fmt: skip
    with FaultServer(replies) as server:
        for _ in replies:
            stream = unbroken.stream(**asking(server, options=options("raise")))
            with contextlib.suppress(unbroken.StreamingError):
                stream.text()
            assert server.wait_for_open(0), stream.outcome
        assert server.accepted == len(replies)


def test_a_stream_that_is_never_read_sends_nothing() -> None:
    stream = unbroken.stream(**asking(unused_url()))
    with stream:
        assert stream.outcome.status == "unconfirmed"
    assert list(stream) == [], "a request would have met no server"
    assert stream.outcome.status == "cancelled"
