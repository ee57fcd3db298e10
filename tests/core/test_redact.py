"""Frames that are shown: nothing of keys survives, nor of contents unless asked for."""

from __future__ import annotations

import base64
import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.redact import MAX_SHOWN_BYTES, Redactor
from unbroken.core.wire import Wire

BARE, FULL = Redactor(), Redactor(contents=True)

SHOWN = {
    "chat": (
        (
            b'data: {"id":"chatcmpl-Abc123","object":"chat.completion.chunk","created":1700000000,'
            b'"model":"gpt-5","choices":[{"index":0,"delta":{"content":"Hello"},'
            b'"finish_reason":null}],"usage":{"prompt_tokens":9}}\n\n'
        ),
        (
            'data: {"id":"chatcmpl-<6 characters>","object":"chat.completion.chunk",'
            '"created":1700000000,"model":"gpt-5","choices":[{"index":0,"delta":'
            '{"content":"<5 characters>"},"finish_reason":null}],"usage":{"prompt_tokens":9}}\n\n'
        ),
    ),
    "cut in a string": (
        (
            b'event: content_block_delta\r\ndata: {"type":"content_block_delta","index":0,'
            b'"delta":{"type":"text_delta","text":"Hel'
        ),
        (
            'event: content_block_delta\r\ndata: {"type":"content_block_delta","index":0,'
            '"delta":{"type":"text_delta","text":"<3 characters>'
        ),
    ),
    "two values": (
        b'data: {"type":"ping"}{"type":"x"}\n\n',
        'data: {"type":"ping"}<12 characters that are not JSON>\n\n',
    ),
    "an unescaped quote": (
        b'data: {"delta":{"text":"he said "no" to 4155551234"}}\n\n',
        'data: {"delta":{"text":"<8 characters>"<20 characters that are not JSON>\n\n',
    ),
    "error": (
        b'data: {"error":{"message":"sk-abcdefgh is bad","type":"server_error","code":503}}\n\n',
        'data: {"error":{"message":"<18 characters>","type":"server_error","code":503}}\n\n',
    ),
    "logprobs are contents too": (
        b'data: {"choices":[{"logprobs":{"content":[{"token":"Hi","bytes":[72,105]}]}}]}\n\n',
        (
            'data: {"choices":[{"logprobs":{"content":[{"token":"<2 characters>",'
            '"bytes":[<number>,<number>]}]}}]}\n\n'
        ),
    ),
    "arguments as an object": (
        (
            b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"city":"X","n":5,'
            b'"ok":true}}}]},"done":false}\n'
        ),
        (
            '{"message":{"tool_calls":[{"function":{"name":"<1 characters>","arguments":'
            '{"<4 characters>":"<1 characters>","<1 characters>":<number>,'
            '"<2 characters>":<literal>'
            '}}}]},"done":false}\n'
        ),
    ),
    "an item of an array": (
        b',\r\n{"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"}}]}\n]',
        ',\r\n{"candidates":[{"content":{"parts":[{"text":"<1 characters>"}],"role":"model"}}]}\n]',
    ),
    "names in an object of the user's": (
        b'{"args":{"content":{"disease":1,"text":["x"]}}}',
        (
            '{"args":{"<7 characters>":{"<7 characters>":<number>,"<4 characters>":'
            '["<1 characters>"]}}}'
        ),
    ),
    "marker": (b"data: [DONE]\n\n", "data: [DONE]\n\n"),
    "comment": (b": secret words\n\n", ": <12 characters>\n\n"),
    "unknown field": (b"error: secret words\n\n", "<19 characters>\n\n"),
    "id and retry": (b"id: abc\nretry: 3000\n\n", "id: <3 characters>\nretry: 3000\n\n"),
    "text": (b"data: upstream exploded\n\n", "data: <17 bytes, text>\n\n"),
    "html": (b"<html>oops</html>", "<17 bytes, HTML>"),
    "binary": (b"\x00\x00\x01\x05abc\x01\x02", "<9 bytes, binary>"),
    "several lines": (b'data: {"type":\ndata: "ping"}\n\n', 'data: {"type":\ndata: "ping"}\n\n'),
    "empty strings show": (b'{"content":"","done":true}', '{"content":"","done":true}'),
    "huge number": (b'{"n":123456789012345678901}', '{"n":<22 characters that are not JSON>'),
}


@pytest.mark.parametrize(("raw", "shown"), SHOWN.values(), ids=SHOWN.keys())
def test_what_is_left_of_a_frame(raw: bytes, shown: str) -> None:
    wire: Wire = "ndjson" if raw.startswith((b"{", b",")) else "sse"
    assert BARE.frame(raw, wire) == shown


def test_of_a_long_frame_the_beginning_is_shown() -> None:
    raw = b'data: {"text":"' + "é".encode() * MAX_SHOWN_BYTES + b'"}\n\n'
    shown = BARE.frame(raw)
    assert shown.startswith('data: {"text":"<')
    assert shown.endswith(f"<{len(raw) - MAX_SHOWN_BYTES} bytes more>")
    assert BARE.frame(raw[:100], size=1000).endswith("<900 bytes more>")


def test_contents_stay_where_they_are_asked_for() -> None:
    for name, (raw, _) in SHOWN.items():
        if name not in ("error", "binary"):
            wire: Wire = "ndjson" if raw.startswith((b"{", b",")) else "sse"
            assert FULL.frame(raw, wire) == raw.decode(), name


# Keys ----------------------------------------------------------------------------------------

KEYS = {
    "openai": "sk-proj-Zq81kLmN0pQrStUv",
    "anthropic": "sk-ant-api03-Zq81kLmN0pQr_StUv",
    "google": "AIzaSyZq81kLmN0pQrStUvWxYz0123456789abc",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "groq": "gsk_Zq81kLmN0pQrStUv",
    "huggingface": "hf_Zq81kLmN0pQrStUv",
    "xai": "xai-Zq81kLmN0pQrStUv",
    "github": "ghp_Zq81kLmN0pQrStUvWxYz0123",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
}
NAMED = {
    "field": ('{"api_key":"%s"}', "hunter2hunter2"),
    "nested field": ('{"error":{"headers":{"X-Api-Key":"%s"}}}', "hunter2hunter2"),
    "header": ('{"text":"x-api-key: %s was refused"}', "hunter2hunter2"),
    "bearer": ('{"text":"Authorization: Bearer %s"}', "hunter2hunter2"),
    "json in a string": (
        r'{"arguments":"{\"aws_secret_access_key\": \"%s\"}"}',
        "wJalrXUtnFEMIK7M",
    ),
    "query": ('{"text":"GET /v1?key=%s HTTP"}', "hunter2hunter2"),
    "url": ('{"text":"https://me:%s@example.com/"}', "hunter2hunter2"),
    "password": ('{"text":"password = %s, you know"}', "hunter2hunter2"),
}


def ways(secret: str) -> dict[str, bytes]:
    """The ways in which a key may stand in a frame."""
    quoted = json.dumps(f"see {secret} there")
    escaped = "".join(f"\\u{ord(char):04x}" for char in secret)
    half = secret[:3] + "".join(f"\\u{ord(char):04X}" for char in secret[3:6]) + secret[6:]
    coded = [base64.b64encode(f"{pad}{secret} ok".encode()).decode() for pad in ("", "a", "ab")]
    return {
        "value": b'data: {"delta":{"content":%s}}\n\n' % quoted.encode(),
        "name": b'data: {"delta":{%s:1}}\n\n' % quoted.encode(),
        "name alone": b'data: {"delta":{%s:1}}\n\n' % json.dumps(secret).encode(),
        "structural alone": b'data: {"type":%s}\n\n' % json.dumps(secret).encode(),
        "base64 behind letters": b'data: {"a":"id%s"}\n\n' % coded[0].encode(),
        "structural": b'data: {"type":%s,"id":%s}\n\n' % (quoted.encode(), quoted.encode()),
        "escaped": b'data: {"content":"%s"}\n\n' % escaped.encode(),
        "half escaped": b'data: {"content":"%s"}\n\n' % half.replace("\n", "\\n").encode(),
        "in a list": b'data: {"a":[["x",{"b":[%s]}]]}\n\n' % quoted.encode(),
        "twice encoded": b'data: {"a":%s}\n\n' % json.dumps(quoted).encode(),
        "cut": b'data: {"delta":{"content":%s' % quoted[: quoted.index(" there")].encode(),
        "behind JSON": b'data: {"a":1} %s\n\n' % secret.replace("\n", " ").encode(),
        "escaped behind JSON": b'data: {"a":1} "%s\n\n' % escaped.encode(),
        "bare": b"data: %s\n\n" % secret.replace("\n", " ").encode(),
        "comment": b": %s\n\n" % secret.replace("\n", " ").encode(),
        "event": b"event: %s\ndata: {}\n\n" % secret.replace("\n", " ").encode(),
        "unknown field": b"error: %s\n\n" % secret.replace("\n", " ").encode(),
        "html": b"<html>%s</html>" % secret.encode(),
        **{
            f"base64 {n}": b'data: {"bytes":"%s"}\n\n' % each.encode()
            for n, each in enumerate(coded)
        },
    }


def read_back(shown: str) -> str:
    """What a reader could make of a shown frame: itself, unescaped, and its base64 decoded."""
    plain = shown
    for _ in range(3):
        plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), plain)
        plain = plain.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
    coded = []
    for run in re.findall(r"[A-Za-z0-9+/_-]{12,}", plain):
        for at in range(4):
            part = run[at:].replace("-", "+").replace("_", "/")
            coded.append(base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1"))
    return "\n".join([shown, plain, *coded])


@pytest.mark.parametrize("redactor", [BARE, FULL], ids=["bare", "with contents"])
@pytest.mark.parametrize("secret", KEYS.values(), ids=KEYS.keys())
def test_no_key_survives_however_it_stands(secret: str, redactor: Redactor) -> None:
    body = secret.split("\n")[1] if "\n" in secret else secret
    for way, raw in ways(secret).items():
        shown = redactor.frame(raw)
        if way == "bare" and "\n" in secret:
            continue
        assert body not in read_back(shown), (way, shown)


@pytest.mark.parametrize("redactor", [BARE, FULL], ids=["bare", "with contents"])
@pytest.mark.parametrize(("frame", "secret"), NAMED.values(), ids=NAMED.keys())
def test_what_is_called_a_key_is_one(frame: str, secret: str, redactor: Redactor) -> None:
    for raw in (frame % secret, f"data: {frame % secret}\n\n", f"data: x {frame % secret}\n\n"):
        assert secret not in read_back(redactor.frame(raw.encode())), raw


@pytest.mark.parametrize("contents", [False, True])
def test_the_keys_of_the_request_are_known(contents: bool) -> None:
    """Whatever they look like, and where the frame is cut in the middle of one."""
    headers = (("Authorization", "Bearer plain-word"), ("X-Api-Key", "other-word"))
    url = "https://h/v1?alt=sse&key=third-word"
    redactor = Redactor.for_request(headers, url, contents=contents)
    for secret in ("plain-word", "other-word", "third-word"):
        for way, raw in ways(secret).items():
            assert secret not in read_back(redactor.frame(raw)), way
        cut = redactor.frame(b'data: {"content":"you sent %s' % secret[:-2].encode())
        assert secret[:-2] not in cut


# Contents ------------------------------------------------------------------------------------

TOKEN = "Zq7Wv"
"""Marks what is contents, in whatever the strategies below make of it."""
NUMBER = 775533
_letters = st.text(string.ascii_letters + string.digits + ' "\\/\n{}[]:,é\u2028🚢', max_size=12)
contents = st.builds(lambda a, b: a + TOKEN + b, _letters, _letters)
STRUCTURE = ["choices", "delta", "message", "content", "parts", "output", "item", "error"]
names = st.sampled_from([*STRUCTURE, "text", "index", "custom", "thinking", "name", "input"])
hidden_containers = st.sampled_from(["args", "arguments", "input", "parameters", "metadata", "x"])


def _inside(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    free = st.dictionaries(
        st.one_of(contents, names), st.one_of(children, st.just(NUMBER)), max_size=3
    )
    free = st.one_of(free, st.dictionaries(names, free, max_size=2))
    return st.one_of(
        st.lists(st.one_of(children, st.just(NUMBER)), max_size=3),
        st.dictionaries(names, children, max_size=3),
        st.dictionaries(hidden_containers, free, max_size=2),
    )


values = st.recursive(st.one_of(contents, st.booleans(), st.none()), _inside, max_leaves=8)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, Wire]:
    value = draw(st.dictionaries(names, values, max_size=3))
    ascii_only = draw(st.booleans())
    text = json.dumps(value, ensure_ascii=ascii_only, indent=draw(st.sampled_from([None, 1])))
    shape = draw(st.sampled_from(["whole", "cut", "behind", "inside", "quote"]))
    at = draw(st.integers(0, len(text)))
    if shape == "cut":
        text = text[:at]
    elif shape == "behind":
        text += draw(contents)
    elif shape == "inside":
        text = (
            text[:at] + draw(st.sampled_from(["\x01", "]", "}", "x", "'", "NaN", '"'])) + text[at:]
        )
    elif shape == "quote":
        text = '{"text":"' + TOKEN + '" ' + TOKEN + " " + text
    if draw(st.booleans()):
        lines = re.split(r"\r\n|\n|\r", text)
        return "".join(f"data: {line}\n" for line in lines).encode() + b"\n", "sse"
    return text.encode(), draw(st.sampled_from(["ndjson", "json-array"]))


@given(frames())
def test_no_content_survives(frame: tuple[bytes, Wire]) -> None:
    raw, wire = frame
    shown = read_back(BARE.frame(raw, wire))
    assert TOKEN not in shown
    assert str(NUMBER) not in shown


@given(
    st.binary(max_size=200), st.sampled_from(["sse", "ndjson", "json-array", "aws-event-stream"])
)
def test_nothing_is_ever_raised(raw: bytes, wire: Wire) -> None:
    for redactor in (BARE, FULL):
        assert isinstance(redactor.frame(raw, wire), str)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":' * 2000, b"[" * 4096, b'"' + b"\\" * 4095, b'{"' + b'\\"' * 2000, b"-" * 4096,
     b'{"a":' + b"1" * 4000, b"sk-" * 1300, b"eyJ" * 1300, b"api key " * 500, b"://a:" * 800],
    ids=lambda raw: repr(raw[:6]),
)  # fmt: skip
def test_no_frame_takes_long(raw: bytes) -> None:
    """A pattern that looks back again and again would take minutes for one of these."""
    for redactor in (BARE, FULL):
        redactor.frame(b"data: " + raw)
        redactor.frame(raw, "ndjson")
