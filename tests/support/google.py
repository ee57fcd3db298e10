"""google-genai as it is where aiohttp is not installed: then its async calls go by httpx2.

With aiohttp there, async calls go by that, under which Unbroken cannot sit (wrap and doctor say
so). The lab's fault proxy needs aiohttp, so it is in the test environment.
"""

from __future__ import annotations

from typing import Any

__all__ = ["import_genai"]


def import_genai() -> Any:
    """Return the module `google.genai`, which has forgotten aiohttp."""
    from google import genai
    from google.genai import _api_client

    _api_client.has_aiohttp = False
    return genai
