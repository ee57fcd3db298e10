"""The vendors' own SDKs read the model's answers; a transport stands in for the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from unbroken.lab.model import AnswerSettings, Memory, Refusal, read_request, reply_to
from unbroken.lab.model.script import numbered_for

MODEL = "lab/cut@50%+stall@3s,cut.rst*2;tokens=12;id=a-1"
TURNS: list[Any] = [{"role": "user", "content": "Say something."}]
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TEXT = numbered_for(AnswerSettings(tokens=12)).text


class Provider:
    """Answers every request of a client, as the lab's server would do."""

    def __init__(self, **settings: Any) -> None:
        self.settings = AnswerSettings(**{"tokens": 12, **settings})
        self.memory = Memory()
        self.models: list[str] = []

    def client(self, library: str) -> Any:
        httpx: Any = pytest.importorskip(library)

        def handle(request: Any) -> Any:
            status, headers, body = self.answer(
                request.method, request.url.raw_path.decode(), dict(request.headers), request.read()
            )
            return httpx.Response(status, headers=headers, content=body)

        return httpx.Client(transport=httpx.MockTransport(handle))

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        asked = read_request(method, path, headers, body)
        assert asked is not None, path
        if isinstance(asked, Refusal):
            return asked.status, {"content-type": "application/json"}, asked.body
        self.models.append(self.memory.model_of(asked))
        answered = reply_to(asked, self.settings, self.memory)
        assert answered.head.status is not None
        whole = b"".join(piece.data for piece in answered.pieces)
        return answered.head.status, answered.head.headers, whole


def openai_client(provider: Provider) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(
        api_key="lab-key", base_url="http://lab/v1", http_client=provider.client("httpx2")
    )


def chat(provider: Provider) -> str:
    with openai_client(provider) as client:
        stream = client.chat.completions.create(model=MODEL, messages=TURNS, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def chat_whole(provider: Provider) -> str:
    with openai_client(provider) as client:
        made = client.chat.completions.create(model=MODEL, messages=TURNS)
        assert made.usage.completion_tokens in (12, 12 + 3)  # with thinking
        return str(made.choices[0].message.content)


def completions(provider: Provider) -> str:
    with openai_client(provider) as client:
        stream = client.completions.create(model=MODEL, prompt="Say", stream=True)
        return "".join(c.choices[0].text for c in stream if c.choices)


def responses(provider: Provider) -> str:
    with openai_client(provider) as client, client.responses.stream(
        model=MODEL, input="Say something."
    ) as stream:  # fmt: skip
        return str(stream.get_final_response().output_text)


def responses_whole(provider: Provider) -> str:
    with openai_client(provider) as client:
        return str(client.responses.create(model=MODEL, input="Say something.").output_text)


def responses_read_again(provider: Provider) -> str:
    with openai_client(provider) as client:
        stream = client.responses.create(
            model=MODEL, input="Say something.", background=True, stream=True
        )
        said, number = "", 0
        for event in stream:
            said += getattr(event, "delta", "")
            number = event.sequence_number
            if len(said) > 30:
                break
        stream.close()
        id = "resp_lab00000001"
        rest = client.responses.retrieve(id, stream=True, starting_after=number)
        return said + "".join(getattr(event, "delta", "") for event in rest)


def azure(provider: Provider) -> str:
    openai = pytest.importorskip("openai")
    with openai.AzureOpenAI(
        api_key="lab-key", azure_endpoint="http://lab", api_version="2026-01-01",
        http_client=provider.client("httpx2"),
    ) as client:  # fmt: skip
        stream = client.chat.completions.create(model=MODEL, messages=TURNS, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def assistants(provider: Provider) -> str:
    with openai_client(provider) as client, client.beta.threads.runs.stream(
        thread_id="t", assistant_id="a", model=MODEL
    ) as stream:  # fmt: skip
        return "".join(stream.text_deltas)


def anthropic_client(provider: Provider) -> Any:
    anthropic = pytest.importorskip("anthropic")
    return anthropic.Anthropic(
        api_key="lab-key", base_url="http://lab", http_client=provider.client("httpx2")
    )


def messages(provider: Provider) -> str:
    with anthropic_client(provider) as client, client.messages.stream(
        model=MODEL, max_tokens=500, messages=TURNS
    ) as stream:  # fmt: skip
        return str(stream.get_final_text())


def messages_whole(provider: Provider) -> str:
    with anthropic_client(provider) as client:
        made = client.messages.create(model=MODEL, max_tokens=500, messages=TURNS)
        return str(made.content[0].text)


def genai_client(provider: Provider) -> Any:
    genai = pytest.importorskip("google.genai")
    options = {"base_url": "http://lab", "httpx_client": provider.client("httpx2")}
    return genai.Client(api_key="lab-key", http_options=options)


def gemini(provider: Provider) -> str:
    stream = genai_client(provider).models.generate_content_stream(model=MODEL, contents="Say")
    return "".join(part.text or "" for part in stream)


def gemini_whole(provider: Provider) -> str:
    return str(genai_client(provider).models.generate_content(model=MODEL, contents="Say").text)


def ollama_client(provider: Provider) -> Any:
    ollama: Any = pytest.importorskip("ollama")
    client = ollama.Client(host="http://lab")
    client._client = provider.client("httpx")
    client._client.base_url = "http://lab"
    return client


def ollama_chat(provider: Provider) -> str:
    stream = ollama_client(provider).chat(model=MODEL, messages=TURNS, stream=True)
    return "".join(part.message.content or "" for part in stream)


def ollama_generate(provider: Provider) -> str:
    stream = ollama_client(provider).generate(model=MODEL, prompt="Say", stream=True)
    return "".join(part.response for part in stream)


def ollama_whole(provider: Provider) -> str:
    client = ollama_client(provider)
    assert client.generate(model=MODEL, prompt="Say").response == TEXT
    return str(client.chat(model=MODEL, messages=TURNS).message.content)


def cohere_client(provider: Provider) -> Any:
    cohere = pytest.importorskip("cohere")
    return cohere.ClientV2(
        api_key="lab-key", base_url="http://lab", httpx_client=provider.client("httpx")
    )


def cohere(provider: Provider) -> str:
    stream = cohere_client(provider).chat_stream(model=MODEL, messages=TURNS)
    deltas = (event for event in stream if event.type == "content-delta")
    return "".join(event.delta.message.content.text or "" for event in deltas)


def cohere_whole(provider: Provider) -> str:
    made = cohere_client(provider).chat(model=MODEL, messages=TURNS)
    return str(made.message.content[0].text)


def mistral(provider: Provider) -> str:
    sdk: Any = pytest.importorskip("mistralai.client")
    client = sdk.Mistral(
        api_key="lab-key", server_url="http://lab", client=provider.client("httpx2")
    )
    stream = client.chat.stream(model=MODEL, messages=TURNS)
    return "".join(event.data.choices[0].delta.content or "" for event in stream)


def bedrock(provider: Provider) -> str:
    eventstream: Any = pytest.importorskip("botocore.eventstream")
    path = f"/model/{quote(MODEL, safe='')}/converse-stream"
    turns = [{"role": "user", "content": [{"text": "Say"}]}]
    _, _, body = provider.answer("POST", path, {}, json.dumps({"messages": turns}).encode())
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(body)
    payloads = [json.loads(message.payload) for message in buffer]
    return "".join(value.get("delta", {}).get("text", "") for value in payloads)


READERS: list[Callable[[Provider], str]] = [
    chat, chat_whole, completions, responses, responses_whole, responses_read_again, azure,
    assistants, messages, messages_whole, gemini, gemini_whole, ollama_chat, ollama_generate,
    ollama_whole, cohere, cohere_whole, mistral, bedrock,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("say", ["text", "thinking"])
def test_sdk_reads_the_numbered_text(read: Callable[[Provider], str], say: str) -> None:
    if say == "thinking" and read.__name__ in ("messages_whole", "cohere_whole",
                                               "responses_read_again"):  # fmt: skip
        pytest.skip("this reader looks for text alone")
    provider = Provider(say=say)
    assert read(provider) == TEXT
    assert set(provider.models) == {MODEL}


def chat_call(provider: Provider) -> str:
    tool: Any = {"type": "function", "function": {"name": "note", "parameters": SCHEMA}}
    with openai_client(provider) as client, client.chat.completions.stream(
        model=MODEL, messages=TURNS, tools=[tool]
    ) as stream:  # fmt: skip
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
        return str(call.function.arguments)


def messages_call(provider: Provider) -> str:
    tool = {"name": "note", "input_schema": SCHEMA}
    with anthropic_client(provider) as client, client.messages.stream(
        model=MODEL, max_tokens=500, messages=TURNS, tools=[tool]
    ) as stream:  # fmt: skip
        return json.dumps(stream.get_final_message().content[0].input)


def responses_call(provider: Provider) -> str:
    tool: Any = {"type": "function", "name": "note", "parameters": SCHEMA, "strict": False}
    with openai_client(provider) as client, client.responses.stream(
        model=MODEL, input="Say", tools=[tool]
    ) as stream:  # fmt: skip
        return str(stream.get_final_response().output[0].arguments)


def gemini_call(provider: Provider) -> str:
    config = {"tools": [{"function_declarations": [{"name": "note", "parameters": SCHEMA}]}],
              "automatic_function_calling": {"disable": True}}  # fmt: skip
    stream = genai_client(provider).models.generate_content_stream(
        model=MODEL, contents="Say", config=config
    )
    (call,) = [call for part in stream for call in part.function_calls or ()]
    return json.dumps(call.args)


def ollama_call(provider: Provider) -> str:
    tool = {"type": "function", "function": {"name": "note", "parameters": SCHEMA}}
    stream = ollama_client(provider).chat(model=MODEL, messages=TURNS, tools=[tool], stream=True)
    (call,) = [call for part in stream for call in part.message.tool_calls or ()]
    return json.dumps(dict(call.function.arguments))


@pytest.mark.parametrize(
    "read", [chat_call, messages_call, responses_call, gemini_call, ollama_call],
    ids=lambda read: read.__name__,
)  # fmt: skip
def test_sdk_reads_the_tool_call(read: Callable[[Provider], str]) -> None:
    assert json.loads(read(Provider(say="tool"))) == {"text": TEXT}


def test_sdks_raise_their_own_errors_for_refusals() -> None:
    openai = pytest.importorskip("openai")
    anthropic = pytest.importorskip("anthropic")
    provider = Provider()
    with openai_client(provider) as client, pytest.raises(openai.BadRequestError, match="n must"):
        client.chat.completions.create(model=MODEL, messages=TURNS, n=2)
    with anthropic_client(provider) as client, pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=MODEL, max_tokens=0, messages=TURNS)
