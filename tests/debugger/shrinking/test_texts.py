"""Texts in JSON, made shorter."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from unbroken.debugger.shrinking.sketch import Frame, Part
from unbroken.debugger.shrinking.texts import length_of, shortened, spots_of


def of(raw: bytes) -> Frame:
    return Frame((Part(0, raw),))


def test_values_are_found_and_names_are_not() -> None:
    raw = b'data: {"id": "c1", "a" : ["x", "", {"b": "\\"y\\n", "n": 1}], "e": null}\n\n'
    frame = of(raw)
    assert [raw[spot.start : spot.end] for spot in spots_of(frame)] == [b"c1", b"x", b'\\"y\\n']
    assert [length_of(frame, spot) for spot in spots_of(frame)] == [2, 1, 3]


def test_strings_are_cut_between_characters_and_escapes() -> None:
    frame = of('{"t": "aé😀\\ud83d\\ude00\\nz"}'.encode())
    [spot] = spots_of(frame)
    assert length_of(frame, spot) == 6
    texts = [json.loads(shortened(frame, [(spot, n)]).raw)["t"] for n in range(7)]
    whole = "aé😀😀\nz"
    assert texts == [whole[:n] for n in range(7)]


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=4), st.data())
def test_what_is_left_is_json_with_the_same_names(
    value: dict[str, str], data: st.DataObject
) -> None:
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        frame = of(raw)
        keep = [
            (spot, data.draw(st.integers(0, length_of(frame, spot)))) for spot in spots_of(frame)
        ]
        found = json.loads(shortened(frame, keep).raw.decode("utf-8", "surrogatepass"))
        assert list(found) == list(value)
        assert all(value[name].startswith(text) for name, text in found.items())
