"""Which plan a request goes by, and what of it reaches the upstream."""

from __future__ import annotations

import json

import pytest

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.proxy.choosing import choose, read_plan
from unbroken.relay.messages import RelayRequest


def request(
    body: object = b"", target: str = "/v1/chat/completions", **headers: str
) -> RelayRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return RelayRequest(method="POST", target=target, headers=named, body=raw)


@pytest.mark.parametrize(
    ("name", "plan", "model"),
    [
        ("gpt-4o", None, "gpt-4o"),
        ("meta-llama/llama-3", None, "meta-llama/llama-3"),
        ("lab/cut@30t/gpt-4o", "cut@30t", "gpt-4o"),
        ("lab/cut@30t,stall@3s*2;id=7/meta-llama/llama-3:free", "cut@30t,stall@3s*2;id=7",
         "meta-llama/llama-3:free"),
        ("lab/ok/x", "ok", "x"),
    ],
)  # fmt: skip
def test_a_models_name(name: str, plan: str | None, model: str) -> None:
    choice = choose(request({"model": name, "stream": True}))
    assert (choice.plan, choice.model) == (plan, model)
    assert json.loads(choice.request.body) == {"model": model, "stream": True}


def test_the_rest_of_the_body_keeps_its_bytes() -> None:
    body = b'{ "n" : 1.50,\n "x":"\\u00e9 \xc3\xa9",  "model" :"lab/cut@3t/m", "messages":[]}'
    changed = choose(request(body)).request.body
    assert changed == body.replace(b"lab/cut@3t/m", b"m")
    untouched = b'{ "model" :  "m" }'
    assert choose(request(untouched)).request.body is untouched


def test_a_prompt_that_looks_like_a_model_is_left_alone() -> None:
    body = {"messages": [{"content": "x", "model": "lab/cut/y"}], "model": "lab/cut@3t/m"}
    changed = json.loads(choose(request(body)).request.body)
    assert changed == {**body, "model": "m"}
    quoted = {"messages": [{"content": '"model": "lab/cut/y"'}], "model": "lab/cut@3t/m"}
    assert json.loads(choose(request(quoted)).request.body) == {**quoted, "model": "m"}


@pytest.mark.parametrize("lab", ["lab/cut@3t/gemini-3", "lab%2Fcut@3t%2Fgemini-3"])
def test_a_model_in_the_path(lab: str) -> None:
    choice = choose(request(target=f"/v1beta/models/{lab}:streamGenerateContent?alt=sse"))
    assert (choice.plan, choice.model) == ("cut@3t", "gemini-3")
    assert choice.request.target == "/v1beta/models/gemini-3:streamGenerateContent?alt=sse"
    assert choice.dialect is not None
    assert choice.dialect.name == "gemini"


def test_the_header_goes_before_the_name_and_no_further() -> None:
    choice = choose(request({"model": "lab/cut@3t/m"}, X_Lab_Plan="stall@9t", X_Other="1"))
    assert (choice.plan, choice.model) == ("stall@9t", "m")
    assert choice.request.headers == [("X-Other", "1")]


@pytest.mark.parametrize("body", [b"", b"no json", b'["model"]', b'{"model": 7}', b'{"model'])
def test_bodies_without_a_model(body: bytes) -> None:
    choice = choose(request(body))
    assert (choice.plan, choice.model, choice.request.body) == (None, "", body)


@pytest.mark.parametrize("name", ["lab/cut@3t", "lab/", "lab/cut/"])
def test_no_real_model_is_refused(name: str) -> None:
    with pytest.raises(FaultError, match="names no real model: write it as lab/"):
        choose(request({"model": name}))


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ("cut", "does not know how long an answer will be"),
        ("cut@0.5", "does not know how long an answer will be"),
        ("ok,cut.rst@50%", "give a place such as cut@30t"),
        ("nope", "no fault is called 'nope'"),
        ("cut@3t;tokens=9", "tokens is a setting of the scripted model"),
    ],
)
def test_plans_that_a_proxy_cannot_do(plan: str, why: str) -> None:
    with pytest.raises(FaultError, match=why) as caught:
        read_plan(plan)
    assert "\n" not in str(caught.value)


def test_scenarios_stand_for_plans() -> None:
    assert str(read_plan("flaky;id=3", {"flaky": "cut@3t,ok"})) == "cut@3t,ok"
