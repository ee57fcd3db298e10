"""``unbroken record``: what passes between a client and a provider, written to a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.cli import fetch
from unbroken.cli.screen import CliError, amount, say
from unbroken.cli.sources import is_url
from unbroken.relay.environment import BASE_URLS
from unbroken.telemetry.recording import Recorder

if TYPE_CHECKING:
    from unbroken.debugger.recording.exchange import Result
    from unbroken.debugger.recording.proxy import RecordingProxy

__all__ = ["record"]

_LEFT_S = 1.0
_VARIABLES = ", ".join(variable.name for variable in BASE_URLS)
_NOTHING_PASSED = (
    "nothing passed: the command did not ask through the recorder. It finds the recorder by",
    f"{_VARIABLES},",
    "or by an address among its words. If its base URL is in its code, read it from one of those;",
    "or record with --listen PORT --upstream URL, and write http://127.0.0.1:PORT into the code.",
)


def _on_one_terminal() -> bool:
    """Whether standard output and standard error are one terminal."""
    try:
        return os.isatty(1) and os.isatty(2) and os.ttyname(1) == os.ttyname(2)
    except OSError:
        return False


def _remove_empty(recorder: Recorder) -> bool:
    """Leave no file behind that holds nothing, so that its name is free; say whether so."""
    if recorder.path is None or recorder.streams:
        return False
    recorder.path.unlink(missing_ok=True)
    return True


class Keep(StrEnum):
    """What becomes of prompts and outputs."""

    KEPT = "kept"
    HASHED = "hashed"
    REMOVED = "removed"


def record(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URL | -- COMMAND...",
            help="An address to ask, or a command to run; none with --listen.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            envvar="UNBROKEN_RECORD_OUTPUT",
            metavar="FILE",
            help="Where to; never overwritten. - is standard output. If not given:"
            " recording-DATE-TIME.jsonl here.",
        ),
    ] = "",
    contents: Annotated[
        Keep,
        typer.Option(
            envvar="UNBROKEN_RECORD_CONTENTS",
            help="Prompts and outputs: [b]kept[/b]; [b]removed[/b] (x's of equal length, so that"
            " times and sizes stay); [b]hashed[/b] (equal letters for equal texts).",
        ),
    ] = Keep.KEPT,
    listen: Annotated[
        int | None,
        typer.Option(
            "--listen",
            "-l",
            envvar="UNBROKEN_RECORD_LISTEN",
            min=0,
            max=65535,
            metavar="PORT",
            help="Be a recording proxy on this port (0 takes a free one) until Ctrl-C.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="UNBROKEN_RECORD_HOST", help="With --listen: where.")
    ] = "127.0.0.1",
    upstream: Annotated[
        str,
        typer.Option(
            "--upstream",
            "-u",
            envvar="UNBROKEN_RECORD_UPSTREAM",
            metavar="URL",
            help="Whom the proxy, or the command, asks, such as https://api.openai.com.",
        ),
    ] = "",
    method: Annotated[
        str | None,
        typer.Option(
            "-X", "--request", envvar="UNBROKEN_REQUEST", help="URL: the method (POST with -d)."
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "-H", "--header", envvar="UNBROKEN_HEADER", help="URL: 'Name: value', repeatable."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d", "--data", envvar="UNBROKEN_DATA", help="URL: the body; @FILE reads it, @- stdin."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="UNBROKEN_TIMEOUT", min=0.001, metavar="SECONDS", help="URL: give up then."
        ),
    ] = 300.0,
    show: Annotated[
        bool, typer.Option("--print", envvar="UNBROKEN_PRINT", help="URL: print the body, too.")
    ] = False,
    cafile: Annotated[
        Path | None,
        typer.Option(envvar="UNBROKEN_CAFILE", help="Certificates to trust, in PEM form."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", envvar="UNBROKEN_INSECURE", help="Take any certificate."),
    ] = False,
    env_proxy: Annotated[
        bool,
        typer.Option(
            "--env-proxy/--no-env-proxy",
            envvar="UNBROKEN_ENV_PROXY",
            help="Reach upstreams as HTTPS_PROXY and its like say.",
        ),
    ] = True,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            envvar="UNBROKEN_JSON",
            help="Say what was recorded as one JSON object (of a command: on standard error).",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="UNBROKEN_QUIET", help="Say nothing more.")
    ] = False,
) -> None:
    """Record what passes on the wire: every byte, both directions, with its times.

    A command whose words name no address is run with base-URL variables that point to the
    recorder, which asks whom they named before, or --upstream: OPENAI_BASE_URL,
    ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL, OLLAMA_HOST, CO_API_URL, MISTRAL_SERVER_URL.
    Answers are asked for as the client does, but never in br or zstd; with --contents removed or
    hashed without compression.

    Keys are never in the file. Exit code: of a command its own; of an address 0 where the answer
    came to its end, else 1. What to do with the file: unbroken report, replay, shrink.

    [bold]Examples[/bold]: unbroken record -- curl -N https://HOST/v1/... -d @ask.json

    unbroken record -- python my_app.py

    unbroken record --listen 4750 --upstream https://api.openai.com
    """
    if find_spec("aiohttp") is None:
        message = "recording needs aiohttp: pip install 'unbroken[lab]'"
        raise CliError(message)
    words = words or []
    job = _Job(
        output=output,
        contents=contents,
        cafile=cafile,
        verify=not insecure,
        env_proxy=env_proxy,
        as_json=as_json,
        quiet=quiet,
    )
    asks = bool(words) and is_url(words[0]) and listen is None
    if not asks and (method or header or data or show):
        message = "-X, -H, -d and --print are for an address; a command's own go behind its name"
        raise CliError(message)
    if listen is not None:
        if words or not upstream:
            message = "--listen PORT needs --upstream URL, and nothing else to record"
            raise CliError(message)
        job.listen(upstream, host, listen)
    elif asks:
        if len(words) > 1 or upstream:
            message = "one address at a time, without --upstream; a command goes behind --"
            raise CliError(message)
        sent = fetch.data_of(data or [])
        headers = fetch.headers_of(header or [])
        code = job.ask(
            words[0], method or ("POST" if sent else "GET"), headers, sent, timeout, show=show
        )
        raise typer.Exit(code)
    elif words:
        raise typer.Exit(job.run(words, upstream))
    else:
        message = "what shall be recorded? URL, -- COMMAND, or --listen PORT --upstream URL"
        raise CliError(message)


class _Job:
    """One recording, with what is said of it."""

    def __init__(
        self,
        *,
        output: str,
        contents: Keep,
        cafile: Path | None,
        verify: bool,
        env_proxy: bool,
        as_json: bool,
        quiet: bool,
    ) -> None:
        self._output = output
        self._contents = contents
        self._cafile = cafile
        self._verify = verify
        self._env_proxy = env_proxy
        self._as_json = as_json
        self._quiet = quiet
        self._facts: dict[str, object] = {}
        self._later = False  # what is to be told waits for the command's end
        self._waiting: list[Result] = []

    # -- an address ------------------------------------------------------------------------

    def ask(
        self,
        url: str,
        method: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
        timeout_s: float,
        *,
        show: bool,
    ) -> int:
        from unbroken.debugger.recording.asking import record_url  # with aiohttp, so not above

        if show and self._output == "-":
            message = "-o - and --print both write to standard output: choose one"
            raise CliError(message)
        shown = sys.stdout.buffer

        def printed(piece: bytes) -> None:
            shown.write(piece)
            shown.flush()

        with self._recorder("command") as recorder:
            try:
                result = asyncio.run(
                    record_url(
                        url,
                        recorder,
                        method=method,
                        headers=fetch.all_headers(headers, body, agent="unbroken-record"),
                        body=body or b"",
                        timeout_s=timeout_s,
                        verify=self._verify,
                        cafile=self._cafile,
                        trust_env=self._env_proxy,
                        on_data=printed if show else None,
                    )
                )
            except ValueError as error:
                raise self._refused(recorder, str(error)) from None
            self._told(result)
            self._facts |= {"status": result.status, "ended": result.how}
        self._closing(recorder)
        return 0 if result.how == "eof" and result.status < 400 else 1

    # -- a proxy ---------------------------------------------------------------------------

    def listen(self, upstream: str, host: str, port: int) -> None:
        with self._recorder("proxy") as recorder:
            proxy = self._proxy(recorder, [upstream], host=host, port=port)
            try:
                self._took(proxy, recorder, host, port)
                asyncio.run(self._serve(proxy, upstream))
            except ValueError as error:
                raise self._refused(recorder, str(error)) from None
            finally:
                proxy.close()
        self._closing(recorder)

    async def _serve(self, proxy: RecordingProxy, upstream: str) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, proxy.close)

        def began() -> None:
            if not self._quiet:
                say(f"unbroken record: {proxy.url} -> {upstream}; Ctrl-C ends it")

        await proxy.serve(began)

    # -- a command -------------------------------------------------------------------------

    def run(self, words: list[str], upstream: str) -> int:
        from unbroken.debugger.recording.command import CommandError, plan_command, run_command

        if self._output == "-":
            message = "standard output is the command's; name a file with -o"
            raise CliError(message)
        try:
            plan = plan_command(words, upstream)
        except ValueError as error:
            raise CliError(str(error)) from None
        ran = True
        # The command's output is on the same terminal: what is said meanwhile would stand in it.
        shared = self._later = _on_one_terminal()
        with self._recorder("command") as recorder:
            proxy = self._proxy(recorder, plan.upstreams)
            try:
                self._took(proxy, recorder, "127.0.0.1", 0)
                proxy.start()
                addresses = [proxy.address_of(at) for at in range(len(plan.upstreams))]
                ending = run_command(
                    plan.arguments(addresses), plan.environment(addresses, os.environ)
                )
                recorder.notice("command", ending.said, time.monotonic())
                code = ending.exit_code
                proxy.settle(_LEFT_S)
            except CommandError as error:
                say(("unbroken: ", "bold red"), str(error))
                code = error.exit_code
                ran = False
            except ValueError as error:
                raise self._refused(recorder, str(error)) from None
            finally:
                proxy.close()
            self._facts["exit_code"] = code
        if shared and ran and not self._quiet:
            say()  # its last line may have no end
        self._later = False
        for result in self._waiting:
            self._told(result)
        self._closing(recorder, to_stderr=True)
        if not recorder.streams and ran and not self._quiet:
            for text in _NOTHING_PASSED:
                say(text)
        return code

    # -- what they share -------------------------------------------------------------------

    def _recorder(self, side: str) -> Recorder:
        path = self._output or time.strftime("recording-%Y%m%d-%H%M%S.jsonl")
        target: str | int = sys.stdout.fileno() if path == "-" else path
        try:
            recorder = Recorder(target, contents=self._contents.value, side=side, in_thread=True)
        except FileExistsError:
            message = f"{path} is there already, and a recording overwrites nothing: name another"
            raise CliError(message) from None
        except OSError as error:
            message = f"cannot write {path}: {(error.strerror or str(error)).lower()}"
            raise CliError(message) from None
        if not self._quiet:
            where = "standard output" if path == "-" else path
            kept = "prompts and outputs are in it (--contents removed leaves them out)"
            without = f"prompts and outputs are {self._contents.value}"
            say(f"recording to {where}: {kept if self._contents == Keep.KEPT else without}")
            if self._contents != Keep.KEPT:
                say("servers are asked for answers without compression, whose texts can be masked")
        return recorder

    def _proxy(
        self,
        recorder: Recorder,
        upstreams: list[str] | tuple[str, ...],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> RecordingProxy:
        from unbroken.debugger.recording.proxy import RecordingProxy  # with aiohttp, so not above

        try:
            return RecordingProxy(
                recorder,
                upstreams,
                host=host,
                port=port,
                verify=self._verify,
                cafile=self._cafile,
                trust_env=self._env_proxy,
                on_end=self._told,
            )
        except ValueError as error:
            raise self._refused(recorder, str(error)) from None

    def _took(self, proxy: RecordingProxy, recorder: Recorder, host: str, port: int) -> None:
        try:
            proxy.listen()
        except (OSError, OverflowError) as error:
            number = getattr(error, "errno", None)
            why = (os.strerror(number) if number and number > 0 else str(error)).lower()
            message = f"cannot listen on {host} port {port}: {why}; --listen 0 takes a free one"
            raise self._refused(recorder, message) from None

    def _refused(self, recorder: Recorder, message: str) -> CliError:
        """Leave no file behind that holds nothing."""
        recorder.close()
        _remove_empty(recorder)
        return CliError(message)

    def _told(self, result: Result) -> None:
        if self._quiet or self._as_json:
            return
        if self._later:
            self._waiting.append(result)
            return
        clock = time.strftime("%H:%M:%S")
        ended = ": ".join(word for word in (result.how, result.detail) if word)
        said = f"{result.method} {result.path[:200]} {result.status or '-'}"
        say((f"{clock} ", "dim"), f"{said} {amount(result.body_bytes, 'byte')}"
            f" in {result.lasted_s:.2f}s {ended}")  # fmt: skip

    def _closing(self, recorder: Recorder, *, to_stderr: bool = False) -> None:
        file = "-" if recorder.path is None else str(recorder.path)
        if recorder.failed is not None:
            why = (recorder.failed.strerror or str(recorder.failed)).lower()
            message = f"the recording is not whole: {file} could not be written ({why})"
            raise CliError(message)
        removed = _remove_empty(recorder)
        if self._as_json:
            said = {
                "file": None if removed else file,
                "contents": self._contents.value,
                "streams": recorder.streams,
                "body_bytes": recorder.body_bytes,
                "file_bytes": recorder.written_bytes,
                **self._facts,
            }
            out = sys.stderr if to_stderr or file == "-" else sys.stdout
            out.write(json.dumps(said) + "\n")
        elif not self._quiet:
            if removed:
                say(f"nothing was recorded, and {file} was removed")
                return
            streams = recorder.streams
            size = amount(recorder.body_bytes, "byte")
            what = f"recorded {amount(streams, 'stream')}, {size} of answers"
            if file != "-":
                what += f", in {file}" + (f"; next: unbroken report {file}" if streams else "")
            say(what)
