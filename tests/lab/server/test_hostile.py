"""Requests that were made to break the lab, or to read what is not theirs."""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Iterator

import pytest

from tests.lab.server.test_app import CHAT, ask, send, text_of
from unbroken.lab.server.app import LabServer
from unbroken.lab.server.http import Request
from unbroken.lab.server.sessions import AttemptLog, Session

SESSIONS = "/_lab/sessions"


@pytest.fixture
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


@pytest.mark.parametrize("name", ["lab/ok\ud800", "gpt\ud800", "gpt\n12:00 forged", "a\x1b[2J"])
def test_a_name_that_cannot_be_written_is_cleaned(lab: LabServer, name: str) -> None:
    status, body = send(lab.url + CHAT, ask(name))
    assert (status, "\ufffd" in body) in ((200, True), (400, True))
    status, listed = send(lab.url + SESSIONS)
    assert status == 200
    for session in json.loads(listed)["sessions"]:
        assert session["model"].isprintable()
        assert all(log["model"].isprintable() for log in session["attempts"])
    status, body = send(lab.url + CHAT, ask("gpt;fine"))
    assert status == 200
    assert text_of(body)


def test_a_listener_that_raises_stops_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def listener(session: Session | None, log: AttemptLog) -> None:
        told.append(log.ended)
        msg = "the view is broken"
        raise RuntimeError(msg)

    with LabServer(on_attempt=listener) as lab, caplog.at_level(logging.ERROR):
        connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=10)
        for model, status in (("a", 200), ("lab/tear", 400), ("b", 200)):
            connection.request("POST", CHAT, json.dumps(ask(model)))
            answer = connection.getresponse()
            assert answer.status == status
            assert answer.read()
        connection.close()
    assert told == ["whole", "refused", "whole"]
    assert [record.message[:16] for record in caplog.records] == ["on_attempt faile"]


def test_no_key_of_a_query_is_logged(lab: LabServer) -> None:
    for model in ("gemini", "lab%2Ftear"):
        path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse&key=AIzaSecret"
        send(lab.url + path, {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    (session,) = lab.sessions.values()
    assert session.attempts[0].path == "/v1beta/models/gemini:streamGenerateContent"
    assert "AIza" not in send(lab.url + SESSIONS)[1]


def test_no_key_of_a_refused_query_is_told() -> None:
    told: list[str] = []
    with LabServer(on_attempt=lambda _, log: told.append(log.path)) as lab:
        send(lab.url + "/nowhere?key=AIzaSecret", {})
    assert told == ["/nowhere"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "192.168.0.7"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_the_labs_own_pages_are_for_no_other_site(
    lab: LabServer, headers: dict[str, str], status: int
) -> None:
    for method, path in (("GET", SESSIONS), ("DELETE", SESSIONS + "/x")):
        got, body = send(lab.url + path, method=method, headers=headers)
        assert got == status
        assert body.count("\n") == 1
    assert send(lab.url + SESSIONS, {}, headers=headers)[0] == (201 if status == 200 else 403)
    assert send(lab.url + CHAT, ask("gpt"), headers=headers)[0] == 200


@pytest.mark.parametrize(
    ("own", "host", "status"),
    [
        ("lab.test", "lab.test:8080", 200),
        ("lab.test", "other.test", 403),
        ("0.0.0.0", "10.1.2.3:9", 200),
        ("0.0.0.0", "evil.example", 403),
    ],
)
def test_a_host_that_was_asked_for_is_its_own(own: str, host: str, status: int) -> None:
    lab = LabServer(host=own)  # not started
    request = Request(method="GET", path=SESSIONS, headers={"host": host})
    assert lab.respond(request).head.status == status


@pytest.mark.parametrize(
    "model",
    [
        "lab/ok;comments=99999999",
        "lab/ok;tokens=200000",
        "lab/ok;tokens=200000;delta=1;say=tool",
        "lab/ok;ttft=999999s;pings=1ms",
        "lab/ok;tps=1e-300;pings=1s",
        "lab/cut@" + "9" * 400,
        "lab/cut*²",
    ],
)
def test_a_short_name_cannot_stop_the_loop(lab: LabServer, model: str) -> None:
    begun = time.monotonic()
    status, body = send(lab.url + CHAT, ask(model))
    assert status == 400
    assert "lab: " in json.loads(body)["error"]["message"]
    assert time.monotonic() - begun < 5
