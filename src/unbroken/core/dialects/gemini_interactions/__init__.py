"""Gemini Interactions: steps, kept by Google, that can be read on."""
