"""What the user set stays: mode by header and environment, proxies, mounts, TLS, limits."""

import shutil
import socket
import ssl
import subprocess
import threading

import httpx2
import openai
import pytest

import unbroken
from tests.contract.rig import client_for, guarded, model_for, options, plain, script_for
from tests.support.bodies import body, content_type
from tests.support.drives import DRIVES
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Reply, unused_url

_ASKED = {"model": "m", "messages": [], "stream": True}
_TURNS = [{"role": "user", "content": "Tell me a story."}]
_CUT = reply("cut_clean", "openai-chat", at=20)

# ---------------------------------------------------------------- the mode


@pytest.mark.parametrize("name", ["openai-chat", "anthropic-async", "google-genai", "ollama"])
@pytest.mark.parametrize("mode", ["off", "observe", "raise", "heal"])
def test_a_request_names_its_mode(name, mode):
    others = "heal" if mode != "heal" else "raise"
    script = script_for(name, "cut_clean")
    run = guarded(name, script, mode=others, headers={"x-unbroken-mode": mode})
    assert all("x-unbroken-mode" not in each.request.headers for each in run.exchanges)
    _is_in(run, mode)


@pytest.mark.parametrize("mode", ["off", "observe", "raise", "heal"])
def test_the_environment_names_the_mode(mode, monkeypatch):
    monkeypatch.setenv("UNBROKEN_MODE", mode)
    others = "heal" if mode != "heal" else "raise"
    _is_in(guarded("openai-chat", script_for("openai-chat", "cut_clean"), mode=others), mode)


def test_the_request_is_stronger_than_the_environment(monkeypatch):
    monkeypatch.setenv("UNBROKEN_MODE", "off")
    run = guarded(
        "openai-chat",
        script_for("openai-chat", "cut_clean"),
        headers={"x-unbroken-mode": "heal"},
    )
    _is_in(run, "heal")


def _is_in(run, mode):
    assert len(run.exchanges) == (2 if mode == "heal" else 1)
    assert (run.drive.error is not None) == (mode == "raise")
    assert len(run.outcomes) == (0 if mode == "off" else 1)


def test_the_header_is_taken_off_every_request():
    with (
        FaultServer(Reply(pieces=[b"{}"], framing="length")) as server,
        client_for("openai-chat", options()) as client,
    ):
        client.get(server.url + "/v1/models", headers={"x-unbroken-mode": "off"})
        client.post(server.url, json={}, headers={"X-Unbroken-Mode": "heal"})
    assert all("x-unbroken-mode" not in request.headers for request in server.requests)


def test_a_mode_that_does_not_exist_is_refused():
    with client_for("openai-chat", options()) as client:
        url = unused_url() + "/v1/chat/completions"
        with pytest.raises(ValueError, match="mode must be one of off, observe, raise, heal"):
            client.post(url, json=_ASKED, headers={"x-unbroken-mode": "mend"})


def test_a_body_that_can_be_read_only_once_is_not_sent_again():
    def once():
        yield b'{"model": "m", "messages": [], '
        yield b'"stream": true}'

    with FaultServer(_CUT) as server, client_for("openai-chat", options()) as client:
        url = server.url + "/v1/chat/completions"
        with (
            client.stream("POST", url, content=once()) as response,
            pytest.raises(httpx2.RemoteProtocolError) as caught,
        ):
            response.read()
    assert len(server.requests) == 1
    assert server.requests[0].json["stream"] is True
    assert unbroken.outcome_of(caught.value).text == "".join(STORY.tokens[:20])


@pytest.mark.parametrize("streams", [True, False])
def test_a_body_read_only_once_is_watched_only_if_the_answer_streams(streams):
    whole = reply("ok", "openai-chat")
    other = Reply(headers={"content-type": "application/json"}, pieces=[b"{}"], framing="length")
    with (
        FaultServer(whole if streams else other) as server,
        client_for("openai-chat", options()) as client,
    ):
        url = server.url + "/v1/chat/completions"
        with client.stream("POST", url, content=iter([b"{}"])) as response:
            response.read()
    assert ("unbroken" in response.extensions) is streams


# ---------------------------------------------------------------- the SDK's own retries


@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async", "anthropic"])
@pytest.mark.parametrize("fault", ["http503", "cut_before"])
def test_what_fails_before_the_stream_is_retried_by_the_sdk_alone(name, fault):
    headers = {"retry-after-ms": "1"}
    params = {"headers": headers} if fault == "http503" else {}
    broken = reply(fault, DRIVES[name].dialect, **params)
    run = guarded(name, broken, max_retries=2)
    without = plain(name, broken, max_retries=2)
    assert len(run.exchanges) == len(without.exchanges) == 3
    assert run.drive.raised == without.drive.raised


@pytest.mark.parametrize("name", ["openai-chat", "anthropic-async"])
def test_what_fails_within_the_stream_is_not_retried_by_the_sdk(name):
    run = guarded(name, script_for(name, "cut_rst"), mode="raise", max_retries=2)
    assert len(run.exchanges) == 1
    assert run.drive.error is not None


# ---------------------------------------------------------------- the way to the server


def _ask(client, url="http://model.test/v1"):
    sdk = openai.OpenAI(api_key="k", base_url=url, http_client=client, max_retries=0)
    stream = sdk.chat.completions.create(model="m", messages=_TURNS, stream=True)
    text = "".join(event.choices[0].delta.content or "" for event in stream if event.choices)
    sdk.close()
    return text


def _broken_once():
    return breaking(model_for("openai-chat"), Break("cut_rst", at=20))


@pytest.mark.parametrize("by", ["argument", "environment", "mounts", "transport"])
def test_a_proxy_is_used_for_every_attempt(by, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer(_broken_once()) as proxy:
        match by:
            case "argument":
                more = {"proxy": proxy.url}
            case "environment":
                monkeypatch.setenv("HTTP_PROXY", proxy.url)
                more = {}
            case "mounts":
                more = {"mounts": {"http://": httpx2.HTTPTransport(proxy=proxy.url)}}
            case _:
                more = {"transport": httpx2.HTTPTransport(proxy=proxy.url)}
        text = _ask(unbroken.http_client(options=options(), **more))
    assert text == STORY.text
    # a proxy gets the whole address, and the name is resolved there, not here
    targets = [request.target for request in proxy.requests]
    assert targets == ["http://model.test/v1/chat/completions"] * 2


def test_no_proxy_is_obeyed(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultServer(_broken_once()) as server:
        assert _ask(unbroken.http_client(options=options()), server.url + "/v1") == STORY.text
    monkeypatch.delenv("NO_PROXY")
    with FaultServer(_broken_once()) as server:
        client = unbroken.http_client(options=options(), trust_env=False)
        assert _ask(client, server.url + "/v1") == STORY.text


@pytest.mark.seed("001-robust-http-client")
def test_settings_of_the_client_are_kept():
    client = unbroken.http_client(
        timeout=7, headers={"x-own": "1"}, base_url="http://model.test", follow_redirects=False
    )
    assert client.timeout == httpx2.Timeout(7)
    assert client.headers["x-own"] == "1"
    assert str(client.base_url) == "http://model.test"
    assert client.follow_redirects is False
    client.close()
    default = unbroken.http_client()
    assert default.timeout == httpx2.Timeout(600, connect=5)
    assert default.follow_redirects is True
    default.close()


def test_the_users_limits_hold_for_recoveries_too():
    """With one connection in all, a recovery must let go of the old before it asks anew."""
    limits = httpx2.Limits(max_connections=1)
    with FaultServer(_broken_once()) as server:
        client = unbroken.http_client(options=options(), limits=limits, timeout=2)
        assert _ask(client, server.url + "/v1") == STORY.text
        assert server.max_open == 1


def test_redirects_are_followed_and_then_watched():
    model = _broken_once()
    moved = Reply(status=307, headers={"location": "/v1/chat/completions"}, framing="length")

    def script(request):
        return moved if request.path.startswith("/old") else model(request)

    with FaultServer(script) as server:
        text = _ask(unbroken.http_client(options=options()), server.url + "/old/v1")
    assert text == STORY.text
    assert server.requests[0].path.startswith("/old")


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("no openssl to make a certificate with")
    home = tmp_path_factory.mktemp("tls")
    key, made = home / "key.pem", home / "certificate.pem"
    subprocess.run(
        [
            *(tool, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


class _TLSServer:
    """Answers every request with a whole answer, but the first with half of one."""

    def __init__(self, certificate):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.requests = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        frames = body("openai-chat", STORY)
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as link:
                    received = b""
                    while b'"stream"' not in received:
                        received += link.recv(65536)
                    self.requests += 1
                    whole = b"".join(frames if self.requests > 1 else frames[:5])
                    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type('openai-chat')}\r\n"
                    link.sendall(head.encode() + b"connection: close\r\n\r\n" + whole)
            except OSError:
                continue  # a handshake that the client refused

    def close(self):
        self._socket.close()


def test_tls_settings_are_kept(certificate):
    server = _TLSServer(certificate)
    try:
        with pytest.raises(openai.APIConnectionError):
            _ask(unbroken.http_client(options=options(), trust_env=False), server.url)
        assert server.requests == 0
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        client = unbroken.http_client(options=options(), verify=trusted, trust_env=False)
        assert _ask(client, server.url) == STORY.text
        assert server.requests == 2
    finally:
        server.close()


def test_a_stall_under_tls_ends_at_its_deadline(certificate):
    """The socket is shut down under the TLS layer, from another thread."""
    server = _TLSServer(certificate)
    server._socket.close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve():
        raw, _ = listener.accept()
        link = context.wrap_socket(raw, server_side=True)
        held.append(link)
        link.recv(65536)
        frames = b"".join(body("openai-chat", STORY)[:5])
        link.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + frames)

    thread = threading.Thread(target=serve)
    thread.start()
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    clocks = unbroken.Clocks(silence_s=0.2)
    opts = options("raise", clocks=clocks)
    client = unbroken.http_client(options=opts, verify=trusted, trust_env=False, timeout=20)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
    with pytest.raises(openai.APITimeoutError) as caught:
        _ask(client, url)
    assert unbroken.outcome_of(caught.value).duration_s < 1.2
    thread.join(5)
    for link in held:
        link.close()
    listener.close()
