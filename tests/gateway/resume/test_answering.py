"""The decisions of the resume protocol, one by one."""

from __future__ import annotations

import asyncio
import re

import pytest

from unbroken.gateway.resume import (
    Asked,
    Attach,
    Begun,
    NotKept,
    Refused,
    ResumeService,
    Stopped,
    new_stream_id,
    serve_reader,
)
from unbroken.journal import (
    Head,
    JournalDownError,
    JournalFullError,
    MemoryJournal,
    StreamInfo,
    WriterLostError,
)

HEAD = Head(200, (("Content-Type", "text/event-stream"),))
FRAMES = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]
LOG = b"".join(FRAMES)


class Sink:
    def __init__(self) -> None:
        self.writes: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.writes.append(data)

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)


def asked(
    body: bytes = b"{}", scope: str | None = "me", method: str = "POST", wire: str = "sse",
    target: str = "/v1/chat/completions", **headers: str,
) -> Asked:  # fmt: skip
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Asked(method=method, target=target, headers=named, body=body, scope=scope, wire=wire,
                 dialect="openai-chat", model="m")  # fmt: skip


def run(script, **options):
    async def main():
        clock = [1_000_000.0]
        service = ResumeService(
            MemoryJournal(max_stream_bytes=65536, keep_s=600),
            clock=lambda: clock[0], secrets=[b"s" * 32], **options,
        )  # fmt: skip
        async with asyncio.timeout(20):
            await script(service, clock)

    asyncio.run(main())


async def begun(service: ResumeService, frames=FRAMES, end="complete", **more) -> Begun:
    answer = await service.begin(asked(**{"X_Unbroken_Resume": "1", **more}))
    assert isinstance(answer, Begun), answer
    answer.writer.open(HEAD)
    for frame in frames:
        await answer.writer.append(frame)
    if end:
        await answer.writer.end(end)
    return answer


async def body_of(answer) -> bytes:
    assert isinstance(answer, Attach | Begun), answer
    sink = Sink()
    prefix = getattr(answer, "state_prefix", b"")
    await serve_reader(answer.reader, sink, answer.marker, state_prefix=prefix)
    await answer.reader.aclose()
    return sink.body


def named(answer) -> dict[str, str]:
    return dict(answer.headers)


def test_who_does_not_ask_gets_nothing():
    async def script(service, _):
        assert await service.begin(asked()) == NotKept()
        assert await service.begin(asked(X_Unbroken_Resume="0")) == NotKept()
        # Without a key there is no scope, and the header is ignored.
        assert await service.begin(asked(scope=None, Idempotency_Key="k")) == NotKept()
        assert await service.begin(asked(method="GET", Idempotency_Key="k")) == NotKept()
        no_stream = await service.begin(asked(wire="", X_Unbroken_Resume="1"))
        assert no_stream == NotKept(reason="no-stream")

    run(script)

    async def off(service, _):
        assert await service.begin(asked(X_Unbroken_Resume="1")) == NotKept(reason="off")

    run(off, enabled=False)


def test_who_asks_gets_an_id_and_positions():
    async def script(service, _):
        answer = await begun(service)
        stream_id = named(answer)["X-Unbroken-Stream"]
        assert named(answer) == {"X-Unbroken-Resume": "1", "X-Unbroken-Stream": stream_id}
        assert await body_of(answer) == (
            b"id: 0-11\ndata: one\n\nid: 0-22\ndata: two\n\nid: 0-35\ndata: three\n\n"
        )
        for position, rest in (("0-0", LOG), ("0-11", LOG[11:]), ("0-22", LOG[22:]), ("0-35", b"")):
            again = await service.attach(stream_id, [("Last-Event-ID", position)], "me")
            assert isinstance(again, Attach)
            assert again.head == HEAD
            body = await body_of(again)
            assert re.sub(rb"id: 0-\d+\n", b"", body) == rest
            assert rest == b"" or body.endswith(b"id: 0-35\ndata: three\n\n")

    run(script)


@pytest.mark.parametrize(
    ("position", "status", "kind"),
    [("x", 400, "position-malformed"), ("0-36", 400, "position-beyond-log"),
     ("0-12", 400, "position-within-event"), ("0-10", 400, "position-within-event"),
     ("1-11", 410, "position-gone")],
)  # fmt: skip
def test_positions_that_cannot_be_served(position, status, kind):
    async def script(service, _):
        stream_id = named(await begun(service))["X-Unbroken-Stream"]
        answer = await service.attach(stream_id, [("Last-Event-ID", position)], "me")
        assert isinstance(answer, Refused)
        assert (answer.status, answer.kind) == (status, kind)
        assert len(service.journal._logs[stream_id].readers) == 1  # the first client's

    run(script)


def test_a_place_that_died_with_its_writer_is_told_as_the_stream_is_lost():
    async def script(service, _):
        stream_id = named(await begun(service, end=""))["X-Unbroken-Stream"]

        async def lost(stream_id, offset=0):
            raise WriterLostError

        service.journal.reader = lost
        answer = await service.attach(stream_id, [("Last-Event-ID", "0-99")], "me")
        assert isinstance(answer, Attach)
        assert answer.head == HEAD
        with pytest.raises(WriterLostError):
            await body_of(answer)
        nothing = await service.attach(stream_id, [], "me")
        assert isinstance(nothing, Refused)
        assert nothing.kind == "stream-unknown"

    run(script)


def test_a_place_that_is_not_kept_any_more_is_gone():
    async def script(service, _):
        answer = await begun(service, frames=[], end="")
        await answer.reader.aclose()
        for _ in range(100):
            await answer.writer.append(b"data: " + b"x" * 4992 + b"\n\n")
        await answer.writer.end("complete")
        stream_id = answer.writer.meta.id
        gone = await service.attach(stream_id, [("Last-Event-ID", "0-5000")], "me")
        assert isinstance(gone, Refused)
        assert (gone.status, gone.kind) == (410, "position-gone")
        # Exactly where what is kept begins: the bytes before it cannot be looked at.
        kept_from = service.journal._logs[stream_id].kept_from
        there = await service.attach(stream_id, [("Last-Event-ID", f"0-{kept_from}")], "me")
        assert isinstance(there, Attach)

    run(script)


def test_a_stream_of_somebody_else_is_as_one_that_does_not_exist():
    async def script(service, _):
        stream_id = named(await begun(service))["X-Unbroken-Stream"]
        answers = [
            await ask(target, [], scope)
            for ask in (service.attach, service.stop)
            for target, scope in (
                (stream_id, "you"), (new_stream_id(), "me"), (new_stream_id(), "you"), ("x", "me")
            )
        ]  # fmt: skip
        assert {answer.status for answer in answers} == {404}
        assert len({(answer.kind, answer.text, str(answer.headers)) for answer in answers}) == 1
        nobody = [await service.attach(i, [], None) for i in (stream_id, new_stream_id())]
        assert [answer.status for answer in nobody] == [401, 401]
        assert nobody[0] == nobody[1]

    run(script)


def test_a_stream_without_an_owner_is_nobodys_but_the_tokens():
    async def script(service, clock):
        answer = await begun(service, scope=None)
        stream_id, token = answer.writer.meta.id, named(answer)["X-Unbroken-Token"]
        for scope in (None, "", "me"):
            found = await service.attach(stream_id, [], scope)
            assert isinstance(found, Refused)
        good = await service.attach(stream_id, [("X-Unbroken-Token", token)], None)
        assert isinstance(good, Attach)
        assert "X-Unbroken-Token" not in named(good)  # it does not get younger by use
        assert isinstance(
            await service.stop(stream_id, [("x-unbroken-token", token)], None), Stopped
        )
        for wrong in (token + "x", token[:-1] + "!", "1.2.3"):
            refused = await service.attach(stream_id, [("X-Unbroken-Token", wrong)], None)
            assert isinstance(refused, Refused)
            assert refused.status == 401
        other = await begun(service, scope=None)
        refused = await service.attach(other.writer.meta.id, [("X-Unbroken-Token", token)], None)
        assert isinstance(refused, Refused)
        clock[0] += 901
        refused = await service.attach(stream_id, [("X-Unbroken-Token", token)], None)
        assert isinstance(refused, Refused)
        assert refused.status == 401

    run(script)


def test_a_token_is_given_to_who_asks_for_it():
    async def script(service, _):
        assert "X-Unbroken-Token" in named(await begun(service, X_Unbroken_Resume="1; token"))
        assert "X-Unbroken-Token" not in named(await begun(service))

    run(script)


def test_the_same_key_reads_the_same_stream():
    async def script(service, _):
        first = await begun(service, Idempotency_Key="k", end="")
        second = await service.begin(asked(Idempotency_Key="k", X_Unbroken_Resume="1"))
        assert isinstance(second, Attach)
        assert second.meta.id == first.writer.meta.id
        third = await service.begin(asked(Idempotency_Key="k", Last_Event_ID="0-22"))
        assert isinstance(third, Attach)
        await first.writer.end("complete")
        assert (await body_of(second)).endswith(b"id: 0-35\ndata: three\n\n")
        assert await body_of(third) == b"id: 0-35\ndata: three\n\n"
        # Who never asked for ids gets none.
        plain = await service.begin(asked(Idempotency_Key="k"))
        assert await body_of(plain) == LOG

    run(script)


def test_the_same_key_with_another_request_is_refused():
    async def script(service, _):
        await begun(service, Idempotency_Key="k")
        for other in (asked(body=b"{ }", Idempotency_Key="k"),
                      asked(target="/v1/responses", Idempotency_Key="k")):  # fmt: skip
            refused = await service.begin(other)
            assert isinstance(refused, Refused)
            assert (refused.status, refused.kind) == (422, "idempotency-key-reused")
        # Another caller's key is another key.
        assert isinstance(await service.begin(asked(b"{ }", "you", Idempotency_Key="k")), Begun)
        malformed = await service.begin(asked(Idempotency_Key="a b"))
        assert isinstance(malformed, Refused)
        assert malformed.status == 400

    run(script)


def test_409_while_the_first_runs():
    async def script(service, _):
        first = await begun(service, Idempotency_Key="k", end="")
        refused = await service.begin(asked(Idempotency_Key="k"))
        assert isinstance(refused, Refused)
        assert refused.status == 409
        await first.writer.end("complete")
        assert await body_of(await service.begin(asked(Idempotency_Key="k"))) == LOG

    run(script, on_conflict="409")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failure_frees_the_key(status):
    async def script(service, _):
        await begun(service, Idempotency_Key="k", end=status)
        assert isinstance(await service.begin(asked(Idempotency_Key="k")), Begun)

    run(script)


def test_of_many_at_once_one_begins_and_all_read_the_same():
    async def script(service, _):
        request = asked(Idempotency_Key="k", X_Unbroken_Resume="1")
        asking = [asyncio.create_task(service.begin(request)) for _ in range(20)]
        await asyncio.sleep(0.01)
        (first,) = [task.result() for task in asking if task.done()]
        assert isinstance(first, Begun)
        first.writer.open(HEAD)
        await first.writer.append(LOG)
        await first.writer.end("complete")
        bodies = {await body_of(await task) for task in asking}
        assert len(bodies) == 1

    run(script)


def test_who_waits_for_an_answer_that_never_begins_takes_its_place():
    async def script(service, _):
        first = await service.begin(asked(Idempotency_Key="k"))
        waiting = asyncio.create_task(service.begin(asked(Idempotency_Key="k")))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await first.writer.end("failed")
        assert isinstance(await waiting, Begun)

    run(script)


def test_stop_is_told_apart_from_the_end():
    async def script(service, _):
        running = await begun(service, end="")
        stream_id = running.writer.meta.id
        assert await service.stop(stream_id, [], "me") == Stopped(status=202)
        assert running.writer.stop_asked().done()
        await running.writer.end("cancelled")
        assert await service.stop(stream_id, [], "me") == Stopped(status=204)

    run(script)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(JournalFullError("x"), "journal-full"), (JournalDownError("x"), "journal-down")],
)
def test_a_journal_in_trouble_costs_the_resume_and_not_the_stream(error, reason):
    async def script(service, _):
        async def create(meta):
            raise error

        service.journal.create = create
        answer = await service.begin(asked(X_Unbroken_Resume="1", Idempotency_Key="k"))
        assert answer == NotKept(reason=reason)

    run(script)


def test_reading_on_while_the_journal_is_down_may_be_tried_again():
    async def script(service, _):
        async def find(stream_id) -> StreamInfo | None:
            raise JournalDownError("x", retry_after_s=3.0)

        service.journal.find = find
        answer = await service.attach(new_stream_id(), [], "me")
        assert isinstance(answer, Refused)
        assert (answer.status, answer.headers) == (503, [("Retry-After", "3")])

    run(script)


def test_the_state_of_open_blocks_comes_first_and_without_ids():
    from tests.support.bodies import Answer, body

    log = [bytes(frame) for frame in body("anthropic-messages", Answer(tokens=("a", "b", "c")))]
    at = next(i for i, frame in enumerate(log) if b'"text_delta"' in frame) + 1

    async def script(service, _):
        answer = await service.begin(
            Asked(method="POST", target="/v1/messages", headers=[("X-Unbroken-Resume", "1")],
                  body=b"", scope="me", dialect="anthropic-messages", wire="sse")
        )  # fmt: skip
        answer.writer.open(HEAD)
        for frame in log:
            await answer.writer.append(frame)
        await answer.writer.end("complete")
        place = len(b"".join(log[:at]))
        late = await service.attach(
            answer.writer.meta.id,
            [("Last-Event-ID", f"0-{place}"), ("X-Unbroken-State", "1")],
            "me",
        )
        assert isinstance(late, Attach)
        assert b"message_start" in late.state_prefix
        assert b"content_block_start" in late.state_prefix
        assert b"id: 0-" not in late.state_prefix
        assert b'"text_delta"' not in late.state_prefix
        assert (await body_of(late)).startswith(late.state_prefix + b"id: 0-")

    run(script)


def test_no_refusal_shows_a_key_or_an_id():
    async def script(service, _):
        answer = await begun(service, Idempotency_Key="very-secret")
        refusals = [
            await service.begin(asked(b"other", Idempotency_Key="very-secret")),
            await service.attach(answer.writer.meta.id, [], "you"),
            await service.attach(answer.writer.meta.id, [("X-Unbroken-Token", "tok")], None),
            await service.attach(answer.writer.meta.id, [("Last-Event-ID", "zzz")], "me"),
        ]
        for refused in refusals:
            assert isinstance(refused, Refused)
            for secret in ("very-secret", answer.writer.meta.id, 'tok"', "zzz"):
                assert secret not in repr(refused)

    run(script)
