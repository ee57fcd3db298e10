"""Time limits of common software that stands between a provider and its reader.

A cut that comes again and again at the same round age is a limit, not weather. Which clock ran
tells whose: *idle* since the last byte, *whole* since the request, *head* until the first byte.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from unbroken.debugger.words import seconds

__all__ = ["LIMITS", "Limit", "fitting", "is_round"]

Clock = Literal["idle", "whole", "head"]


class Limit(NamedTuple):
    """A limit that somebody ships or recommends.

    Attributes:
        limit_s: Its length.
        clocks: What it counts.
        who: Whose it is.
        setting: What changes it.
        marks: Words in response headers that name it.
    """

    limit_s: float
    clocks: tuple[Clock, ...]
    who: str
    setting: str
    marks: tuple[str, ...] = ()


LIMITS: Final[tuple[Limit, ...]] = (
    Limit(10.0, ("whole", "head"), "Vercel or Netlify functions (small plans)",
          "maxDuration of the function", ("vercel", "netlify")),
    Limit(15.0, ("whole", "head"), "Envoy's route timeout", "timeout: 0s on the route",
          ("envoy", "istio")),
    Limit(29.0, ("whole", "head"), "AWS API Gateway's integration timeout",
          "it cannot be raised for REST APIs everywhere: use a Lambda function URL or an ALB",
          ("apigw", "amz-apigw")),
    Limit(30.0, ("whole", "head", "idle"),
          "Heroku's router, a GCP backend service, AWS API Gateway (HTTP API), gunicorn's worker",
          "timeoutSec of the backend service; gunicorn --timeout", ("heroku", "cowboy", "gunicorn",
          "gunicorn", "google")),
    Limit(50.0, ("idle", "head"), "HAProxy (timeout server 50s, as in its examples)",
          "timeout server and timeout tunnel", ("haproxy",)),
    Limit(55.0, ("idle",), "Heroku's router (idle after the first byte)",
          "send a heartbeat more often than every 55 s", ("heroku", "cowboy")),
    Limit(60.0, ("idle", "head"), "nginx (proxy_read_timeout)",
          "proxy_read_timeout 3600s, or heartbeats from the upstream", ("nginx", "openresty")),
    Limit(60.0, ("idle", "head"), "AWS Application Load Balancer (idle timeout)",
          "idle_timeout.timeout_seconds of the load balancer", ("awselb", "awsalb")),
    Limit(60.0, ("whole", "head"), "Vercel functions, or a client's own 60 s timeout",
          "maxDuration of the function; the client's timeout", ("vercel",)),
    Limit(75.0, ("idle",), "nginx (keepalive_timeout)", "keepalive_timeout", ("nginx",)),
    Limit(100.0, ("head", "idle"), "Cloudflare (error 524)",
          "stream the first byte sooner; 100 s is raised only on Enterprise plans",
          ("cloudflare", "cf-ray")),
    Limit(120.0, ("idle", "head", "whole"), "Azure or Traefik front ends, uWSGI, IIS (120 s)",
          "the front end's request timeout", ("azure", "iis")),
    Limit(230.0, ("idle", "whole", "head"), "Azure App Service",
          "it cannot be raised: send heartbeats", ("azure",)),
    Limit(240.0, ("idle",), "Azure Load Balancer (TCP idle)",
          "idleTimeoutInMinutes, or TCP keep-alive", ("azure",)),
    Limit(300.0, ("idle",), "Envoy's stream_idle_timeout", "stream_idle_timeout: 0s",
          ("envoy", "istio")),
    Limit(300.0, ("whole", "head"),
          "Cloud Run, Vercel functions, Node's requestTimeout (300 s)",
          "the service's request timeout; server.requestTimeout = 0", ("google", "vercel")),
    Limit(350.0, ("idle",), "AWS Network Load Balancer or NAT gateway (TCP idle)",
          "TCP keep-alive more often than every 350 s"),
    Limit(600.0, ("idle", "whole", "head"),
          "ingress controllers set to 600 s, or the SDKs' default timeout of 600 s",
          "the ingress's proxy-read-timeout; the SDK's timeout", ("nginx",)),
    Limit(900.0, ("whole",), "AWS Lambda (15 minutes)", "it cannot be raised", ("lambda",)),
    Limit(3600.0, ("whole", "idle"), "a limit of one hour in a proxy", "that limit"),
)  # fmt: skip


def fitting(
    *, idle_s: float | None, whole_s: float | None, head_s: float | None, headers: str
) -> list[tuple[Limit, str]]:
    """Return the limits that fit the time of a cut, each with the words that say so.

    Args:
        idle_s: From the last byte to the cut, where there was one.
        whole_s: From the request to the cut.
        head_s: From the request to the cut or the error, where no body came before it.
        headers: All response headers as one text, lower case: who is named in it comes first.
    """
    found: list[tuple[int, Limit, str]] = []
    for limit in LIMITS:
        for clock, value, words in (
            ("idle", idle_s, "after {} without a byte"),
            ("head", head_s, "after {} without an answer"),
            ("whole", whole_s, "{} after the request"),
        ):
            if value is not None and clock in limit.clocks and _fits(value, limit.limit_s):
                named = any(mark in headers for mark in limit.marks)
                order = (0 if named else 2) + (clock == "whole")
                found.append((order, limit, words.format(seconds(value))))
                break
    found.sort(key=lambda item: item[0])
    if found and found[0][0] < 2:  # somebody named itself: the others are not likely
        found = [item for item in found if item[0] < 2]
    return [(limit, words) for _, limit, words in found]


_EARLY_S = 0.35


def _fits(value_s: float, limit_s: float) -> bool:
    # nginx arms its timers lazily: one may fire 0.3 s early (seen with 1.22).
    return -_EARLY_S <= value_s - limit_s <= max(1.0, limit_s * 0.012)


def is_round(value_s: float) -> bool:
    """Whether a time looks like somebody's setting: whole seconds, or tens of them."""
    if value_s < 1.5:
        return False
    step = 5.0 if value_s >= 20 else 1.0
    off = value_s - round(value_s / step) * step
    return -0.03 <= off <= (0.3 if value_s >= 20 else 0.06)
