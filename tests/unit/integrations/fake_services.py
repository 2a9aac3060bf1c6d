"""Slack, PagerDuty, Twilio and a webhook's receiver as they are seen from outside: each keeps what it has taken.

:class:`Faulty` stands before one of them and spoils what passes: before the service has taken it, or after.
"""

import hashlib
import hmac
import time
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

from tests.unit.integrations.fake_http import Application, Behaviour, Reply, Request, json_reply


@dataclass
class Faulty:
    """The next requests end as ``faults`` say, each taken or not; those after them as they should."""

    service: Application
    faults: list[tuple[Behaviour, bool]] = field(default_factory=list)

    def __call__(self, request: Request) -> Behaviour:
        if not self.faults:
            return self.service(request)
        behaviour, is_taken = self.faults.pop(0)
        if is_taken:
            self.service(request)
        return behaviour


class Slack:
    """A workspace: posts by room."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[dict[str, Any]]] = {"#alerts": [], "#general": []}

    def __call__(self, request: Request) -> Behaviour:
        if request.path != "/services/T0/B0/secret":
            return Reply(404, b"no_service")
        post = request.json()
        room = post.get("channel", "#general")
        if room not in self.rooms:
            return Reply(404, b"channel_not_found")
        self.rooms[room].append(post)
        return Reply(200, b"ok")


class PagerDuty:
    """A service: the state of its incidents by dedup key."""

    def __init__(self) -> None:
        self.incidents: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Behaviour:
        event = request.json()
        if request.path != "/v2/enqueue" or event.get("routing_key") != "key-1":
            return json_reply({"status": "invalid event"}, 400)
        key, action = event["dedup_key"], event["event_action"]
        if action == "trigger":
            payload = event["payload"]
            if not (payload["summary"] and payload["source"]):
                return json_reply({"status": "invalid event"}, 400)
            if payload["severity"] not in {"critical", "error", "warning", "info"}:
                return json_reply({"status": "invalid event"}, 400)
            self.incidents[key] = "triggered"
        elif key in self.incidents:
            self.incidents[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        self.events.append(event)
        return json_reply({"status": "success", "message": "Event processed", "dedup_key": key}, 202)


class Receiver:
    """Takes what is signed and new."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.taken: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Behaviour:
        timestamp = request.headers["X-Slakeeper-Timestamp"]
        key = request.headers["Idempotency-Key"]
        signed = f"{timestamp}.{key}.".encode() + request.body
        expected = hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        if request.headers["X-Slakeeper-Signature"] != f"sha256={expected}":
            return Reply(401, b"forged")
        if abs(time.time() - int(timestamp)) > 60:
            return Reply(401, b"stale")
        self.taken.setdefault(request.headers["Idempotency-Key"], request.json())
        return Reply(204, b"")


class Twilio:
    """An account: what was sent to whom; ``plans`` says how the next posts to a number end."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.plans: dict[str, list[Behaviour]] = {}

    def __call__(self, request: Request) -> Behaviour:
        user, _, token = (
            b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        if request.path != f"/2010-04-01/Accounts/{user}/Messages.json" or token != "token":
            return json_reply({"code": 20003, "message": "Authenticate"}, 401)
        form = request.form()
        if not ({"From", "MessagingServiceSid"} & form.keys()):
            return json_reply({"code": 21603, "message": "A 'From' number is required"}, 400)
        plan = self.plans.get(form["To"])
        if plan:
            return plan.pop(0)
        self.sent.append((form["To"], form["Body"]))
        return json_reply({"sid": f"SM{len(self.sent)}", "status": "queued"}, 201)

    @property
    def told(self) -> list[str]:
        return [number for number, _ in self.sent]
