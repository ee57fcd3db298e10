"""Headers that every answer of the page carries."""

from __future__ import annotations

from typing import Final

__all__ = ["ASK", "FOREVER", "NEVER", "SECURITY"]

# Nothing is loaded from another host and nothing runs that is not a file of ours. Styles too:
# Plotly's own <style> is replaced by static/plotly.css. Pictures may be `data:`, which Plotly
# uses where it draws one.
_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)

SECURITY: Final[dict[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# May be kept, and is asked for again each time: with an ETag, mostly a 304.
ASK: Final = {"Cache-Control": "no-cache"}
NEVER: Final = {"Cache-Control": "no-store"}
# For addresses that name the version of what they give.
FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
