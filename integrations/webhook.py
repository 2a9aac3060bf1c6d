"""Webhooks: any address that takes a signed JSON POST, as a channel and as a remedy.

A receiver can tell a forgery and an old message sent anew by the signature (:mod:`slakeeper.sla.signature`), and a
repetition by ``Idempotency-Key``, which is the same also after a restart.
"""

import time
from typing import Any

from slakeeper.integrations.channel import OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import Post, deliver
from slakeeper.integrations.http_answer import masked
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls, to_json
from slakeeper.integrations.remedy import OUTPUT_LIMIT, RemedyResult
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import AutomaticAction, WebhookChannel, WebhookRemedy
from slakeeper.sla.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign


class WebhookSender:
    """Posts the notification as it is."""

    type = "webhook"

    def __init__(self, name: str, settings: WebhookChannel) -> None:
        headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        # A receiver has the Idempotency-Key to tell a repetition by; ``hold`` says that it does not look.
        self.idempotent = settings.on_uncertain == "resend"
        self._timeout_ms = settings.timeout
        self._secret = settings.secret.get_secret_value() if settings.secret else ""
        secrets = [self._secret, *headers.values()]
        self._client = HttpClient(settings.url or "", headers, secrets, Tls(settings.ca_file))

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        post = signed_post(
            self._client.target, document(notification, recipient), notification.id, self._secret
        )
        answer = deliver(self._client, post, Deadline(self._timeout_ms))
        return f"answered {answer.status}"


def document(notification: Notification, recipient: Recipient) -> dict[str, Any]:
    """The notification as plain JSON values."""
    return {
        "id": notification.id,
        "kind": notification.kind.value,
        "sla_id": notification.sla_id,
        "sla_name": notification.sla_name,
        "severity": notification.severity.value,
        "subject": notification.subject,
        "body": notification.body,
        "dedup_key": notification.dedup_key,
        "violation_ids": list(notification.violation_ids),
        "at_ms": notification.at_ms,
        "recipients": list(recipient.recipients),
        "room": recipient.room,
        "service": recipient.service,
        "details": notification.details,
        "ack_url": recipient.link,
    }


def call_webhook(
    remedy: WebhookRemedy, action: AutomaticAction, *, idempotency_key: str, timeout_ms: int
) -> RemedyResult:
    """Posts an action to do; done when the answer is one of success.

    See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    began_s = time.monotonic()
    secret = remedy.secret.get_secret_value() if remedy.secret else ""
    client = HttpClient(remedy.url, secrets=[secret], tls=Tls(remedy.ca_file))
    order = {
        "action": action.name,
        "remedy": action.action,
        "target": action.target_name,
        "trigger_metric": action.trigger_metric,
        "parameters": action.parameters,
        "idempotency_key": idempotency_key,
    }
    post = signed_post(client.target, order, idempotency_key, secret)
    output, uncertain = "", False
    try:
        answer = client.post(post.target, post.body, post.headers, Deadline(timeout_ms))
    except HttpError as error:
        ok, uncertain = False, error.sent
        detail = f"{error}; it may have been carried out" if uncertain else str(error)
    else:
        ok = answer.is_success
        said = "" if ok else answer.excerpt()
        detail = f"answered {answer.status}{f': {said}' if said else ''}"
        text = masked(answer.body.decode("utf-8", "replace"), client.secrets)
        output = text.encode()[:OUTPUT_LIMIT].decode("utf-8", "ignore")
    duration_ms = round((time.monotonic() - began_s) * 1000)
    return RemedyResult(ok, detail, output, None, duration_ms, uncertain)


def signed_post(target: str, document: dict[str, Any], idempotency_key: str, secret: str) -> Post:
    """A JSON document with its idempotency key and, under a secret, the signature of both and of the time."""
    body = to_json(document)
    timestamp = str(int(time.time()))
    headers = {"Content-Type": "application/json", ID_HEADER: idempotency_key, TIMESTAMP_HEADER: timestamp}
    if secret:
        headers[SIGNATURE_HEADER] = sign(secret, timestamp, idempotency_key, body)
    return Post(target, body, headers)
