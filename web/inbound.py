"""What other tools send in: acknowledgements and resolutions, each signed under a channel's ``inbound_secret``.

- A *webhook* channel's other side signs as slakeeper itself does (:mod:`slakeeper.sla.signature`).
- *PagerDuty* signs its webhooks (v3) with ``X-PagerDuty-Signature: v1=<HMAC-SHA256 of the body, hexadecimal>,…``, one
  for each secret while one is changed for another. A body holds one event. What is answered 4xx is dropped, and three
  in a row stop a subscription for a day: what is signed and concerns nobody here is answered 200. Shapes and behaviour:
  https://developer.pagerduty.com/docs/webhooks/v3-overview/, …/webhook-signatures/ and …/webhook-behavior/,
  read as docs/webhooks/01-Overview.md, 04-Signatures.md and 02-Behavior.md of github.com/PagerDuty/developer-docs.

A message that was caught and is sent anew does nothing: what is old is refused, an id counts once, and (also after a
restart of this process) an acknowledgement that was taken, or that somebody has followed by a later one, is not taken
again. Nor is one by whoever has acknowledged it last, while that holds. What has been resolved stays so.
"""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from slakeeper.client import Cluster, RequestFailed
from slakeeper.sla.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed
from slakeeper.web.body import Room, read_body
from slakeeper.web.bridge import Bridge
from slakeeper.web.gate import error_response

MAX_BODY_BYTES: Final = 256 * 1024
# Whoever knows a channel's name may send as much before its signature is looked at: samples have a room of their own.
MAX_HELD_BYTES: Final = 64 * MAX_BODY_BYTES
MAX_BY_CHARS: Final = 200
MAX_NOTE_CHARS: Final = 10_000

# How far a sender's clock may be off.
TOLERANCE_MS: Final = 5 * 60 * 1000

# Timestamps are whole seconds: of two people within one, neither is known to have been later.
TIMESTAMP_STEP_MS: Final = 1000

# PagerDuty sends again what it could not deliver; its signature has no time, but the event says when it occurred.
PAGERDUTY_AGE_MS: Final = 24 * 3600 * 1000

# So many ids are remembered; more come in at that rate from nobody who acknowledges by hand.
_MAX_SEEN: Final = 10_000

ACKNOWLEDGE, RESOLVE = "acknowledge", "resolve"


class InboundRefused(Exception):
    """A message is not taken: the HTTP status, a word for programs, and why."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody has done elsewhere.

    Attributes:
        verb: acknowledge or resolve.
        about: a violation's id, or the dedup key of messages.
        by: who.
        message_id: counts once.
        at_ms: when, by the sender's clock [Unix ms].
    """

    verb: str
    about: str
    by: str
    note: str
    message_id: str
    at_ms: int


class Inbound:
    """Serves ``/v1/inbound/{channel}``.

    Args:
        secrets: name of a channel to its type and secret.
    """

    def __init__(self, cluster: Cluster, bridge: Bridge, secrets: Mapping[str, tuple[str, str]]) -> None:
        self._cluster = cluster
        self._bridge = bridge
        self._secrets = secrets
        self._seen: dict[tuple[str, str], None] = {}
        self._room = Room(MAX_HELD_BYTES)

    async def take(self, request: Request) -> Response:
        """One message."""
        channel = request.path_params["channel"]
        known = self._secrets.get(channel)
        if known is None:
            return error_response(404, "not_found", "no channel of this name has an inbound_secret")
        sender = (request.client.host if request.client else "", b"")
        with self._room.place(sender) as place:
            body = await read_body(request.scope, request.receive, MAX_BODY_BYTES, place=place)
        kind, secret = known
        read = read_pagerduty if kind == "pagerduty" else read_webhook
        try:
            act = read(secret, request.headers, body, time.time_ns() // 1_000_000)
        except InboundRefused as refusal:
            logging.getLogger(__name__).info("a message to channel %s is refused: %s", channel, refusal)
            return error_response(refusal.status, refusal.code, str(refusal))
        if isinstance(act, str):
            return JSONResponse({"done": [], "already": [], "ignored": act})
        seen = (channel, act.message_id)
        if seen in self._seen:
            return JSONResponse({"done": [], "already": [act.about]})
        self._remember(seen)
        try:
            return JSONResponse(await self._carry_out(act, f"inbound:{channel}"))
        except BaseException as error:
            self._seen.pop(seen, None)  # it was not done, so it may come again
            if kind == "pagerduty" and isinstance(error, RequestFailed) and error.code == "not_found":
                # A service there has other sources too, and what ended here may be open there still.
                ignored = f"no open violation here has the key {act.about}"
                return JSONResponse({"done": [], "already": [], "ignored": ignored})
            raise

    async def _carry_out(self, act: Act, via: str) -> dict[str, Any]:
        found = await self._bridge.answer(self._cluster.incident(act.about))
        done, already = [], []
        for violation_id in found["violation_ids"]:
            violation = await self._bridge.answer(self._cluster.violation(violation_id))
            if violation["resolved"] or (act.verb == ACKNOWLEDGE and _is_known(violation, act)):
                already.append(violation_id)
                continue
            try:
                await self._bridge.answer(self._asked(violation, act, via))
            except RequestFailed as refusal:
                if refusal.code != "conflict":  # it is acknowledged, or ended in between
                    raise
                already.append(violation_id)
            else:
                done.append(violation_id)
        return {"done": done, "already": already}

    def _asked(self, violation: Mapping[str, Any], act: Act, via: str) -> Future[dict[str, Any]]:
        if act.verb == RESOLVE:
            return self._cluster.resolve(violation["id"], act.by, act.note, via)
        # Who has acknowledged it says the same again; somebody else takes over.
        takes_over = violation["acknowledged_by"] not in (None, act.by)
        return self._cluster.acknowledge(violation["id"], act.by, act.note, via, takes_over=takes_over)

    def _remember(self, seen: tuple[str, str]) -> None:
        self._seen[seen] = None
        while len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _is_known(violation: Mapping[str, Any], act: Act) -> bool:
    """Whether an acknowledgement has been taken already, or somebody has acknowledged after it was made."""
    return any(
        each["time"] >= act.at_ms + (0 if each["by"] == act.by else TIMESTAMP_STEP_MS)
        for each in violation["acknowledgements"]
    )


def read_webhook(secret: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> Act:
    """Reads ``{"action": "acknowledge" | "resolve", "violation_id" | "dedup_key", "by", "note"?}``.

    Raises:
        InboundRefused: 401 unsigned, forged or too old; 400 not understood.
    """
    timestamp, message_id = headers.get(TIMESTAMP_HEADER, ""), headers.get(ID_HEADER, "")
    if not is_signed(secret, timestamp, message_id, body, headers.get(SIGNATURE_HEADER, "")):
        raise InboundRefused(401, "unauthorized", "the signature is missing or wrong")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12 and message_id):
        raise InboundRefused(
            400, "invalid", f"{TIMESTAMP_HEADER} (Unix seconds) and {ID_HEADER} must be given"
        )
    at_ms = int(timestamp) * 1000
    if abs(now_ms - at_ms) > TOLERANCE_MS:
        raise InboundRefused(401, "unauthorized", "the timestamp is more than five minutes off")
    document = _json(body)
    verb, by, note = document.get("action"), document.get("by"), document.get("note", "")
    about = document.get("violation_id", document.get("dedup_key"))
    if verb not in (ACKNOWLEDGE, RESOLVE):
        raise InboundRefused(400, "invalid", '"action" is acknowledge or resolve')
    if not isinstance(about, str) or not about:
        raise InboundRefused(400, "invalid", '"violation_id" or "dedup_key" has to say what about')
    if not isinstance(by, str) or not by.strip() or len(by) > MAX_BY_CHARS:
        raise InboundRefused(400, "invalid", f'"by" has to say who, in at most {MAX_BY_CHARS} characters')
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
        raise InboundRefused(400, "invalid", f'"note" is not a text of at most {MAX_NOTE_CHARS} characters')
    return Act(verb, about, by, note, message_id, at_ms)


def read_pagerduty(secret: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> Act | str:
    """Reads a webhook (v3) of PagerDuty.

    Returns:
        The act, or why there is none in it: only a person's ``incident.acknowledged`` counts. What slakeeper itself
        has acknowledged there comes back in the name of an integration.

    Raises:
        InboundRefused: 401 unsigned, forged or too old; 400 not understood.
    """
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = [each.strip() for each in headers.get("X-PagerDuty-Signature", "").split(",")]
    # Several while a secret is being changed for another.
    if not any(
        hmac.compare_digest(f"v1={wanted}".encode(), each.encode("utf-8", "replace")) for each in given
    ):
        raise InboundRefused(401, "unauthorized", "the signature is missing or wrong")
    event = _json(body).get("event")
    if not isinstance(event, dict):
        raise InboundRefused(400, "invalid", "there is no event in it")
    if event.get("event_type") != "incident.acknowledged":
        return f"{event.get('event_type')} is not acted upon"
    agent, data = event.get("agent"), event.get("data")
    if not isinstance(agent, dict) or agent.get("type") != "user_reference":
        return "no person has acknowledged it"
    key = data.get("incident_key") if isinstance(data, dict) else None
    message_id, at_ms = event.get("id"), _instant_ms(event.get("occurred_at"))
    if not isinstance(key, str) or not key:
        return "it has no incident_key, so it is not about what slakeeper has raised"
    if not isinstance(message_id, str) or at_ms is None:
        raise InboundRefused(400, "invalid", "its id or occurred_at is missing")
    if now_ms - at_ms > PAGERDUTY_AGE_MS:
        raise InboundRefused(401, "unauthorized", "the event is more than a day old")
    by = str(agent.get("summary") or agent.get("id") or "PagerDuty")[:MAX_BY_CHARS]
    return Act(ACKNOWLEDGE, key, by, "in PagerDuty", message_id, at_ms)


def _instant_ms(value: Any) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else round(moment.timestamp() * 1000)


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InboundRefused(400, "invalid", "the body is not a JSON object")
    return document
