"""Rung 7: another model, key or provider that the user listed takes over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.core.scripted import Reply, Run, ask, frames, play, until
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.faults import FaultKind
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.core.stream import Stream
from unbroken.core.target import Target
from unbroken.core.verdict import check

TEXT = "The sea is salt because rivers carry dissolved minerals into it, year after year."
WHOLE = frames(TEXT)
BROKEN = until(WHOLE, TEXT[:56])
GROQ = Target(base_url="https://api.groq.com/openai/v1", model="llama-4", api_key="gsk-1")
CLAUDE = Target(
    base_url="https://api.anthropic.com", model="claude-opus-5", api_key="sk-ant",
    dialect="anthropic-messages",
)  # fmt: skip


def asked(**body: Any) -> Request:
    headers = (("Authorization", "Bearer sk-first"), ("Content-Type", "application/json"))
    return msgspec.structs.replace(ask(url="https://api.openai.com/v1/chat/completions", **body),
                                   headers=headers)  # fmt: skip


def going_on(request: Request) -> list[bytes]:
    """A model that obeys: it writes what follows the begun turn it is shown."""
    turns = request.json["messages"]
    begun = next(turn["content"] for turn in turns if turn["role"] == "assistant")
    if turns[-1]["role"] == "user":
        anchor = turns[-1]["content"].split("exactly: ")[1].split("\n")[0]
        return frames(TEXT[TEXT.rindex(anchor) :])
    return frames(TEXT[len(begun) :])


def run_of(*replies: Reply, targets: tuple[Target, ...] = (GROQ,), **options: Any) -> Run:
    return play(replies, request=options.pop("request", None) or asked(),
                options=Options(targets=targets, **options))  # fmt: skip


def test_off_unless_listed() -> None:
    run = run_of(Reply(BROKEN, end="reset"), targets=(), max_attempts=1)
    assert run.outcome.status == "failed"
    assert not run.skipped("target")


@pytest.mark.parametrize("first", [Reply(end="reset"), Reply(status=401), Reply(status="refused")])
def test_before_content_it_answers_in_its_place(first: Reply) -> None:
    run = run_of(first, Reply(WHOLE), rungs=("target",))
    assert run.rungs == ["first", "target"]
    assert run.delivered == b"".join(WHOLE)
    again = run.requests[1]
    assert again.url == "https://api.groq.com/openai/v1/chat/completions"
    assert again.json["model"] == "llama-4"
    assert again.header("authorization") == "Bearer gsk-1"
    (part,) = run.outcome.provenance
    assert (part.rung, part.guarantee, part.target) == (
        "target", "byte-exact", "api.groq.com llama-4",
    )  # fmt: skip
    assert run.outcome.attempts[1].target == "api.groq.com llama-4"


def test_in_mid_answer_the_seam_is_verified() -> None:
    run = run_of(Reply(BROKEN, end="reset"), Reply(going_on), rungs=("target",))
    assert run.outcome.text == TEXT
    assert run.outcome.complete
    parts = run.outcome.provenance
    assert [(part.target, part.guarantee) for part in parts] == [
        ("", "byte-exact"), ("api.groq.com llama-4", "seam-verified"),
    ]  # fmt: skip
    assert parts[1].anchor > 0
    assert run.requests[1].json["messages"][-1]["role"] == "assistant"  # Groq takes a prefill
    judged = check(run.delivered, "openai-chat")
    assert (judged.complete, judged.text) == (True, TEXT)


def test_a_target_that_says_something_else_is_not_believed() -> None:
    other = Reply(frames("I cannot go on with that, but here is a poem about the sea instead."))
    run = run_of(Reply(BROKEN, end="reset"), other, other, rungs=("target",))
    assert run.outcome.status == "failed"
    assert run.outcome.text == TEXT[:56]
    assert "tried 2 times" in run.skipped("target")


def test_it_comes_last_and_the_list_is_an_order() -> None:
    second = Target(model="gpt-5-mini")
    run = run_of(
        Reply(BROKEN, end="reset"), Reply(status=429), Reply(status=429), Reply(status=404),
        Reply(going_on), targets=(second, GROQ), max_attempts=8, max_added_input=9.0,
        rungs=("user-turn", "target"),
    )  # fmt: skip
    assert run.rungs == ["first", "user-turn", "user-turn", "target", "target"]
    assert [record.target for record in run.outcome.attempts[3:]] == [
        "gpt-5-mini", "api.groq.com llama-4",
    ]  # fmt: skip
    assert run.outcome.text == TEXT


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target(model="m", when=frozenset({FaultKind.STALLED})), "not meant for connection-reset"),
        (Target(model="m", mid_answer=False), "not meant for the middle"),
        (CLAUDE, "speaks anthropic-messages, and part of the answer was delivered"),
    ],
)
def test_conditions_close_it(target: Target, why: str) -> None:
    run = run_of(Reply(BROKEN, end="reset"), targets=(target,), rungs=("target",))
    assert run.outcome.status == "failed"
    assert why in run.skipped("target")
    assert target.label in run.skipped("target")


@pytest.mark.parametrize(
    "error",
    [
        {"type": "insufficient_quota", "message": "no money"},
        {"type": "invalid_request_error", "code": "model_not_found", "message": "gone"},
        {"code": 401, "message": "bad key"},
    ],
)
def test_an_error_of_the_account_is_healed_elsewhere_only(error: dict[str, Any]) -> None:
    body = [b"data: " + json.dumps({"error": error}).encode() + b"\n\n"]
    alone = run_of(Reply(body), targets=())
    assert len(alone.requests) == 1
    run = run_of(Reply(body), Reply(WHOLE))
    assert run.rungs == ["first", "target"]
    assert run.outcome.text == TEXT


@pytest.mark.parametrize("kind", ["content_filter", "content_policy_violation", "safety"])
def test_a_safety_block_is_never_healed_around(kind: str) -> None:
    error = {"error": {"type": kind, "message": "no", "code": 403}}
    run = run_of(Reply([b"data: " + json.dumps(error).encode() + b"\n\n"]))
    assert len(run.requests) == 1
    assert run.outcome.status == "failed"
    filtered = run_of(Reply(frames("I can", finish="filter")))
    assert (len(filtered.requests), filtered.outcome.status) == (1, "filtered")


@pytest.mark.parametrize("end", ["eof", "reset"])
def test_another_dialect_takes_over_before_content(end: Any) -> None:
    theirs = frames(TEXT, dialect="anthropic-messages", usage=(9, 16), model="claude-opus-5")
    run = run_of(Reply(WHOLE[:1], end=end), Reply(theirs), targets=(CLAUDE,), rungs=("target",))
    again = run.requests[1]
    assert again.url == "https://api.anthropic.com/v1/messages"
    assert again.header("x-api-key") == "sk-ant"
    assert "sk-first" not in repr(again.headers)
    (turn,) = again.json["messages"]
    assert turn["content"] == [{"type": "text", "text": "Why is the sea salt?"}]
    judged = check(run.delivered, "openai-chat")
    assert (judged.complete, judged.text, judged.stop_reason) == (True, TEXT, "stop")
    assert run.outcome.complete
    assert run.outcome.dialect == "openai-chat"


def test_a_translated_call_is_whole_or_not_there() -> None:
    call = AnswerCall(name="look", arguments=('{"a":', "1}"))
    theirs = frames("Wait.", dialect="anthropic-messages", calls=(call,), finish="tool-calls")
    body = b"".join(theirs)
    for cut in range(len(body)):
        run = run_of(Reply(end="reset"), Reply([body[:cut]], end="reset"), targets=(CLAUDE,),
                     rungs=("target",), max_attempts=2)  # fmt: skip
        judged = check(run.delivered, "openai-chat")
        if run.outcome.status == "failed":
            assert not judged.complete, cut
            assert not run.outcome.tool_calls, cut
            assert run.raised is not None
        else:
            assert [c.arguments for c in judged.tool_calls] == ['{"a":1}'], cut


def test_a_translated_answer_that_breaks_goes_on_at_home() -> None:
    theirs = until(frames(TEXT, dialect="anthropic-messages"), TEXT[:56],
                   dialect="anthropic-messages")  # fmt: skip
    run = run_of(Reply(end="reset"), Reply(theirs, end="reset"), Reply(going_on),
                 targets=(CLAUDE,), rungs=("target", "user-turn"))  # fmt: skip
    assert run.rungs == ["first", "target", "user-turn"]
    judged = check(run.delivered, "openai-chat")
    assert (judged.complete, judged.text) == (True, TEXT)
    assert [part.target for part in run.outcome.provenance] == [CLAUDE.label, ""]


def test_the_error_frame_of_another_dialect_stays_with_us() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    run = run_of(Reply(end="reset"), Reply([error]), targets=(CLAUDE,), rungs=("target",),
                 max_attempts=2)  # fmt: skip
    assert run.delivered == b""
    assert run.raised is not None
    assert run.raised.kind is FaultKind.PROVIDER_ERROR


def test_a_request_that_cannot_be_said_otherwise_says_why() -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    run = run_of(Reply(end="reset"), targets=(CLAUDE,), rungs=("target",),
                 request=asked(messages=image))  # fmt: skip
    assert "cannot be said in anthropic-messages" in run.skipped("target")


@pytest.mark.parametrize("name", ["gemini", "anthropic-messages", "ollama"])
def test_the_model_alone_may_change(name: str) -> None:
    whole = frames(TEXT, dialect=name)
    run = play([Reply(end="reset"), Reply(whole)], dialect=name, options=Options(
        targets=(Target(model="another-model"),), rungs=("target",)))  # fmt: skip
    again = run.requests[1]
    assert by_name(name).facts(again).model == "another-model"
    assert run.delivered == b"".join(whole)


# Signed requests ----------------------------------------------------------------------------


def signed(at: str) -> Request:
    headers = (("Authorization", "AWS4-HMAC-SHA256 Credential=x, Signature=y"), ("X-Amz-Date", at))
    return msgspec.structs.replace(ask(), headers=headers)


_AT = "20270115T080000Z"
_EPOCH = 1_800_000_000.0


def test_a_signed_request_is_sent_again_unchanged_and_while_it_is_young() -> None:
    run = play([Reply(end="reset"), Reply(WHOLE)], request=signed(_AT), wall_time=_EPOCH + 299)
    assert run.rungs == ["first", "retry"]
    old = play([Reply(end="reset")], request=signed(_AT), wall_time=_EPOCH + 301)
    assert "signature is 301 s old" in old.skipped("retry")
    timeless = play([Reply(end="reset")], request=signed("soon"), wall_time=_EPOCH)
    assert "nothing tells for how long" in timeless.skipped("retry")


def test_a_signed_request_is_changed_only_where_it_can_be_signed_anew() -> None:
    refused = play([Reply(BROKEN, end="reset")], request=signed(_AT), wall_time=_EPOCH,
                   options=Options(rungs=("prefill", "user-turn")))  # fmt: skip
    assert refused.outcome.status == "failed"
    assert "another signature" in refused.skipped("prefill")
    options = Options(authorize=lambda request: request, rungs=("user-turn",))
    run = play([Reply(BROKEN, end="reset"), Reply(going_on)], request=signed(_AT),
               wall_time=_EPOCH + 9_000, options=options)  # fmt: skip
    assert run.outcome.text == TEXT


def test_an_authorize_that_raises_ends_the_stream_with_its_name() -> None:
    def authorize(request: Request) -> Request:
        raise PermissionError("secret words")

    stream = Stream(ask(), by_name("openai-chat"), options=Options(authorize=authorize), now=0.0,
                    sent=True)  # fmt: skip
    stream.connected(200, {}, 0.0)
    stream.receive(b"".join(BROKEN), 0.0)
    stream.receive_eof(0.0)
    while not stream.over:
        stream.handle_timer(stream.next_timer() or 0.0)
    assert stream.outcome.fault is not None
    faults = [fault.detail for fault in stream.outcome.faults]
    assert any("authorize raised PermissionError; nothing was sent" in each for each in faults)
    assert "secret words" not in repr(faults)
