"""An MCP server for coding agents, over standard input and output; read-only.

    {"mcpServers": {"unbroken": {"command": "unbroken", "args": ["mcp"]}}}

Built on the official SDK, which the extra ``mcp`` brings; only this module needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from unbroken.debugger.mcp_tools import AskedWrongError, Tools, as_json

__all__ = ["server"]

_INSTRUCTIONS = (
    "Why streamed answers of language models break. explain: an error message, traceback or log to"
    " its cause, what not to try, and what helps. check: whether a recorded response body is whole,"
    " and what is wrong with it. report: what a recording made with `unbroken record` shows, and"
    " where the fault lies. All only read; no prompt or output is in an answer."
)


def server(root: str | os.PathLike[str] | None = None) -> MCPServer[Any]:
    """Return the server; `run` serves it on standard input and output until that ends.

    Args:
        root: Files must be in this folder or below it; None: anywhere that this user may read.
    """
    tools = Tools(root)
    made: MCPServer[Any] = MCPServer(
        name="unbroken",
        title="Unbroken",
        version=version("unbroken"),
        instructions=_INSTRUCTIONS,
        log_level="WARNING",
    )
    reads = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )

    @made.tool(title="Explain a failure", annotations=reads, structured_output=True)
    def explain(
        text: Annotated[
            str,
            Field(description="The error's message, a traceback, or the last part of a log."),
        ],
        lang: Annotated[
            Literal["en", "zh"], Field(description="The language of the answer.")
        ] = "en",
        provider: Annotated[
            str, Field(description="Who answered, if known: openai, anthropic, google, aws ...")
        ] = "",
        limit: Annotated[int, Field(description="How many records at most.", ge=1, le=20)] = 3,
    ) -> dict[str, Any]:
        """Say why an LLM stream or request failed: cause, dead ends to avoid, what helps.

        Looks the text up in a knowledge base of real failures of SDKs, proxies and providers.
        No match is an empty list, never a guess.
        """
        return _answer(lambda: tools.explain(text, lang=lang, provider=provider, limit=limit))

    @made.tool(title="Check a response body", annotations=reads, structured_output=True)
    def check(
        path: Annotated[
            str, Field(description="A file with the raw response body (SSE, NDJSON ...).")
        ] = "",
        body: Annotated[str, Field(description="The body itself, in place of a path.")] = "",
        dialect: Annotated[
            str, Field(description="The API that it came from, such as openai-chat; or auto.")
        ] = "auto",
        end: Annotated[
            Literal["eof", "reset"],
            Field(description="How the body ended: cleanly, or by a connection that failed."),
        ] = "eof",
    ) -> dict[str, Any]:
        """Say whether a streamed answer is whole, and if not, what is wrong and where.

        Gives the status, each fault with its kind, frame, byte and knowledge records, and sizes;
        never the answer's text.
        """
        return _answer(lambda: tools.check(path=path, body=body, dialect=dialect, end=end))

    @made.tool(title="Report on a recording", annotations=reads, structured_output=True)
    def report(
        path: Annotated[str, Field(description="A recording (.jsonl) or a browser's HAR.")],
        stream: Annotated[
            int | None, Field(description="Only this stream, by its number from 1.")
        ] = None,
        full: Annotated[
            bool, Field(description="Every read and all histograms as well; large.")
        ] = False,
    ) -> dict[str, Any]:
        """Say what a recording shows: times, phases, faults, and where the fault lies.

        The verdict names the provider, a middlebox or the consumer, with evidence.
        """
        return _answer(lambda: tools.report(path, stream=stream, full=full))

    return made


def _answer(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = as_json(ask())
    except AskedWrongError as error:
        raise ToolError(str(error)) from None
    return found
