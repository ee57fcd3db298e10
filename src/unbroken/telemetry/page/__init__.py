"""The live page: figures, charts, streams and faults in a browser.

Needs ``unbroken[gateway]``; `unbroken.telemetry.asgi_app` gets it from here when it is used.
"""

from __future__ import annotations

from unbroken.telemetry.page.addition import Addition
from unbroken.telemetry.page.app import asgi_app
from unbroken.telemetry.page.feed import Feed

__all__ = ["Addition", "Feed", "asgi_app"]
