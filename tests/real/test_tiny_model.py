from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unbroken.lab.tiny_model import invented_words, write_tiny_model

pytestmark = pytest.mark.real


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    first, second, other = (tmp_path / name for name in ("1", "2", "3"))
    write_tiny_model(first)
    write_tiny_model(second)
    write_tiny_model(other, seed=5)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    assert 600_000 < first.stat().st_size < 700_000


def test_words_differ_and_repeat() -> None:
    words = invented_words(290, seed=3)
    assert len(set(words)) == 290
    assert words == invented_words(290, seed=3)


@pytest.mark.parametrize("missing", ["gguf", "numpy"])
def test_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match="install gguf") as caught:
        write_tiny_model(tmp_path / "model")
    assert caught.value.name == missing
