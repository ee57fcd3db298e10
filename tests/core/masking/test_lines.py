"""Lines of a recording: masked in order, held back no longer than they must be."""

from __future__ import annotations

import gzip
from base64 import b64encode

from unbroken.core.masking import LineMask
from unbroken.core.recording import (
    Contents,
    Delivered,
    End,
    FaultSeen,
    Line,
    Lost,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    encode_line,
)

KEY = "private-value-77"
HEADERS = [("Authorization", f"Bearer {KEY}")]


def masked(*lines: Line, contents: Contents = "kept") -> list[Line]:
    mask = LineMask(contents, salt=b"salt")
    found = [line for told in lines for line in mask.put(told)]
    return found + mask.finish()


def test_a_key_that_is_cut_over_two_reads_is_gone_and_the_order_stays() -> None:
    lines = masked(
        RequestSent(at_s=0, url="https://h/v1?key=query-value-1", headers=HEADERS),
        Sent(at_s=0, text=f"say {KEY} and query-value-1"),
        ResponseHead(at_s=1, headers=[("Set-Cookie", "a=cookie-value-1")]),
        Read(at_s=2, text="you said private-va"),
        Delivered(at_s=2, size=19),
        Read(at_s=3, text="lue-77, did you?"),
        End(at_s=4, detail=f"of {KEY}"),
    )
    raw = b"".join(encode_line(line) for line in lines).decode()
    assert not any(part in raw for part in (KEY, "private-va", "query-value-1", "cookie-value"))
    assert [type(line) for line in lines] == [
        RequestSent, Sent, ResponseHead, Read, Delivered, Read, End
    ]  # fmt: skip
    reads = [line.text for line in lines if isinstance(line, Read)]
    assert reads == ["you said xxxxxxxxxx", "xxxxxx, did you?"]


def test_a_line_is_there_at_once_unless_its_end_could_begin_something() -> None:
    mask = LineMask("kept")
    mask.put(RequestSent(at_s=0, headers=HEADERS))
    assert len(mask.put(Read(at_s=1, text="data: x\n\n"))) == 1
    assert mask.put(Read(at_s=2, text="data: priv")) == []
    assert mask.put(Delivered(at_s=2, size=10)) == []
    assert len(mask.put(Read(at_s=3, text="acy\n\n"))) == 3


def test_attempts_have_bodies_of_their_own() -> None:
    lines = masked(
        Read(at_s=1, attempt=1, text='data: {"choices":[{"delta":{"content":"half a'),
        End(at_s=2, attempt=1, how="reset"),
        Read(at_s=3, attempt=2, text='data: {"choices":[{"delta":{"content":"whole"}}]}\n\n'),
        contents="removed",
    )
    texts = [line.text for line in lines if isinstance(line, Read)]
    assert texts == [
        'data: {"choices":[{"delta":{"content":"xxxxxx',
        'data: {"choices":[{"delta":{"content":"xxxxx"}}]}\n\n',
    ]


def test_what_cannot_be_masked_is_kept_by_its_size() -> None:
    aws = ("content-type", "application/vnd.amazon.eventstream")
    for head, data in (
        ([aws], "plain"),
        ([("Content-Encoding", "gzip")], "plain"),
        ([], "\x00\x00\x01"),
    ):
        lines = masked(ResponseHead(at_s=0, headers=head), Read(at_s=1, text=data),
                       contents="removed")  # fmt: skip
        read = lines[-1]
        assert isinstance(read, Read)
        assert (read.text, read.base64, read.size) == (None, None, len(data))
        kept = masked(ResponseHead(at_s=0, headers=head), Read(at_s=1, text=data))[-1]
        assert isinstance(kept, Read)
        assert kept.data == data.encode()


def test_a_compressed_body_is_looked_into() -> None:
    plain = b'data: {"a":"b"}\n\n' * 50
    coded = [("Content-Encoding", "gzip")]
    for body, left in (
        (gzip.compress(plain), True),
        (gzip.compress(plain + KEY.encode()), False),
        (gzip.compress(b'{"api_key":"abc"}'), False),
        (gzip.compress(plain)[:-20] + b"rubbish", True),
        (gzip.compress(plain) + gzip.compress(plain), True),
    ):
        for size in (1, 7, 1000):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            lines = masked(
                RequestSent(at_s=0, headers=HEADERS),
                ResponseHead(at_s=0, headers=coded),
                *[Read(at_s=1, base64=b64encode(piece).decode()) for piece in pieces],
            )
            reads = [line for line in lines if isinstance(line, Read)]
            assert sum(line.size_bytes for line in reads) == len(body)
            assert (b"".join(line.data or b"" for line in reads) == body) is left
    (_, read) = masked(ResponseHead(at_s=0, headers=[("content-encoding", "br")]),
                       Read(at_s=1, text="abc"))  # fmt: skip
    assert isinstance(read, Read)
    assert (read.data, read.size) == (None, 3)


def test_a_key_in_a_body_is_gone_where_it_stands_elsewhere() -> None:
    for contents in ("kept", "hashed", "removed"):
        lines = masked(
            Sent(at_s=0, text='{"messages":["abc123def456"],"api_key":"abc123def456"}'),
            ResponseHead(at_s=1, reason="no abc123def456"),
            Read(at_s=2, text='{"error":"bad key abc123'),
            Read(at_s=3, text='def456","access_token":"zyx987wvu654"}'),
            End(at_s=4, detail="zyx987wvu654"),
            contents=contents,
        )
        raw = b"".join(encode_line(line) for line in lines)
        assert b"abc123" not in raw
        assert b"zyx987" not in raw


def test_a_key_at_a_forms_very_end_is_known_when_the_answer_comes() -> None:
    _, read = masked(
        Sent(at_s=0, text="a=b&api_key=abc123def456"), Read(at_s=1, text="abc123def456 ")
    )
    assert isinstance(read, Read)
    assert read.text == "xxxxxxxxxxxx "


def test_a_key_in_the_path_is_that_of_the_header() -> None:
    (line,) = masked(RequestSent(at_s=0, url=f"https://h/{KEY}/v1", headers=HEADERS))
    assert isinstance(line, RequestSent)
    assert line.url == "https://h/" + "x" * len(KEY) + "/v1"


def test_the_words_of_a_status_are_contents_if_they_are_not_the_usual_ones() -> None:
    for reason, left in (("Not Found", "Not Found"), ("your prompt", "[removed]")):
        (line,) = masked(ResponseHead(at_s=0, status=404, reason=reason), contents="removed")
        assert isinstance(line, ResponseHead)
        assert line.reason == left


def test_after_a_gap_nothing_is_known_up_to_the_next_line() -> None:
    lines = masked(
        Read(at_s=0, text='data: {"choices":[{"delta":{"content":"a'),
        Lost(at_s=1, lines=3, size=99),
        Read(at_s=2, text='and sk-hidden words"}}]}\n\ndata: {"id":"c1"}\n\n'),
        contents="removed",
    )
    last = lines[-1]
    assert isinstance(last, Read)
    assert last.text == "x" * 24 + '\n\ndata: {"id":"c1"}\n\n'


def test_details_that_may_quote_the_provider_go_with_the_contents() -> None:
    fault = FaultSeen(kind="provider-error", detail="your prompt 'my words' is bad")
    other = FaultSeen(kind="stalled", detail="silent for 5 s")
    (line,) = masked(OutcomeSeen(at_s=0, status="failed", faults=[fault, other]),
                     contents="removed")  # fmt: skip
    assert isinstance(line, OutcomeSeen)
    assert [f.detail for f in line.faults] == ["", "silent for 5 s"]


def test_a_line_waits_for_what_never_comes_only_so_long() -> None:
    mask = LineMask("removed")
    held = 0
    for number in range(10_000):
        held += 1 - len(mask.put(Read(at_s=number, text='{"a":"' if not number else "b")))
        assert held <= 4097
