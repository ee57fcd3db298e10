"""llama.cpp keeps a stream that was given a name: what a cut took is read, not written again."""

from __future__ import annotations

import uuid

import openai
import pytest

import unbroken
from tests.real.plain import QUESTION, TOKENS, Answer, ask, base_of, dealt
from unbroken.lab.llama import LlamaServer
from unbroken.lab.proxy.app import FaultProxy

pytestmark = pytest.mark.real


def sampled(base_url: str, name: str | None, **options: object) -> tuple[str, unbroken.Outcome]:
    """Ask at a temperature at which no two answers are the same."""
    outcomes: list[unbroken.Outcome] = []
    http = unbroken.http_client(
        options=unbroken.Options(heals_always=10_000, **options),  # type: ignore[arg-type]
        on_outcome=outcomes.append,
    )
    text = ""
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, http_client=http) as made:
        stream = made.chat.completions.create(
            model="any",
            messages=[QUESTION],
            stream=True,
            temperature=1.5,
            max_tokens=TOKENS,
            extra_headers={"X-Conversation-Id": name} if name else {},
        )
        for event in stream:
            for choice in event.choices:
                text += choice.delta.content or ""
    return text, outcomes[-1]


@pytest.mark.parametrize("how", ["clean", "fin", "rst"])
@pytest.mark.parametrize("cut", [1, 40, 333])
def test_cut_answer_is_read_on_at_the_byte(proxy: FaultProxy, how: str, cut: int) -> None:
    proxy.set_plan(f"cut.{how}@{cut}f")
    text, outcome = sampled(base_of(proxy), f"unbroken-{uuid.uuid4()}")
    assert dealt(proxy) == [f"cut.{how}@{cut}f"]
    assert [record.rung for record in outcome.attempts] == ["first", "cursor"]
    assert outcome.status in ("complete", "limited")
    assert outcome.text == text
    assert {part.guarantee for part in outcome.provenance} == {"byte-exact"}
    assert outcome.usage.output in (None, TOKENS)


def test_answer_cut_three_times_is_read_on_each_time(proxy: FaultProxy) -> None:
    faults = ["cut.rst@20f", "cut.clean@120f", "cut.fin@100f"]
    proxy.set_plan(",".join(faults))
    text, outcome = sampled(base_of(proxy), f"unbroken-{uuid.uuid4()}")
    assert dealt(proxy) == faults
    assert [record.rung for record in outcome.attempts] == ["first", "cursor", "cursor", "cursor"]
    assert outcome.complete
    assert outcome.text == text


def test_server_that_lost_the_answer_is_asked_another_way(
    llama: LlamaServer, llama_process: LlamaServer
) -> None:
    """Killed and started again, the server knows no such conversation: the next rung heals."""
    whole: Answer = ask(llama.base_url)
    outcomes: list[unbroken.Outcome] = []
    http = unbroken.http_client(
        options=unbroken.Options(heals_always=10_000), on_outcome=outcomes.append
    )
    text = ""
    with (
        FaultProxy(llama.url, "cut.rst@200f") as proxy,
        openai.OpenAI(base_url=base_of(proxy), api_key="none", http_client=http) as made,
    ):
        stream = made.chat.completions.create(
            model="any", messages=[QUESTION], stream=True, temperature=0, max_tokens=TOKENS,
            extra_headers={"X-Conversation-Id": f"unbroken-{uuid.uuid4()}"},
        )  # fmt: skip
        for event in stream:
            if not text:
                llama.kill()
                llama.restart()
            text += "".join(choice.delta.content or "" for choice in event.choices)
    rungs = [record.rung for record in outcomes[-1].attempts]
    assert rungs[:2] == ["first", "cursor"], rungs
    assert outcomes[-1].attempts[1].status in (400, 404)
    assert text == whole.text
