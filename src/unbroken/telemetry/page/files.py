"""The page's own files, and Plotly's out of its Python package.

Both have a version in their address: ``static/<digest>/app.js``, so that a browser keeps them
for good and a new release is never mixed with an old one (a module's relative imports stay
below the same digest).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["File", "Files", "Plotly", "plotly"]

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class File(NamedTuple):
    """A file as it is sent.

    Attributes:
        body: Its bytes.
        packed: The same by gzip.
        media_type: For ``Content-Type``.
        etag: For ``ETag``; weak, since both forms share it.
    """

    body: bytes
    packed: bytes
    media_type: str
    etag: str


class Files:
    """The files of some folders, read once: what is not there now is never served.

    Args:
        folders: Where they lie; of two of one name the later folder's wins.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, File] = {}
        digest = hashlib.sha256()
        for folder in folders:
            for path in sorted(folder.iterdir()):
                if path.suffix not in _TYPES:
                    continue
                body = path.read_bytes()
                digest.update(path.name.encode() + b"\0" + body)
                # mtime=0: the same file gives the same bytes in every worker.
                packed = gzip.compress(body, 6, mtime=0)
                etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
                self._files[path.name] = File(body, packed, _TYPES[path.suffix], etag)
        self.version = digest.hexdigest()[:12]

    def get(self, name: str) -> File | None:
        """Return a file, or None where no such one is served."""
        return self._files.get(name)


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
