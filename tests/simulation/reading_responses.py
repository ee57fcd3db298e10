"""OpenAI Responses: numbers, items, and everything said again at its end."""

from __future__ import annotations

from typing import Any

from tests.simulation.seen import Seen, mend

__all__ = ["ResponsesReaders"]


class ResponsesReaders(Seen):
    """See `tests.simulation.reading.Reading`."""

    def __init__(self, *, choices: int, same_ids: bool) -> None:
        super().__init__(choices=choices, same_ids=same_ids)
        self._number: int | None = None
        self._said: dict[Any, list[str]] = {}
        self._ids: dict[int, str] = {}
        self._response_id: str | None = None

    def _openai_responses(self, value: Any, name: str) -> None:
        kind = value["type"]
        number = value["sequence_number"]
        # A status that was lost before the first item is not made up: its number stays absent.
        skips = kind == "response.output_item.added" and number > (self._number or 0)
        if self._number is not None and number != self._number + 1 and not skips:
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
        if self._response_id not in (None, response["id"]) and self.same_ids:
            self.problems.append("the response's id changed")
        self.response_id = response["id"]
        usage = response.get("usage") or {}
        self._used(usage.get("input_tokens"), usage.get("output_tokens"))
        self._finish(kind)
        self.ends += 1
