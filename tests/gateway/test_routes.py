"""Which route a request takes, what is asked of the upstream, and under which options."""

from __future__ import annotations

import pytest

from unbroken.core.faults import FaultKind
from unbroken.gateway.config import (
    ConfigError,
    GatewayConfig,
    OnDisconnect,
    RouteConfig,
    Secret,
    TargetConfig,
    UpstreamConfig,
    Value,
)
from unbroken.gateway.routes import Routes


def asked(routes, path, model=None, method="POST", query=""):
    route = routes.choose(method, path, model)
    return None if route is None else route.url_for(path, query)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("/v1/completions", "https://api.openai.com/v1/completions"),
        ("/v1/responses/resp_1", "https://api.openai.com/v1/responses/resp_1"),
        ("/v1/embeddings", "https://api.openai.com/v1/embeddings"),
        ("/v1/models", "https://api.openai.com/v1/models"),
        ("/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("/v1/messages/count_tokens", "https://api.anthropic.com/v1/messages/count_tokens"),
        (
            "/v1beta/models/gemini-3-pro:streamGenerateContent",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:streamGenerateContent",
        ),
        ("/api/chat", "http://127.0.0.1:11434/api/chat"),
        ("/v2/chat", "https://api.cohere.com/v2/chat"),
        ("/", None),
        ("/metrics", None),
    ],
)
def test_without_configuration_the_path_decides(path, url):
    assert asked(Routes(GatewayConfig()), path) == url


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://x.example", "/v1/chat", "https://x.example/v1/chat"),
        ("https://x.example/v1", "/v1/chat", "https://x.example/v1/chat"),
        ("https://x.example/v1/", "/v1/chat", "https://x.example/v1/chat"),
        ("https://x.example/v1", "/chat", "https://x.example/v1/chat"),
        ("https://x.example/v1", "/v1beta/chat", "https://x.example/v1/v1beta/chat"),
        ("https://x.example/openai/v1", "/v1/chat", "https://x.example/openai/v1/chat"),
        ("https://x.example/openai/v1", "/openai/v1/chat", "https://x.example/openai/v1/chat"),
        ("https://x.example/openai/v1", "/v1", "https://x.example/openai/v1"),
        ("https://x.example", "/@evil.example/v1", "https://x.example/@evil.example/v1"),
        ("https://x.example", "//evil.example/v1", "https://x.example//evil.example/v1"),
        ("https://x.example", "/a%2Fb", "https://x.example/a%2Fb"),
    ],
)
def test_one_upstream_takes_everything_under_its_url(base, path, url):
    routes = Routes(GatewayConfig(upstreams={"x": UpstreamConfig(url=base)}))
    assert asked(routes, path) == url
    assert asked(routes, path, query="alt=sse&a=%20") == f"{url}?alt=sse&a=%20"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/..", "/v1/.", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1%2f..%2fadmin",
        "/v1/..\\admin", "/v1\\chat", "/v1/..;/admin", "/v1 chat", "/v1/\r\nx", "/v1#x", "/v1?x",
        "http://evil.example/v1", "*", "",
    ],
)  # fmt: skip
def test_a_path_that_could_mean_another_has_no_route(path):
    routes = Routes(GatewayConfig(upstreams={"x": UpstreamConfig(url="https://x.example")}))
    assert routes.choose("GET", path, None) is None


def test_dots_inside_a_name_are_no_steps():
    routes = Routes(GatewayConfig())
    assert asked(routes, "/v1/models/gpt-5.2") == "https://api.openai.com/v1/models/gpt-5.2"
    assert asked(routes, "/v1/files/..x/a..b") is not None


def test_known_upstreams_keep_their_paths_when_a_key_is_given():
    key = Secret("sk-1")
    config = GatewayConfig(
        upstreams={"openai": UpstreamConfig(key=key), "anthropic": UpstreamConfig(key=key)}
    )
    routes = Routes(config)
    assert routes.choose("POST", "/v1/messages", None).upstream.key == "sk-1"
    assert routes.choose("POST", "/v1/responses", None).provider == "openai"
    assert routes.choose("POST", "/api/chat", None) is None
    assert "sk-1" not in repr(routes.all)


def test_the_first_route_that_fits_by_prefix_path_and_model_wins():
    config = GatewayConfig(
        upstreams={
            "groq": UpstreamConfig(url="https://api.groq.com/openai/v1"),
            "local": UpstreamConfig(url="http://127.0.0.1:8000/v1"),
        },
        routes=(
            RouteConfig(upstream="groq", prefix="/groq", path="/v1/chat/*", name="fast"),
            RouteConfig(upstream="local", model="llama-?.*", path="/v1/*"),
            RouteConfig(upstream="openai", path="/v1/*"),
        ),
    )
    routes = Routes(config)
    assert asked(routes, "/groq/v1/chat/completions") == (
        "https://api.groq.com/openai/v1/chat/completions"
    )
    assert routes.choose("POST", "/groq/v1/chat/completions", "x").name == "fast"
    assert asked(routes, "/groqqq/v1/chat/completions") is None
    assert asked(routes, "/groq/v1/models") is None
    chat = "/v1/chat/completions"
    assert routes.choose("POST", chat, "llama-4.1").name == "local"
    for other in ("llama-41", "gpt-5", "Llama-4.1", None):
        assert routes.choose("POST", chat, other).name == "openai"


def test_options_are_the_routes_own():
    config = GatewayConfig(
        mode="observe",
        routes=(
            RouteConfig(
                upstream="openai",
                path="/v1/chat/*",
                mode="heal",
                profile="interactive",
                options={"max_attempts": 2, "rungs": ["retry"], "clocks": {"silence_s": "none"}},
                on_disconnect="keep 2 min",
                heartbeat_s=None,
            ),
            RouteConfig(upstream="openai"),
        ),
    )
    routes = Routes(config)
    route = routes.choose("POST", "/v1/chat/completions", None)
    assert (route.options.mode, route.options.max_attempts) == ("heal", 2)
    assert route.options.rungs == ("retry",)
    assert route.options.timing.silence_s is None
    assert route.options.timing.progress_text_s == 20.0  # of the profile
    assert route.on_disconnect == OnDisconnect(kind="keep", keep_s=120.0)
    assert route.heartbeat_s is None
    other = routes.choose("POST", "/v1/responses", None)
    assert other.options.mode == "observe"
    assert other.on_disconnect == OnDisconnect(kind="cancel")
    assert other.on_disconnect_resumable == OnDisconnect(kind="keep", keep_s=30.0)


def test_targets_have_address_and_key_of_their_upstream():
    config = GatewayConfig(
        upstreams={
            "openai": UpstreamConfig(key=Secret("sk-1")),
            "groq": UpstreamConfig(
                url="https://api.groq.com/openai/v1",
                key=Secret("gsk-1"),
                headers={"X-Team": Value("a")},
                dialect="openai-chat",
            ),
            "proxy": UpstreamConfig(url="https://llm.example.com"),
        },
        routes=(
            RouteConfig(
                upstream="openai",
                targets=(
                    TargetConfig(model="gpt-5-mini"),
                    TargetConfig(upstream="groq", model="llama", when=("stalled",)),
                    TargetConfig(upstream="proxy", mid_answer=False),
                ),
            ),
        ),
    )
    route = Routes(config).choose("POST", "/v1/chat/completions", "gpt-5")
    mini, groq, proxy = route.options.targets
    assert (mini.model, mini.base_url, mini.api_key) == ("gpt-5-mini", None, None)
    assert (groq.base_url, groq.api_key) == ("https://api.groq.com/openai/v1", "gsk-1")
    assert (groq.headers, groq.dialect, groq.model) == ({"x-team": "a"}, "openai-chat", "llama")
    assert groq.when == {FaultKind.STALLED}
    assert FaultKind.CONNECTION_RESET in proxy.when
    assert (proxy.base_url, proxy.mid_answer) == ("https://llm.example.com/v1", False)
    anthropic = Routes(config).choose("POST", "/v1/messages", "claude")
    assert anthropic.options.targets[2].base_url == "https://llm.example.com"


def test_a_configuration_with_errors_makes_no_routes():
    with pytest.raises(ConfigError, match="no upstream is called"):
        Routes(GatewayConfig(routes=(RouteConfig(upstream="nobody"),)))


@pytest.mark.parametrize("text", ["keep", "keep 3h", "keep -1s", "stop", ""])
def test_a_policy_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match="keep 30s"):
        OnDisconnect.read(text)
