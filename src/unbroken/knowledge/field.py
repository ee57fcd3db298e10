"""Whether a text is about models and their streams at all, or about something else.

Other programs stall, truncate, time out and lose connections too. What tells is the words beside:
those of this field, and those of others. Keep the words general: they are here because people use
them.
"""

from __future__ import annotations

import re

__all__ = ["of_elsewhere", "of_the_field"]

_MOST_READ = 6000  # characters
_URL = re.compile(r"\bhttps?://\S+")
# One of these makes a text one about models and their streams.
_STRONG = re.compile(
    r"\b(?:llm\w*|gpt\w*(?:-[\w.]+)?|openai|anthropic|claude|gemini|mistral|deepseek|"
    r"qwen\w*|llama\w*|ollama|vllm|sglang|litellm|langchain|langgraph|bedrock|"
    r"openrouter|cohere|groq|lm[- ]?studio|koboldcpp|llamafile|vicuna|mixtral|grok|"
    r"kimi|glm|huggingface|open-?webui|anythingllm|librechat|flowise|langflow|"
    r"llama_?index|pydantic-ai|crewai|autogen|chatgpt|copilot|dify|sse|"
    r"event[- ]?stream|server-sent|chat[ ./_-]?completions?|tokens|deltas?|"
    r"finish_?reason|stop_reason|tool[ _-]?calls?|streamed|streaming|streams?|ttft|"
    r"prompts?|max_tokens|genai|inference|assistant|completions?|choices|ai[ -]sdk|"
    r"aisdk|readablestream|chatbot)\b|流式|大模型|模型|\[done\]|message_start|content_block|"
    r"response\.(?:created|completed|output)"
)

# These speak of this field in company only.
_WEAK = re.compile(
    r"\b(?:models?|chunks?|token|events?|responses?|answers?|repl(?:y|ies)|chat|api|"
    r"agents?|generation|generat\w*|output|sentences?|endpoint|bot|messages?|proxy|"
    r"gateway|nginx|upstream|sdk|client|stream\w*|text|undici|httpx\w*|httpcore\w*|"
    r"aiohttp|requests|urllib3|axios|ai|cloudflare|workers?|[an]lb|load[- ]balancers?|"
    r"envoy|haproxy|lambda|vercel|request|fetch|http\w*|connection|provider)\b|回答|输出|"
    r"回复|接口|返回|请求"
)

# Of other fields, which have streams, chunks, events and time-outs too.
_ELSEWHERE = re.compile(
    r"\b(?:video|audio|smtp\w*|pymongo|paramiko|selenium|webpack|loader|rtsp|rtmp|hls|"
    r"webrtc|camera|ffmpeg|kafka|redis|rabbitmq|kinesis|spark|flink|sql\w*|"
    r"postgres\w*|mysql|sqlite\w*|psycopg2?|sqlalchemy|mongodb|git|npm|yarn|pip|"
    r"docker pull|css|dataframe|pandas|numpy|django|flask template|migrations?|"
    r"compil\w+|linker|segfault|usb|bluetooth|printer|game|unity|android|ios|twitch|"
    r"youtube|netflix|login page|payments?|invoice|spreadsheet|excel|csv|pdf|"
    r"thumbnail|backup|cron|kernel|driver|filesystem|disk|dvd|training loss|"
    r"tensorboard|epochs?|checkpoints?|gradient)\b|\b(?:package|config|settings|"
    r"tsconfig|manifest|composer)[\w-]*\.(?:json|js|ya?ml|toml|ini)\b"
)


def of_the_field(text: str) -> float:
    """Return how sure it is that a text in lower case is about models and their streams: 0 to 1."""
    text = _URL.sub(" ", text[:_MOST_READ])
    strong = set(_STRONG.findall(text))
    weak = len(set(_WEAK.findall(text)))
    if (other := len(set(_ELSEWHERE.findall(text)))) and all(
        word.startswith("stream") for word in strong
    ):
        return 0.0
    return max(0.0, min(1.0, 0.8 * len(strong) + 0.3 * weak) - 0.4 * other)


def of_elsewhere(text: str) -> bool:
    """Whether a text in lower case is about another field, with no word of this one."""
    text = _URL.sub(" ", text[:_MOST_READ])
    return bool(_ELSEWHERE.search(text)) and not of_the_field(text)
