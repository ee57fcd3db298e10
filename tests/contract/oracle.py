"""The law that every run must keep, whatever the fault, the SDK and the mode.

`lawful` holds for each run in `heal` and `raise`; `met` compares one with what the table
expects of it; `same` compares a run in `observe` with one without us.
"""

from __future__ import annotations

import json
import re
from typing import Any

import unbroken
from tests.contract.expectations import Expected
from tests.contract.rig import DEADLINE_S, TIMEOUT_S, Run
from tests.support.bodies import Answer
from tests.support.drives import spec_of
from tests.support.faults import STORY

__all__ = ["caught_by", "lawful", "met", "same", "tells"]

SLACK_S = 1.0
"""How much longer than its deadline a run may take; the issue's own number."""


def caught_by(name: str) -> tuple[type[BaseException], ...]:
    """What the users of a drive's SDK catch already, around a stream."""
    match spec_of(name).sdk:
        case "openai":
            import openai

            return (openai.APIError,)
        case "anthropic":
            import anthropic

            return (anthropic.APIError,)
        case "google-genai":
            import httpx2
            from google.genai import errors

            return (errors.APIError, httpx2.TransportError)
        case "mistralai":
            import httpx2
            from mistralai.client.errors.mistralerror import MistralError

            return (MistralError, httpx2.TransportError)
        case "groq":
            import groq
            import httpx

            return (groq.APIError, httpx.TransportError)
        case "cohere":
            import cohere.core
            import httpx

            return (cohere.core.ApiError, httpx.TransportError)
        case "langchain-openai" | "litellm":
            import openai

            return (openai.APIError,)
        case "pydantic-ai-slim":
            from pydantic_ai.exceptions import ModelAPIError

            return (ModelAPIError,)
        case "instructor":
            import httpx2
            import openai
            from instructor.core import InstructorRetryException

            # what its async streams raise is the openai SDK's affair, and openai 3.3 wraps nothing
            return (InstructorRetryException, openai.APIError, httpx2.TransportError)
        case _:
            import httpx
            import ollama

            return (ollama.ResponseError, httpx.TransportError)


def lawful(run: Run, answer: Answer = STORY, *, deadlines: int = 1) -> None:
    """Assert what holds of every run: a whole answer, or an exception that is honest.

    Args:
        run: In mode `heal` or `raise`.
        answer: The truth.
        deadlines: How many clocks or pauses may run out in it.
    """
    limit_s = DEADLINE_S if run.timed else TIMEOUT_S
    drive = run.drive
    assert not isinstance(drive.error, AssertionError), drive.error
    assert drive.seconds < deadlines * limit_s + SLACK_S, "it hung"
    assert run.leaked == 0, f"{run.leaked} connections are still open"
    assert answer.text.startswith(drive.text), "a token is missing, or came twice"
    if drive.error is None:
        assert drive.text == answer.text, "a short text, and no exception"
        assert drive.finish is not None, "an end that nobody told"
        assert drive.final_text in (None, answer.text), "the SDK's accumulator has another text"
        assert [call["name"] for call in drive.tools] == [call.name for call in answer.tools]
        assert run.outcome.status in ("complete", "limited", "filtered"), "a failure was laundered"
        assert run.outcome.complete
    else:
        assert isinstance(drive.error, caught_by(drive.name)), drive.raised
    if run.outcomes:
        _true_account(run, answer)


def _true_account(run: Run, answer: Answer) -> None:
    """The outcome says what was delivered, and of which attempts."""
    outcome, drive = run.outcome, run.drive
    if spec_of(drive.name).as_json:  # what of the object came is not yet all in its fields
        assert json.dumps({"text": answer.text}, ensure_ascii=False).startswith(outcome.text)
    else:
        assert outcome.text == drive.text
    assert len(outcome.attempts) == len(run.exchanges)
    assert [record.number for record in outcome.attempts] == [
        number + 1 for number in range(len(outcome.attempts))
    ]
    at = 0
    for part in outcome.provenance:
        assert part.start == at < part.end
        at = part.end
    assert at == len(outcome.text)
    if outcome.status == "failed":
        assert drive.error is not None, "a failure was laundered"


def met(run: Run, wish: Expected, kinds: set[str]) -> None:
    """Assert that a lawful run is what the table says."""
    drive = run.drive
    match wish:
        case "refused":
            assert isinstance(drive.error, caught_by(drive.name))
            assert run.outcome.attempts[0].fault is not None
            assert run.outcome.attempts[0].fault.kind in kinds
        case "whole":
            assert drive.error is None, drive.error
            assert len(run.exchanges) == 1
            tells(run, kinds)
        case "healed":
            assert drive.error is None, drive.error
            assert len(run.exchanges) > 1
            assert run.outcome.healed
            assert run.outcome.attempts[0].fault is not None
            assert run.outcome.attempts[0].fault.kind in kinds, run.outcome.attempts[0].fault
            assert len(run.reconnects) == run.outcome.recoveries
        case "fails":
            assert drive.error is not None
            assert len(run.exchanges) == 1
            assert run.outcome.status == "failed"
            assert run.outcome.fault is not None
            assert run.outcome.fault.kind in kinds, run.outcome.fault
            _honest(drive.error, run.outcome)
        case _:
            raise AssertionError(f"{wish} is judged beside a plain run")


def tells(run: Run, kinds: set[str]) -> None:
    """Assert that the outcome names the fault, by one of these kinds, if there is one."""
    told = {fault.kind.value for fault in run.outcome.faults}
    assert told & kinds or not kinds, told


def _honest(error: BaseException, outcome: unbroken.Outcome) -> None:
    """Our exception has the outcome on it; what the SDK makes of a provider's error has not."""
    found = unbroken.outcome_of(error)
    if found is None:
        assert outcome.fault is not None
        assert outcome.fault.kind == "provider-error"
        return
    assert found is outcome
    ours: Any = error
    while not isinstance(ours, unbroken.StreamingError):
        ours = ours.__cause__ or ours.__context__  # litellm raises its own `from None`
    assert outcome.fault is not None
    assert ours.code == outcome.fault.kind
    assert "do not treat the answer as complete" in str(ours)
    assert isinstance(ours, unbroken.StreamTimeoutError) == (ours.code == "stalled")


def same(run: Run, plain: Run) -> None:
    """Assert that a run is what it would have been without us."""
    ours, theirs = run.drive, plain.drive
    assert ours.raised == theirs.raised, (ours.error, theirs.error)
    assert _words_of(ours.error) == _words_of(theirs.error)
    # After a reset it is the kernel's affair how much of what was sent can still be read.
    lost = ours.pieces != theirs.pieces and theirs.raised is not None
    if not (lost and _is_prefix(ours.pieces, theirs.pieces)):
        assert ours.pieces == theirs.pieces
        assert ours.events == theirs.events
    assert (ours.finish, ours.final_text, ours.odd) == (
        theirs.finish,
        theirs.final_text,
        theirs.odd,
    )
    assert ours.tools == theirs.tools
    assert len(run.exchanges) == len(plain.exchanges)
    assert run.leaked == 0


def _is_prefix(one: list[str], other: list[str]) -> bool:
    short, long = sorted((one, other), key=len)
    return long[: len(short)] == short


def _words_of(error: BaseException | None) -> str:
    """Message and causes, without addresses and ids that differ from run to run."""
    words = []
    while error is not None:
        said = re.sub(r" at 0x[0-9a-f]+", "", str(error)[:200])
        words.append(f"{type(error).__name__}: {said}")
        error = error.__cause__
    return " <- ".join(words)
