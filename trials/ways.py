"""The trials by name: what people do about a broken stream, each as a small program.

A way gets an `App`, asks as it says, and returns the text that the application would take for the
answer, or lets an exception out. It judges nothing: the oracle does. Of a name that ends in
``-noticed`` an exception is as good as the answer: the cure is to notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trials.dialects import Ask, Dialect, Event

__all__ = ["BY_TIME", "WAYS", "App", "Unfinished", "counts", "is_http_error"]

TIMEOUT_S = 1.0  # what a minute is to an application here
LARGE_TIMEOUT_S = 60.0
IDLE_S = 0.6
_TRIES = 3
_PAUSE_S = 0.05


class Unfinished(Exception):  # noqa: N818 - it is what an application would raise
    """The application noticed that the answer is not whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application that asks the lab.

    Attributes:
        url: The lab.
        dialect: How it asks.
        ask: What it asks.
        other: The same question to a model of which nothing is wrong.
    """

    url: str
    dialect: Dialect
    ask: Ask
    other: Ask

    def client(self, *, timeout_s: float = TIMEOUT_S, retries: int = 2, **more: Any) -> Any:
        """A client as applications have it: a timeout, and the SDK's own retries."""
        return self.dialect.client(self.url, timeout_s=timeout_s, retries=retries, **more)

    def unbroken(self, **options: Any) -> Any:
        """A client whose streams go through Unbroken, with clocks that fit the lab's."""
        from unbroken import Clocks, Options

        clocks = Clocks(
            connect_s=TIMEOUT_S,
            first_event_s=IDLE_S,
            silence_s=IDLE_S,
            progress_text_s=IDLE_S,
            progress_slow_s=IDLE_S,
        )
        # What streams of a process share would carry over from one trial to the next.
        alone: dict[str, Any] = {"breaker_failures": 0, "heals_always": 1_000_000}
        return self.dialect.behind_unbroken(
            self.url,
            timeout_s=TIMEOUT_S,
            options=Options(clocks=clocks, **alone, **options),
        )

    def events(self, client: Any = None, ask: Ask | None = None) -> Iterator[Event]:
        """Ask for a stream, and give its events."""
        client = client or self.client()
        return self.dialect.events(self.dialect.stream(client, ask or self.ask))

    def read(self, client: Any = None, ask: Ask | None = None) -> str:
        """Ask for a stream, and take what comes until it ends, as the plain loop does."""
        return "".join(event.text for event in self.events(client, ask))


def plain(app: App) -> str:
    """The loop of every tutorial."""
    return app.read()


def raise_timeout(app: App) -> str:
    """The same call with a far larger timeout."""
    return app.read(app.client(timeout_s=LARGE_TIMEOUT_S))


def retry_sdk(app: App) -> str:
    """The SDK's own retries, raised to 5."""
    return app.read(app.client(retries=5))


def retry_print(app: App) -> str:
    """The loop that prints as it reads, and starts again after an exception."""
    printed: list[str] = []
    for left in reversed(range(_TRIES)):
        try:
            printed.extend(event.text for event in app.events())
            break
        except Exception:
            if not left:
                raise
    return "".join(printed)


def retry_whole(app: App) -> str:
    """Throw away what came, and ask again until a finish was seen."""
    for left in reversed(range(_TRIES)):
        try:
            events = list(app.events())
        except Exception:
            if not left:
                raise
            continue
        if any(event.finish for event in events):
            return "".join(event.text for event in events)
    msg = f"no answer of {_TRIES} was finished"
    raise Unfinished(msg)


def retry_whole_blind(app: App) -> str:
    """Ask again only where an exception was raised."""
    for left in reversed(range(_TRIES)):
        try:
            return app.read()
        except Exception:
            if not left:
                raise
    raise AssertionError


def no_streaming(app: App) -> str:
    """Ask for the answer in one piece."""
    return app.dialect.whole(app.client(), app.ask)


def catch_and_go_on(app: App) -> str:
    """Catch the exception, and take what came for the answer."""
    got: list[str] = []
    with contextlib.suppress(Exception):
        got.extend(event.text for event in app.events())
    return "".join(got)


def skip_bad_event(app: App) -> str:
    """Read the lines oneself, and leave out an event that is no JSON."""
    got = ""
    for line in app.dialect.lines(app.client(), app.ask):
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            try:
                data = json.loads(line[5:])
            except ValueError:
                continue
            got += _text_of(data)
    return got


def check_finish_noticed(app: App) -> str:
    """Look at the end whether there was a finish."""
    events = list(app.events())
    if not any(event.finish for event in events):
        msg = "the stream ended without a finish"
        raise Unfinished(msg)
    return "".join(event.text for event in events)


def check_done_noticed(app: App) -> str:
    """Look at the end whether the last marker came."""
    if app.dialect.name == "openai-chat":  # its SDK shows no one the marker
        lines = list(app.dialect.lines(app.client(), app.ask))
        if not any(line.strip() == "data: [DONE]" for line in lines):
            msg = "the stream ended without [DONE]"
            raise Unfinished(msg)
        datas = (line[5:].strip() for line in lines if line.startswith("data:"))
        return "".join(_text_of(json.loads(data)) for data in datas if data != "[DONE]")
    events = list(app.events())
    if not any(event.last for event in events):
        msg = "the stream ended without its last event"
        raise Unfinished(msg)
    return "".join(event.text for event in events)


def idle_timeout_noticed(app: App) -> str:
    """A timeout between bytes."""
    return app.read(app.client(timeout_s=IDLE_S))


def progress_timeout_noticed(app: App) -> str:
    """A deadline that only content moves, not bytes."""
    import openai

    async def read() -> str:
        got: list[str] = []
        url = f"{app.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="trial", max_retries=2) as client:
            stream = await client.chat.completions.create(
                model=app.ask.model,
                messages=[{"role": "user", "content": "Say your text."}],
                stream=True,
            )
            chunks = aiter(stream)
            due = time.monotonic() + IDLE_S
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks), due - time.monotonic())
                except StopAsyncIteration:
                    return "".join(got)
                text = "".join(choice.delta.content or "" for choice in chunk.choices)
                if text:
                    got.append(text)
                    due = time.monotonic() + IDLE_S

    return asyncio.run(read())


def guard_content(app: App) -> str:
    """Guard the content alone; `choices` is taken for granted."""
    got = ""
    for chunk in app.dialect.stream(app.client(), app.ask):
        content = chunk.choices[0].delta.content
        if content:
            got += content
    return got


def guard_choices(app: App) -> str:
    """Guard choices, delta and content."""
    got = ""
    for chunk in app.dialect.stream(app.client(), app.ask):
        if chunk.choices and chunk.choices[0].delta and chunk.choices[0].delta.content:
            got += chunk.choices[0].delta.content
    return got


def http_keepalive_client(app: App) -> str:
    """A client of one's own, with a pool and keep-alive."""
    import httpx2

    limits = httpx2.Limits(max_keepalive_connections=5, keepalive_expiry=30.0)
    return app.read(app.client(http_client=httpx2.Client(limits=limits, timeout=TIMEOUT_S)))


def buffer_by_number(app: App) -> str:
    """Keep events by their numbers, and read them in order of these."""
    kept = {event.number: event.text for event in app.events()}
    return "".join(kept[number] for number in sorted(kept, key=lambda n: -1 if n is None else n))


def check_number_noticed(app: App) -> str:
    """Look at the events' numbers while reading, and raise at a gap."""
    got, due = "", None
    for event in app.events():
        if event.number is not None:
            if due is not None and event.number != due:
                msg = f"expected event {due}, and {event.number} came"
                raise Unfinished(msg)
            due = event.number + 1
        got += event.text
    return got


def parse_at_end_noticed(app: App) -> str:
    """Parse a call's arguments only after its finish."""
    events = list(app.events())
    if not any(event.finish for event in events):
        msg = "the call was not finished"
        raise Unfinished(msg)
    arguments = "".join(event.text for event in events)
    json.loads(arguments)
    return arguments


def repair_json(app: App) -> str:
    """Close what is open in the arguments, and go on."""
    arguments = app.read()
    for tail in ("", '"', '"}', "}", '"]}', "]}"):
        try:
            json.loads(arguments + tail)
        except ValueError:
            continue
        return arguments + tail
    return arguments


def more_tokens(app: App) -> str:
    """Ask with a larger limit of tokens."""
    return app.read(ask=app.ask.but(max_tokens=4000))


def other_model(app: App) -> str:
    """Ask another model."""
    return app.read(ask=app.other)


def backoff(app: App) -> str:
    """Ask again after an HTTP error, each time after twice the pause."""
    for attempt in range(6):
        try:
            return app.read(app.client(retries=0))
        except Exception as error:
            if attempt == 5 or not is_http_error(error):
                raise
            time.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError


def retry_at_once(app: App) -> str:
    """Ask again after an HTTP error, five times, without a pause."""
    for attempt in range(6):
        try:
            return app.read(app.client(retries=0))
        except Exception as error:
            if attempt == 5 or not is_http_error(error):
                raise
    raise AssertionError


def unbroken(app: App) -> str:
    """Put Unbroken under the SDK."""
    return app.read(app.unbroken())


def unbroken_raise_noticed(app: App) -> str:
    """The same, and let it only tell."""
    return app.read(app.unbroken(mode="raise"))


def unbroken_observe(app: App) -> str:
    """The same, and let it only look."""
    return app.read(app.unbroken(mode="observe"))


def iter_text(app: App) -> str:
    """Read by `unbroken.iter_text`, under which nothing need be guarded."""
    import unbroken

    return "".join(unbroken.iter_text(app.dialect.stream(app.client(), app.ask)))


WAYS: dict[str, Callable[[App], str]] = {
    way.__name__.replace("_", "-"): way
    for way in (
        raise_timeout,
        retry_sdk,
        retry_print,
        retry_whole,
        retry_whole_blind,
        no_streaming,
        catch_and_go_on,
        skip_bad_event,
        check_finish_noticed,
        check_done_noticed,
        idle_timeout_noticed,
        progress_timeout_noticed,
        guard_content,
        guard_choices,
        http_keepalive_client,
        buffer_by_number,
        check_number_noticed,
        parse_at_end_noticed,
        repair_json,
        more_tokens,
        other_model,
        backoff,
        retry_at_once,
        unbroken,
        unbroken_raise_noticed,
        unbroken_observe,
        iter_text,
    )
}

BY_TIME = frozenset({"backoff", "retry-at-once", "retry-sdk"})
"""Ways that are about waiting: to them an overloaded provider recovers with time, not by counting
requests."""


def counts(way: str, ended: str) -> bool:
    """Whether a trial that ended so worked."""
    return ended == "right" or (way.endswith("-noticed") and ended == "told")


def is_http_error(error: BaseException) -> bool:
    """Whether an SDK's exception stands for an HTTP status, or for no connection."""
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    return isinstance(code, int) or type(error).__name__ == "APIConnectionError"


def _text_of(data: Any) -> str:
    """The text in an event of a stream that is read by hand."""
    for choice in data.get("choices") or ():
        delta = choice.get("delta") or {}
        calls = delta.get("tool_calls") or ()
        return (delta.get("content") or "") + "".join(
            call.get("function", {}).get("arguments") or "" for call in calls
        )
    delta = data.get("delta")
    if isinstance(delta, dict):
        return delta.get("text") or delta.get("partial_json") or ""
    return delta if isinstance(delta, str) and "output_text.delta" in data.get("type", "") else ""
