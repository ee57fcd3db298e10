"""Which exception of a chain says most, and where in a program it was."""

from __future__ import annotations

import pytest

from tests.knowledge.make import bare, known
from unbroken.knowledge import explain
from unbroken.knowledge.chains import OUTER, class_weights, line_weights
from unbroken.knowledge.places import frames_in, places_in


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["APIConnectionError"], [1.0]),
        (["APIConnectionError", "ConnectError", "OSError"], [OUTER, OUTER, 1.0]),
        (["APITimeoutError", "PoolTimeout", "PoolTimeout"], [OUTER, 1.0, 0.8]),
        (["UnknownApiResponseError", "JSONDecodeError"], [1.0, 0.8]),
        ([], []),
    ],
)
def test_the_most_specific_counts_most(names: list[str], weights: list[float]) -> None:
    assert class_weights(names) == weights


PYTHON = """Traceback (most recent call last):
  File "a.py", line 1, in read
{inner}

{link}:

Traceback (most recent call last):
  File "b.py", line 2, in ask
{outer}
INFO served
"""
CAUSE = "The above exception was the direct cause of the following exception"
DURING = "During handling of the above exception, another exception occurred"


@pytest.mark.parametrize("link", [CAUSE, DURING])
def test_a_wrapper_in_a_traceback_counts_less(link: str) -> None:
    text = PYTHON.format(inner="OSError: x", outer="openai.APIConnectionError: y", link=link)
    weights = dict(zip(text.split("\n"), line_weights(text), strict=True))
    assert weights["OSError: x"] == 1.0
    assert weights["openai.APIConnectionError: y"] == OUTER
    assert weights["INFO served"] == 1.0


def test_in_node_the_cause_stands_below() -> None:
    text = "APIConnectionError: Connection error.\n  cause: Error: read ECONNRESET"
    assert line_weights(text) == (OUTER, 1.0)
    assert line_weights("SocketError: closed\n  [cause]: x") == ()  # no wrapper we know


def test_a_text_without_a_chain_counts_whole() -> None:
    assert line_weights("a\nb") == ()


BOTH = known(
    bare("sdk/reader", regex="unterminated string", structure={"fault_kinds": ["malformed-json"]}),
    bare("sdk/user", regex="unterminated string",
         structure={"fault_kinds": ["invalid-tool-arguments"]}),
)  # fmt: skip
FRAMES = """Traceback (most recent call last):
  File "{file}", line 52, in {name}
    {code}
  File "/usr/lib/python3.11/json/decoder.py", line 353, in raw_decode
    obj, end = self.scan_once(s, idx)
json.decoder.JSONDecodeError: Unterminated string starting at: line 1 column 9 (char 8)
"""


@pytest.mark.parametrize(
    ("file", "code", "best"),
    [
        ("/x/site-packages/openai/_streaming.py", "data = sse.json()", "sdk/reader"),
        ("/app/main.py", "args = json.loads(call.function.arguments)", "sdk/user"),
        ("/app/main.py", 'json.loads(line.removeprefix("data: "))', "sdk/reader"),
    ],
)
def test_frames_tell_who_read_the_json(file: str, code: str, best: str) -> None:
    text = FRAMES.format(file=file, name="f", code=code)
    assert explain(text, records=BOTH).matches[0].record.id == best


def test_where_nothing_tells_nothing_is_said() -> None:
    assert places_in("JSONDecodeError: x", ["JSONDecodeError: x"]) == ()


def test_frames_of_something_else() -> None:
    text = "SyntaxError: x\n    at JSON.parse (<anonymous>)\n    at f (/srv/load-config.js:2:41)"
    assert frames_in(text) == "elsewhere"
    assert frames_in(text.replace("load-config", "chat-completion")) == ""
    assert frames_in("SyntaxError in config") == ""
