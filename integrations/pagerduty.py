"""PagerDuty by its Events API v2.

Shapes and limits (``routing_key``, ``event_action`` trigger, acknowledge or resolve on one ``dedup_key`` of at most 255
characters; ``payload`` with summary, source and severity for a trigger; ``links`` of ``href`` and ``text``; 512 KB in
all; 202 is taken, 429 and 5xx come again): https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and
/overview/, read as docs/events-API-v2/02-Trigger-Events.md and 01-Overview.md of github.com/PagerDuty/developer-docs.
Acknowledges and resolves count only under the routing key of their trigger: a channel has one.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

from slakeeper.integrations.channel import OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import Post, deliver
from slakeeper.integrations.http_client import HttpClient, Tls, to_json
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import PagerDutyChannel, Severity

# By the kind's text: what is neither the end nor the taking of an incident raises it or adds to it.
_EVENT_ACTION = {
    "resolved": "resolve",
    "burn_ended": "resolve",
    "flapping_ended": "resolve",
    "acknowledged": "acknowledge",
}

_SEVERITY = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "critical",
    Severity.BREACH: "critical",
}

_KEY_LIMIT = 255
_SUMMARY_LIMIT = 1024
# An event may have 512 KB in all; a body that long is no news to anybody.
_BODY_LIMIT = 64 * 1024
_DETAILS_LIMIT = 256 * 1024


class PagerDutySender:
    """Raises and ends incidents; all events about one matter carry the same ``dedup_key``."""

    type = "pagerduty"

    def __init__(self, name: str, settings: PagerDutyChannel) -> None:
        self._routing_key = settings.routing_key.get_secret_value() if settings.routing_key else ""
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        # It recognises a dedup_key; whoever wants it held all the same is taken at the word: a repetition is one more
        # entry there.
        self.idempotent = settings.on_uncertain == "resend"
        self._timeout_ms = settings.timeout
        self._client = HttpClient(
            settings.base_url, secrets=[self._routing_key], tls=Tls(settings.ca_file), at="/v2/enqueue"
        )

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        document = event(notification, recipient)
        post = Post(
            self._client.target,
            to_json({"routing_key": self._routing_key, **document}),
            {"Content-Type": "application/json"},
        )
        deliver(self._client, post, Deadline(self._timeout_ms))
        return f"{document['event_action']} of {document['dedup_key']} taken"


def event(notification: Notification, recipient: Recipient) -> dict[str, Any]:
    """The event without its routing key; an acknowledge or a resolve needs no payload."""
    action = _EVENT_ACTION.get(notification.kind.value, "trigger")
    key = dedup_key(notification.dedup_key)
    if action != "trigger":
        return {"event_action": action, "dedup_key": key}
    details: dict[str, Any] = {"text": notification.body[:_BODY_LIMIT], "id": notification.id}
    if len(to_json(notification.details)) <= _DETAILS_LIMIT:
        details = {**notification.details, **details}
    payload = {
        "summary": notification.subject[:_SUMMARY_LIMIT] or notification.kind.value,
        "source": notification.sla_id,
        "severity": _SEVERITY[notification.severity],
        "timestamp": datetime.fromtimestamp(notification.at_ms / 1000, UTC).isoformat(
            timespec="milliseconds"
        ),
        "group": notification.sla_name,
        "class": notification.kind.value,
        "custom_details": details,
    }
    if recipient.service:
        payload["component"] = recipient.service
    document: dict[str, Any] = {
        "event_action": action,
        "dedup_key": key,
        "client": "slakeeper",
        "payload": payload,
    }
    if recipient.link:
        document["links"] = [{"href": recipient.link, "text": "Acknowledge in slakeeper"}]
    return document


def dedup_key(key: str) -> str:
    """The key within PagerDuty's length, the same for the same key."""
    if len(key) <= _KEY_LIMIT:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    return f"{key[: _KEY_LIMIT - len(digest) - 1]}-{digest}"
