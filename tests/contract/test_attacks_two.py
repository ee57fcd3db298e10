"""What an attacker of part 2 found to hold: cursors that lie, translations, fuzzed wires, sinks."""

import itertools
import json
import os
import random
import shutil

import anthropic
import httpx2
import openai
import pytest

import unbroken
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Answer
from unbroken.core.wire import decoder_for
from unbroken.core.wire.aws_event_stream import encode_aws_event_stream
from unbroken.sinks import EventsFile, SQLiteFile, TextFile

_TEXT = "The sea is salt because rivers carry dissolved minerals into it, year after year."
_FIRST, _SECOND = "api.first.example", "api.second.example"
_ASKED = [{"role": "user", "content": "Why is the sea salt?"}]


def _frames(dialect, text=_TEXT):
    pieces = tuple(text[at : at + 5] for at in range(0, len(text), 5))
    return by_name(dialect).encode(Answer(text=pieces, usage=(9, 16)))


def _options(**more):
    return unbroken.Options(heals_always=10**6, breaker_failures=0, **more)


def _response(data, kind="text/event-stream"):
    return httpx2.Response(200, headers={"content-type": kind}, content=data)


# ---------------------------------------------------------------- cursors that do not do as asked

_RESPONSES = _frames("openai-responses")
_OTHER = [each.replace(b"answer-1", b"answer-2") for each in _frames("openai-responses", "No.")]
_READ_AGAIN = {
    "as asked": lambda after: _RESPONSES[after + 1 :],
    "from the start": lambda after: _RESPONSES,
    "one frame again": lambda after: _RESPONSES[after:],
    "one frame too late": lambda after: _RESPONSES[after + 2 :],
    "only the end": lambda after: _RESPONSES[-1:],
    "another answer": lambda after: _OTHER,
    "a page": lambda after: [b"<html>not here</html>"],
    "nothing": lambda after: [],
}


@pytest.mark.parametrize("how", _READ_AGAIN)
def test_what_a_cursor_brings_is_once_and_in_order_or_an_exception(how, monkeypatch):
    monkeypatch.setattr("unbroken.core.recovery.machine.backoff_s", lambda *a, **k: 0.0)
    for cut in (2, 4, 10, len(_RESPONSES) - 2):

        def answer(request, cut=cut):
            if request.method == "POST":
                return _response(b"".join(_RESPONSES[:cut]) + b"event: resp")
            after = int(request.url.params["starting_after"])
            return _response(b"".join(_READ_AGAIN[how](after)))

        http = unbroken.http_client(
            options=_options(rungs=("cursor",)), transport=httpx2.MockTransport(answer)
        )
        client = openai.OpenAI(
            base_url=f"https://{_FIRST}/v1", api_key="key-one", max_retries=0, http_client=http
        )
        text, final = "", None
        try:
            for event in client.responses.create(
                model="m", input="hi", stream=True, background=True
            ):
                if event.type == "response.output_text.delta":
                    text += event.delta
                if event.type == "response.completed":
                    final = event.response.output_text
        except openai.APIConnectionError:
            assert _TEXT.startswith(text), (how, cut)
        else:
            assert text == final == _TEXT, (how, cut)


@pytest.mark.parametrize("how", ["../../x?y=1&z#f", "a\r\nHost: evil", "a" * 100_000])
def test_an_id_of_the_provider_s_never_leaves_its_place_in_the_path(how):
    asked = []

    def answer(request):
        asked.append(request)
        if request.method == "POST":
            data = b"".join(_RESPONSES[:8])
            return _response(data.replace(b'"answer-1"', json.dumps(how).encode()))
        return httpx2.Response(404, json={})

    http = unbroken.http_client(
        options=_options(rungs=("cursor",)), transport=httpx2.MockTransport(answer)
    )
    client = openai.OpenAI(
        base_url=f"https://{_FIRST}/v1", api_key="key-one", max_retries=0, http_client=http
    )
    with pytest.raises(openai.APIConnectionError):
        list(client.responses.create(model="m", input="hi", stream=True, background=True))
    for request in asked[1:]:
        path = request.url.raw_path.partition(b"?")[0]
        assert path.startswith(b"/v1/responses/")
        assert path.count(b"/") == 3
        assert request.url.host == _FIRST


# ---------------------------------------------------------------- another dialect

_TARGETS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")


def _said_by_openai(http):
    client = openai.OpenAI(
        base_url=f"https://{_FIRST}/v1", api_key="key-one", max_retries=0, http_client=http
    )
    events = client.chat.completions.create(model="one", messages=_ASKED, stream=True)
    choices = [choice for event in events for choice in event.choices]
    finished = any(choice.finish_reason for choice in choices)
    return "".join(choice.delta.content or "" for choice in choices), finished


def _said_by_anthropic(http):
    client = anthropic.Anthropic(
        base_url=f"https://{_FIRST}", api_key="key-one", max_retries=0, http_client=http
    )
    with client.messages.stream(model="one", messages=_ASKED, max_tokens=99) as stream:
        done = stream.get_final_message()
    return "".join(block.text for block in done.content), bool(done.stop_reason)


@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize("home", ["openai-chat", "anthropic-messages"])
def test_no_cut_of_a_translated_answer_is_finished(home, target):
    if home == target:
        return
    say = _said_by_openai if home == "openai-chat" else _said_by_anthropic
    frames = _frames(target, "Hello wörld 🌍!")
    whole = b"".join(frames)
    draw = random.Random(5)
    cuts = {*itertools.accumulate(map(len, frames)), *(draw.randrange(len(whole)) for _ in "1234")}
    base = f"https://{_SECOND}" + ("/v1" if target.startswith("openai") else "")
    options = _options(
        rungs=("target",),
        max_attempts=2,
        targets=(unbroken.Target(base_url=base, model="o", api_key="key-two", dialect=target),),
    )
    for cut in sorted(cuts):

        def answer(request, data=whole[:cut]):
            kind = by_name(target).content_types[0]
            return _response(b"" if request.url.host == _FIRST else data, kind)

        http = unbroken.http_client(options=options, transport=httpx2.MockTransport(answer))
        proven = unbroken.check(whole[:cut], dialect=target).complete
        try:
            text, finished = say(http)
        except (openai.APIConnectionError, httpx2.TransportError):
            assert not proven or cut < len(whole), cut
        else:
            assert proven, cut
            assert finished, cut
            assert text == "Hello wörld 🌍!", cut


# ---------------------------------------------------------------- wires

_JSON = [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b" ", b"1", b"\xff", b"\xef\xbb\xbf", b'\\"']
_AWS = [
    encode_aws_event_stream(b'{"a":1}', event="x"),
    encode_aws_event_stream(b"", event="boom", failure=True),
    encode_aws_event_stream(b"\xff\xfe", headers={"n": 5, "flag": True, ":event-type": "y"}),
]


def _decoded(wire, data, cuts, limit):
    decoder = decoder_for(wire, max_frame_bytes=limit)
    frames, start = [], 0
    for cut in [*cuts, len(data)]:
        frames += decoder.blocks(data[start:cut])
        start = cut
    frames += decoder.close()
    return frames, decoder.take_faults(), decoder.pending


@pytest.mark.parametrize("wire", ["json-array", "aws-event-stream"])
def test_rubbish_is_the_same_however_it_is_cut(wire):
    draw = random.Random(7)
    for _ in range(1500):
        data = b"".join(
            draw.choices(_JSON if wire == "json-array" else _AWS, k=draw.randint(1, 12))
        )
        if wire == "aws-event-stream" and draw.random() < 0.6:
            at = draw.randrange(len(data))
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        for limit in (7, 1 << 20):
            at_once = _decoded(wire, data, [], limit)
            assert at_once[:2] == _decoded(wire, data, range(len(data)), limit)[:2], (data, limit)
        assert b"".join(f.raw for f in at_once[0]) == data[: sum(len(f.raw) for f in at_once[0])]


# ---------------------------------------------------------------- files


def _stream(sink, parts=None, **more):
    """Return what a stream says whose body may do something in its middle."""
    first = iter([parts or [b"".join(_frames("openai-chat"))]])

    class Parts(httpx2.SyncByteStream):
        def __iter__(self):
            for part in next(first):
                if callable(part):
                    part()
                else:
                    yield part

    def answer(request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Parts())

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    options = _options(**{"rungs": (), **more})
    base = f"https://{_FIRST}/v1"
    return unbroken.stream("q", model="m", base_url=base, client=client, options=options, sink=sink)


def _as_folder(path):
    path.mkdir()


def _as_loop(path):
    path.symlink_to(path)


def _as_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("if_exists", ["fail", "append"])
@pytest.mark.parametrize("make", [_as_folder, _as_loop, _as_pipe])
@pytest.mark.parametrize("kind", [TextFile, EventsFile, SQLiteFile])
def test_a_path_that_cannot_be_written_costs_the_sink_only(kind, make, if_exists, tmp_path):
    path = tmp_path / "answer"
    make(path)
    stream = _stream(lambda: kind(path, if_exists=if_exists))
    assert stream.text() == _TEXT
    assert stream.outcome.sink_error
    assert "salt" not in stream.outcome.sink_error


@pytest.mark.parametrize("name", ["ünï 🌍", "x" * 300, "a\nb", "a\x00b", "\ud800", " "])
@pytest.mark.parametrize("kind", [TextFile, EventsFile, SQLiteFile])
def test_odd_names_are_files_or_sink_errors(kind, name, tmp_path):
    path = f"{tmp_path}/{name}"
    stream = _stream(lambda: kind(path))
    assert stream.text() == _TEXT
    assert bool(stream.outcome.sink_error) is not any(tmp_path.iterdir())


def test_a_spill_folder_that_vanishes_changes_nothing(tmp_path):
    words = "".join(f"word {number} " for number in range(60_000))
    whole = b"".join(_frames("openai-chat", words))
    folder = tmp_path / "spill"
    folder.mkdir()
    half, most = len(whole) // 2, len(whole) * 4 // 5
    bodies = iter([[whole[:half], lambda: shutil.rmtree(folder), whole[half:most]], [whole]])

    def answer(request):
        parts = next(bodies)

        class Parts(httpx2.SyncByteStream):
            def __iter__(self):
                for part in parts:
                    if callable(part):
                        part()
                    else:
                        yield from (part[at : at + 50_000] for at in range(0, len(part), 50_000))

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Parts())

    stream = unbroken.stream(
        "q", model="m", base_url=f"https://{_FIRST}/v1", temperature=0,
        client=httpx2.Client(transport=httpx2.MockTransport(answer)),
        options=_options(max_replay_bytes=10_000, spill_dir=str(folder)),
    )  # fmt: skip
    assert "".join(stream.iter_text()) == words
    assert stream.outcome.provenance[-1].guarantee == "prefix-verified"
