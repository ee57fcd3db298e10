"""An HTTP status in place of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import put
from unbroken.lab.injectors.instead import Instead
from unbroken.lab.parts import Head, Part
from unbroken.lab.shapes import error_body

__all__ = ["HTTPStatus"]

_STATUSES = (500, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 502, 503, 504, 520, 529)


class HTTPStatus(Instead):
    """Answers with an error status and the body that the provider has for it."""

    name = "http"
    summary = "an HTTP error in place of the answer: http.429, http.503; see retry-after"
    kind = FaultKind.HTTP_ERROR
    hows: ClassVar[tuple[str, ...]] = tuple(str(status) for status in _STATUSES)

    def head(self, head: Head) -> Head:
        """Send the status."""
        head.status = int(self.how)
        head.headers["content-type"] = "application/json"
        if head.framing != "raw":
            head.framing = "length"
        return head

    def body(self) -> Iterable[Part]:
        """Return the provider's error."""
        yield put(error_body(self.scene.dialect, int(self.how)), "error")
