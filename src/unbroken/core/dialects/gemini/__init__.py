"""Gemini ``streamGenerateContent``, as server-sent events and as a JSON array."""
