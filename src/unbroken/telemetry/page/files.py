"""The page's own files.

They have a version in their address, as Plotly's script has: ``static/<digest>/app.js``, so that a
browser keeps them for good and a new release is never mixed with an old one (a module's relative
imports stay below the same digest).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["File", "Files"]

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
