"""A real nginx between the real gateway and the model, by deploy/nginx/before_a_provider.conf."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from tests.deploy.proxies import DEPLOY, free_port, put, start_nginx, until
from tests.deploy.test_in_front import AUTH, BODY, text_of
from tests.support.gateway import Serving, config_for, serving
from unbroken.lab.server.app import LabServer


@pytest.fixture(scope="module")
def lab():
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab, tmp_path_factory) -> Iterator[Serving]:
    folder: Path = tmp_path_factory.mktemp("nginx")
    port = free_port()
    site = put(
        (DEPLOY / "nginx/before_a_provider.conf").read_text("utf-8"),
        {"127.0.0.1:8000": f"127.0.0.1:{lab.port}", "127.0.0.1:8001": f"127.0.0.1:{port}"},
    )
    with start_nginx(folder, site, port):
        config = config_for(f"http://127.0.0.1:{port}", options={"max_attempts": 4})
        with serving(config) as running:
            yield running


def ask(gateway: Serving, model: str, **more):
    url = f"{gateway.url}/v1/chat/completions"
    return httpx2.stream(
        "POST", url, json={"model": model, **BODY, **more}, headers=AUTH, timeout=30
    )


def test_events_keep_their_pace(gateway: Serving) -> None:
    came: list[float] = []
    with ask(gateway, "lab/ok;id=paced;tokens=10;tps=10") as response:
        for data in response.iter_bytes():
            came += [time.monotonic()] * data.count(b"data: {")
    gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert sum(gap > 0.05 for gap in gaps) >= 9, gaps


@pytest.mark.parametrize("plan", ["cut.rst@30t", "cut.fin@30t", "cut.clean@30t"])
def test_a_cut_is_seen_and_healed(lab: LabServer, gateway: Serving, plan: str) -> None:
    name = plan.replace("@", "-")
    with ask(gateway, f"lab/{plan};id={name};tokens=80", seed=1, temperature=0) as response:
        body = response.read()
    assert body.rstrip().endswith(b"data: [DONE]")
    assert text_of(body) == lab.sessions[name].numbered.text
    assert len(lab.sessions[name].attempts) == 2


def test_the_models_own_refusal_passes(lab: LabServer, gateway: Serving) -> None:
    with ask(gateway, "lab/http.429;id=refused") as response:
        assert response.status_code == 429
        assert json.loads(response.read())["error"]
    assert len(lab.sessions["refused"].attempts) == 1, "nginx asked again"


def test_stop_closes_the_model(lab: LabServer, gateway: Serving) -> None:
    with ask(gateway, "lab/ok;id=left;tokens=400;tps=20") as response:
        next(response.iter_bytes())
    left = time.monotonic()
    until(lambda: lab.sessions["left"].attempts[0].ended, 5)
    assert lab.sessions["left"].attempts[0].ended_at_s - left < 1.0
