"""Write a later Responses attempt as the continuation of what was delivered.

Two maps. `Wire` is what the consumer has seen: items by output index, each with its parts,
open or closed. `_items` leads from the later attempt's output indexes to those items. An item
of the attempt either *adopts* an item on the wire (a continued message; in a replay each item
in turn), or is opened as a new one when there is something to put into it, or is left out
(reasoning, and messages that say nothing new).

The openai SDK (3.52) checks more than it shows: a response id, an item's id or a call id that
changes between opening and end raises there, and so does an item that is never closed. So
ids stay those on the wire. The exception is a replay of a response that the provider keeps:
what an application sends back must be an id that the provider knows, which is the later
attempt's; there its ids and its terminal object stay as it sent them.

Until the attempt has proven that it continues the answer (new text, a call, an end), what the
splicer returns is not delivered, so frames other than text wait here, to be written after it.
"""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects.base import RequestFacts, parse_payload
from unbroken.core.dialects.openai_responses.wire import (
    ARGUMENT_STEMS,
    LIFECYCLE,
    TEXT_KEYS,
    Item,
    Part,
    Wire,
)
from unbroken.core.dialects.payloads import number, record, sse, string
from unbroken.core.events import Event, Finish, Other, ProviderError, Refusal, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["ResponsesSplicer"]

_Json = dict[str, Any]
_Place = tuple[int, int]  # output index and content index, as the later attempt counts
_POSITIONS = frozenset({"start_index", "end_index", "index"})  # of an annotation, in the text


class ResponsesSplicer:
    """See `unbroken.core.dialects.base.Splicer`."""

    def __init__(self, delivered: Received, *, rung: str, facts: RequestFacts) -> None:
        self._replay = rung == "replay"
        self._keep_ids = self._replay and facts.server_state
        self._continues = rung == "prefill"
        self._input = delivered.usage.input
        self._number = delivered.last_number
        self._calls = {call.block: call for call in delivered.calls.values()}
        self._wire = Wire(delivered)
        # What the attempt's items may adopt, in order.
        if self._replay:
            self._free = [item for item in self._wire.items if item.kind != "reasoning"]
        else:
            self._free = [i for i in self._wire.items if i.kind == "message" and i.open]
        self._items: dict[int, Item | None] = {}  # None: left out
        self._parts: dict[_Place, Part] = {}
        self._heard: dict[_Place, int] = {}  # characters of each of the attempt's parts
        self._speaking: _Place = (0, 0)
        self._proven = False
        self._waiting: list[tuple[str, _Json, list[Event]]] = []
        self._named = True
        self._out: list[bytes] = []

    # One frame ----------------------------------------------------------------------------

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        data = frame.payload.strip()
        if not frame.dispatched or not data:
            return []
        if data == b"[DONE]" or any(type(event) is ProviderError for event in events):
            return [frame.raw]
        payload = parse_payload(data)
        if not isinstance(payload, dict):
            return [frame.raw]
        kind = payload.get("type")
        if not isinstance(kind, str):
            kind = frame.event
            payload = {**payload, "type": kind}
        if kind in ("response.failed", "response.cancelled"):
            return [frame.raw]
        self._named = frame.event != "message"
        self._out = []
        step = (kind, payload, events)
        delta = kind == "response.output_text.delta"
        if delta:
            self._hear(payload)
        if not self._proven:
            self._proven = bool(text) or any(_proves(event) for event in events)
            if not self._proven:
                if not delta:
                    self._waiting.append(step)
                return []
            self._catch_up("" if delta else text)
            text = text if delta else ""
        if delta:
            if text:
                self._say(self._speaking, "output_text", text, payload)
            return self._out
        if text:
            self._say(self._speaking, "output_text", text, None)
        self._take(*step)
        return self._out

    def _hear(self, payload: _Json) -> None:
        place = (number(payload, "output_index") or 0, number(payload, "content_index") or 0)
        self._heard[place] = self._heard.get(place, 0) + len(string(payload.get("delta")))
        self._speaking = place

    def _catch_up(self, text: str) -> None:
        """Take the frames that came before the proof; `text` was held back until it."""
        waiting, self._waiting = self._waiting, []
        for kind, payload, events in waiting:
            ends = kind.endswith(".done") and payload.get("output_index") == self._speaking[0]
            if text and ends:
                self._say(self._speaking, "output_text", text, None)
                text = ""
            self._take(kind, payload, events)
        if text:
            self._say(self._speaking, "output_text", text, None)

    def _take(self, kind: str, payload: _Json, events: list[Event]) -> None:
        """Write what one frame, other than a piece of text, is on the wire."""
        at, content_at = payload.get("output_index"), payload.get("content_index")
        if kind in ("response.completed", "response.incomplete"):
            self._terminal(payload, kind.removeprefix("response."))
        elif kind in LIFECYCLE:
            pass  # the consumer had its own
        elif not isinstance(at, int):
            self._emit(payload)
        elif kind == "response.output_item.added":
            self._added(at, payload)
        elif kind == "response.refusal.delta" and isinstance(content_at, int):
            said = "".join(event.text for event in events if type(event) is Refusal)
            if said:
                self._say((at, content_at), "refusal", said, payload)
        elif (item := self._items.get(at)) is not None:
            self._in_item(item, kind, (at, content_at), payload, events)

    def _in_item(
        self, item: Item, kind: str, place: tuple[int, Any], payload: _Json, events: list[Event]
    ) -> None:
        """Pass on a frame of an item that has a place on the wire, or may get one."""
        part = self._parts.get(place)
        if kind == "response.output_item.done":
            if item.index is not None and item.open:
                self._close_item(item, payload)
        elif item.kind != "message":
            if not item.delivered:
                self._emit_in(item, payload)
            elif item.open:
                self._rest_of_call(item, kind, payload, events)
        elif kind == "response.content_part.added":
            self._adopt_part(item, place, record(payload.get("part")).get("type"))
        elif part is None:
            pass  # nothing of it went on the wire
        elif kind in ("response.output_text.done", "response.refusal.done"):
            self._close_text(item, part, payload)
        elif kind == "response.content_part.done":
            if part.open:
                self._close_part(item, part, payload)
        elif kind == "response.output_text.annotation.added":
            if part.open:
                self._annotate(item, part, place, payload)
        elif part.open:
            self._emit_part(item, part, payload)

    def _rest_of_call(self, item: Item, kind: str, payload: _Json, events: list[Event]) -> None:
        """Pass on what the consumer lacks of a call that it has seen in part."""
        stem, _, action = kind.rpartition(".")
        if stem not in ARGUMENT_STEMS or item.said_done:
            return
        piece = "".join(event.arguments for event in events if type(event) is ToolCall)
        if action == "done":
            item.said_done = True
            self._emit_in(item, payload)
        elif piece:
            self._emit_in(item, {**payload, "delta": piece})

    # Opening ------------------------------------------------------------------------------

    def _added(self, at: int, payload: _Json) -> None:
        given = record(payload.get("item"))
        kind = given.get("type")
        if kind == "reasoning":
            self._items[at] = None
        elif self._free and self._free[0].kind == kind:
            self._items[at] = self._adopt(given)
        else:
            item = self._items[at] = Item(given, None, [])
            if kind != "message":  # a message waits for its first word
                self._open_item(item)

    def _adopt(self, given: _Json) -> Item:
        item = self._free.pop(0)
        item.adopted = True
        if self._keep_ids and "id" in given:
            item.payload = {**item.payload, "id": given["id"]}
        return item

    def _open_item(self, item: Item) -> None:
        if not self._replay:
            self._free.clear()
        for other in self._wire.items:
            if other.open and other.delivered and not other.adopted and _is_whole(other):
                self._close_item(other, None)  # cut; the attempt goes on with something else
        used = {other.payload.get("id") for other in self._wire.items}
        given = item.payload.get("id")
        if isinstance(given, str) and not self._keep_ids:
            fresh, serial = given, 2
            while fresh in used:  # seen where a server gives every answer the same ids
                fresh, serial = f"{given}_{serial}", serial + 1
            item.payload = {**item.payload, "id": fresh}
        self._wire.append(item)
        opened = {**item.payload, "content": []} if item.kind == "message" else item.payload
        self._emit_in(item, {"type": "response.output_item.added", "item": opened})

    def _adopt_part(self, item: Item, place: _Place, kind: str | None) -> None:
        """Let a part of the attempt go on in a part on the wire, if one waits for that."""
        taken = {id(part) for part in self._parts.values()}
        for part in item.parts:
            waits = self._replay or (part.open and not part.said_done)
            if waits and part.kind == kind and id(part) not in taken:
                self._parts[place] = part
                return

    def _say(self, place: _Place, kind: str, text: str, payload: _Json | None) -> None:
        """Write new text, opening an item and a part for it as far as none is open."""
        item = self._items.get(place[0])
        if item is None and self._free and self._free[0].kind == "message":
            item = self._adopt({})  # the attempt leaves the openings out
        elif item is None or not item.open:
            item_id = (payload or {}).get("item_id") or "msg_continued"
            base: _Json = {"id": item_id, "type": "message", "role": "assistant"}
            item = Item({**base, "status": "in_progress", "content": []}, None, [])
            self._parts.pop(place, None)
        self._items[place[0]] = item
        if item.index is None:
            self._open_item(item)
        if place not in self._parts:
            self._adopt_part(item, place, kind)
        part = self._parts.get(place)
        if part is None or part.said_done or not part.open:
            part = self._open_part(item, part, kind)
            self._parts[place] = part
        part.pieces.append(text)
        delta: _Json = dict(payload) if payload else {"type": f"response.{kind}.delta"}
        if kind == "output_text" and delta.get("delta") != text:
            delta["logprobs"] = []  # those that came belong to other tokens
        self._emit_part(item, part, {**delta, "delta": text})

    def _open_part(self, item: Item, before: Part | None, kind: str) -> Part:
        for other in item.parts:
            if other.open and (other is before or other.said_done):
                self._close_part(item, other, None)
        empty: _Json = {"type": kind, TEXT_KEYS[kind]: ""}
        if kind == "output_text":
            empty = {**empty, "annotations": [], "logprobs": []}
        part = Part.of(empty, len(item.parts))
        item.parts.append(part)
        self._emit_part(item, part, {"type": "response.content_part.added", "part": empty})
        return part

    # Closing ------------------------------------------------------------------------------

    def _close_text(self, item: Item, part: Part, payload: _Json | None) -> None:
        if part.said_done or not part.open or part.kind not in TEXT_KEYS:
            return
        part.said_done = True
        key, text = TEXT_KEYS[part.kind], part.text
        done: _Json = dict(payload) if payload else {"type": f"response.{part.kind}.done"}
        if part.kind == "output_text" and done.get(key) != text:
            done["logprobs"] = []
        self._emit_part(item, part, {**done, key: text})

    def _close_part(self, item: Item, part: Part, payload: _Json | None) -> None:
        self._close_text(item, part, None)
        part.open = False
        done = dict(payload) if payload else {"type": "response.content_part.done"}
        self._emit_part(item, part, {**done, "part": part.whole()})

    def _close_item(self, item: Item, payload: _Json | None, status: str = "completed") -> None:
        """End an item on the wire, once: in the attempt's words, or in what is known of it."""
        for part in item.parts:
            if part.open:
                self._close_part(item, part, None)
        item.open = False
        given = (payload or {}).get("item")
        whole = dict(given) if isinstance(given, dict) else {**item.payload, "status": status}
        if not self._keep_ids:
            whole.update({k: item.payload[k] for k in ("id", "call_id") if k in item.payload})
        if item.kind == "message":
            whole["content"] = [part.whole() for part in item.parts]
        elif given is None and (call := self._calls.get((item.index or 0, -1))) is not None:
            whole["input" if call.kind == "custom" else "arguments"] = call.arguments
        item.payload = whole
        done = dict(payload) if payload else {"type": "response.output_item.done"}
        self._emit_in(item, {**done, "item": whole})

    def _terminal(self, payload: _Json, status: str) -> None:
        for item in self._wire.items:
            if item.open:
                self._close_item(item, None, status if _is_whole(item) else "incomplete")
        response = payload.get("response")
        if isinstance(response, dict) and not self._keep_ids:
            first = self._wire.response
            response = {**response, **{k: first[k] for k in ("id", "created_at") if k in first}}
            response["output"] = [item.payload for item in self._wire.items]
            if isinstance(usage := response.get("usage"), dict):
                response["usage"] = self._usage(usage)
        self._emit({**payload, "response": response})

    def _annotate(self, item: Item, part: Part, place: _Place, payload: _Json) -> None:
        """Pass on an annotation of the later text, its positions counted from the whole."""
        if self._replay and payload.get("annotation_index", 0) < len(part.annotations):
            return
        note = payload.get("annotation")
        if isinstance(note, dict):
            ahead = len(part.text) - self._heard.get(place, 0)
            note = {
                key: value + ahead if key in _POSITIONS and isinstance(value, int) else value
                for key, value in note.items()
            }
        at = len(part.annotations)
        part.annotations.append(note)
        self._emit_part(item, part, {**payload, "annotation": note, "annotation_index": at})

    def _usage(self, usage: _Json) -> _Json:
        """Count the prompt once, where the first attempt said how long it was."""
        given, made = usage.get("input_tokens"), usage.get("output_tokens")
        if not self._continues or self._input is None:
            return usage
        if not isinstance(given, int) or not isinstance(made, int) or given < self._input:
            return usage
        return {**usage, "input_tokens": self._input, "output_tokens": made + given - self._input}

    # Writing ------------------------------------------------------------------------------

    def _emit_part(self, item: Item, part: Part, payload: _Json) -> None:
        own_id = item.payload.get("id")
        self._emit_in(item, {"item_id": own_id, **payload, "content_index": part.index})

    def _emit_in(self, item: Item, payload: _Json) -> None:
        fields = {**payload, "output_index": item.index}
        if "item_id" in fields and not self._keep_ids:
            fields["item_id"] = item.payload.get("id")
        self._emit(fields)

    def _emit(self, payload: _Json) -> None:
        head: _Json = {"type": payload["type"]}
        if self._number is not None:
            self._number += 1
            head["sequence_number"] = self._number
        payload = {**head, **payload, **head}
        self._out.append(sse(payload, event=head["type"] if self._named else None))


def _is_whole(item: Item) -> bool:
    """Whether an item that was cut can be closed with what is known of it."""
    return item.kind == "message" or item.said_done


def _proves(event: Event) -> bool:
    """Whether an event is only kept once the seam is proven."""
    if type(event) is Other:
        return event.content
    return type(event) in (ToolCall, Refusal, Finish)
