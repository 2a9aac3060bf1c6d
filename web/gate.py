"""The gate before every page: which host was asked for, who asks, and the headers every answer carries.

- *Host*: only names this gateway is known by. A page of a foreign site that points its own name at this machine
  (DNS rebinding) still sends its own name.
- *Who*: the bearer token of ``run.json``, or the session cookie a browser got for a one-time ticket. What a browser
  changes must come from a page of ours (``Origin``): cookies are shared between the ports of a machine.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from http.cookies import CookieError, SimpleCookie

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slakeeper.client import ticket_times
from slakeeper.web.token_file import TokenFile

# A working day; after it a new ticket is needed.
SESSION_S = 12 * 3600

# Asked by whoever watches this process, who need not know the token. They say nothing but yes or no.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/login"})

# What comes to these carries its own proof: a signed link, a signature under a shared secret.
ACK_PATH = "/ack"
INBOUND_PATH = "/v1/inbound/"

# Before somebody without a token is told so: a client that asks again at once, for ever, would take a good part of a
# processor, and nobody mistypes a token so often that this matters.
STRANGER_WAITS_S = 0.1

# Requests of one host under way at once: half of all connections (`server`). Behind a proxy hosts are told apart by
# what it says of them.
MAX_UNDER_WAY = 500

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_SESSION_PURPOSE = b"slakeeper dashboard session\0"

_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_HEADERS_AND_CSP = [*_HEADERS, (b"content-security-policy", _CSP)]

_SIGNED_OUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>slakeeper</title></head><body><h1>slakeeper</h1>
<p>%s Run <code>slakeeper dashboard</code> on the machine that runs slakeeper and open the address it prints.</p>
</body></html>
"""


class Sessions:
    """Tickets in, cookies out; nothing is stored but the tickets that were used."""

    def __init__(self, token: str, now_s: Callable[[], float] = time.time) -> None:
        self._token = token
        self._now_s = now_s
        # Which tickets an earlier process took is not known here, so none of its time is taken.
        self._since_ms = math.floor(now_s()) * 1000
        self._used: dict[str, int] = {}

    def admit(self, ticket: str) -> str | None:
        """The cookie's value for a ticket that is genuine, in time and unused; None for any other."""
        times = ticket_times(self._token, ticket)
        if times is None:
            return None
        minted_at_ms, expires_at_ms, nonce = times
        now_ms = round(self._now_s() * 1000)
        self._used = {used: until_ms for used, until_ms in self._used.items() if until_ms > now_ms}
        if minted_at_ms < self._since_ms or expires_at_ms <= now_ms or nonce in self._used:
            return None
        self._used[nonce] = expires_at_ms
        claim = f"{round(self._now_s()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{claim}.{self._signature(claim)}"

    def knows(self, cookie: str) -> bool:
        """Whether this is the value of a session that has not ended."""
        claim, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._signature(claim).encode(), signature.encode()):
            return False
        return int(claim.partition(".")[0]) > self._now_s()

    def _signature(self, claim: str) -> str:
        key = self._token.encode()
        return hmac.new(key, _SESSION_PURPOSE + claim.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Gate:
    """Lets through to ``app`` what may pass.

    Args:
        app: what is behind the gate.
        token: the API token.
        sessions: who knows a browser's cookie.
        host: the host that was bound. A wildcard address allows every numeric host, which cannot be rebound.
        names: further host names, e.g. of a proxy before this.
        senders: whose tokens let them POST to ``push_paths``, and nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        sessions: Sessions,
        host: str = "127.0.0.1",
        names: Iterable[str] = (),
        senders: TokenFile | None = None,
        push_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._senders = senders or TokenFile(None)
        self._push_paths = push_paths
        self._token = token.encode()
        self._sessions = sessions
        self._names = {name.lower() for name in (*LOOPBACK_NAMES, host, *names)}
        self._any_address = host in {"", "0.0.0.0", "::"}
        # By host; only of those that have any.
        self._under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = (scope.get("client") or ("",))[0]
        count = self._under_way.get(host, 0)
        if count >= MAX_UNDER_WAY:
            text = f"{count} requests of this host are under way already"
            busy = error_response(503, "unavailable", text, {"retry-after": "1"})
            await busy(scope, receive, _with_headers(send))
            return
        self._under_way[host] = count + 1
        try:
            await self._pass(scope, receive, _with_headers(send))
        finally:
            self._leave(host)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        if refusal.status_code == 401:
            await asyncio.sleep(STRANGER_WAITS_S)
        await refusal(scope, receive, send)

    def _leave(self, host: str) -> None:
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            return error_response(403, "forbidden", "this host name is not served here")
        path = scope["path"]
        if path in OPEN_PATHS or path == ACK_PATH or path.startswith(INBOUND_PATH):
            return None
        given = headers.get(b"authorization", b"")
        # The scheme's case does not matter; what follows is compared in constant time.
        if given[:7].lower() == b"bearer ":
            if hmac.compare_digest(given[7:], self._token):
                return None
            if scope["path"] in self._push_paths and scope["method"] == "POST":
                if self._senders.knows(given[7:]):
                    return None
        if not given and self._has_session(scope, headers.get(b"cookie", b"").decode("latin-1")):
            if (
                scope["method"] in _SAFE_METHODS
                or headers.get(b"origin") == f"{scope['scheme']}://{host}".encode()
            ):
                return None
            return error_response(
                403, "forbidden", "a browser may change things from the dashboard's own page only"
            )
        challenge = {"www-authenticate": 'Bearer realm="slakeeper"'}
        if scope["path"] == "/" and not given:
            return HTMLResponse(_SIGNED_OUT % "You are not signed in.", 401, challenge)
        return error_response(401, "unauthorized", "the API token is missing or wrong", challenge)

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        if name in self._names:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _has_session(self, scope: Scope, cookies: str) -> bool:
        try:
            morsel = SimpleCookie(cookies).get(cookie_name(scope))
        except CookieError:
            return False
        return morsel is not None and self._sessions.knows(morsel.value)


def cookie_name(scope: Scope) -> str:
    """The session cookie's name; with the port, since two gateways of one machine share their cookies."""
    server = scope.get("server") or ("", 0)
    return f"slakeeper_session_{server[1]}"


def signed_out(text: str) -> Response:
    """The page that says how to sign in, with 401."""
    return HTMLResponse(_SIGNED_OUT % text, 401)


def error_response(
    status: int, code: str, reason: str, headers: dict[str, str] | None = None, **details: object
) -> Response:
    """``{"error": code, "reason": one line, …}``."""
    return JSONResponse({"error": code, "reason": reason, **details}, status, headers)


def _host_name(host: str) -> str:
    """``Host`` without its port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            has_policy = any(name == b"content-security-policy" for name, _ in headers)
            message["headers"] = [*headers, *(_HEADERS if has_policy else _HEADERS_AND_CSP)]
        await send(message)

    return sender
