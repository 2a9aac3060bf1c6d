"""The doors that samples come through over HTTP: our own, Prometheus' remote write, OTLP. Each answers in its form."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, TypeVar

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from slakeeper.client import MONITOR_DOWN, Overloaded, Unavailable
from slakeeper.web.body import MAX_HELD_BYTES, BodyRefused, Client, Room, read_body
from slakeeper.web.gate import error_response
from slakeeper.web.ingest import BadBatch, Batch, parse_batch
from slakeeper.web.intake import Door, Intake
from slakeeper.web.turn import Turn, Turns

SAMPLES_PATH = "/v1/samples"
PROMETHEUS_PATH = "/v1/prometheus/write"
OTLP_PATH = "/v1/metrics"

# Where a token of a sender is enough.
PUSH_PATHS = frozenset({SAMPLES_PATH, PROMETHEUS_PATH, OTLP_PATH})

# A body above this is read on a thread, so that it does not hold up everybody else (64 KiB parse in under 1 ms).
PARSE_INLINE_BYTES = 64 * 1024

INSTALL = "pip install 'slakeeper[ingest]'"

# Told about in the answer to a Prometheus server, of each kind so many.
_TOLD = 5

T = TypeVar("T")


class Asgi:
    """An endpoint that writes its answer itself, without a request and a response object for each sample."""

    def __init__(self, serve: ASGIApp) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


class Doors:
    """The endpoints.

    Args:
        intake: where samples go.
        settings: ``{"prometheus"?, "otlp"?, "rate_limit"?}``; False closes a door; samples a second of one client.
    """

    def __init__(self, intake: Intake, settings: Mapping[str, Any]) -> None:
        self._intake = intake
        self._room = Room(MAX_HELD_BYTES)
        self._settings = settings
        self._turns = Turns(rate=settings.get("rate_limit"))
        self._samples = intake.door("samples")
        self._prometheus = intake.door("prometheus")
        self._otlp = intake.door("otlp")

    def routes(self) -> list[Route]:
        """Those that are open."""
        routes = [Route(SAMPLES_PATH, Asgi(self.samples), methods=["POST"])]
        if self._settings.get("prometheus") is not False:
            routes.append(Route(PROMETHEUS_PATH, Asgi(self.prometheus), methods=["POST"]))
        if self._settings.get("otlp") is not False:
            routes.append(Route(OTLP_PATH, Asgi(self.otlp), methods=["POST"]))
        return routes

    async def samples(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Our own form; 202, and each sample that was not taken by its place."""
        async with self._turn(self._samples, scope, receive) as (turn, body):
            await self._take_samples(turn, body, scope, receive, send)

    async def _take_samples(
        self, turn: Turn, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        query = QueryParams(scope["query_string"]) if scope["query_string"] else {}
        arguments = (body, _content_type(scope), query.get("batch_id"))
        try:
            if len(body) > PARSE_INLINE_BYTES:
                batch = await asyncio.to_thread(parse_batch, *arguments)
            else:
                batch = parse_batch(*arguments)
        except BadBatch as error:
            turn.pay(error.cost)
            await error_response(error.status, "invalid", error.reason)(scope, receive, send)
            return
        turn.pay(batch.cost)
        batch_id = batch.batch_id or secrets.token_hex(8)
        try:
            taken = await self._intake.take(self._samples, batch, batch_id)
        except Unavailable as error:
            # Some of it may be durable already: sent again under this id, nothing counts twice.
            error.details["batch_id"] = batch_id
            raise
        rows = [{"index": index, "reason": reason} for index, reason in taken.rejected]
        document: dict[str, Any] = {"accepted": taken.accepted, "rejected": rows}
        if any(reason == MONITOR_DOWN for _, reason in taken.rejected):
            document["batch_id"] = batch_id  # under which it may be sent again: nothing counts twice
        content = json.dumps(document, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def prometheus(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remote write 1.0. 200: all that is wanted is durable; 400: never to be sent again; 503: to be."""
        async with self._turn(self._prometheus, scope, receive, (b"snappy",)) as (turn, body):
            await self._take_remote_write(turn, body, scope, receive, send)

    async def _take_remote_write(
        self, turn: Turn, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            _check_remote_write(_content_type(scope))
            from slakeeper.web.remote_write import MISTAKES, read_write_request

            batch = await _read(read_write_request, body)
        except BadBatch as error:
            turn.pay(error.cost)
            self._prometheus.reject("bad_body")
            await error_response(error.status, "invalid", error.reason)(scope, receive, send)
            return
        except ModuleNotFoundError:
            await _not_installed()(scope, receive, send)
            return
        turn.pay(batch.cost)
        taken = await self._intake.take(self._prometheus, batch, _id_of("prometheus", body), asks_again=True)
        mistakes = [f"{place}: {reason}" for place, reason in taken.rejected if reason in MISTAKES]
        answer: Response
        if mistakes:
            told = ", ".join(mistakes[:_TOLD])
            text = f"{len(mistakes)} samples were not taken ({told}); the others were"
            answer = error_response(400, "invalid", text, accepted=taken.accepted)
        else:
            document = {"accepted": taken.accepted, "dropped": len(taken.rejected)}
            answer = Response(json.dumps(document), 200, media_type="application/json")
        await answer(scope, receive, send)

    async def otlp(self, scope: Scope, receive: Receive, send: Send) -> None:
        """OTLP/HTTP metrics, in protobuf or JSON; what was not taken is told as a partial success."""
        from slakeeper.web import otlp

        as_json = "json" in _content_type(scope)
        media_type = otlp.JSON_TYPE if as_json else otlp.PROTOBUF_TYPE
        headers: dict[str, str] = {}
        try:
            async with self._turn(self._otlp, scope, receive, (b"identity", b"gzip")) as (turn, packed):
                as_json = otlp.is_json(_content_type(scope))
                is_packed = dict(scope["headers"]).get(b"content-encoding", b"").lower() == b"gzip"
                try:
                    batch = await _read(lambda body: _otlp_batch(body, as_json, is_packed), packed)
                except BadBatch as error:
                    turn.pay(error.cost)
                    raise
                turn.pay(batch.cost)
                taken = await self._intake.take(self._otlp, batch, _id_of("otlp", packed), asks_again=True)
            status, content = 200, otlp.answer(taken, as_json=as_json)
        except ModuleNotFoundError:
            await _not_installed()(scope, receive, send)
            return
        except BadBatch as error:
            self._otlp.reject("bad_body")
            status, content = error.status, otlp.failure(error.reason, as_json=as_json)
        except BodyRefused as error:
            status, content = error.status, otlp.failure(error.reason, as_json=as_json)
            headers["connection"] = "close"
        except Unavailable as error:
            status, content = 503, otlp.failure(error.message, as_json=as_json)
            headers["retry-after"] = str(error.retry_after_s)
        await Response(content, status, headers, media_type)(scope, receive, send)

    @asynccontextmanager
    async def _turn(
        self, door: Door, scope: Scope, receive: Receive, encodings: Collection[bytes] = (b"identity",)
    ) -> AsyncIterator[tuple[Turn, bytes]]:
        """The time in which a client may have a body understood and taken, and the body."""
        self._intake.admit(door)
        client = _client_of(scope)
        with self._room.place(client) as place:
            try:
                body = await read_body(scope, receive, encodings=encodings, place=place)
                turn = await self._turns.enter(client, len(body))
            except Overloaded:
                door.refused_batches += 1
                raise
            door.slowed_batches += turn.was_slowed
            try:
                yield turn, body
            finally:
                turn.leave()


async def _read(read: Callable[[bytes], T], body: bytes) -> T:
    # On a thread whatever its size: it may be small only while it is packed, and the first one imports protobuf.
    return await asyncio.to_thread(read, body)


def _otlp_batch(packed: bytes, as_json: bool, is_packed: bool) -> Batch:
    from slakeeper.web.otlp import read_metrics
    from slakeeper.web.unpack import gunzip

    return read_metrics(gunzip(packed) if is_packed else packed, as_json=as_json)


def _id_of(door: str, body: bytes) -> str:
    """The same for the same body: it holds its own times, so that the same again is the same samples."""
    return f"{door}-{blake2b(body, digest_size=16).hexdigest()}"


def _client_of(scope: Scope) -> Client:
    host = (scope.get("client") or ("",))[0]
    # The gate has let it in, so this is a token behind a scheme that may be written in several ways.
    return host, dict(scope["headers"]).get(b"authorization", b"")[7:]


def _content_type(scope: Scope) -> str:
    content_type: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return content_type.decode("latin-1")


def _check_remote_write(content_type: str) -> None:
    """Refuses remote write 2.0, after which a Prometheus server can send 1.0, and what is no remote write."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "application/x-protobuf":
        raise BadBatch("content type is not application/x-protobuf", 415)
    proto = parameters.strip().lower().removeprefix("proto=").strip('"')
    if proto not in {"", "prometheus.writerequest"}:
        raise BadBatch(f"{proto} is not understood: remote write 1.0, prometheus.WriteRequest, is", 415)


def _not_installed() -> Response:
    return error_response(501, "not_installed", f"this door needs packages that are not installed: {INSTALL}")
