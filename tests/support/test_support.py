"""The support itself: the plain SDKs read our healthy bodies, and fail on faults as known."""

import json
import socket
import struct
import time
from itertools import repeat

import pytest

from tests.support.bodies import DIALECTS, Answer, ToolCall, body, tokens_of
from tests.support.drives import ASYNC_DRIVES, DRIVES, SYNC_DRIVES, run
from tests.support.environments import environment
from tests.support.faults import FAULTS, STORY, Break, breaking, cases, reply
from tests.support.faultserver import FaultServer, Gate, Reply, Request, unused_url
from tests.support.model import APOLOGY, BEHAVIOURS, Model, find_anchor

# ---------------------------------------------------------------- healthy bodies, every SDK


@pytest.mark.parametrize("name", DRIVES)
def test_plain_sdks_get_the_whole_text(name):
    spec = DRIVES[name]
    with FaultServer(reply("ok", spec.dialect)) as server:
        drive = run(name, server.url)
        assert drive.verdict(STORY.text) == "ok", drive.error
        assert drive.finished
        assert drive.final_text in (None, STORY.text)
        assert drive.pieces == list(STORY.tokens)
        assert len(server.requests) == 1
        assert server.wait_for_open(0)


@pytest.mark.parametrize("name", DRIVES)
def test_plain_sdks_get_reasoning_and_tool_calls(name):
    spec = DRIVES[name]
    arguments = {"city": "東京", "days": 2}
    tools = (
        ToolCall(name="weather", fragments=('{"city": "東', '京", "da', 'ys": 2}'), id="call_a"),
        ToolCall(name="now", fragments=("{}",), id="call_b"),
    )
    answer = Answer(tokens=("Let me", " look."), reasoning=("Hm", ", weather"), tools=tools)
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    # the chat helper reports tool calls of tools that it knows of
    request = {"tools": [tool]} if name.startswith("openai-chat") else {}
    with FaultServer(reply("ok", spec.dialect, body(spec.dialect, answer), at=0)) as server:
        drive = run(name, server.url, request=request)
    assert drive.error is None
    assert drive.text == answer.text
    assert drive.reasoning == "Hm, weather"
    assert [call["name"] for call in drive.tools] == ["weather", "now"]
    assert [json.loads(call["arguments"]) for call in drive.tools] == [arguments, {}]
    assert drive.finished


# The last five leave a wrong text, or are shaped to break careless code, some SDKs' own too.
_HARMLESS = [
    name
    for name, fault in FAULTS.items()
    if fault.kind is None
    and name not in ("dup", "reorder", "missing", "no_content", "empty_choices")
]


@pytest.mark.parametrize("fault", _HARMLESS)
def test_what_is_no_fault_is_none(fault):
    for name in SYNC_DRIVES:
        dialect = DRIVES[name].dialect
        if dialect in FAULTS[fault].dialects:
            with FaultServer(reply(fault, dialect)) as server:
                assert run(name, server.url).verdict(STORY.text) == "ok", name


@pytest.mark.parametrize("name", SYNC_DRIVES)
def test_a_limit_is_no_good_finish(name):
    dialect = DRIVES[name].dialect
    cut = Answer(tokens=("One", " two"), finish="length")
    with FaultServer(reply("ok", dialect, body(dialect, cut), at=0)) as server:
        drive = run(name, server.url)
    assert not drive.finished
    if name == "openai-chat-helper":  # the helper raises on both
        assert drive.raised in (
            "openai.LengthFinishReasonError",
            "openai.ContentFilterFinishReasonError",
            None,
        )
    else:
        assert drive.text == "One two"
        assert drive.finish is not None


# ---------------------------------------------------------------- the plain SDKs and faults

_COLUMNS = (
    "openai-chat",
    "openai-chat-helper",
    "openai-responses",
    "openai-responses-helper",
    "anthropic",
    "anthropic-helper",
    "google-genai",
    "ollama",
)
# As seen on openai 3.52, anthropic 2.11, google-genai 3.4, ollama 0.6.3; "-" cannot be done.
_FIELD = """
cut_fin        raise   raise   raise   raise   raise   raise   raise   raise
cut_rst        raise   raise   raise   raise   raise   raise   raise   raise
cut_length     raise   raise   raise   raise   raise   raise   raise   raise
cut_clean      TRUNC   TRUNC   TRUNC   raise   TRUNC   TRUNC   TRUNC   TRUNC
cut_close      TRUNC   TRUNC   TRUNC   raise   TRUNC   TRUNC   TRUNC   TRUNC
cut_midline    TRUNC   TRUNC   TRUNC   raise   TRUNC   TRUNC   raise   raise
no_done        ok      ok      ok      raise   ok      ok      ok      ok
no_finish      ok      ok      -       -       ok      ok      -       -
bad_json       raise   raise   raise   raise   raise   raise   raise   raise
error_obj      raise   raise   TRUNC   raise   raise   raise   raise   raise
html200        EMPTY   raise   EMPTY   raise   EMPTY   raise   raise   raise
json200        EMPTY   raise   EMPTY   raise   EMPTY   raise   raise   raise
gzip_cut       raise   raise   raise   raise   raise   raise   raise   raise
dup            CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT
reorder        CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT
missing        CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT CORRUPT
cut_before     raise   raise   raise   raise   raise   raise   raise   raise
http503        raise   raise   raise   raise   raise   raise   raise   raise
"""


@pytest.mark.parametrize("row", _FIELD.strip().splitlines(), ids=lambda row: row.split()[0])
def test_plain_sdks_fail_as_known(row):
    fault, *expected = row.split()
    seen = []
    for name in _COLUMNS:
        dialect = DRIVES[name].dialect
        if dialect not in FAULTS[fault].dialects:
            seen.append("-")
            continue
        with FaultServer(reply(fault, dialect)) as server:
            drive = run(name, server.url, max_retries=0)
            assert server.wait_for_open(0), name
        seen.append(drive.verdict(STORY.text).partition(" ")[0])
        if FAULTS[fault].carries == "prefix":
            assert drive.text == "".join(STORY.tokens[:4]), name
    assert seen == expected


@pytest.mark.parametrize("fault", [name for name, row in FAULTS.items() if row.endless])
@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async", "anthropic", "google-genai"])
def test_endless_faults_end_when_the_client_goes(name, fault):
    dialect = DRIVES[name].dialect
    with FaultServer(reply(fault, dialect)) as server:
        drive = run(name, server.url, stop_after=3, timeout_s=0.2, max_retries=0)
        assert drive.error is not None or drive.text == "".join(STORY.tokens[:3])
        assert server.wait_for_open(0)
        assert all(exchange.client_left for exchange in server.exchanges)


# ---------------------------------------------------------------- the table of faults


_TEXT_AT = {
    "openai-chat": ("choices", 0, "delta", "content"),
    "openai-responses": ("delta",),
    "anthropic-messages": ("delta", "text"),
    "gemini": ("candidates", 0, "content", "parts", 0, "text"),
    "ollama": ("message", "content"),
    "cohere": ("delta", "message", "content", "text"),
}


def _text_in(dialect, raw):
    """The text deltas of a body, read by no more than a split and a path."""
    out = []
    for line in raw.splitlines():
        try:
            value = json.loads(line.removeprefix(b"data: "))
            for step in _TEXT_AT[dialect]:
                value = value[step]
        except (ValueError, LookupError, TypeError):
            continue
        out.append(value or "")
    return "".join(out)


@pytest.mark.parametrize(("fault", "dialect"), cases())
def test_faults_carry_what_they_say(fault, dialect):
    row = FAULTS[fault]
    made = reply(fault, dialect, at=4, size=1000)
    if row.endless or "gzip" in fault:
        return
    pieces = made.pieces() if callable(made.pieces) else made.pieces
    text = _text_in(dialect, b"".join(piece for piece in pieces if isinstance(piece, bytes)))
    match row.carries:
        case "whole":
            assert text == STORY.text
        case "prefix":
            assert STORY.text.startswith(text)
            assert len(text) >= len("".join(STORY.tokens[:4]))
            assert text != STORY.text
        case "altered":
            assert text != STORY.text
        case "none":
            assert text == ""


def test_a_busy_provider_says_when_to_come_back():
    with FaultServer(reply("http429", "anthropic-messages", retry_after="7")) as server:
        drive = run("anthropic", server.url, max_retries=0)
    assert drive.error.response.headers["retry-after"] == "7"


# ---------------------------------------------------------------- the server


def _fetch(server, *, pause_s=0.0, limit=1 << 30):
    """GET by hand: all bytes until the end, and how it ended."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        time.sleep(pause_s)
        out = bytearray()
        try:
            while len(out) < limit and (data := sock.recv(65536)):
                out += data
        except ConnectionResetError:
            return bytes(out), "rst"
    return bytes(out), "fin"


def test_the_ends_differ_on_the_socket():
    fin = Reply(pieces=[b"a", b"b"], end="fin")
    rst = Reply(pieces=[b"a", b"b"], end="rst")
    close = Reply(pieces=[b"a", b"b"], framing="close")
    short = Reply(pieces=[b"a", b"b"], framing="length", content_length=9, end="fin")
    with FaultServer([fin, rst, close, short, Reply(status=None, pieces=[b"raw"])]) as server:
        got = [_fetch(server) for _ in range(5)]
    heads, bodies = zip(*[raw.partition(b"\r\n\r\n")[::2] for raw, _ in got], strict=True)
    assert [end for _, end in got] == ["fin", "rst", "fin", "fin", "fin"]
    assert bodies[:4] == (b"1\r\na\r\n1\r\nb\r\n", b"1\r\na\r\n1\r\nb\r\n", b"ab", b"ab")
    assert b"content-length: 9" in heads[3]
    assert got[4][0] == b"raw"


def test_it_starts_fast():
    spent = []
    for _ in range(5):
        start_s = time.perf_counter()
        with FaultServer(Reply(pieces=[b"x"], framing="close")) as server:
            assert _fetch(server)[0].endswith(b"x")
        spent.append(time.perf_counter() - start_s)
    assert min(spent) < 0.02  # start, one request, stop


def test_it_writes_only_as_fast_as_it_is_read():
    endless = Reply(pieces=lambda: repeat(b"x" * 1000))
    with FaultServer(endless, send_buffer_bytes=16384) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            last = -1
            while server.bytes_written != last:  # until it stands still
                last = server.bytes_written
                time.sleep(0.1)
            assert 0 < last < 1_000_000
            sock.recv(1 << 20)
            assert server.wait_for(lambda: server.bytes_written > last)
        assert server.wait_for_open(0)
        assert server.exchanges[0].client_left


def test_a_gate_holds_the_body():
    gate = Gate()
    held = Reply(pieces=[b"first", gate, b"second"], framing="close")
    with FaultServer(held) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert gate.reached.wait(2)
        assert server.bytes_written == 5
        gate.open()
        assert server.wait_for(lambda: server.bytes_written == 11)


def test_connections_are_kept_and_counted():
    import httpx2

    script = [Reply(pieces=[b"{}"]), Reply(pieces=[b"{}"], framing="length")]
    with FaultServer(script) as server:
        with httpx2.Client() as client:
            answers = [client.post(server.url + "/a?b=c", json={"n": n}) for n in range(3)]
            assert server.open_connections == server.max_open == server.accepted == 1
        assert server.wait_for_open(0)
    assert [answer.status_code for answer in answers] == [200, 200, 418]
    assert server.unscripted == 1
    assert server.bodies == [{"n": 0}, {"n": 1}, {"n": 2}]
    first = server.requests[0]
    assert (first.method, first.path, first.query) == ("POST", "/a", "b=c")
    assert first.headers["content-type"] == "application/json"


def test_a_bug_in_a_script_fails_the_test():
    def script(request):
        raise KeyError("oops")

    with pytest.raises(KeyError), FaultServer(script) as server:
        _fetch(server)


def test_it_can_be_killed_and_started_again():
    with FaultServer(Reply(end="stall")) as server:
        port = server.port
        sock = socket.create_connection(("127.0.0.1", port), timeout=2)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert server.wait_for(lambda: len(server.exchanges) == 1)
    with sock:
        while sock.recv(1000):  # what was sent, and then the end
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    with FaultServer(Reply(pieces=[b"again"], framing="close"), port=port) as server:
        assert _fetch(server)[0].endswith(b"again")


def test_an_unused_url_refuses():
    drive = run("openai-chat", unused_url(), max_retries=0)
    assert drive.raised == "openai.APIConnectionError"


def test_a_client_that_resets_is_noticed():
    with FaultServer(Reply(pieces=[b"x"], end="stall")) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=2)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert server.wait_for(lambda: server.bytes_written == 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert server.wait_for_open(0)


# ---------------------------------------------------------------- the model

_NAME = {
    "openai-chat": "openai-chat",
    "openai-responses": "openai-responses",
    "anthropic-messages": "anthropic",
    "gemini": "google-genai",
    "ollama": "ollama",
}
_CUT = 61  # inside a word
_PREFILL = ({"role": "user", "content": "Go."}, {"role": "assistant", "content": STORY.text[:_CUT]})


def _ask(model, messages, **wire):
    with FaultServer(model) as server:
        return run(_NAME[model.dialect], server.url, messages=messages, max_retries=0, **wire)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_continues_a_prefill(dialect):
    model = Model(dialect=dialect, answer=STORY)
    assert _ask(model, _PREFILL).text == STORY.text[_CUT:]
    assert model.attempts[0].asked == "prefill"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_begins_with_the_anchor(dialect):
    anchor = "every evening and wrote"
    told = f'Continue where you stopped; begin with exactly: "{anchor}" and nothing before it.'
    model = Model(dialect=dialect, answer=STORY)
    text = _ask(model, (*_PREFILL, {"role": "user", "content": told})).text
    assert text == STORY.text[STORY.text.index(anchor) :]
    assert model.attempts[0].given == anchor


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_the_model_behaves(behaviour):
    model = Model(dialect="openai-chat", answer=STORY, behaviour=behaviour)
    drive = _ask(model, _PREFILL)
    rest, start = STORY.text[_CUT:], STORY.text[:_CUT]
    if behaviour == "paraphrase":
        assert len(tokens_of(drive.text)) == len(tokens_of(rest))
        assert not set(drive.text.split()) & set(rest.split())
        return
    expected = {
        "obey": rest,
        "echo": STORY.text,
        "echo-fused": STORY.text,
        "restart": STORY.text,
        "apologise": APOLOGY + rest,
    }
    assert drive.text == expected[behaviour]
    if behaviour == "echo-fused":
        assert drive.pieces[0].startswith(start)
        assert len(drive.pieces[0]) > len(start)


def test_the_model_is_the_same_for_the_same_seed():
    mix = {"obey": 0.5, "paraphrase": 0.3, "restart": 0.2}
    asked = json.dumps({"messages": _PREFILL}).encode()
    request = Request(
        method="POST", target="/", headers={}, body=asked, index=0, connection=0, received_s=0.0
    )

    def said(seed):
        model = Model(dialect="openai-chat", answer=STORY, behaviour=mix, seed=seed)
        return [model.frames(request) for _ in range(8)]

    assert said(1) == said(1) != said(2)


def test_a_sampling_model_repeats_itself_only_when_told():
    model = Model(dialect="openai-chat", answer=STORY, sampling=True)
    plain = [_ask(model, _PREFILL[:1]).text for _ in range(2)]
    seeded = [_ask(model, _PREFILL[:1], request={"seed": 1}).text for _ in range(2)]
    cold = _ask(model, _PREFILL[:1], request={"temperature": 0}).text
    assert plain[0] != plain[1]
    assert [*seeded, cold] == [STORY.text] * 3


def test_the_model_may_refuse_or_ignore_a_prefill():
    refusing = Model(dialect="anthropic-messages", answer=STORY, prefill="refuse")
    assert _ask(refusing, _PREFILL).raised == "anthropic.BadRequestError"
    strict = Model(dialect="anthropic-messages", answer=STORY, allow_trailing_space=False)
    spaced = ({"role": "user", "content": "Go."}, {"role": "assistant", "content": "The "})
    assert _ask(strict, spaced).raised == "anthropic.BadRequestError"
    ignoring = Model(dialect="openai-chat", answer=STORY, prefill="ignore")
    assert _ask(ignoring, _PREFILL).text == STORY.text


@pytest.mark.parametrize(
    "quote", ['"{}"', "`{}`", "<anchor>{}</anchor>", "\n{}", "“{}”"], ids=lambda q: q.strip()
)
def test_anchors_are_found_however_quoted(quote):
    told = f"Your answer “The lighthouse keeper” broke off. Begin with exactly: {quote}"
    assert find_anchor(told.format("counted ships"), STORY.text) == "counted ships"
    assert find_anchor("Tell me a story about exactly two ships.", STORY.text) is None


def test_attempts_break_as_planned():
    model = Model(dialect="openai-chat", answer=STORY)
    plan = breaking(model, Break("cut_clean", at=3), None, Break("cut_fin", at=500))
    with FaultServer(plan) as server:
        texts = [run("openai-chat", server.url).text for _ in range(4)]
    assert texts == ["".join(STORY.tokens[:3]), STORY.text, STORY.text, STORY.text]


# ---------------------------------------------------------------- other drives, other versions


@pytest.mark.parametrize("name", DRIVES)
def test_drives_run_over_a_transport(name):
    import httpx
    import httpx2

    spec = DRIVES[name]
    library = {"httpx": httpx, "httpx2": httpx2}[spec.library]
    kind = library.AsyncHTTPTransport if spec.is_async else library.HTTPTransport
    with FaultServer(reply("ok", spec.dialect)) as server:
        drive = run(name, server.url, transport=kind)
        assert drive.verdict(STORY.text) == "ok", drive.error
        assert server.wait_for_open(0)


@pytest.mark.parametrize("name", [name for name in DRIVES if "ollama" not in name])
def test_drives_run_over_a_client(name):
    import httpx2

    spec = DRIVES[name]
    kind = httpx2.AsyncClient if spec.is_async else httpx2.Client
    with FaultServer(reply("ok", spec.dialect)) as server:
        drive = run(name, server.url, http_client=kind)
        assert drive.verdict(STORY.text) == "ok", drive.error
        assert server.wait_for_open(0)


@pytest.mark.parametrize("name", [n for n in ASYNC_DRIVES if "google" not in n])
def test_async_drives_run_on_trio(name):
    with FaultServer(reply("ok", DRIVES[name].dialect)) as server:
        assert run(name, server.url, backend="trio").verdict(STORY.text) == "ok"


@pytest.mark.parametrize(
    ("env", "name"),
    [("openai-1", "openai-chat"), ("openai-2", "openai-chat-async"), ("anthropic-0", "anthropic")],
)
def test_older_sdks_run_in_environments(env, name):
    older = environment(env)
    sdk, _, major = env.rpartition("-")
    assert older.version(sdk).startswith(f"{major}.")
    with FaultServer(reply("ok", DRIVES[name].dialect)) as server:
        drive = older.drive(
            name, server.url, timeout_s=5, http_client={"factory": _library_client(older, name)}
        )
    assert (drive["text"], drive["raised"]) == (STORY.text, None)


def _library_client(env, name):
    return f"{env.library}:{'AsyncClient' if DRIVES[name].is_async else 'Client'}"
