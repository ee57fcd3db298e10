"""OpenAI Responses: numbered events, whose texts the provider repeats."""
