"""The public reorder buffer: for streams that the user's own relay numbers."""

from __future__ import annotations

import asyncio
import pickle
import random
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import unbroken
from unbroken import MissingEventError, ReorderBuffer


def items(*numbers: int) -> list[dict[str, Any]]:
    return [{"index": number, "text": f"w{number} "} for number in numbers]


def numbers(found: Any) -> list[int]:
    return [item["index"] for item in found]


def kinds(buffer: ReorderBuffer[Any]) -> list[tuple[str, str]]:
    return [(fault.kind.value, fault.severity) for fault in buffer.faults]


# The seed's own case -----------------------------------------------------------------------


@pytest.mark.seed("000-order-cause", "000-reorder-buffer")
def test_expected_5_but_got_7_is_put_right_when_5_and_6_come():
    buffer = ReorderBuffer(key="index")
    arrived = items(0, 1, 2, 3, 4, 7, 5, 6, 8)
    assert "".join(item["text"] for item in buffer.iter(arrived)) == "w0 w1 w2 w3 w4 w5 w6 w7 w8 "
    assert kinds(buffer) == [("out-of-order", "note")]
    assert buffer.faults[0].detail == "number 5 came after 1 later one; put right"


@pytest.mark.seed("000-order-cause")
def test_expected_5_but_got_7_is_what_it_says_when_they_never_come():
    buffer = ReorderBuffer(key="index")
    seen = []
    with pytest.raises(MissingEventError, match="5 but got 7: 2 numbers are") as e:  # noqa: PT012
        for item in buffer.iter(items(0, 1, 2, 3, 4, 7, 8, 11)):
            seen += numbers([item])
    assert seen == [0, 1, 2, 3, 4]
    error = e.value
    assert (error.expected, error.got, error.code) == (5, 7, "missing-event")
    assert numbers(error.held) == [7, 8, 11]
    assert "3 later items (7, 8, 11) are in .held" in str(error)
    assert "w7" not in str(error), "no content in an error"
    assert isinstance(error, unbroken.IncompleteStreamError)
    assert unbroken.outcome_of(error) is error.outcome
    assert error.outcome.status == "failed"
    assert kinds(buffer) == [("missing-event", "fatal")]
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.expected, copy.held) == (str(error), 5, error.held)


def test_skip_goes_on_without_what_is_missing_and_says_so():
    buffer = ReorderBuffer(key="index", missing="skip")
    assert numbers(buffer.iter(items(0, 2, 3, 6, 7))) == [0, 2, 3, 6, 7]
    assert kinds(buffer) == [("missing-event", "warning")] * 2
    assert "expected number 4 but got 6" in buffer.faults[1].detail


# With the time as an argument ---------------------------------------------------------------


def test_an_item_passes_as_soon_as_its_turn_has_come():
    buffer = ReorderBuffer(key="index")
    first, second, third = items(0, 1, 2)
    assert buffer.push(first, 0.0) == [first]
    assert buffer.push(third, 1.0) == []
    assert buffer.next_timer() == 6.0
    assert buffer.push(second, 2.0) == [second, third]
    assert buffer.next_timer() is None
    assert buffer.close() == []


def test_the_time_ends_the_wait():
    buffer = ReorderBuffer(key="index", timeout_s=2.0, missing="skip")
    buffer.push(items(0)[0], 0.0)
    buffer.push(items(3)[0], 1.0)
    assert buffer.handle_timer(2.9) == []
    assert numbers(buffer.handle_timer(3.0)) == [3]
    buffer.push(items(5)[0], 4.0)
    assert numbers(buffer.push(items(6)[0], 6.0)) == [5, 6], "noticed with the next item too"
    buffer.push(items(8)[0], 7.0)
    assert numbers(buffer.push(items(7)[0], 99.0)) == [7, 8], "late, but it is there"


def test_no_limit_waits_for_ever():
    buffer = ReorderBuffer(key="index", timeout_s=None)
    buffer.push(items(0)[0], 0.0)
    buffer.push(items(2)[0], 0.0)
    assert buffer.next_timer() is None
    assert buffer.handle_timer(1e9) == []


def test_a_full_window_ends_the_wait():
    buffer = ReorderBuffer(key="index", window=2, missing="skip")
    assert numbers(buffer.iter(items(0, 2, 3, 4, 1, 5))) == [0, 2, 3, 4, 5]
    assert kinds(buffer) == [("missing-event", "warning"), ("duplicate-event", "note")]


def test_repeated_items_are_dropped():
    buffer = ReorderBuffer(key="index")
    assert numbers(buffer.iter(items(0, 1, 1, 3, 3, 0, 2))) == [0, 1, 2, 3]
    assert [kind for kind, _ in kinds(buffer)].count("duplicate-event") == 3


def test_what_failed_stays_failed():
    buffer = ReorderBuffer(key="index", window=2)
    for number in (0, 2, 3):
        buffer.push(items(number)[0], 0.0)
    for _ in range(3):
        with pytest.raises(MissingEventError):
            buffer.push(items(4)[0], 0.0)
    with pytest.raises(MissingEventError):
        buffer.push(items(1)[0], 0.0)
    for call in (buffer.close, lambda: buffer.handle_timer(0.0)):
        with pytest.raises(MissingEventError):
            call()
    assert len(buffer.faults) == 1


def test_numbers_begin_where_they_are_said_to():
    assert numbers(ReorderBuffer(key="index", start=0).iter(items(1, 0, 2))) == [0, 1, 2]
    assert numbers(ReorderBuffer(key="index").iter(items(41, 42))) == [41, 42]
    with pytest.raises(MissingEventError, match="expected number 0 but got 1"):
        list(ReorderBuffer(key="index", start=0).iter(items(1, 2)))


def test_numbering_begins_anew_where_that_is_said():
    buffer = ReorderBuffer(key="index", missing="skip")
    for number in (0, 1, 3):
        buffer.push(items(number)[0], 0.0)
    assert numbers(buffer.restart()) == [3]
    assert numbers(buffer.push(items(0)[0], 0.0)) == [0]


# Where the number is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "item", "number"),
    [
        ("index", {"index": 3}, 3),
        ("choices.0.index", {"choices": [{"index": 3}]}, 3),
        ("meta.seq", SimpleNamespace(meta=SimpleNamespace(seq=3)), 3),
        ("meta.seq", SimpleNamespace(meta={"seq": 3}), 3),
        (lambda item: item[0], (3, "x"), 3),
        ("index", {}, None),
        ("index", {"index": "3"}, None),
        ("index", {"index": True}, None),
        ("index", {"index": 3.0}, None),
        ("choices.0.index", {"choices": []}, None),
        ("a.b.c", {"a": {"b": None}}, None),
        ("index", "no mapping", None),
        (lambda item: None, 7, None),
    ],
)
def test_key(key, item, number):
    """An item with the number 3 waits for 2; one without a number passes straight through."""
    buffer = ReorderBuffer(key=key, start=2)
    assert buffer.push(item, 0.0) == ([item] if number is None else [])


def test_items_without_a_number_pass_while_others_wait():
    buffer = ReorderBuffer(key="index", missing="skip")
    ping = {"ping": True}
    arrived = [*items(0, 2), ping, *items(1)]
    assert list(buffer.iter(arrived)) == [items(0)[0], ping, *items(1, 2)]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"key": ""}, TypeError), ({"key": 3}, TypeError), ({"key": None}, TypeError),
        ({"window": 0}, ValueError), ({"window": 1.5}, TypeError), ({"window": True}, TypeError),
        ({"timeout_s": -1}, ValueError), ({"timeout_s": "5"}, TypeError),
        ({"missing": "ignore"}, ValueError), ({"start": "0"}, TypeError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(more, error):
    with pytest.raises(error):
        ReorderBuffer(**{"key": "index", **more})


def test_what_it_remembers_is_bounded():
    buffer = ReorderBuffer(key="index")
    assert len(list(buffer.iter(items(*[0] * 5000)))) == 1
    assert len(buffer.faults) == 256


@pytest.mark.parametrize("seed", range(20))
def test_any_shuffle_within_the_window(seed):
    chance = random.Random(seed)
    order = list(range(300))
    order = [order[0], *sorted(order[1:], key=lambda n: n + chance.uniform(0, 30))]
    assert numbers(ReorderBuffer(key="index", window=64).iter(items(*order))) == list(range(300))


# With the clock ----------------------------------------------------------------------------


def test_iter_gives_each_item_before_the_next_is_read():
    """And a source that blocks notices the time with its next item."""
    events = []

    def source():
        for item in items(0, 1, 3):
            events.append(f"read {item['index']}")
            yield item
        time.sleep(0.05)
        yield from items(4)

    buffer = ReorderBuffer(key="index", timeout_s=0.02, missing="skip")
    for item in buffer.iter(source()):
        events += [f"got {item['index']}"]
    assert events == ["read 0", "got 0", "read 1", "got 1", "read 3", "got 3", "got 4"]


async def source_of(*found: dict[str, Any] | asyncio.Event | trio.Event):
    for each in found:
        if isinstance(each, dict):
            yield each
        else:
            await each.wait()


def test_aiter_puts_in_order_on_asyncio_and_trio():
    async def main():
        buffer = ReorderBuffer(key="index")
        return [item async for item in buffer.aiter(source_of(*items(0, 2, 1, 3)))]

    assert numbers(asyncio.run(main())) == [0, 1, 2, 3]
    assert numbers(trio.run(main)) == [0, 1, 2, 3]


def test_aiter_keeps_the_time_while_the_source_is_silent():
    async def main():
        silence = asyncio.Event()
        buffer = ReorderBuffer(key="index", timeout_s=0.02)
        seen = []
        with pytest.raises(MissingEventError):  # noqa: PT012
            async for item in buffer.aiter(source_of(*items(0, 2), silence)):
                seen += numbers([item])
        assert seen == [0]
        assert len(asyncio.all_tasks()) == 1, "no read is left behind"

    asyncio.run(main())


def test_aiter_skips_and_goes_on_with_the_same_read():
    async def main():
        silence = asyncio.Event()
        buffer = ReorderBuffer(key="index", timeout_s=0.02, missing="skip")
        seen = []
        async for item in buffer.aiter(source_of(*items(0, 2), silence, *items(3, 4))):
            seen.append(item["index"])
            if item["index"] == 2:
                silence.set()
        assert seen == [0, 2, 3, 4]

    asyncio.run(main())


def test_leaving_aiter_cancels_the_read():
    async def main():
        silence = asyncio.Event()
        buffer = ReorderBuffer(key="index", timeout_s=0.01, missing="skip")
        found = buffer.aiter(source_of(*items(0, 2), silence))
        async for item in found:
            if item["index"] == 2:
                break
        await found.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_error_of_the_source_comes_through():
    def source():
        yield from items(0, 2)
        raise OSError("gone")

    async def asource():
        for item in source():
            yield item

    async def main():
        async for _ in ReorderBuffer(key="index").aiter(asource()):
            pass

    with pytest.raises(OSError, match="gone"):
        list(ReorderBuffer(key="index").iter(source()))
    with pytest.raises(OSError, match="gone"):
        asyncio.run(main())


def test_no_thread_is_started():
    before = threading.active_count()
    list(ReorderBuffer(key="index").iter(items(0, 2, 1)))
    assert threading.active_count() == before
