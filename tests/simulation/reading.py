"""A tiny reader for each dialect, of our own: what would an application see in these bytes?

Nothing here comes from `unbroken`: the oracle must not trust what it judges. It reads only
what the simulated upstream can write, and is strict about that: what it does not expect
becomes a problem. Bytes may come in any pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Reading", "SeenCall", "mend"]

_LINE = rb"(?:\r\n|\r(?=[^\n])|\n)"  # a CR at the very end may yet be half a line end
_BLOCK_END = re.compile(_LINE + _LINE)
_LINE_END = re.compile(_LINE)


def mend(pieces: list[str]) -> str:
    """Join pieces, and the surrogate pairs that were cut over two of them."""
    text = "".join(pieces)
    if "\ud800" <= text[-1:] <= "\udbff":
        text = text[:-1]  # its other half has not come
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass
class SeenCall:
    key: Any
    name: str = ""
    id: str = ""
    pieces: list[str] = field(default_factory=list)
    whole: bool = False

    @property
    def arguments(self) -> str:
        return mend(self.pieces)


def _parses(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True


class Reading:
    """What a consumer of these bytes knows.

    Attributes:
        consumed: Bytes of whole frames.
        rest: What follows them and is not a whole frame.
        frames: Frames that carried data.
        finishes: Semantic ends, in the provider's words.
        ends: Last markers.
        terminals: All that a client may take for the proven end.
        problems: What no valid stream holds.
    """

    def __init__(self, dialect: str, *, same_ids: bool = True) -> None:
        self.dialect = dialect
        self.same_ids = same_ids  # what was opened ends under the id it began with
        self.consumed = 0
        self.rest = b""
        self.frames = 0
        self.pieces: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[SeenCall] = []
        self.finishes: list[str] = []
        self.ends = 0
        self.errors = 0
        self.starts = 0
        self.contents = 0  # frames that brought text, thinking or a call
        self.usage: dict[str, int] = {}
        self.problems: list[str] = []
        self._open: dict[Any, str] = {}  # blocks or items: their kind
        self._closed: set[Any] = set()
        self._number: int | None = None
        self._said: dict[Any, list[str]] = {}
        self._ids: dict[int, str] = {}
        self._response_id: str | None = None
        self.response_id: str | None = None  # as the end has it
        self._read: Callable[[Any, str], None] = getattr(self, "_" + dialect.replace("-", "_"))

    @property
    def text(self) -> str:
        return mend(self.pieces)

    @property
    def reasoning(self) -> str:
        return mend(self.thoughts)

    @property
    def terminals(self) -> int:
        return len(self.finishes) + self.ends

    @property
    def moves(self) -> tuple[int, ...]:
        """Changes with every piece of content, and with every opening and closing."""
        whole = sum(call.whole for call in self.calls)
        return self.contents, self.terminals, len(self._open), len(self._closed), whole

    @property
    def open_calls(self) -> list[SeenCall]:
        return [call for call in self.calls if not call.whole]

    @property
    def over(self) -> bool:
        """Whether content may no longer come."""
        return bool(self.finishes or self.ends or self.errors)

    def feed(self, data: bytes) -> None:
        buffer = self.rest + data
        at = 0
        if self.dialect == "ollama":
            while (end := buffer.find(b"\n", at)) >= 0:
                self._frame(buffer[at:end].strip(), "")
                at = end + 1
        else:
            while found := _BLOCK_END.search(buffer, at):
                self._block(buffer[at : found.start()])
                at = found.end()
            while buffer[at : at + 1] == b"\n":  # blank lines between blocks
                at += 1
        self.consumed += at
        self.rest = buffer[at:]

    def close(self) -> None:
        """The body ended. A last frame that lacks only its line ends counts."""
        lines = _LINE_END.split(self.rest.strip())
        payload = lines[-1].removeprefix(b"data:").strip()
        if payload == b"[DONE]" or (payload and _parses(payload)):
            self.feed(b"\n\n")

    def _block(self, block: bytes) -> None:
        name, data = "", []
        for line in _LINE_END.split(block):
            key, _, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if key == b"data":
                data.append(value)
            elif key == b"event":
                name = value.decode()
        if data:
            self._frame(b"\n".join(data), name)

    def _frame(self, payload: bytes, name: str) -> None:
        if not payload:
            return
        self.frames += 1
        if self.ends and self.dialect != "anthropic-messages":
            self.problems.append(f"frame {self.frames - 1} came after the end")
        if payload == b"[DONE]":
            self.ends += 1
            return
        try:
            value = json.loads(payload)
        except ValueError:
            self.problems.append(f"frame {self.frames - 1} is not JSON: {payload[:60]!r}")
            return
        if isinstance(value, dict) and (
            isinstance(value.get("error"), dict | str) or value.get("type") == "error"
        ):
            self.errors += 1
            return
        self._read(value, name)

    # What was said --------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        if text:
            self._content("text")
            self.pieces.append(text)

    def _thought(self, text: str) -> None:
        if text:
            self._content("reasoning")
            self.thoughts.append(text)

    def _content(self, what: str) -> None:
        self.contents += 1
        if self.over:
            self.problems.append(f"{what} came after the end of the answer")

    def _call(self, key: Any, name: str, id_: str, piece: str, *, whole: bool = False) -> SeenCall:
        self._content("a tool call")
        call = next((c for c in self.calls if c.key == key), None)
        if call is None:
            call = SeenCall(key)
            self.calls.append(call)
        elif call.whole and piece:
            self.problems.append(f"a piece came for call {key}, which was whole")
        call.name = call.name or name
        call.id = call.id or id_
        if piece:
            call.pieces.append(piece)
        call.whole = call.whole or whole
        return call

    def _finish(self, reason: str) -> None:
        self.finishes.append(reason)
        if len(self.finishes) > 1:
            self.problems.append(f"it finished twice ({', '.join(self.finishes)})")
        for call in self.calls:
            call.whole = True

    # The dialects ---------------------------------------------------------------------------

    def _openai_chat(self, value: Any, name: str) -> None:
        for choice in value["choices"]:
            delta = choice.get("delta") or {}
            self._thought(delta.get("reasoning_content") or "")
            self._text(delta.get("content") or "")
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                index = call["index"]
                for earlier in self.calls:
                    earlier.whole = earlier.whole or earlier.key != index
                self._call(
                    index, function.get("name") or "", call.get("id") or "",
                    function.get("arguments") or "",
                )  # fmt: skip
            if choice.get("finish_reason"):
                self._finish(choice["finish_reason"])
        if value.get("usage"):
            self.usage = {
                "input": value["usage"]["prompt_tokens"],
                "output": value["usage"]["completion_tokens"],
            }

    def _gemini(self, value: Any, name: str) -> None:
        for candidate in value.get("candidates") or ():
            for part in (candidate.get("content") or {}).get("parts") or ():
                if "functionCall" in part:
                    call = part["functionCall"]
                    self._call(
                        len(self.calls), call["name"], call.get("id") or "",
                        json.dumps(call.get("args") or {}), whole=True,
                    )  # fmt: skip
                elif part.get("thought"):
                    self._thought(part.get("text") or "")
                else:
                    self._text(part.get("text") or "")
            if candidate.get("finishReason"):
                self._finish(candidate["finishReason"])

    def _ollama(self, value: Any, name: str) -> None:
        message = value.get("message") or {}
        self._thought(message.get("thinking") or "")
        self._text(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            function = call["function"]
            self._call(
                len(self.calls), function["name"], call.get("id") or "",
                json.dumps(function["arguments"]), whole=True,
            )  # fmt: skip
        if value.get("done"):
            self._finish(value.get("done_reason") or "")
            self.ends += 1

    def _anthropic_messages(self, value: Any, name: str) -> None:
        kind = value["type"]
        if name != kind:
            self.problems.append(f"the event is called {name!r}, its type is {kind!r}")
        if self.ends and kind != "ping":
            self.problems.append(f"{kind} came after message_stop")
        at = value.get("index")
        match kind:
            case "message_start":
                self.starts += 1
                if self.starts > 1:
                    self.problems.append("message_start came twice")
            case "content_block_start":
                if at != len(self._open) + len(self._closed) or self._open:
                    self.problems.append(
                        f"block {at} opened, with {self._open} open, {self._closed} closed"
                    )
                block = value["content_block"]
                self._open[at] = block["type"]
                if block["type"] == "tool_use":
                    self._call(at, block["name"], block["id"], "")
            case "content_block_delta":
                if at not in self._open:
                    self.problems.append(f"a delta came for block {at}, which is not open")
                delta = value["delta"]
                match delta["type"]:
                    case "text_delta":
                        self._text(delta["text"])
                    case "thinking_delta":
                        self._thought(delta["thinking"])
                    case "input_json_delta":
                        self._call(at, "", "", delta["partial_json"])
            case "content_block_stop":
                if self._open.pop(at, None) is None:
                    self.problems.append(f"block {at} was closed and is not open")
                self._closed.add(at)
                for call in self.calls:
                    call.whole = call.whole or call.key == at
            case "message_delta":
                if value["delta"].get("stop_reason"):
                    if self._open:
                        self.problems.append(f"it finished with block {self._open} open")
                    self._finish(value["delta"]["stop_reason"])
            case "message_stop":
                self.ends += 1
                if not self.finishes:
                    self.problems.append("message_stop came without a stop reason")

    def _openai_responses(self, value: Any, name: str) -> None:
        kind = value["type"]
        number = value["sequence_number"]
        if self._number is not None and number != self._number + 1:
            self.problems.append(f"number {number} came after {self._number}")
        self._number = number
        at = value.get("output_index")
        match kind:
            case "response.created":
                self.starts += 1
                if self.starts > 1:
                    self.problems.append("response.created came twice")
                self._response_id = value["response"]["id"]
            case "response.output_item.added":
                item = value["item"]
                if at != len(self._open) + len(self._closed):
                    self.problems.append(f"item {at} was added out of turn")
                self._open[at] = item["type"]
                self._ids[at] = item["id"]
                if item["type"] == "function_call":
                    self._call(at, item["name"], item["call_id"], "")
            case "response.output_item.done":
                self._item_done(at, value["item"])
            case "response.output_text.delta":
                self._known(at, value["item_id"])
                self._text(value["delta"])
                self._said.setdefault((at, value["content_index"]), []).append(value["delta"])
            case "response.output_text.done":
                said = mend(self._said.get((at, value["content_index"]), []))
                if said != value["text"]:
                    self.problems.append(f"item {at} said other text than its end repeats")
            case "response.reasoning_summary_text.delta":
                self._thought(value["delta"])
            case "response.function_call_arguments.delta":
                self._known(at, value["item_id"])
                self._call(at, "", "", value["delta"])
            case "response.function_call_arguments.done":
                call = next((c for c in self.calls if c.key == at), None)
                if call is None or call.arguments != value["arguments"]:
                    self.problems.append(f"call {at} has other arguments than its end repeats")
                else:
                    call.whole = True
            case "response.completed" | "response.incomplete":
                self._response_done(kind, value["response"])

    def _known(self, at: int, item_id: str) -> None:
        if at not in self._open:
            self.problems.append(f"a delta came for item {at}, which is not open")
        elif self._ids[at] != item_id and self.same_ids:
            self.problems.append(f"item {at} changed its id to {item_id}")

    def _item_done(self, at: int, item: Any) -> None:
        if self._open.pop(at, None) is None:
            self.problems.append(f"item {at} is done and was not open")
        self._closed.add(at)
        for call in self.calls:
            if call.key == at:
                call.whole = True
                changed = call.id != item["call_id"] and self.same_ids
                if call.arguments != item["arguments"] or changed:
                    self.problems.append(f"call {at} ended as another")
        if item["type"] == "message":
            joined = mend([part.get("text") or "" for part in item["content"]])
            if joined != mend([p for (i, _), ps in self._said.items() if i == at for p in ps]):
                self.problems.append(f"item {at} ends with other text than it said")

    def _response_done(self, kind: str, response: Any) -> None:
        if self._open and kind == "response.completed":
            self.problems.append(f"it completed with items {self._open} open")
        text = mend(
            [
                part.get("text") or ""
                for item in response["output"]
                if item["type"] == "message"
                for part in item["content"]
            ]
        )
        if text != self.text:
            self.problems.append("the terminal object holds other text than was said")
        if self._response_id != response["id"] and self.same_ids:
            self.problems.append("the response's id changed")
        self.response_id = response["id"]
        self._finish(kind)
        self.ends += 1
