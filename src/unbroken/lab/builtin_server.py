"""A streaming chat server of the standard library alone, for where llama.cpp is missing.

It speaks as much of OpenAI's chat protocol as the demo and the tests need, and writes
the same made-up text for every question. A conversation that ends with an assistant
message is a prefill: the answer goes on exactly where that message stops.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from unbroken.lab.loopback import Exchange, LoopbackServer
from unbroken.lab.tiny_model import invented_words

__all__ = ["BuiltinServer"]

_VOCABULARY = 290


class BuiltinServer(LoopbackServer):
    """Serve one deterministic text as a stream of word tokens.

    Temperature and seed of the request are ignored. ``max_tokens`` is honoured (then the
    finish reason is ``length``), also ``max_completion_tokens``, ``stream: false`` and
    ``stream_options.include_usage``.

    Args:
        seed: Chooses the text.
        words: Words in the whole text.
        tokens_per_second: The pace of each answer; None sends as fast as it can.
        port: The port on 127.0.0.1; 0 takes a free one.

    Attributes:
        text: The whole answer, as an uninterrupted stream carries it.
        model: The name that the server gives its model.
        requests: How many chat requests came so far.
    """

    model = "builtin-words"

    def __init__(
        self,
        *,
        seed: int = 1,
        words: int = 400,
        tokens_per_second: float | None = None,
        port: int = 0,
    ) -> None:
        if tokens_per_second is not None and tokens_per_second <= 0:
            msg = f"tokens_per_second must be above 0 or None, not {tokens_per_second}"
            raise ValueError(msg)
        self.text = _made_up_text(seed, words)
        self.requests = 0
        self._interval_s = 0.0 if tokens_per_second is None else 1.0 / tokens_per_second
        super().__init__(port=port)

    def respond(self, exchange: Exchange, body: bytes) -> None:
        """Answer a chat request, the model list or a health check."""
        path = exchange.path.split("?")[0].rstrip("/")
        if exchange.command == "POST" and path.endswith("/chat/completions"):
            self._chat(exchange, body)
        elif path.endswith("/models"):
            _send_json(exchange, 200, {"object": "list", "data": [{"id": self.model}]})
        elif path == "/health":
            _send_json(exchange, 200, {"status": "ok"})
        else:
            _send_json(exchange, 404, _error(f"no such path: {exchange.command} {path}"))

    def _chat(self, exchange: Exchange, body: bytes) -> None:
        try:
            request = json.loads(body)
            messages = request["messages"]
            prefill = _text_of(messages[-1]) if messages[-1]["role"] == "assistant" else ""
        except (ValueError, KeyError, IndexError, TypeError):
            _send_json(exchange, 400, _error("the body must be JSON with a list of messages"))
            return
        self.requests += 1
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        all_tokens = _tokens(self._rest_after(prefill))
        tokens = all_tokens if limit is None else all_tokens[:limit]
        finish = "stop" if len(tokens) == len(all_tokens) else "length"
        prompt_tokens = sum(len(_tokens(_text_of(message))) for message in messages)
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(tokens),
            "total_tokens": prompt_tokens + len(tokens),
        }
        if not request.get("stream"):
            message = {"role": "assistant", "content": "".join(tokens)}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            head = self._head("chat.completion")
            _send_json(exchange, 200, head | {"choices": [choice], "usage": usage})
            return
        wants_usage = (request.get("stream_options") or {}).get("include_usage")
        self._stream(exchange, self._frames(tokens, finish, usage if wants_usage else None))

    def _rest_after(self, prefill: str) -> str:
        if self.text.startswith(prefill):
            return self.text[len(prefill) :]
        # Not our text: go on with words that depend on it, as a model would.
        return " " + _made_up_text(sum(prefill.encode()), len(_tokens(self.text)))

    def _head(self, kind: str) -> dict[str, Any]:
        created = int(time.time())
        return {
            "id": f"chatcmpl-{self.requests}",
            "object": kind,
            "created": created,
            "model": self.model,
        }

    def _frames(
        self, tokens: list[str], finish: str, usage: dict[str, int] | None
    ) -> Iterator[bytes]:
        head = self._head("chat.completion.chunk")

        def frame(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            return _sse(head | {"choices": [choice]})

        yield frame({"role": "assistant", "content": ""})
        began = time.monotonic()
        for number, token in enumerate(tokens):
            # By the clock and not by the gap, so that slow sends do not add up.
            ahead_s = began + number * self._interval_s - time.monotonic()
            if ahead_s > 0 and not self.sleep(ahead_s):
                return
            yield frame({"content": token})
        yield frame({}, finish)
        if usage is not None:
            yield _sse(head | {"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _stream(self, exchange: Exchange, frames: Iterator[bytes]) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Type", "text/event-stream")
        exchange.send_header("Cache-Control", "no-cache")
        chunked = exchange.takes_chunked
        if chunked:
            exchange.send_header("Transfer-Encoding", "chunked")
        else:
            exchange.close_connection = True
        exchange.end_headers()
        for frame in frames:
            exchange.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame) if chunked else frame)
        if self.stopping:
            exchange.close_connection = True  # in mid-answer: the body must stay unfinished
        elif chunked:
            exchange.wfile.write(b"0\r\n\r\n")


def _made_up_text(seed: int, words: int) -> str:
    vocabulary = invented_words(_VOCABULARY, seed=seed)
    picked, state = [], seed & 0xFFFFFFFF
    for _ in range(words):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        picked.append(vocabulary[(state >> 8) % _VOCABULARY])
    return " ".join(picked)


def _tokens(text: str) -> list[str]:
    """Split into words, each with its leading space; joined they give the text back."""
    return re.findall(r"\s*\S+|\s+$", text)


def _text_of(message: Any) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


def _sse(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _send_json(exchange: Exchange, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    exchange.send_response(status)
    exchange.send_header("Content-Type", "application/json")
    exchange.send_header("Content-Length", str(len(body)))
    exchange.end_headers()
    exchange.wfile.write(body)
