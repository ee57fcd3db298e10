from __future__ import annotations

import pytest

from unbroken.relay.headers import for_downstream, for_upstream, framing_of


def test_headers_of_the_connection_do_not_pass() -> None:
    sent = [
        ("Authorization", "Bearer k"),
        ("Connection", "keep-alive, X-Private"),
        ("Keep-Alive", "timeout=5"),
        ("X-Private", "1"),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Proxy-Authorization", "Basic x"),
        ("Host", "localhost:1"),
        ("Expect", "100-continue"),
        ("Content-Length", "7"),
        ("accept-encoding", "gzip, br"),
        ("X-Stainless-Lang", "python"),
        ("x-lab-plan", "cut"),
    ]
    assert for_upstream(sent, drop=["x-lab-plan"]) == [
        ("Authorization", "Bearer k"),
        ("X-Stainless-Lang", "python"),
        ("Accept-Encoding", "identity"),
    ]


def test_an_answer_keeps_what_is_true_of_its_bytes() -> None:
    answer = [
        ("Content-Type", "text/event-stream"),
        ("Content-Length", "10"),
        ("Content-Encoding", "gzip"),
        ("ETag", '"x"'),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
    ]
    kept = for_downstream(answer)
    assert kept == [pair for pair in answer if pair[0] not in ("Transfer-Encoding", "Connection")]
    assert for_downstream(answer, rewritten=True) == [kept[0], *kept[4:]]


@pytest.mark.parametrize(
    ("method", "status", "headers", "expected"),
    [
        ("POST", 200, [("Transfer-Encoding", "chunked")], "chunked"),
        ("POST", 200, [("transfer-encoding", "Chunked"), ("content-length", "3")], "chunked"),
        ("POST", 200, [("Transfer-Encoding", "gzip")], "close"),
        ("POST", 200, [("Content-Length", "3")], "length"),
        ("POST", 200, [], "close"),
        ("HEAD", 200, [("Content-Length", "3")], "none"),
        ("GET", 204, [], "none"),
        ("GET", 304, [("Content-Length", "3")], "none"),
    ],
)
def test_how_an_answer_tells_its_end(
    method: str, status: int, headers: list[tuple[str, str]], expected: str
) -> None:
    assert framing_of(method, status, headers) == expected
