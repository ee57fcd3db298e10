"""The whole gateway over real sockets: the lab before it, bare HTTP and real SDKs behind it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time

import anthropic
import httpx2
import openai
import pytest

from tests.support.gateway import Serving, config_for, serving
from tests.support.recorder import recording
from unbroken.gateway.config import CallerConfig, CallerLimits, LimitsConfig, UpstreamConfig
from unbroken.gateway.config.secret import Secret
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer

BODY = {"messages": [{"role": "user", "content": "say something"}], "stream": True}
AUTH = {"authorization": "Bearer caller-key"}


@pytest.fixture(scope="module")
def lab():
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab):
    with serving(config_for(lab.url, options={"max_attempts": 4})) as running:
        yield running


def ask(gateway: Serving, model: str, *, headers=AUTH, path="/v1/chat/completions", **more):
    body = {"model": model, **BODY, **more}
    return httpx2.stream("POST", gateway.url + path, json=body, headers=headers, timeout=30)


def text_of(body: bytes) -> str:
    """The text of a chat completion's stream, read by nothing of ours."""
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# A healthy stream ----------------------------------------------------------------------------


def test_a_healthy_answer_passes_byte_for_byte(lab, gateway):
    model = "lab/ok;id=straight;tokens=80;seed=4"
    straight = httpx2.post(
        f"{lab.url}/v1/chat/completions",
        json={"model": model, **BODY, "seed": 1},
        headers=AUTH,
    )
    with ask(gateway, model, seed=1) as response:
        through = response.read()
    # The lab numbers its answers, and nothing else differs.
    assert _without_ids(through) == _without_ids(straight.content)
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert "content-length" not in response.headers


def _without_ids(body: bytes) -> list[object]:
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [{k: v for k, v in event.items() if k not in ("id", "created")} for event in events]


def test_each_event_leaves_as_it_arrives(gateway):
    """An event that the upstream sent is with the client before the next one is."""
    came: list[float] = []
    with ask(gateway, "lab/ok;id=paced;tokens=6;tps=10") as response:
        for data in response.iter_bytes():
            came += [time.monotonic()] * data.count(b"data: {")
    gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert sum(gap > 0.05 for gap in gaps) >= 5, gaps


@pytest.mark.parametrize("plan", ["cut@30t", "cut.rst@30t*2", "cut.fin@0.5", "error@20t"])
def test_a_broken_answer_is_healed_for_a_bare_client(lab, gateway, plan):
    name = plan.replace("@", "-").replace("*", "-")
    # By replay the lab would write another text: it is asked for the same one.
    with ask(gateway, f"lab/{plan};id=h-{name};tokens=100", seed=1, temperature=0) as response:
        body = response.read()
    assert response.status_code == 200
    assert body.rstrip().endswith(b"data: [DONE]")
    session = lab.sessions[f"h-{name}"]
    assert text_of(body) == session.numbered.text
    assert len(session.attempts) > 1


def test_openai_and_anthropic_read_on_where_the_answer_broke(lab, gateway):
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0)
    model = "lab/cut@30t;id=sdk-openai;tokens=80"
    parts = client.chat.completions.create(model=model, messages=BODY["messages"], stream=True)
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == lab.sessions["sdk-openai"].numbered.text
    claude = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    with claude.messages.stream(
        model="lab/cut@30t;id=sdk-claude;tokens=80", max_tokens=999, messages=BODY["messages"]
    ) as stream:
        text = "".join(stream.text_stream)
    assert text == lab.sessions["sdk-claude"].numbered.text


# What cannot be healed -----------------------------------------------------------------------


def test_a_stream_that_fails_in_its_middle_ends_with_an_error_and_is_cut(gateway):
    received = b""
    with ask(gateway, "lab/cut@30t*;id=fails;tokens=90;honours=") as response:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            for data in response.iter_bytes():
                received += data
            pytest.fail("the body came to an end")
    assert b"[DONE]" not in received
    assert b'"finish_reason":"stop"' not in received
    last = json.loads(received.rstrip().rpartition(b"data: ")[2])
    assert "do not treat the answer as complete" in last["error"]["message"]


def test_what_fails_before_the_first_byte_has_a_status(gateway):
    with ask(gateway, "lab/empty*;id=empty") as response:
        body = response.read()
    assert response.status_code == 502
    assert json.loads(body)["error"]["code"] == "empty-stream"
    assert response.headers["x-should-retry"] == "false"


def test_the_providers_own_refusal_passes_as_it_is(lab, gateway):
    model = "lab/http.429;id=refused"
    with ask(gateway, model) as response:
        body = response.read()
    straight = httpx2.post(
        f"{lab.url}/v1/chat/completions", json={"model": "lab/http.429;id=r2", **BODY}, headers=AUTH
    )
    assert response.status_code == straight.status_code == 429
    assert json.loads(body) == straight.json()
    assert len(lab.sessions["refused"].attempts) == 1, "that is the client's to retry"


def test_an_upstream_that_is_not_there_is_said_in_the_dialects_words():
    with serving(config_for("http://127.0.0.1:9")) as gateway:
        with ask(gateway, "m") as response:
            assert response.status_code == 502
            assert json.loads(response.read())["error"]["code"] == "connect-failed"
        with ask(gateway, "m", path="/v1/messages", max_tokens=9) as response:
            said = json.loads(response.read())
            assert (said["type"], said["error"]["type"]) == ("error", "api_error")


def test_raise_and_observe_do_not_heal(lab, gateway):
    for mode in ("raise", "observe"):
        headers = {**AUTH, "x-unbroken-mode": mode}
        with ask(gateway, f"lab/cut.fin@30t;id=m-{mode};tokens=90", headers=headers) as response:
            with pytest.raises(httpx2.RemoteProtocolError):
                response.read()
        assert len(lab.sessions[f"m-{mode}"].attempts) == 1
    with ask(gateway, "lab/ok;id=m-x", headers={**AUTH, "x-unbroken-mode": "x"}) as response:
        assert response.status_code == 400


# Other requests ------------------------------------------------------------------------------


def test_what_is_no_stream_passes_untouched(lab, gateway):
    straight, through = (httpx2.get(f"{root}/v1/models") for root in (lab.url, gateway.url))
    assert through.json() == straight.json()
    body = {"model": "lab/ok;id=whole;tokens=20", "messages": BODY["messages"]}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=AUTH)
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["content-length"]


def test_a_large_upload_streams_through(lab, gateway):
    """Nothing of it is kept: the gateway need not know what it is."""
    sent = b"x" * (3 * 1024 * 1024)
    answer = httpx2.put(
        f"{gateway.url}/v1/files/none",
        content=iter([sent]),
        headers={"content-type": "application/octet-stream"},
    )
    assert answer.status_code in (404, 405)


def test_a_request_that_is_too_large_is_refused(lab):
    limits = LimitsConfig(max_request_bytes=2000)
    with serving(config_for(lab.url, limits=limits)) as gateway:
        with ask(gateway, "lab/ok;id=big", user="u" * 3000) as response:
            assert response.status_code == 413
            assert "max_request_bytes" in json.loads(response.read())["error"]["message"]


def test_a_request_too_large_to_keep_is_served_and_not_healed(lab):
    with serving(config_for(lab.url, options={"max_replay_bytes": 1000})) as gateway:
        with ask(gateway, "lab/cut@30t;id=heavy;tokens=90", user="u" * 3000) as response:
            assert response.headers["x-unbroken-healing"].startswith("off")
            with pytest.raises(httpx2.RemoteProtocolError):
                response.read()
    assert len(lab.sessions["heavy"].attempts) == 1


# Who may call --------------------------------------------------------------------------------


def _with_callers(lab, **more):
    caller = CallerConfig(team="blue", key=Secret("sk-caller-0123456789abcdef0123456789"))
    upstream = UpstreamConfig(url=lab.url, key=Secret("sk-provider"))
    return config_for(lab.url, callers=(caller,), upstreams={"lab": upstream}, **more)


def test_callers_keys_stay_here_and_the_providers_key_is_put_in(lab):
    with serving(_with_callers(lab)) as gateway:
        with ask(gateway, "lab/ok;id=nokey") as response:
            assert response.status_code == 401
        assert "nokey" not in lab.sessions
        with ask(
            gateway,
            "lab/ok;id=key",
            headers={"authorization": "Bearer sk-caller-0123456789abcdef0123456789"},
        ) as answer:
            assert answer.status_code == 200
            answer.read()


def test_a_limit_is_a_proper_429(lab):
    limits = LimitsConfig(per_caller=CallerLimits(requests_per_minute=1))
    with serving(_with_callers(lab, limits=limits)) as gateway:
        headers = {"authorization": "Bearer sk-caller-0123456789abcdef0123456789"}
        with ask(gateway, "lab/ok;id=l1", headers=headers) as response:
            response.read()
        with ask(gateway, "lab/ok;id=l2", headers=headers) as response:
            said = json.loads(response.read())
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) >= 1
            assert said["error"]["type"] == "rate_limit_error"


# The client goes -----------------------------------------------------------------------------


def _leave(gateway: Serving, model: str, **more) -> None:
    with ask(gateway, model, **more) as response:
        next(response.iter_bytes())


def _ended(lab: LabServer, name: str, within_s: float = 5.0) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        attempts = lab.sessions[name].attempts
        if attempts and attempts[-1].ended:
            return attempts[-1].ended
        time.sleep(0.02)
    return ""


def test_a_client_that_leaves_closes_the_upstream_within_a_second(lab, gateway):
    began = time.monotonic()
    _leave(gateway, "lab/ok;id=leaves;tokens=200;tps=20")
    assert _ended(lab, "leaves", 2.0) == "left"
    assert time.monotonic() - began < 2.0


def test_drain_reads_the_answer_to_its_end(lab):
    with serving(config_for(lab.url, on_disconnect="drain")) as gateway:
        _leave(gateway, "lab/ok;id=drained;tokens=40;tps=40")
        assert _ended(lab, "drained") == "whole"


# Read on -------------------------------------------------------------------------------------


def test_a_stream_is_read_on_from_any_event(lab, gateway):
    headers = {**AUTH, "x-unbroken-resume": "1"}
    with ask(gateway, "lab/cut@30t;id=resumed;tokens=60", headers=headers) as response:
        whole = response.read()
    stream = f"{gateway.url}/streams/{response.headers['x-unbroken-stream']}"
    marks = [line[4:] for line in whole.split(b"\n") if line.startswith(b"id: ")]
    for mark in marks[:: len(marks) // 7]:
        rest = httpx2.get(stream, headers={**AUTH, "last-event-id": mark.decode()})
        assert rest.status_code == 200
        assert whole.endswith(rest.content)
        before = whole.removesuffix(rest.content)
        assert before.rpartition(b"id: ")[2].startswith(mark + b"\n"), "the next one is lost"
    assert httpx2.get(stream, headers={"authorization": "Bearer other"}).status_code == 404


def test_the_same_post_attaches_while_the_stream_runs(lab, gateway):
    """Two clients, one key: one upstream request, and the same bytes."""
    headers = {**AUTH, "idempotency-key": "the-key"}
    bodies: list[bytes] = []

    def read() -> None:
        with ask(gateway, "lab/ok;id=twice;tokens=30;tps=30", headers=headers) as response:
            bodies.append(response.read())

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    for thread in threads:
        thread.join(20)
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]
    assert len(lab.sessions["twice"].attempts) == 1


def test_the_client_comes_back_after_its_connection_was_lost(lab, gateway):
    headers = {**AUTH, "x-unbroken-resume": "1"}
    got, mark = b"", ""
    with ask(gateway, "lab/ok;id=back;tokens=40;tps=40", headers=headers) as response:
        stream = f"{gateway.url}/streams/{response.headers['x-unbroken-stream']}"
        for data in response.iter_bytes():
            got += data
            if got.count(b"\n\n") > 8:
                break
    got = got[: got.rindex(b"\n\n") + 2]
    mark = got.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    rest = httpx2.get(stream, headers={**AUTH, "last-event-id": mark}, timeout=20)
    assert text_of(got + rest.content) == lab.sessions["back"].numbered.text
    assert len(lab.sessions["back"].attempts) == 1


def test_stop_closes_the_upstream_and_says_so(lab, gateway):
    headers = {**AUTH, "x-unbroken-resume": "1"}
    with ask(gateway, "lab/ok;id=stopped;tokens=400;tps=20", headers=headers) as response:
        stream = f"{gateway.url}/streams/{response.headers['x-unbroken-stream']}"
        data = response.iter_bytes()
        next(data)
        assert httpx2.delete(stream, headers=AUTH).status_code == 202
        with pytest.raises(httpx2.RemoteProtocolError):
            for _ in data:
                pass
    assert _ended(lab, "stopped", 2.0) == "left"
    assert httpx2.delete(stream, headers=AUTH).status_code == 204


# What it tells -------------------------------------------------------------------------------


def test_figures_and_probes(lab, gateway):
    assert httpx2.get(f"{gateway.url}/healthz").json() == {"status": "ok"}
    assert httpx2.get(f"{gateway.url}/readyz").json()["status"] == "ready"
    metrics = httpx2.get(f"{gateway.url}/_unbroken/metrics").text
    assert "unbroken_" in metrics
    assert "caller-key" not in metrics
    assert "say something" not in metrics
    page = httpx2.get(f"{gateway.url}/_unbroken/")
    assert page.status_code == 200


def test_a_reload_drops_no_stream(lab):
    config = config_for(lab.url)
    with serving(config) as gateway:
        got: list[bytes] = []

        def read() -> None:
            with ask(gateway, "lab/ok;id=reload;tokens=40;tps=40") as response:
                got.append(response.read())

        thread = threading.Thread(target=read)
        thread.start()
        while "reload" not in lab.sessions:
            time.sleep(0.01)
        loop = gateway.loop
        other = config_for("http://127.0.0.1:9")
        asyncio.run_coroutine_threadsafe(gateway.app.reload(other), loop).result(5)
        with ask(gateway, "lab/ok;id=after") as response:
            assert response.status_code == 502, "what comes now goes by the new configuration"
        thread.join(20)
    assert text_of(got[0]) == lab.sessions["reload"].numbered.text


def test_heartbeats_while_the_model_is_silent():
    settings = AnswerSettings(tokens=3, ttft_s=1.2)
    with LabServer(settings=settings) as lab:
        with serving(config_for(lab.url, heartbeat_s=0.3)) as gateway:
            for path, beat in (("/v1/chat/completions", b": hb\n"), ("/v1/messages", b": hb\n")):
                with ask(gateway, f"lab/ok;id={len(path)}", path=path, max_tokens=99) as response:
                    body = response.read()
                assert body.startswith(beat * 2), body[:60]


def test_a_stream_counts_for_its_caller_as_long_as_it_runs(lab):
    """Also when its client is gone: else who leaves and asks again has no limit."""
    limits = LimitsConfig(per_caller=CallerLimits(streams=1))
    headers = {"authorization": "Bearer sk-caller-0123456789abcdef0123456789"}
    kept = {**headers, "x-unbroken-resume": "1"}
    with serving(_with_callers(lab, limits=limits)) as gateway:
        _leave(gateway, "lab/ok;id=counts;tokens=40;tps=20", headers=kept)
        with ask(gateway, "lab/ok;id=second", headers=headers) as response:
            assert response.status_code == 429
        assert _ended(lab, "counts") == "whole"
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with ask(gateway, "lab/ok;id=third", headers=headers) as response:
                if response.status_code == 200:
                    break
            time.sleep(0.05)
        assert response.status_code == 200


@pytest.fixture
def recorder():
    with recording(status=404) as provider:
        yield provider


def test_what_is_meant_for_the_gateway_stays_here(recorder):
    """Of a stream, and of a request in a dialect that asks for none."""
    url, seen = recorder
    ours = {"idempotency-key": "mine", "x-unbroken-resume": "1", "x-forwarded-for": "10.1.2.3"}
    headers = {**AUTH, **ours, "x-mine": "passes"}
    with serving(config_for(url)) as gateway:
        for stream in (True, False):
            body = {"model": "m", **BODY, "stream": stream}
            httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
    assert len(seen) == 2
    for each in seen:
        assert each["authorization"] == "Bearer caller-key"
        assert each["x-mine"] == "passes"
        assert each["accept-encoding"] == "identity"
        assert not set(ours) & set(each)


def test_no_key_of_the_callers_reaches_a_provider_that_has_one(recorder):
    url, seen = recorder
    caller = CallerConfig(team="blue", key=Secret("sk-caller-0123456789abcdef0123456789"))
    upstreams = {"lab": UpstreamConfig(url=url, key=Secret("sk-provider"))}
    with serving(config_for(url, callers=(caller,), upstreams=upstreams)) as gateway:
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
            headers = {"x-api-key": "sk-caller-0123456789abcdef0123456789", "cookie": "c=1"}
            httpx2.post(gateway.url + path, json={"model": "m", **BODY}, headers=headers)
    assert len(seen) == 3
    assert seen[0]["authorization"] == seen[2]["authorization"] == "Bearer sk-provider"
    assert seen[1]["x-api-key"] == "sk-provider"
    assert "sk-caller" not in str(seen)
