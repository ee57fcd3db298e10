"""The chat box of the live page, and the JavaScript client that it reads with."""

from __future__ import annotations

from unbroken.gateway.chat.settings import ChatSettings

__all__ = ["ChatSettings"]
