from __future__ import annotations

import base64
import os

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from unbroken.journal.sealing import (
    OVERHEAD_BYTES,
    Sealer,
    UnsealError,
    key_from_text,
)

ONE, TWO = os.urandom(32), os.urandom(32)


def test_what_is_sealed_opens_at_its_own_place_only():
    box = Sealer([ONE]).box("stream:1")
    blob = box.seal("d-0-1", b"words")
    assert len(blob) == 5 + OVERHEAD_BYTES
    assert b"words" not in blob
    assert box.open("d-0-1", blob) == b"words"
    for label, place in (("stream:1", "d-0-2"), ("stream:1", "e-0-1"), ("stream:1", "d-1-1"),
                         ("stream:2", "d-0-1")):  # fmt: skip
        with pytest.raises(UnsealError):
            Sealer([ONE]).box(label).open(place, blob)


def test_every_changed_byte_is_seen():
    box = Sealer([ONE]).box("s")
    blob = box.seal("p", b"words")
    for at in range(len(blob)):
        with pytest.raises(UnsealError):
            box.open("p", blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        with pytest.raises(UnsealError):
            box.open("p", blob[:at])


def test_the_same_is_never_sealed_alike():
    box = Sealer([ONE]).box("s")
    assert len({box.seal("p", b"words") for _ in range(100)}) == 100


def test_the_first_key_seals_and_all_open():
    old = Sealer([ONE]).box("s").seal("p", b"words")
    both = Sealer([TWO, ONE])
    assert both.box("s").open("p", old) == b"words"
    new = both.box("s").seal("p", b"words")
    assert Sealer([TWO]).box("s").open("p", new) == b"words"
    with pytest.raises(UnsealError, match="old_keys"):
        Sealer([ONE]).box("s").open("p", new)


def test_names_say_nothing_and_are_found_by_every_key():
    both = Sealer([TWO, ONE])
    assert both.names("m", "id") == [Sealer([TWO]).name("m", "id"), Sealer([ONE]).name("m", "id")]
    assert both.name("m", "id") == both.names("m", "id")[0]
    assert len({both.name(kind, value) for kind in "ms" for value in ("a", "b")}) == 4
    assert "some-id" not in both.name("m", "some-id")


@pytest.mark.parametrize("keys", [[], [b"short"], [ONE, b""]])
def test_a_key_of_another_length_is_refused(keys):
    with pytest.raises(ValueError, match="key"):
        Sealer(keys)


def test_a_key_is_written_in_base64():
    assert key_from_text(base64.b64encode(ONE).decode() + "\n") == ONE
    assert key_from_text(base64.urlsafe_b64encode(ONE).decode().rstrip("=")) == ONE
    for text in ("", "short", "\u00e9" * 44, base64.b64encode(ONE + b"1").decode()):
        with pytest.raises(ValueError, match="32 bytes in base64"):
            key_from_text(text)
