"""Plotly's script, out of its Python package: the live page and reports draw with it."""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

__all__ = ["STYLE", "Plotly", "plotly"]

STYLE = Path(__file__).parent / "page" / "static" / "plotly.css"
"""What Plotly would write into a ``<style>`` of its own; our content policies refuse that."""


class Plotly(NamedTuple):
    """Plotly's script.

    Attributes:
        version: A digest of it, for its address.
        path: Where it lies.
        guards: Ids of elements whose being there keeps the script from writing a ``<style>``
            of a map library, which our content policy would refuse and the console report.
    """

    version: str
    path: Path
    guards: tuple[str, ...]

    def packed(self) -> bytes:
        """Return it by gzip; packed once a process, which takes a third of a second."""
        return _packed(self.path)


@lru_cache(maxsize=1)
def _packed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)


_GUARD = re.compile(rb'document\.getElementById\("([0-9a-f]{64})"\)')


@lru_cache(maxsize=1)
def plotly() -> Plotly | None:
    """Find Plotly's script without importing the package, which takes a second; None: absent."""
    spec = find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            body = path.read_bytes()
            guards = tuple(found.decode() for found in sorted(set(_GUARD.findall(body))))
            return Plotly(hashlib.sha256(body).hexdigest()[:12], path, guards)
    return None
