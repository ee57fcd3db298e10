"""OpenAI Chat Completions, and the many services that are compatible with it."""
