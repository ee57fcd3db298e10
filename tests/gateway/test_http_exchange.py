"""When the bytes of an answer leave: together where they are there, and not after the turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from unbroken.gateway.http_exchange import Exchange

CHUNKED = b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n"


class _Connection:
    """Writes down what is written, and what is done to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.transport = self
        self.flow = self
        self.write_paused = self.read_paused = False
        self.done: list[str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return []

    def exchange_ended(self) -> None:
        self.done.append("ended")

    def close_cut(self, *, delimited: bool) -> None:
        self.done.append("cut")


def answered(
    *steps: str, method: str = "GET", headers: Any = ((b"x-a", b"b"),)
) -> tuple[list[bytes], list[str]]:
    """Return the writes and ends of an answer that is made of these steps."""
    connection: Any = _Connection()

    async def run() -> None:
        scope = {"method": method, "http_version": "1.1"}
        exchange = Exchange(scope, connection, keep_alive=True, expects=False)
        for step in steps:
            if step == "head":
                await exchange.send(
                    {"type": "http.response.start", "status": 200, "headers": headers}
                )
            elif step == "end":
                await exchange.send({"type": "http.response.body", "body": b""})
            elif step == "turn":
                await asyncio.sleep(0)
                connection.written.append(b"|")
            elif step == "cut":
                exchange.abort("fin")
            else:
                exchange.write(step.encode())
        await asyncio.sleep(0)

    asyncio.run(run())
    return connection.written, connection.done


def test_the_head_goes_with_what_is_written_in_its_turn() -> None:
    written, done = answered("head", "one", "two", "end")
    assert written == [CHUNKED + b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"]
    assert done == ["ended"]


def test_the_head_waits_for_nothing() -> None:
    written, _ = answered("head", "turn", "one", "end")
    assert written == [CHUNKED, b"|", b"3\r\none\r\n", b"0\r\n\r\n"]


def test_an_answer_without_a_body_is_its_head_and_the_end() -> None:
    assert answered("head", "end")[0] == [CHUNKED + b"0\r\n\r\n"]


def test_the_head_of_head() -> None:
    written, done = answered("head", "end", method="HEAD", headers=[(b"content-length", b"3")])
    assert written == [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"]
    assert done == ["ended"]


def test_with_a_length() -> None:
    written, _ = answered("head", "one", "end", headers=[(b"content-length", b"3")])
    assert written == [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"]


def test_a_cut_answer_still_has_its_head() -> None:
    assert answered("head", "cut") == ([CHUNKED], ["cut"])
