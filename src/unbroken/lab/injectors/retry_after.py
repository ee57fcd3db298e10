"""When to come again, in every form that providers say it."""

from __future__ import annotations

import math
from email.utils import formatdate
from typing import ClassVar

from unbroken.lab.injectors.base import AtStart, Scene, Spec
from unbroken.lab.parts import Head

__all__ = ["RetryAfter"]


class RetryAfter(AtStart):
    """Adds headers about retries to an answer; put it beside an HTTP error."""

    name = "retry-after"
    summary = "headers about retries beside an HTTP error: http.429+retry-after.ms@2s"
    hows: ClassVar[tuple[str, ...]] = (
        "seconds", "float", "date", "past", "ms", "both", "should-retry", "should-not", "absurd",
        "negative", "garbage",
    )  # fmt: skip
    takes: ClassVar[frozenset[str]] = frozenset({"seconds"})

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        if not math.isfinite(self.for_s):
            self.refuse("the time must be finite")

    def head(self, head: Head) -> Head:
        """Add the headers."""
        head.headers |= self._headers()
        return head

    def _headers(self) -> dict[str, str]:
        seconds = str(math.ceil(self.for_s))
        match self.how:
            case "seconds":
                return {"retry-after": seconds}
            case "float":
                return {"retry-after": f"{self.for_s:.3f}"}
            case "date":  # dates have whole seconds: never earlier than was asked for
                return {"retry-after": _date(math.ceil(self.scene.clock() + self.for_s))}
            case "past":
                return {"retry-after": _date(self.scene.clock() - 3600)}
            case "ms":
                return {"retry-after-ms": str(math.ceil(self.for_s * 1000))}
            case "both":  # Azure; the finer one is meant
                milliseconds = str(math.ceil(self.for_s * 1000))
                return {"retry-after": seconds, "retry-after-ms": milliseconds}
            case "should-retry":
                return {"x-should-retry": "true", "retry-after": seconds}
            case "should-not":
                return {"x-should-retry": "false"}
            case "absurd":
                return {"retry-after": "31536000"}
            case "negative":
                return {"retry-after": "-1"}
            case _:
                return {"retry-after": "soon"}


def _date(at_s: float) -> str:
    return formatdate(at_s, usegmt=True)
