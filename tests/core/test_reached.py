"""How far the answer was read."""

from __future__ import annotations

from unbroken.core.dialects.base import Place
from unbroken.core.events import Event, Finish, Mark, Number, Ping, Start, Text
from unbroken.core.reached import Reached


def after(*events: Event) -> Reached:
    reached = Reached()
    for event in events:
        reached.add(event)
    return reached


def test_the_last_number_and_mark_and_the_id_that_was_given() -> None:
    reached = after(Start(id="a"), Number(1), Mark("m1"), Start(), Number(2), Mark("m2"))
    assert reached.place(7) == Place(id="a", number=2, mark="m2", bytes=7)


def test_content_behind_a_mark_would_come_again() -> None:
    reached = after(Text("before"), Mark("m1"), Ping())
    assert not reached.place(0).content_since_mark
    reached.add(Finish("stop", "stop"))
    assert reached.place(0).content_since_mark
    reached.add(Mark("m2"))
    assert not reached.place(0).content_since_mark
    reached.add_texts()
    assert reached.place(0).content_since_mark
    assert not after(Text("x")).place(0).content_since_mark, "there is no mark to go on from"


def test_bytes_count_over_all_connections() -> None:
    reached = after(Number(3))
    reached.reopen(10)
    reached.reopen(5)
    twin = reached.fork()
    twin.reopen(100)
    assert reached.place(2) == Place(number=3, bytes=17)
