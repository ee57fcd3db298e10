"""How each SDK is asked, and what its events say, in one form for all trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

__all__ = ["DIALECTS", "Ask", "Dialect", "Event", "dialect_of"]

_SAY = [{"role": "user", "content": "Say your text."}]
_PARAMETERS = {"type": "object", "properties": {"text": {"type": "string"}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question.

    Attributes:
        model: The lab's name for what happens.
        max_tokens: Most tokens of the answer; None: as many as it has.
        tool: Whether a tool is offered, into whose arguments the answer goes.
    """

    model: str
    max_tokens: int | None = None
    tool: bool = False

    def but(self, **changes: Any) -> Ask:
        """Return the question with something changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an SDK gave.

    Attributes:
        text: Text, or a piece of a call's arguments.
        finish: Why the answer ended, where this event says so.
        number: The event's own number, where the dialect numbers.
        last: Whether it is the dialect's last marker.
    """

    text: str = ""
    finish: str = ""
    number: int | None = None
    last: bool = False


class Dialect:
    """An SDK, and the API that it speaks."""

    name = ""
    packages: tuple[str, ...] = ()

    def versions(self) -> list[str]:
        """Return the SDK and its version, such as ``openai 3.52.0``."""
        return [f"{package} {version(package)}" for package in self.packages]

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        """Make a client of the SDK."""
        raise NotImplementedError

    def behind_unbroken(self, url: str, *, timeout_s: float, options: Any) -> Any:
        """Make a client whose streams go through Unbroken."""
        import unbroken

        return unbroken.wrap(self.client(url, timeout_s=timeout_s, retries=2), options=options)

    def stream(self, client: Any, ask: Ask) -> Any:
        """Ask for a stream; what comes back is the SDK's own."""
        raise NotImplementedError

    def events(self, stream: Any) -> Iterator[Event]:
        """Read such a stream, looking for nothing that might be missing."""
        raise NotImplementedError

    def whole(self, client: Any, ask: Ask) -> str:
        """Ask without streaming."""
        raise NotImplementedError

    def lines(self, client: Any, ask: Ask) -> Iterator[str]:
        """Ask for a stream, and read its lines as they come over the wire."""
        raise NotImplementedError


class OpenAIChat(Dialect):
    """Chat Completions, by the ``openai`` SDK."""

    name = "openai-chat"
    packages = ("openai",)

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        import openai

        return openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="trial",
            timeout=timeout_s,
            max_retries=retries,
            http_client=http_client,
        )

    def behind_unbroken(self, url: str, *, timeout_s: float, options: Any) -> Any:
        import unbroken

        http = unbroken.http_client(options=options, timeout=timeout_s)
        return self.client(url, timeout_s=timeout_s, retries=2, http_client=http)

    def _question(self, ask: Ask) -> dict[str, Any]:
        more: dict[str, Any] = {"max_tokens": ask.max_tokens} if ask.max_tokens else {}
        if ask.tool:
            function = {"name": "say", "parameters": _PARAMETERS}
            more["tools"] = [{"type": "function", "function": function}]
        return {"model": ask.model, "messages": _SAY, **more}

    def stream(self, client: Any, ask: Ask) -> Any:
        return client.chat.completions.create(
            **self._question(ask), stream=True, stream_options={"include_usage": True}
        )

    def events(self, stream: Any) -> Iterator[Event]:
        for chunk in stream:
            for choice in chunk.choices or ():
                delta = choice.delta
                calls = (delta and delta.tool_calls) or ()
                pieces = [call.function.arguments or "" for call in calls if call.function]
                text = ((delta and delta.content) or "") + "".join(pieces)
                yield Event(text=text, finish=choice.finish_reason or "")

    def whole(self, client: Any, ask: Ask) -> str:
        message = client.chat.completions.create(**self._question(ask)).choices[0].message
        return message.tool_calls[0].function.arguments if ask.tool else message.content or ""

    def lines(self, client: Any, ask: Ask) -> Iterator[str]:
        raw = client.chat.completions.with_streaming_response
        with raw.create(**self._question(ask), stream=True) as response:
            yield from response.iter_lines()


class OpenAIResponses(OpenAIChat):
    """Responses, by the ``openai`` SDK: the dialect whose events have numbers."""

    name = "openai-responses"

    def _question(self, ask: Ask) -> dict[str, Any]:
        more: dict[str, Any] = {"max_output_tokens": ask.max_tokens} if ask.max_tokens else {}
        return {"model": ask.model, "input": "Say your text.", **more}

    def stream(self, client: Any, ask: Ask) -> Any:
        return client.responses.create(**self._question(ask), stream=True)

    def events(self, stream: Any) -> Iterator[Event]:
        for event in stream:
            text = event.delta if event.type == "response.output_text.delta" else ""
            ended = event.type in ("response.completed", "response.incomplete")
            yield Event(
                text=text,
                finish=event.type if ended else "",
                number=getattr(event, "sequence_number", None),
                last=ended,
            )

    def whole(self, client: Any, ask: Ask) -> str:
        return str(client.responses.create(**self._question(ask)).output_text)

    def lines(self, client: Any, ask: Ask) -> Iterator[str]:
        raw = client.responses.with_streaming_response
        with raw.create(**self._question(ask), stream=True) as response:
            yield from response.iter_lines()


class Anthropic(Dialect):
    """Messages, by the ``anthropic`` SDK."""

    name = "anthropic-messages"
    packages = ("anthropic",)

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        import anthropic

        return anthropic.Anthropic(
            base_url=url,
            api_key="trial",
            timeout=timeout_s,
            max_retries=retries,
            http_client=http_client,
        )

    def behind_unbroken(self, url: str, *, timeout_s: float, options: Any) -> Any:
        import unbroken

        http = unbroken.http_client(options=options, timeout=timeout_s)
        return self.client(url, timeout_s=timeout_s, retries=2, http_client=http)

    def _question(self, ask: Ask) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if ask.tool:
            more["tools"] = [{"name": "say", "input_schema": _PARAMETERS}]
        return {
            "model": ask.model,
            "messages": _SAY,
            "max_tokens": ask.max_tokens or 4096,
            **more,
        }

    def stream(self, client: Any, ask: Ask) -> Any:
        return client.messages.create(**self._question(ask), stream=True)

    def events(self, stream: Any) -> Iterator[Event]:
        for event in stream:
            delta = getattr(event, "delta", None)
            text = getattr(delta, "text", None) or getattr(delta, "partial_json", None) or ""
            finish = getattr(delta, "stop_reason", None) or ""
            yield Event(text=text, finish=finish, last=event.type == "message_stop")

    def whole(self, client: Any, ask: Ask) -> str:
        message = client.messages.create(**self._question(ask))
        return "".join(getattr(block, "text", "") for block in message.content)

    def lines(self, client: Any, ask: Ask) -> Iterator[str]:
        raw = client.messages.with_streaming_response
        with raw.create(**self._question(ask), stream=True) as response:
            yield from response.iter_lines()


_ANTHROPIC = Anthropic()


class Gemini(Dialect):
    """generateContent, by the ``google-genai`` SDK, which retries nothing unless told to."""

    name = "gemini"
    packages = ("google-genai",)

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        from google import genai
        from google.genai import types

        retry = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.05, max_delay=0.8)
        return genai.Client(
            api_key="trial",
            http_options=types.HttpOptions(
                base_url=url,
                timeout=int(timeout_s * 1000),
                httpx_client=http_client,
                retry_options=retry if retries > 2 else None,  # by default it has none
            ),
        )

    def behind_unbroken(self, url: str, *, timeout_s: float, options: Any) -> Any:
        import unbroken

        http = unbroken.http_client(options=options, timeout=timeout_s)
        return self.client(url, timeout_s=timeout_s, retries=0, http_client=http)

    def _question(self, ask: Ask) -> dict[str, Any]:
        from google.genai import types

        config = types.GenerateContentConfig(max_output_tokens=ask.max_tokens)
        return {"model": ask.model, "contents": "Say your text.", "config": config}

    def stream(self, client: Any, ask: Ask) -> Any:
        return client, client.models.generate_content_stream(**self._question(ask))

    def events(self, stream: Any) -> Iterator[Event]:
        client, chunks = stream  # a client that nobody holds closes its connections
        for chunk in chunks:
            candidate = (chunk.candidates or [None])[0]
            finish = str(candidate.finish_reason or "") if candidate else ""
            yield Event(text=chunk.text or "", finish=finish)
        del client

    def whole(self, client: Any, ask: Ask) -> str:
        return client.models.generate_content(**self._question(ask)).text or ""


class Ollama(Dialect):
    """Ollama's own chat, by the ``ollama`` SDK, which retries nothing."""

    name = "ollama"
    packages = ("ollama",)

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        import ollama

        return ollama.Client(host=url, timeout=timeout_s)

    def stream(self, client: Any, ask: Ask) -> Any:
        return client.chat(model=ask.model, messages=_SAY, stream=True)

    def events(self, stream: Any) -> Iterator[Event]:
        for part in stream:
            finish = part.done_reason or ""
            yield Event(text=part.message.content or "", finish=finish, last=bool(part.done))

    def whole(self, client: Any, ask: Ask) -> str:
        return client.chat(model=ask.model, messages=_SAY).message.content or ""


class Bedrock(Dialect):
    """ConverseStream, by ``boto3``."""

    name = "bedrock-converse"
    packages = ("boto3",)

    def client(self, url: str, *, timeout_s: float, retries: int, http_client: Any = None) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="trial",
            aws_secret_access_key="trial",
            config=Config(
                read_timeout=timeout_s, retries={"max_attempts": retries, "mode": "standard"}
            ),
        )

    def behind_unbroken(self, url: str, *, timeout_s: float, options: Any) -> Any:
        """Claude on Bedrock by Anthropic's SDK: boto3's own HTTP cannot be put on Unbroken."""
        import anthropic

        import unbroken

        # A changed request needs another signature; the lab looks at none.
        signed = replace(options, authorize=lambda request: request)
        return anthropic.AnthropicBedrock(
            base_url=url,
            aws_region="us-east-1",
            aws_access_key="trial",
            aws_secret_key="trial",
            timeout=timeout_s,
            http_client=unbroken.http_client(options=signed, timeout=timeout_s),
        )

    def _question(self, ask: Ask) -> dict[str, Any]:
        return {
            "modelId": ask.model,
            "messages": [{"role": "user", "content": [{"text": "Say your text."}]}],
        }

    def stream(self, client: Any, ask: Ask) -> Any:
        if hasattr(client, "messages"):
            return _ANTHROPIC.stream(client, ask)
        return client.converse_stream(**self._question(ask))["stream"]

    def events(self, stream: Any) -> Iterator[Event]:
        if "anthropic" in type(stream).__module__:
            yield from _ANTHROPIC.events(stream)
            return
        for event in stream:
            text = event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            finish = event.get("messageStop", {}).get("stopReason", "")
            yield Event(text=text, finish=finish)


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (OpenAIChat(), OpenAIResponses(), _ANTHROPIC, Gemini(), Ollama(), Bedrock())
}

_OF = {
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
    "google": "gemini",
    "ollama": "ollama",
    "bedrock": "bedrock-converse",
}


def dialect_of(record: dict[str, Any]) -> Dialect:
    """Return the dialect in which a record's scenario is played.

    That of the provider in its id, or of the only one that its structure names; one with numbers
    where a trial puts events in order by them; else Chat Completions.
    """
    providers = record.get("structure", {}).get("providers", [])
    words = [
        *record["id"].partition("/")[2].split("-"),
        *(providers if len(providers) == 1 else ()),
    ]
    for word in words:
        if word in _OF:
            return DIALECTS[_OF[word]]
    ways = [x.get("trial") for x in (*record["dead_ends"], *record["workarounds"])]
    numbered = {"buffer-by-number", "check-number-noticed"} & {*ways}
    return DIALECTS["openai-responses" if numbered else "openai-chat"]
