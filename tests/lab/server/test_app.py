"""The server as a whole, over HTTP: plans, sessions, refusals, the lab's own pages."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model import AnswerSettings
from unbroken.lab.server.app import LabServer

CHAT = "/v1/chat/completions"


@pytest.fixture
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


def send(
    url: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Return status and text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hi"}], **more}


def text_of(body: str) -> str:
    frames = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    return "".join(
        json.loads(frame)["choices"][0]["delta"].get("content") or "" for frame in frames
    )


def test_a_plan_is_played_attempt_by_attempt(lab: LabServer) -> None:
    session = lab.session("cut@5t,cut.close@7t;tokens=30;delta=token")
    texts = [text_of(send(lab.url + CHAT, ask(session.model, seed=1))[1]) for _ in range(3)]
    assert session.wait_idle()
    whole = session.numbered.text.split(" ")
    assert [text.split(" ") for text in texts] == [whole[:5], whole[:7], whole]
    first, second, third = session.attempts
    assert (first.ended, first.sent_tokens, first.faults) == ("clean", 5, "cut@5t")
    assert [what for _, what in first.strikes] == ["cut@5t"]
    assert first.at_s <= first.strikes[0][0] <= (first.ended_at_s or 0)
    assert (second.ended, second.sent_tokens) == ("fin", 7)
    assert (third.ended, third.sent_tokens, third.strikes) == ("whole", 30, [])
    assert [log.number for log in session.attempts] == [0, 1, 2]
    assert third.status == 200
    assert third.dialect == "openai-chat"


def test_a_prefill_is_gone_on_with_and_logged(lab: LabServer) -> None:
    session = lab.session("ok;tokens=20")
    half = session.numbered.text[:60]
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": half}]
    _, body = send(lab.url + CHAT, ask(session.model, messages=turns))
    assert half + text_of(body) == session.numbered.text
    log = session.attempts[0]
    assert (log.asked, log.way, log.prefill_chars) == ("prefill", "prefill", 60)


def test_answers_that_are_no_streams_break_too(lab: LabServer) -> None:
    session = lab.session("cut.fin@40b;tokens=30")
    body = ask(session.model) | {"stream": False}
    with pytest.raises(http.client.IncompleteRead, match="40 bytes read"):
        send(lab.url + CHAT, body)
    status, told = send(lab.url + CHAT, body)
    assert (status, len(json.loads(told)["choices"])) == (200, 1)
    assert session.wait_idle()
    assert [log.ended for log in session.attempts] == ["fin", "whole"]


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("nonsense", "no fault is called 'nonsense'"),
        ("cut@999t", "cut@999t: the answer has only"),
        ("ok;colour=red", "no setting is called 'colour'"),
    ],
)
@pytest.mark.parametrize(
    ("path", "where"),
    [
        (CHAT, ["error", "message"]),
        ("/v1/messages", ["error", "message"]),
        ("/api/chat", ["error"]),
    ],
)
def test_faults_that_cannot_be_are_refused_in_the_dialects_shape(
    plan: str, says: str, path: str, where: list[str]
) -> None:
    ended = []
    with LabServer(on_attempt=lambda session, log: ended.append(log)) as lab:
        status, body = send(lab.url + path, ask(f"lab/{plan}", max_tokens=99))
    told = json.loads(body)
    for name in where:
        told = told[name]
    assert status == 400
    assert says in told
    assert "\n" not in told
    (log,) = ended
    assert says in log.error
    assert (log.ended, log.status) == ("refused", 400)


def test_what_the_model_refuses_by_itself_is_not_broken() -> None:
    ended = []
    with LabServer(plan="cut@5t", on_attempt=lambda session, log: ended.append(log)) as lab:
        status, body = send(f"{lab.url}/v1/responses/resp_none?stream=true&starting_after=3")
    assert status == 404
    assert "resp_none" in json.loads(body)["error"]["message"]
    (log,) = ended
    assert (log.ended, log.asked, log.way, log.strikes) == ("refused", "cursor", "refused", [])


def test_a_path_that_there_is_not(lab: LabServer) -> None:
    status, body = send(lab.url + "/v1/nothing", {})
    assert status == 404
    assert "/v1/nothing" in json.loads(body)["error"]["message"]


def test_the_default_plan_is_for_models_of_other_names() -> None:
    with LabServer(plan="cut@2t", settings=AnswerSettings(tokens=9, delta="token")) as lab:
        texts = [text_of(send(lab.url + CHAT, ask("gpt-5"))[1]) for _ in range(2)]
        other = text_of(send(lab.url + CHAT, ask("lab/ok"))[1])
        header = {"x-lab-plan": "cut@4t;id=h"}
        by_header = text_of(send(lab.url + CHAT, ask("gpt-5"), headers=header)[1])
    assert [len(text.split()) for text in texts] == [2, 9]
    assert len(other.split()) == 9
    assert len(by_header.split()) == 4


def test_scenarios_by_name() -> None:
    with LabServer(scenarios={"short": "cut@2t;delta=token;tokens=9"}) as lab:
        _, body = send(lab.url + CHAT, ask("lab/short;id=1"))
        assert len(text_of(body).split()) == 2
    with pytest.raises(FaultError, match="scenario 'x'"):
        LabServer(scenarios={"x": "nonsense"})


def test_the_front_page_teaches(lab: LabServer) -> None:
    status, page = send(lab.url)
    assert status == 200
    assert "lab/cut.rst@30t" in page
    assert "/v1/messages" in page
    assert "  stall" in page


def test_sessions_over_http(lab: LabServer) -> None:
    sessions = lab.url + "/_lab/sessions"
    status, told = send(sessions, {"plan": "cut@3t", "settings": {"tokens": 9, "usage": False}})
    made = json.loads(told)
    assert status == 201
    assert made["environment"]["LAB_MODEL"] == made["model"]
    assert made["environment"]["OPENAI_BASE_URL"] == lab.url + "/v1"
    assert lab.sessions[made["id"]].settings.tokens == 9
    send(lab.url + CHAT, ask(made["model"]))
    shown = json.loads(send(f"{sessions}/{made['id']}")[1])
    assert shown["attempts"][0]["ended"] == "clean"
    assert shown["attempts"][0]["strikes"][0][0] <= shown["now_s"]
    assert [one["id"] for one in json.loads(send(sessions)[1])["sessions"]] == [made["id"]]
    assert json.loads(send(f"{sessions}/{made['id']}", method="DELETE")[1]) == {"forgotten": 1}
    assert send(f"{sessions}/{made['id']}")[0] == 404
    assert not lab.sessions


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"plan": "nonsense"}, "no fault"),
        ({"settings": {"colour": 1}}, "no setting"),
        ({"plans": "cut"}, "send {"),
        ({"plan": 3}, "send {"),
        (["cut"], "object"),
    ],
)
def test_sessions_that_cannot_be(lab: LabServer, body: Any, says: str) -> None:
    status, told = send(lab.url + "/_lab/sessions", body)
    assert status == 400
    assert says in json.loads(told)["error"]


def test_a_client_that_leaves_a_stalled_answer_is_noticed(lab: LabServer) -> None:
    session = lab.session("stall@3t@60s")
    body = json.dumps(ask(session.model)).encode()
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body))
    with socket.create_connection(("127.0.0.1", lab.port)) as client:
        client.sendall(head + body)
        while not session.attempts or not session.attempts[0].strikes:
            time.sleep(0.01)
    left = time.monotonic()
    assert session.wait_idle(5)
    assert time.monotonic() - left < 2
    assert session.attempts[0].ended == "left"


def test_a_taken_port_is_an_error_at_once(lab: LabServer) -> None:
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        LabServer(port=lab.port).start()


def test_closing_ends_what_runs_and_may_be_done_twice() -> None:
    threads = threading.active_count()
    lab = LabServer().start()
    session = lab.session("stall@3t")
    body = json.dumps(ask(session.model)).encode()
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body))
    with socket.create_connection(("127.0.0.1", lab.port)) as client:
        client.sendall(head + body)
        client.recv(10)
        lab.close()
        lab.close()
    assert session.wait_idle(5)
    assert threading.active_count() == threads
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", lab.port), timeout=2)


def test_in_a_loop_that_is_there_already() -> None:
    async def main() -> tuple[int, str]:
        lab = LabServer()
        ready = asyncio.Event()
        task = asyncio.create_task(lab.serve(ready.set))
        await ready.wait()
        got = await asyncio.to_thread(send, lab.url + CHAT, ask("lab/ok;tokens=3"))
        lab.close()
        await task
        return got

    status, body = asyncio.run(main())
    assert status == 200
    assert body.endswith("data: [DONE]\n\n")


def test_many_streams_at_once(lab: LabServer) -> None:
    """Each gets its own answer, at its own pace, from one thread."""
    sessions = [lab.session("ok;tokens=20;tps=40;delta=token") for _ in range(50)]
    texts: dict[str, str] = {}

    def read(session: Any) -> None:
        texts[session.id] = text_of(send(lab.url + CHAT, ask(session.model))[1])

    began = time.monotonic()
    threads = [threading.Thread(target=read, args=[session]) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 10  # one after another they would take 25 s
    assert all(texts[session.id] == session.numbered.text for session in sessions)
