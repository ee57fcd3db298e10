"""A response head that never comes: every request has its own deadline, and the stream its end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import unbroken
from unbroken.lab.oracle import examine
from unbroken.lab.server.app import LabServer

OPTIONS = unbroken.Options(
    clocks=unbroken.Clocks(first_event_s=0.3, notice_s=0.1), max_attempts=3, max_recovery_s=20.0
)


def asked(lab: LabServer, plan: str) -> tuple[Any, dict[str, Any]]:
    session = lab.session(plan)
    request = {"model": session.model, "base_url": f"{lab.url}/v1", "dialect": "openai-chat"}
    return session, {"messages": "Hello", "api_key": "k", "options": OPTIONS, **request}


@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
def test_each_request_has_its_deadline_and_none_counts_twice(backend: str) -> None:
    with LabServer() as lab:
        session, request = asked(lab, "slow-head.never*")

        def read() -> None:
            with unbroken.stream(**request) as stream:
                for _ in stream:
                    pass

        async def aread() -> None:
            with anyio.fail_after(30):
                async with unbroken.astream(**request) as stream:
                    async for _ in stream:
                        pass

        with pytest.raises(unbroken.StreamTimeoutError) as caught:
            read() if backend == "sync" else anyio.run(aread, backend=backend)
        session.wait_idle()
        assert len(session.attempts) == 3
        outcome = caught.value.outcome
        assert [record.number for record in outcome.attempts] == [1, 2, 3]
        for record in outcome.attempts:
            assert record.fault is not None
            assert record.fault.kind == "stalled"
            assert record.ended_at is not None
            assert record.ended_at - record.started_at >= 0.3


def test_a_head_that_comes_in_time_the_second_time_is_read() -> None:
    with LabServer() as lab:
        session, request = asked(lab, "slow-head.never")
        with unbroken.stream(**request) as stream:
            text = "".join(event.text for event in stream if hasattr(event, "text"))
        assert examine(text, session.numbered).describe().startswith("whole")
        assert len(stream.outcome.attempts) == len(session.attempts) == 2
