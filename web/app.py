"""Every page and every call of the HTTP interface, as one ASGI application over a cluster of cells."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from slakeeper.client import Cluster, RequestFailed, Unavailable
from slakeeper.web.ack import AckPage
from slakeeper.web.body import BodyRefused, read_body
from slakeeper.web.bridge import Bridge
from slakeeper.web.doors import PUSH_PATHS, Asgi, Doors
from slakeeper.web.events import MAX_SUBSCRIBERS, EventHub
from slakeeper.web.gate import (
    ACK_PATH,
    INBOUND_PATH,
    SESSION_S,
    Gate,
    Sessions,
    cookie_name,
    error_response,
    signed_out,
)
from slakeeper.web.inbound import Inbound
from slakeeper.web.ingest import is_text
from slakeeper.web.intake import Intake
from slakeeper.web.metrics import CONTENT_TYPE, exposition
from slakeeper.web.status import process_rows
from slakeeper.web.token_file import TokenFile

# "by" and "note" of an acknowledgement.
MAX_FORM_BYTES = 64 * 1024
MAX_BY_CHARS = 200
MAX_NOTE_CHARS = 10_000

HTTP_STATUS = {"not_found": 404, "invalid": 400, "conflict": 409, "unavailable": 503, "forbidden": 403}

REPORT_TYPES = {"html": "text/html", "md": "text/markdown", "json": "application/json", "csv": "text/csv"}

# A report is one file that carries its own style and its charts; it may run nothing and reach nothing.
_REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

Rows = list[dict[str, Any]]


def create_app(
    cluster: Cluster,
    token: str,
    *,
    host: str = "127.0.0.1",
    names: Iterable[str] = (),
    processes: Callable[[], Rows] = list,
    run: Callable[[], Mapping[str, Any]] | None = None,
    disk: Callable[[], Mapping[str, int] | None] = lambda: None,
    ack_key: bytes | None = None,
    inbound: Mapping[str, tuple[str, str]] | None = None,
    intake: Intake | None = None,
    ingest: Mapping[str, Any] | None = None,
) -> Starlette:
    """The application.

    Args:
        cluster: the cells.
        token: the API token, asked for everything but `/healthz` and `/readyz`.
        host: the host that was bound; with the loopback names what ``Host`` may say.
        names: further names that ``Host`` may say.
        processes: the root's process table, rows ``{"name", "pid", "restarts", …}``; must be quick.
        run: ``{"state", "uptime_s", "generation"?}`` of the system; must be quick.
        disk: what the data directory takes, ``{…_bytes}``, or None; may wait for the disk.
        ack_key: what acknowledge links are signed with; None when none are sent.
        inbound: channels whose other side may acknowledge: name to (type, secret).
        intake: where samples go, shared with doors that are not HTTP.
        ingest: ``{"prometheus"?, "otlp"?, "token_file"?, "rate_limit"?}``: which doors are closed, who else may use
            them, and how many samples of one client are taken in a second.

    Returns:
        The app; ``app.state.hub`` is the `EventHub` to close before the server stops.
    """
    hub = EventHub()
    cluster.listen(hub.hear)
    sessions = Sessions(token)
    settings = ingest or {}
    intake = intake or Intake(cluster)
    api = _Api(cluster, intake, Doors(intake, settings), hub, sessions, processes, run or _own_run(), disk)
    senders = TokenFile(Path(settings["token_file"]) if settings.get("token_file") else None)
    gate = Middleware(
        Gate,
        token=token,
        sessions=sessions,
        host=host,
        names=tuple(names),
        senders=senders,
        push_paths=PUSH_PATHS,
    )
    app = Starlette(
        routes=[*_proved_routes(cluster, ack_key, inbound or {}), *api.routes()],
        middleware=[gate],
        exception_handlers={
            RequestFailed: _request_failed,
            BodyRefused: _body_refused,
            HTTPException: _http_error,
            Exception: _unexpected,
        },
    )
    app.state.hub = hub
    return app


def _proved_routes(
    cluster: Cluster, ack_key: bytes | None, inbound: Mapping[str, tuple[str, str]]
) -> list[Route]:
    """What needs no token of ours: links, and what other tools sign."""
    bridge = Bridge()
    page = AckPage(cluster, bridge, ack_key)
    return [
        Route(ACK_PATH, page.show, methods=["GET"]),
        Route(ACK_PATH, page.acknowledge, methods=["POST"]),
        Route(f"{INBOUND_PATH}{{channel}}", Inbound(cluster, bridge, inbound).take, methods=["POST"]),
    ]


class _Api:
    def __init__(
        self,
        cluster: Cluster,
        intake: Intake,
        doors: Doors,
        hub: EventHub,
        sessions: Sessions,
        processes: Callable[[], Rows],
        run: Callable[[], Mapping[str, Any]],
        disk: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._cluster = cluster
        self._intake = intake
        self._doors = doors
        self._hub = hub
        self._sessions = sessions
        self._processes = processes
        self._run = run
        self._disk = disk
        self._bridge = Bridge()

    def routes(self) -> list[Route]:
        get: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/login": self.login,
            "/v1/status": self.status,
            "/v1/tree": self.tree,
            "/v1/slas": self.slas,
            "/v1/slas/{id}": self.sla,
            "/v1/violations": self.violations,
            "/v1/violations/{id}": self.violation,
            "/v1/silences": self.silences,
            "/v1/compensation": self.compensation,
            "/v1/reports/{sla}": self.report,
        }
        return [
            *self._doors.routes(),
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()),
            Route("/v1/events", Asgi(self.events), methods=["GET"]),
            Route("/v1/violations/{id}/ack", self.acknowledge, methods=["POST"]),
            Route("/v1/violations/{id}/resolve", self.resolve, methods=["POST"]),
            Route("/v1/silences", self.silence, methods=["POST"]),
            Route("/v1/silences/{id}", self.expire_silence, methods=["DELETE"]),
            Route("/v1/remediation", self.turn_remediation, methods=["POST"]),
            *_pages(),
        ]

    # --- reading ------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:
        status = await self._bridge.answer(self._cluster.status())
        processes = process_rows(self._processes(), status["cells"])
        facts = {"state": "running", "uptime_s": 0, **self._run()}
        disk = await asyncio.to_thread(self._disk)
        return JSONResponse(
            {
                **facts,
                "slas": status["slas"],
                "silences": status["silences"],
                "remediation": status["remediation"],
                "processes": processes,
                "cells": status["cells"],
                "sources": status["sources"],
                "sources_failing": status["sources_failing"],
                "disk": disk,
                "ingest": [door.row() for door in self._intake.doors],
            }
        )

    async def tree(self, request: Request) -> Response:
        return JSONResponse(await self._bridge.answer(self._cluster.tree(self._processes())))

    async def slas(self, request: Request) -> Response:
        return JSONResponse(await self._bridge.answer(self._cluster.slas()))

    async def sla(self, request: Request) -> Response:
        return JSONResponse(await self._bridge.answer(self._cluster.sla(request.path_params["id"])))

    async def violations(self, request: Request) -> Response:
        include_resolved = _flag(request, "all")
        sla_id = request.query_params.get("sla") or None
        return JSONResponse(await self._bridge.answer(self._cluster.violations(sla_id, include_resolved)))

    async def violation(self, request: Request) -> Response:
        return JSONResponse(await self._bridge.answer(self._cluster.violation(request.path_params["id"])))

    async def compensation(self, request: Request) -> Response:
        sla_id = request.query_params.get("sla") or None
        return JSONResponse(await self._bridge.answer(self._cluster.compensation(sla_id)))

    async def silences(self, request: Request) -> Response:
        return JSONResponse(await self._bridge.answer(self._cluster.silences(_flag(request, "all"))))

    async def report(self, request: Request) -> Response:
        report_format = request.query_params.get("format") or "json"
        if report_format not in REPORT_TYPES:
            return error_response(400, "invalid", f"format is one of {', '.join(REPORT_TYPES)}")
        period = request.query_params.get("period") or "current"
        answer = await self._bridge.answer(
            self._cluster.report(request.path_params["sla"], period, report_format)
        )
        if "text" not in answer:
            return JSONResponse(answer["document"])
        headers = {"content-security-policy": _REPORT_CSP} if report_format == "html" else {}
        return Response(answer["text"], 200, headers, REPORT_TYPES[report_format])

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hub.subscribers >= MAX_SUBSCRIBERS:
            raise Unavailable("too many open event streams", retry_after_s=5)
        await self._hub.stream(scope, receive, send)

    # --- acting -------------------------------------------------------------------------------------

    async def acknowledge(self, request: Request) -> Response:
        by, note = await _by_and_note(request)
        return JSONResponse(
            await self._bridge.answer(self._cluster.acknowledge(request.path_params["id"], by, note))
        )

    async def resolve(self, request: Request) -> Response:
        by, note = await _by_and_note(request)
        return JSONResponse(
            await self._bridge.answer(self._cluster.resolve(request.path_params["id"], by, note))
        )

    async def silence(self, request: Request) -> Response:
        form = await _form(request)
        by, reason = _text(form, "by", MAX_BY_CHARS), _text(form, "reason", MAX_NOTE_CHARS)
        matchers, start, end = form.get("matchers"), form.get("start"), form.get("end")
        if not isinstance(matchers, list) or not all(_is_matcher(each) for each in matchers):
            raise RequestFailed(
                "invalid", '"matchers" is a list of texts or of {"name", "relation", "value"}'
            )
        if type(end) is not int or (start is not None and type(start) is not int):
            raise RequestFailed("invalid", '"start" and "end" are instants in Unix ms')
        made = await self._bridge.answer(self._cluster.silence(matchers, end, by, reason, start))
        return JSONResponse(made, 201)

    async def expire_silence(self, request: Request) -> Response:
        form = await _form(request)
        by = request.query_params.get("by") or _text(form, "by", MAX_BY_CHARS)
        return JSONResponse(
            await self._bridge.answer(self._cluster.expire_silence(request.path_params["id"], by))
        )

    async def turn_remediation(self, request: Request) -> Response:
        form = await _form(request)
        by, reason, state = (
            _text(form, "by", MAX_BY_CHARS),
            _text(form, "reason", MAX_NOTE_CHARS),
            form.get("state"),
        )
        if state not in ("on", "off"):
            raise RequestFailed("invalid", '"state" is on or off')
        return JSONResponse(
            await self._bridge.answer(self._cluster.turn_remediation(state == "on", by, reason))
        )

    # --- about this process -------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(self, request: Request) -> Response:
        # Without a token: how many, and no names, since a cell of its own is named after its contract.
        answers = list((await self._bridge.answer(self._cluster.ping())).values())
        ready = bool(answers) and all(answers)
        counts = {"ready": ready, "cells": len(answers), "answering": sum(answers)}
        return JSONResponse(counts, 200 if ready else 503, None if ready else {"retry-after": "1"})

    async def metrics(self, request: Request) -> Response:
        status = await self._bridge.answer(self._cluster.status())
        channels = await self._bridge.answer(self._cluster.channels())
        processes = process_rows(self._processes(), status["cells"])
        text = exposition(
            status,
            channels,
            processes,
            self._intake.doors,
            self._cluster.in_flight,
            self._hub.subscribers,
            await asyncio.to_thread(self._disk),
        )
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def login(self, request: Request) -> Response:
        if request.method != "GET":
            raise HTTPException(405)  # a look ahead must not use the ticket up
        cookie = self._sessions.admit(request.query_params.get("ticket", ""))
        if cookie is None:
            return signed_out("This ticket is used, too old, or none of ours.")
        response = RedirectResponse("/", 303)
        response.set_cookie(cookie_name(request.scope), cookie, SESSION_S, httponly=True, samesite="strict")
        return response


async def _by_and_note(request: Request) -> tuple[str, str | None]:
    """``{"by", "note"?}`` of the body.

    Raises:
        RequestFailed: ``invalid``.
    """
    form = await _form(request)
    by, note = _text(form, "by", MAX_BY_CHARS), form.get("note")
    if note is not None and not is_text(note, MAX_NOTE_CHARS):
        raise RequestFailed("invalid", f'"note" is not a text of at most {MAX_NOTE_CHARS} characters')
    return by, note


async def _form(request: Request) -> dict[str, Any]:
    """The body as a JSON mapping; an empty body is an empty one.

    Raises:
        RequestFailed: ``invalid``.
    """
    body = await read_body(request.scope, request.receive, MAX_FORM_BYTES)
    try:
        form = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise RequestFailed("invalid", f"the body is not JSON: {error}") from error
    return form if isinstance(form, dict) else {}


_SAYS = {"by": "who", "reason": "why"}


def _text(form: Mapping[str, Any], key: str, most: int) -> str:
    text = form.get(key)
    if not is_text(text, most) or not text.strip():
        raise RequestFailed("invalid", f'"{key}" has to say {_SAYS[key]}, in at most {most} characters')
    return str(text)


def _is_matcher(given: Any) -> bool:
    return isinstance(given, str) or (
        isinstance(given, dict) and all(isinstance(each, str) for each in given.values())
    )


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in {"", "1", "true", "yes", "0", "false", "no"}:
        raise RequestFailed("invalid", f'"{name}" is true or false')
    return text in {"", "1", "true", "yes"}


def _pages() -> list[Route]:
    """The dashboard and what it loads, read once: there are four small files."""

    def page(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return Response(content, media_type=media_type)

        return endpoint

    routes = [Route("/", page((_STATIC / "index.html").read_bytes(), "text/html"), methods=["GET"])]
    for path in sorted(_STATIC.iterdir()):
        if path.suffix in _STATIC_TYPES:
            endpoint = page(path.read_bytes(), _STATIC_TYPES[path.suffix])
            routes.append(Route(f"/static/{path.name}", endpoint, methods=["GET"]))
    return routes


def _own_run() -> Callable[[], Mapping[str, Any]]:
    began_s = time.monotonic()
    return lambda: {"state": "running", "uptime_s": round(time.monotonic() - began_s, 3)}


async def _request_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestFailed)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Unavailable) else None
    status = HTTP_STATUS.get(error.code, 500)
    if status == 500:
        logging.getLogger(__name__).error("%s %s failed: %s", request.method, request.url.path, error.message)
    # What a cell calls the reason is a word, such as no_room; here that name is the sentence's.
    named = {"cause" if key == "reason" else key: value for key, value in error.details.items()}
    details = {key: value for key, value in named.items() if key != "error"}
    return error_response(status, error.code, error.message, headers, **details)


async def _body_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BodyRefused)
    # What is left of the body would be taken for the next request.
    return error_response(error.status, error.code, error.reason, {"connection": "close"})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid")
    return error_response(error.status_code, code, error.detail, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> Response:
    logging.getLogger(__name__).error("%s %s failed", request.method, request.url.path, exc_info=error)
    return PlainTextResponse("internal error", 500)
