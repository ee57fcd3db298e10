"""The request as recovery sees it."""

from __future__ import annotations

import json

import pytest

from unbroken.core.request import Request


def ask(body: bytes | object = b"", **more) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(
        method="POST", url=more.pop("url", "https://h.example:8443/v1/x?a=b"), body=raw, **more
    )


FLAGS = [
    (b'{"stream": true}', True),
    (b'{"stream":false}', False),
    (b'{ "a": {"stream": true} }', None),
    (b'{"messages":[{"content":"\\"stream\\": true"}]}', None),
    (b'{"messages":["stream"], "stream"  :  true}', True),
    (b'{"stream": "true"}', None),
    (b'{"stream": 1}', None),
    (b'{"stream": null}', None),
    (b'{"stream": true', None),
    (b'[{"stream": true}]', None),
    (b"", None),
    (b"\xff\xfe", None),
]


@pytest.mark.parametrize(("body", "flag"), FLAGS)
def test_stream_flag_is_the_top_level_one(body, flag):
    assert ask(body).stream_flag is flag


@pytest.mark.parametrize(
    ("body", "value"),
    [(b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b"", {}), (b"{", {}), (b"\xff", {}), (b"null", {})],
)
def test_json_is_an_object_or_empty(body, value):
    assert ask(body).json == value


def test_json_is_parsed_once():
    request = ask({"a": 1})
    assert request.json is request.json


def test_other_body_same_request():
    request = ask({"a": 1}, headers=(("x", "y"),))
    other = request.with_json({"b": "ü"})
    assert json.loads(other.body) == {"b": "ü"}
    assert other.json == {"b": "ü"}
    assert (other.url, other.headers, other.method) == (request.url, request.headers, "POST")
    assert request.json == {"a": 1}


def test_parts_of_the_address():
    request = ask()
    assert (request.path, request.host) == ("/v1/x", "h.example")
    assert ask(url="http://[::1]:9/v1").host == "::1"
    assert ask(url="/v1/x").host == ""


def test_headers_by_any_case():
    request = ask(headers=(("X-Key", "1"), ("x-key", "2")))
    assert request.header("x-KEY") == "1"
    assert request.header("y") is None


def test_body_is_kept_not_copied():
    body = b'{"a": 1}'
    assert ask(body).body is body


SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/bedrock/aws4_request,"
    " SignedHeaders=host;x-amz-date, Signature=0f"
)
DATE = ("X-Amz-Date", "20261121T123456Z")


@pytest.mark.parametrize(
    ("headers", "signed", "at"),
    [
        ((("Authorization", SIGNATURE), DATE), True, 1795264496.0),
        ((("authorization", SIGNATURE), ("x-amz-date", "20261121T123456Z")), True, 1795264496.0),
        ((("Authorization", SIGNATURE),), True, None),
        ((("Authorization", SIGNATURE), ("x-amz-date", "today")), True, None),
        ((("Authorization", "Bearer AWS4-HMAC-SHA256"), DATE), False, None),
        ((DATE,), False, None),
        ((), False, None),
    ],
)
def test_signature_of_aws_and_its_time(headers, signed, at):
    request = ask(headers=headers)
    assert (request.signed, request.signed_at) == (signed, at)
