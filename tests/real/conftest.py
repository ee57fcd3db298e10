from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.real.nginx import Nginx, nginx_program
from unbroken.lab.llama import LlamaServer
from unbroken.lab.proxy.app import FaultProxy


@pytest.fixture(scope="session")
def llama_process() -> Iterator[LlamaServer]:
    for package in ("xllamacpp", "gguf", "numpy"):
        if find_spec(package) is None:
            pytest.skip(f"needs the package {package}: pip install xllamacpp gguf")
    with LlamaServer() as server:
        yield server


@pytest.fixture
def llama(llama_process: LlamaServer) -> LlamaServer:
    """A real llama.cpp server, running; a test may kill it."""
    if llama_process.pid is None:
        llama_process.restart()
    return llama_process


@pytest.fixture
def proxy(llama: LlamaServer) -> Iterator[FaultProxy]:
    """A fault proxy before the llama.cpp server; tell it what to do by `set_plan`."""
    with FaultProxy(llama.url) as running:
        yield running


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Start nginx before an upstream: ``nginx(upstream_url, settings="")``."""
    if nginx_program() is None:
        pytest.skip("needs nginx: apt-get install --no-install-recommends nginx-light")
    started: list[Nginx] = []

    def start(upstream: str, settings: str = "") -> Nginx:
        started.append(Nginx(tmp_path / f"nginx{len(started)}", upstream, settings))
        return started[-1]

    yield start
    for server in started:
        server.close()
