"""What an attack on keys, cursors, targets and sinks found, and what was mended."""

from __future__ import annotations

import os
import re

import cohere
import httpx
import httpx2
import msgspec
import openai
import pytest

import unbroken
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Answer
from unbroken.sinks import SQLiteFile, TextFile

TEXT = "The sea is salt because rivers carry dissolved minerals into it, year after year, and more."
M = [{"role": "user", "content": "q"}]


def fr(d, t=TEXT):
    return by_name(d).encode(
        Answer(text=tuple(t[i : i + 5] for i in range(0, len(t), 5)), usage=(9, 16))
    )


def opt(**k):
    return unbroken.Options(heals_always=10**6, breaker_failures=0, **k)


def ok(data, library=httpx2):
    return library.Response(200, headers={"content-type": "text/event-stream"}, content=data)


J = b"".join


def mock(h):
    return httpx2.MockTransport(h)


def sdk(h, o, outs=None):
    return openai.OpenAI(
        base_url="https://a.example/v1",
        api_key="key-one-1",
        max_retries=0,
        http_client=unbroken.http_client(
            options=o, transport=mock(h), on_outcome=outs.append if outs is not None else None
        ),
    )


def chat(c, **k):
    return "".join(
        x.delta.content or ""
        for e in c.chat.completions.create(model="m", messages=M, stream=True, **k)
        for x in e.choices
    )


def responses(c):
    t = ""
    for e in c.responses.create(model="m", input="q", stream=True, background=True):
        if e.type == "response.output_text.delta":
            t += e.delta
    return t


@pytest.mark.parametrize(
    "kw",
    [
        {"headers": {"x-api-key": "sk-secret-1"}},
        {"auth": ("u", "sk-secret-1")},
        {"cookies": {"s": "sk-secret-1"}},
        {"params": {"key": "sk-secret-1"}},
    ],
    ids=lambda k: next(iter(k)),
)
def test_client_defaults_stay_at_home(kw):
    seen = []

    def h(r):
        seen.append(r)
        return ok(J(fr("openai-chat")[:14]) if r.url.host == "a.example" else b"")

    c = httpx2.Client(transport=mock(h), **kw)
    s = unbroken.stream(
        "q",
        model="m",
        base_url="https://a.example/v1",
        client=c,
        options=opt(
            rungs=("target",),
            max_attempts=2,
            targets=(unbroken.Target(base_url="https://b.example/v1", api_key="key-two-2"),),
        ),
    )
    with pytest.raises(unbroken.StreamingError):
        s.text()
    r = next(r for r in seen if r.url.host == "b.example")
    assert "sk-secret-1" not in str(r.url) + repr(r.headers.raw)
    assert r.headers["authorization"] == "Bearer key-two-2"


def test_loss_shown_by_done_is_not_lost_again_by_the_cursor():
    f = fr("openai-responses")
    f = [
        re.sub(rb'"sequence_number":\d+', b'"sequence_number":%d' % i, x)
        for i, x in enumerate(f[:9] + f[10:])
    ]

    def h(r):
        return (
            ok(J(f)) if r.method == "POST" else ok(J(f[int(r.url.params["starting_after"]) + 1 :]))
        )

    with pytest.raises(openai.APIConnectionError):
        responses(sdk(h, opt()))


def test_done_without_message_end_is_no_end_for_cohere():
    f = [*list(fr("cohere")[:8]), b"data: [DONE]\n\n"]
    hc = unbroken.http_client(
        library="httpx",
        options=opt(rungs=()),
        transport=httpx.MockTransport(lambda r: ok(J(f), httpx)),
    )
    with pytest.raises(httpx.RemoteProtocolError):
        list(
            cohere.ClientV2(
                api_key="k" * 9, base_url="https://a.example", httpx_client=hc
            ).chat_stream(model="m", messages=M)
        )


@pytest.mark.parametrize(
    "t", [{"dialect": "nonsense", "base_url": "https://b.example"}, {"model": 5}]
)
def test_wrong_target_is_refused_or_harmless(t):
    try:
        o = opt(rungs=("target",), targets=(unbroken.Target(**t),))
        c = sdk(lambda r: ok(J(fr("openai-chat")[:12])), o)
    except (ValueError, TypeError):
        return
    with pytest.raises(openai.APIConnectionError):
        chat(c)


def test_half_a_surrogate_pair_in_an_id():
    f = J(fr("openai-responses")[:9]).replace(b'"id":"answer-1"', b'"id":"\\ud800"')
    with pytest.raises(openai.APIConnectionError):
        responses(sdk(lambda r: ok(f), opt()))


def test_unhashable_status():
    f = fr("gemini-interactions")[:6]
    f[1] = f[1].replace(b'"in_progress"', b"[]")
    hc = unbroken.http_client(options=opt(rungs=()), transport=mock(lambda r: ok(J(f))))
    with (
        pytest.raises(unbroken.StreamingError),
        hc.stream(
            "POST",
            "https://a.example/v1beta/interactions",
            json={"model": "m", "input": "q", "stream": True},
        ) as r,
    ):
        r.read()


def test_authorize_of_the_first_is_not_put_on_a_target():
    seen = []

    def h(r):
        seen.append((r.url.host, r.headers.get("authorization")))
        return ok(J(fr("openai-chat")[:18]) if r.url.host == "a.example" else b"")

    def auth(r):
        return msgspec.structs.replace(
            r,
            headers=(
                *(x for x in r.headers if x[0].lower() != "authorization"),
                ("authorization", "Bearer FIRST"),
            ),
        )

    s = unbroken.stream(
        "q",
        model="m",
        base_url="https://a.example/v1",
        client=httpx2.Client(transport=mock(h)),
        options=opt(
            rungs=("target",),
            authorize=auth,
            max_attempts=2,
            targets=(unbroken.Target(base_url="https://b.example/v1", api_key="two-two-2"),),
        ),
    )
    with pytest.raises(unbroken.StreamingError):
        s.text()
    assert ("b.example", "Bearer FIRST") not in seen


def test_transport_errors_quote_nothing_received():
    import socket
    import threading

    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()

    def serve():
        c, _ = s.accept()
        c.recv(65536)
        f = J(fr("openai-chat")[:6])
        c.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n"
            % (len(f), f)
            + b'data: {"content":"SECRET DIARY"}\r\n\r\n'
        )
        c.close()

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(unbroken.StreamingError) as e:
        unbroken.stream(
            "q",
            model="m",
            base_url=f"http://127.0.0.1:{s.getsockname()[1]}/v1",
            options=opt(rungs=()),
        ).text()
    assert "DIARY" not in str(e.value)


def test_log_raw_knows_the_key_of_authorize():
    outs = []

    def auth(r):
        return msgspec.structs.replace(
            r, headers=(*r.headers, ("authorization", "Bearer tok0-AUTHORIZED"))
        )

    f = (
        J(fr("openai-chat")[:3])
        + b'data: {"error":{"message":"bad tok0-AUTHORIZED","type":"invalid_request_error"}}\n\n'
    )
    s = unbroken.stream(
        "q",
        model="m",
        base_url="https://a.example/v1",
        client=httpx2.Client(transport=mock(lambda r: ok(f))),
        options=opt(log_raw="on-fault-with-contents", authorize=auth, rungs=()),
        on_outcome=outs.append,
    )
    with pytest.raises(unbroken.StreamingError):
        s.text()
    assert "tok0-AUTHORIZED" not in repr(outs[0].attempts[0].raw)


@pytest.mark.parametrize("v", ["user:sekret@proxy:80", "http://h/v1?key=sekret"])
def test_doctor_shows_no_password(v):
    from unbroken.api.diagnosis import diagnose

    assert "sekret" not in repr(diagnose(environ={"HTTPS_PROXY": v}).proxies)


def test_reprs_and_errors_of_targets():
    assert "pa55" not in repr(unbroken.Target(base_url="https://u:pa55@h/v1", model="m"))
    with pytest.raises(TypeError) as e:
        unbroken.Options(targets=({"api_key": "sk-pa55-123456"},))
    assert "pa55" not in str(e.value)


@pytest.mark.parametrize("kind", [TextFile, SQLiteFile])
def test_overwrite_does_not_replace_a_pipe_or_device(kind, tmp_path):
    p = tmp_path / "p"
    os.mkfifo(p)  # as /dev/null is, which root really loses
    unbroken.stream(
        "q",
        model="m",
        base_url="https://a.example/v1",
        client=httpx2.Client(transport=mock(lambda r: ok(J(fr("openai-chat"))))),
        sink=lambda: kind(p, if_exists="overwrite"),
    ).text()
    assert p.is_fifo()
