"""Anthropic Messages: blocks that are opened and closed."""
