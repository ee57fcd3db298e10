"""Who may talk to the gateway at all: rules against web pages that would use it unasked.

The gateway listens on a machine where somebody also browses the web, and may hold keys that cost
money. Any page that is open there can make the browser send requests to it. The rules, and the
attack that each one stops:

1. **Host.** It must be a name of loopback, the very address the connection came in on, or a
   configured name; health probes excepted. *DNS rebinding*: ``evil.example`` first points at its
   own server, then at 127.0.0.1. The browser takes both for one site and lets its script read
   our answers; but it still says ``Host: evil.example``. The port is not compared: it may be
   forwarded, and a wrong one proves nothing.
2. **Origin.** If a browser names one it must be listed, or be this gateway's own (the same name
   and port as Host). *Cross-site requests*: a page on another site sends ``fetch`` to
   127.0.0.1; it cannot read the answer, but the request would have been paid for. ``null``
   (a sandboxed frame, a file) is nobody's.
3. **Sec-Fetch-Site.** The same, for requests that carry no Origin (an ``<img>``, a link).
   Following a link to the live page is allowed.
4. **Content type.** A POST must say what no HTML form and no *simple* ``fetch`` can: JSON, say.
   *Preflight bypass*: browsers ask before they send JSON across sites, but not before
   ``text/plain``, a form, or a body without a type. ``multipart/form-data`` is for file uploads,
   from programs or listed origins only.
5. **Page token.** While provider keys are injected, a script of our own origin must show the
   token that only the live page was given. *Content of others under our name*: a file or an
   error page of the upstream that is opened in a browser would run as ours.

Programs (SDKs, curl) send none of the browser's headers; rules 1 and 4 are all they meet. The
page's token is no key: it lets nobody in who may not come in otherwise.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Guard", "Refusal"]

_PROBES = ("/healthz", "/readyz")
_PAGE = "/_unbroken/"
_SAFE = ("GET", "HEAD", "OPTIONS")
_SIMPLE_TYPES = ("", "text/plain", "application/x-www-form-urlencoded")
_METHODS = "GET, POST, PUT, PATCH, DELETE"
_ALLOWED = {
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "user-agent",
    "x-api-key",
    "x-request-id",
}
_ALLOWED_BEGINNINGS = ("x-unbroken-", "x-stainless-", "x-goog-", "anthropic-", "openai-")
_EXPOSED = (
    "X-Unbroken-Stream, X-Unbroken-Resume, X-Unbroken-Token, X-Unbroken-Error, "
    "X-Request-Id, Request-Id, Retry-After"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not let in.

    Attributes:
        status: The HTTP status.
        kind: A stable name: ``host-refused``, ``origin-refused``, ``content-type-refused`` or
            ``page-token-refused``.
        message: What happened and what to set, if it was meant well.
    """

    status: int
    kind: str
    message: str


class Guard:
    """Decides by a request's head whether it may come in; holds no state.

    Args:
        hosts: Accepted names beside those of loopback: ``name`` with any port, or ``name:port``.
        origins: Accepted browser origins, as ``https://chat.example.com``.
        page_token: What the live page shows in ``X-Unbroken-Page``.
        injects_keys: Whether any upstream is asked with a key of the gateway's.
    """

    def __init__(
        self,
        *,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        page_token: str = "",
        injects_keys: bool = False,
    ) -> None:
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._page_token = page_token.encode()
        self._injects_keys = injects_keys

    def check(
        self, method: str, path: str, headers: Sequence[tuple[str, str]], *, server: str = ""
    ) -> Refusal | None:
        """Return why the request is refused, or None if it may come in.

        Args:
            method: The HTTP method.
            path: The request's path.
            headers: Its headers, names in any case.
            server: The address that the connection came in on (``scope["server"][0]``).
        """
        if path in _PROBES and method in _SAFE:
            return None  # they tell nothing; probes name the address of a pod
        said = _Said(headers)
        if not self._known_host(said.host, server):
            return Refusal(
                status=421,
                kind="host-refused",
                message="the gateway is not known by the name in the Host header: "
                "add it to `hosts` in the configuration",
            )
        own = _is_own(said)
        listed = said.origin is not None and said.origin.lower() in self._origins
        if said.origin is not None and not own and not listed:
            return Refusal(
                status=403,
                kind="origin-refused",
                message="web pages of this origin may not call the gateway: "
                "add it to `origins` in the configuration",
            )
        if said.origin is None and said.site in ("cross-site", "same-site"):
            follows = method in _SAFE and said.mode == "navigate"
            if not (follows and (path + "/").startswith(_PAGE)):
                return Refusal(
                    status=403,
                    kind="origin-refused",
                    message="a web page of another site may not call the gateway",
                )
        if method not in _SAFE and (wrong := _wrong_type(method, said, listed=listed)):
            return wrong
        if self._needs_token(method, path, said, own=own) and not self._shows_token(said):
            return Refusal(
                status=403,
                kind="page-token-refused",
                message="requests from the gateway's own origin need the live page's token: "
                "load the page again",
            )
        return None

    def preflight(
        self, method: str, headers: Sequence[tuple[str, str]]
    ) -> list[tuple[str, str]] | None:
        """Return the headers of the 204 that answers a preflight, or None if it is none.

        Call it after `check`, which refuses origins that are not listed.
        """
        if method != "OPTIONS":
            return None
        said = _Said(headers)
        if said.origin is None or said.requests_method is None:
            return None
        wanted = [name.strip().lower() for name in said.requests_headers.split(",")]
        allowed = [n for n in wanted if n in _ALLOWED or n.startswith(_ALLOWED_BEGINNINGS)]
        answer = [
            *self.cors(headers),
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", ", ".join(allowed)),
            ("access-control-max-age", "600"),
        ]
        if said.private_network:
            answer.append(("access-control-allow-private-network", "true"))
        return answer

    def cors(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return what an answer to a listed origin carries, errors included; else nothing."""
        if not self._origins:
            return []
        origin = _Said(headers).origin
        if origin is None or origin.lower() not in self._origins:
            return [("vary", "Origin")]
        return [
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
            ("vary", "Origin"),
        ]

    def _known_host(self, host: str, server: str) -> bool:
        host = host.lower()
        name = _name_of(host)
        if name == "localhost" or name.endswith(".localhost"):
            return True
        if name in self._hosts or host in self._hosts or f"[{name}]" in self._hosts:
            return True
        loopback = _is_loopback(name)
        return loopback is not None and (loopback or (server != "" and name == server.lower()))

    def _needs_token(self, method: str, path: str, said: _Said, *, own: bool) -> bool:
        if not self._injects_keys or method == "OPTIONS":
            return False
        if not (own or said.site == "same-origin"):
            return False  # not a script of ours: other rules have looked at it
        return method not in _SAFE or not (path + "/").startswith(_PAGE)

    def _shows_token(self, said: _Said) -> bool:
        shown = said.page_token.encode("latin-1", "replace")
        return bool(self._page_token) and hmac.compare_digest(shown, self._page_token)


class _Said:
    """What of a request's headers the rules look at."""

    __slots__ = (
        "body",
        "content_type",
        "host",
        "mode",
        "origin",
        "page_token",
        "private_network",
        "requests_headers",
        "requests_method",
        "site",
    )

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        self.host = self.content_type = self.site = self.mode = ""
        self.page_token = self.requests_headers = ""
        self.origin: str | None = None
        self.requests_method: str | None = None
        self.private_network = self.body = False
        for name, value in headers:
            match name.lower():
                case "host":
                    self.host = value.strip()
                case "origin":
                    self.origin = value.strip()
                case "content-type":
                    self.content_type = value.partition(";")[0].strip().lower()
                case "content-length":
                    self.body = self.body or value.strip() != "0"
                case "transfer-encoding":
                    self.body = True
                case "sec-fetch-site":
                    self.site = value.strip().lower()
                case "sec-fetch-mode":
                    self.mode = value.strip().lower()
                case "x-unbroken-page":
                    self.page_token = value.strip()
                case "access-control-request-method":
                    self.requests_method = value.strip()
                case "access-control-request-headers":
                    self.requests_headers = value
                case "access-control-request-private-network":
                    self.private_network = value.strip() == "true"
                case _:
                    pass


def _wrong_type(method: str, said: _Said, *, listed: bool) -> Refusal | None:
    kind = said.content_type
    from_browser = said.origin is not None or said.site != ""
    if kind in _SIMPLE_TYPES:
        if not said.body and not kind and not (from_browser and method == "POST"):
            return None  # nothing is sent: DELETE, or an SDK's POST that only acts
    elif kind != "multipart/form-data" or listed or not from_browser:
        return None
    return Refusal(
        status=415,
        kind="content-type-refused",
        message="the request's body must be JSON: send `Content-Type: application/json`",
    )


def _is_own(said: _Said) -> bool:
    """Whether the origin is that of the gateway's own pages, as this very request calls it."""
    if said.origin is None:
        return False
    scheme, _, rest = said.origin.lower().partition("://")
    return scheme in ("http", "https") and rest != "" and rest == said.host.lower()


@lru_cache(maxsize=256)  # most requests name the same few hosts, and parsing takes its time
def _is_loopback(name: str) -> bool | None:
    """Whether an address is one of loopback; None where the name is no address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return None


def _name_of(host: str) -> str:
    """Return a Host header without its port, and an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")
