"""What each fault does to a body, beyond what all have in common."""

from __future__ import annotations

import itertools
import json
import zlib
from email.utils import parsedate_to_datetime

import pytest

from tests.lab.bodies import NAMES, TEXT, pieces
from tests.lab.injectors.playing import play
from unbroken.core.verdict import check
from unbroken.lab import shapes
from unbroken.lab.framing import number_of, payload_of, record_of
from unbroken.lab.injectors import INJECTORS
from unbroken.lab.injectors.raw import coded
from unbroken.lab.parts import Pause, Stop
from unbroken.lab.roles import pieces_of_body

ARRAY = "gemini-array"
RESPONSES = "openai-responses"


def text_of(played, dialect="openai-chat"):
    return check(played.body, dialect).text


# cut --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "stop"), [("clean", "clean"), ("fin", "fin"), ("rst", "rst"), ("close", "fin")]
)
def test_cut(how, stop):
    played = play(f"cut.{how}@4t")
    assert played.stop == stop
    assert played.head.framing == ("close" if how == "close" else "chunked")
    assert text_of(played) == "".join(TEXT[:4])


@pytest.mark.parametrize("dialect", NAMES)
def test_half_line(dialect):
    played = play("cut.half-line@4t", dialect)
    assert played.stop == "clean"
    whole = pieces(dialect)
    ends = [piece.at_byte + len(piece.data) for piece in whole]
    assert len(played.body) not in ends, "it cut between two frames"
    assert text_of(played, dialect) == "".join(TEXT[:4])


def test_half_utf8():
    for dialect in NAMES:
        if "half-utf8" not in INJECTORS["cut"].hows_in(dialect):
            continue
        body = play("cut.half-utf8@3t", dialect).body
        assert body[-1] >= 0xC2, dialect
        assert body.count("größer".encode()) == 0


# stall ------------------------------------------------------------------------------------


def test_a_dead_stall_ends_the_flow():
    played = play("stall@4t")
    assert played.parts[-1] == Pause(None)
    assert text_of(played) == "".join(TEXT[:4])


def test_a_stall_that_goes_on():
    played = play("stall@4t@3s")
    assert played.pauses == [3.0]
    assert played.body == played.whole


@pytest.mark.parametrize("how", ["ping", "comment", "empty"])
@pytest.mark.parametrize("dialect", NAMES)
def test_a_busy_stall(dialect, how):
    if how not in INJECTORS["stall"].hows_in(dialect):
        return
    played = play(f"stall.{how}@4t@3s", dialect)
    assert sum(played.pauses) == pytest.approx(3.0)
    assert len(played.body) > len(played.whole)
    outcome = check(played.body, dialect)
    assert (outcome.status, outcome.text) == ("complete", "".join(TEXT))


def test_a_busy_stall_for_ever():
    for dialect, how in (("openai-chat", "empty"), ("anthropic-messages", "ping")):
        played = play(f"stall.{how}", dialect, most=300)
        assert played.endless


def test_what_is_put_in_takes_numbers_and_later_frames_follow():
    for fault in ("stall.empty@2s", "after-end@x2", "error.flat", "error.after-done"):
        frames = pieces_of_body(RESPONSES, play(fault, RESPONSES).body)
        numbers = [number_of(RESPONSES, frame.data) for frame in frames if frame.event]
        assert numbers == list(range(len(numbers))), fault


# time -------------------------------------------------------------------------------------


def test_drip():
    played = play("drip@4t@2s")
    assert played.pauses == [2.0] * (len(played.healthy) - 5)
    assert all(pause.drip for pause in played.parts if isinstance(pause, Pause))
    by_byte = play("drip.byte@10ms")
    assert len(by_byte.pauses) == len(by_byte.whole)


def test_bandwidth():
    played = play("bandwidth@x500")
    assert sum(played.pauses) == pytest.approx(len(played.whole) / 500)
    assert max(len(piece.data) for piece in played.sent) <= 50


def paces(played):
    return [round(piece.pace_s, 3) for piece in played.sent]


def test_burst():
    healthy = play("ok")
    for fault in ("burst@x4", "burst@300ms", "burst.all"):
        played = play(fault)
        assert sum(paces(played)) == pytest.approx(sum(paces(healthy)))
    assert paces(play("burst@x4"))[:9] == [0.3, 0, 0, 0, 0.4, 0, 0, 0, 0.4]
    assert paces(play("burst.all"))[0] == pytest.approx(1.1)


@pytest.mark.parametrize("fault", ["burst.all", "burst@3600s", "burst@x1000000"])
def test_burst_does_not_hold_an_endless_answer_for_ever(fault):
    played = play(f"{fault}+endless.line@4t", most=50)
    assert played.endless
    first, *others = played.sent
    assert first.pace_s > 5
    assert not any(piece.pace_s for piece in others)


def test_burst_gives_out_what_it_holds_before_a_cut():
    played = play("burst.all+cut.rst@4t")
    assert text_of(played) == "".join(TEXT[:4])
    assert played.stop == "rst"


def test_split():
    assert {len(piece.data) for piece in play("split").sent} == {1}
    lines = play("split.lines").sent
    assert all(piece.data[0] in b"\r\n" or piece.frame is not None for piece in lines)
    assert all(not {10, 13} & set(piece.data[1:]) for piece in lines)


# frames -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", NAMES)
def test_duplicate(dialect):
    played = play("duplicate@4t@x2", dialect)
    data = [piece.data for piece in played.sent]
    twice = [one for one, two in itertools.pairwise(data) if one == two]
    assert len(twice) == 2
    assert len(data) == len(played.healthy) + 2


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("at", [0, 4])
def test_lost_doubled_and_moved_frames_leave_the_wire_whole(dialect, at):
    """Of an array too, whose first element has the bracket, and whose others have commas."""
    for fault in ("drop", "duplicate", "reorder@x2"):
        played = play(f"{fault}@{at}t", dialect)
        outcome = check(played.body, dialect)
        assert outcome.complete or dialect == RESPONSES, fault
        if dialect != RESPONSES:
            assert outcome.text != "".join(TEXT), fault
        if dialect == ARRAY:
            json.loads(played.body)


@pytest.mark.parametrize("fault", ["stall.empty@1s", "stall.comment@1s", "error"])
@pytest.mark.parametrize("at", ["0f", "1f", "4t"])
def test_what_is_put_into_an_array_leaves_it_one(fault, at):
    assert json.loads(play(f"{fault}@{at}", ARRAY).body)


def test_reorder_by_distance():
    assert text_of(play("reorder@0t@x3")) == "".join(TEXT[n] for n in (1, 2, 3, 0, *range(4, 11)))


def test_drop_before_numbering():
    gap = play("drop@2t@x2", RESPONSES).body
    hidden = play("drop.before-numbering@2t@x2", RESPONSES).body

    def numbers(body):
        return [number_of(RESPONSES, piece.data) for piece in pieces_of_body(RESPONSES, body)]

    assert numbers(hidden) == list(range(len(numbers(hidden))))
    assert len(set(range(max(numbers(gap)) + 1)) - set(numbers(gap))) == 2


@pytest.mark.parametrize("dialect", NAMES)
def test_corrupt_json(dialect):
    for how in INJECTORS["corrupt-json"].hows_in(dialect):
        played = play(f"corrupt-json.{how}@4t", dialect)
        broken = [p for p in played.sent if p.role == "content"][4]
        with pytest.raises(ValueError):  # noqa: PT011  that it is one is all
            json.loads(payload_of(dialect, broken.data))
        assert len(pieces_of_body(dialect, played.body)) == len(played.healthy)


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("how", ["stray", "overlong", "surrogate"])
def test_invalid_utf8(dialect, how):
    played = play(f"invalid-utf8.{how}@4t", dialect)
    broken = [p for p in played.sent if p.role == "content"][4]
    if dialect != "bedrock-invoke":
        with pytest.raises(UnicodeDecodeError):
            broken.data[broken.data.index(b"{") : broken.data.rindex(b"}") + 1].decode()
    assert "größer".encode() not in broken.data


def test_join():
    played = play("join.lines@2t", RESPONSES)
    joined = next(p for p in played.sent if p.data.count(b"data: ") == 2)
    assert joined.data.count(b"event: ") == 1
    assert len(played.sent) == len(played.healthy) - 1
    played = play("join.objects@2t", "ollama")
    assert any(p.data.count(b"}{") == 1 for p in played.sent)


def test_oversized_frames_keep_their_text():
    for dialect in NAMES:
        played = play("oversized@x50k", dialect)
        assert max(len(piece.data) for piece in played.sent) >= 50_000
        assert text_of(played, dialect) == "".join(TEXT)


def test_tool_cut():
    for dialect in NAMES:
        if not INJECTORS["tool-cut"].hows_in(dialect):
            continue
        played = play("tool-cut@2t", dialect, call=True)
        outcome = check(played.body, dialect)
        assert outcome.tool_calls[0].arguments == '{"city": "Zür'
        assert [fault.kind for fault in outcome.faults] == ["invalid-tool-arguments"], dialect


def test_ids():
    for dialect, how, key in (
        ("openai-chat", "id", "id"),
        ("openai-chat", "model", "model"),
        ("gemini", "id", "responseId"),
        (RESPONSES, "id", "item_id"),
        ("ollama", "model", "model"),
    ):
        played = play(f"ids.{how}@4t", dialect)
        said = [record_of(dialect, piece.data).get(key) for piece in played.sent]
        assert len(set(filter(None, said))) == 2
        assert text_of(played, dialect) == "".join(TEXT)


# ends -------------------------------------------------------------------------------------


def test_missing():
    roles = {how: {p.role for p in play(f"missing.{how}").sent} for how in ("terminal", "finish")}
    assert "terminal" not in roles["terminal"]
    assert "finish" in roles["terminal"]
    assert "finish" not in roles["finish"]
    assert "terminal" in roles["finish"]
    assert not {"finish", "terminal"} & {p.role for p in play("missing.both").sent}
    assert play("missing", "ollama").body == play("missing.both", "ollama").body


@pytest.mark.parametrize("dialect", NAMES)
def test_doubled(dialect):
    played = play("doubled", dialect)
    assert len(played.sent) == len(played.healthy) + 1
    data = [piece.data for piece in played.sent]
    assert any(one == two for one, two in itertools.pairwise(data))


@pytest.mark.parametrize("dialect", NAMES)
def test_error(dialect):
    for how in shapes.ERRORS[dialect]:
        played = play(f"error.{how}@4t", dialect)
        assert played.stop == "clean"
        outcome = check(played.body, dialect)
        assert outcome.text == "".join(TEXT[:4])
        assert [f.kind for f in outcome.faults if f.fatal] == ["provider-error"]
    late = play("error.after-done", dialect)
    assert late.body.startswith(late.whole)


@pytest.mark.parametrize("dialect", NAMES)
def test_an_error_first_of_all(dialect):
    played = play("error@0f", dialect)
    outcome = check(played.body, dialect)
    bare = dialect == "gemini"  # JSON and nothing else, as an HTTP error has it
    kind = "not-a-stream" if bare else "provider-error"
    assert [f.kind for f in outcome.faults if f.fatal] == [kind]
    assert outcome.text == ""


def test_after_end():
    played = play("after-end@x2")
    last = [piece.data for piece in played.healthy if piece.role == "content"][-1]
    assert [piece.data for piece in played.sent[-3:]] == [b"data: [DONE]\n\n", last, last]


def test_early_close():
    played = play("early-close")
    assert played.body == played.whole
    assert played.parts[-2:] == [Pause(0.2), Stop("rst")]


@pytest.mark.parametrize("how", ["content", "comments", "line"])
def test_endless(how):
    played = play(f"endless.{how}@4t", most=300)
    assert played.endless
    assert not played.pauses
    assert all(piece.pace_s > 0 for piece in played.sent[20:])
    if how == "line":
        tail = played.body[len(b"".join(p.data for p in played.healthy[:5])) :]
        assert b"\n" not in tail


# heads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 429, 500, 502, 503, 504, 529])
def test_http(status):
    played = play(f"http.{status}", "anthropic-messages")
    assert played.head.status == status
    assert played.head.framing == "length"
    assert json.loads(played.body)["type"] == "error"


@pytest.mark.parametrize(
    ("how", "headers"),
    [
        ("seconds@1.5s", {"retry-after": "2"}),
        ("float@1.5s", {"retry-after": "1.500"}),
        ("ms@1.5s", {"retry-after-ms": "1500"}),
        ("both@1.5s", {"retry-after": "2", "retry-after-ms": "1500"}),
        ("should-retry", {"x-should-retry": "true", "retry-after": "1"}),
        ("should-not", {"x-should-retry": "false"}),
        ("absurd", {"retry-after": "31536000"}),
        ("negative", {"retry-after": "-1"}),
        ("garbage", {"retry-after": "soon"}),
    ],
)
def test_retry_after(how, headers):
    played = play(f"http.429+retry-after.{how}")
    found = {k: v for k, v in played.head.headers.items() if k != "content-type"}
    assert found == headers
    assert played.head.status == 429


def test_retry_after_as_a_date():
    now = 1_700_000_000.0
    for how, low, high in (("date@5s", now + 5, now + 6), ("past", 0, now - 1)):
        value = play(f"http.503+retry-after.{how}").head.headers["retry-after"]
        assert value.endswith(" GMT")
        assert low <= parsedate_to_datetime(value).timestamp() <= high


def test_page():
    html = play("page")
    assert html.head.status == 200
    assert html.head.headers["content-type"].startswith("text/html")
    assert b"<html>" in html.body
    assert "event-stream" in play("page.disguised").head.headers["content-type"]
    assert json.loads(play("page.json").body)["error"]


def test_wrong_type():
    assert play("wrong-type.html").head.headers["content-type"] == "text/html"
    assert "content-type" not in play("wrong-type.none").head.headers


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_refuse(how):
    played = play(f"refuse.{how}")
    assert played.head.status is None
    assert played.parts == [Stop(how)]
    assert play("refuse@3s").pauses == [3.0]


def test_empty():
    assert play("empty").parts == [Stop("clean")]
    assert {p.role for p in play("empty.start", "cohere").sent} == {"start"}
    assert {p.role for p in play("empty.comments").sent} == {"ping"}


def test_length():
    whole = len(play("ok").body)
    long, short = play("length.long"), play("length.short")
    assert int(long.head.headers["content-length"]) > whole
    assert int(short.head.headers["content-length"]) < whole
    assert (long.head.framing, long.stop, short.stop) == ("length", "fin", "fin")


# coding -----------------------------------------------------------------------------------


def gunzip(data):
    return zlib.decompressobj(wbits=31).decompress(data)


def test_gzip():
    played = play("gzip")
    assert played.head.headers["content-encoding"] == "gzip"
    assert zlib.decompress(played.body, wbits=31) == played.whole
    reader = zlib.decompressobj(wbits=31)
    for piece, healthy in zip(played.sent, played.healthy, strict=False):
        assert reader.decompress(piece.data) == healthy.data, "a frame cannot be read as it comes"


def test_gzip_cut():
    cut = play("gzip.cut@4t")
    assert cut.stop == "clean"
    assert cut.whole.startswith(gunzip(cut.body))
    with pytest.raises(zlib.error):
        zlib.decompress(cut.body, wbits=31)
    assert play("gzip+cut@4t").stop == "clean"


def test_gzip_that_is_none():
    plain = play("gzip.plain")
    assert plain.body == plain.whole
    assert plain.head.headers["content-encoding"] == "gzip"


def test_line_ends():
    crlf, cr, lf = play("crlf").body, play("crlf.cr").body, play("crlf.lf", "gemini").body
    assert crlf.count(b"\r\n") == crlf.count(b"\n") == crlf.count(b"\r") > 0
    assert b"\n" not in cr
    assert b"\r" not in lf
    for played, dialect in ((play("crlf"), "openai-chat"), (play("crlf.cr"), "openai-chat")):
        assert text_of(played, dialect) == "".join(TEXT)


def test_bom():
    assert play("bom").body == b"\xef\xbb\xbf" + play("ok").body


# framing by hand --------------------------------------------------------------------------


def unchunked(data):
    """Return the body of a chunked message, and what stands behind it."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return body, data.removeprefix(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]


def test_slow_head():
    played = play("slow-head@3s")
    assert played.head.framing == "raw"
    assert played.parts[0] == Pause(3.0)
    head, _, rest = played.body.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding: chunked" in head
    assert unchunked(rest) == (played.whole, b"")
    assert play("slow-head.never").parts == [Pause(None)]


def test_a_slow_head_of_an_error():
    played = play("slow-head@3s+http.529")
    assert played.body.startswith(b"HTTP/1.1 529 ")
    assert json.loads(unchunked(played.body.partition(b"\r\n\r\n")[2])[0])["error"]
    assert played.stop == "fin"


def test_half_head():
    played = play("half-head.rst")
    assert played.body.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in played.body
    assert played.stop == "rst"


@pytest.mark.parametrize("how", ["garbage", "large", "small"])
def test_bad_framing(how):
    played = play(f"bad-framing.{how}@4t")
    assert played.stop == "fin"
    assert played.body.count(b"HTTP/1.1 200 OK") == 1
    body = played.body.partition(b"\r\n\r\n")[2]
    right = b"".join(coded(piece.data) for piece in played.healthy[:5])
    assert body.startswith(right), "what comes before the fault is as it should be"
    with pytest.raises((ValueError, IndexError)):
        unchunked(body)


def test_trailing():
    inside = play("trailing")
    assert inside.body.startswith(inside.whole)
    assert inside.stop is None
    behind = play("trailing.http")
    body, rest = unchunked(behind.body.partition(b"\r\n\r\n")[2])
    assert body == behind.whole
    assert b"belong to nothing" in rest
