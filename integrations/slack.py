"""Slack by an incoming webhook."""

import re
import time
from math import ceil
from urllib.parse import urlsplit

from slakeeper.integrations.channel import DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import Post, deliver
from slakeeper.integrations.http_client import HttpClient, Tls, to_json
from slakeeper.integrations.pace import Pace
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import SlackChannel

# Slack's limit for the text of a section is 3000 signs, of which the code fence takes a few.
_BODY_LIMIT = 2900
_SUBJECT_LIMIT = 280

# Slack takes about one message a second for each webhook, and a short burst above it.
# https://api.slack.com/docs/rate-limits
_GAP_S = 1.0

# So long a thread waits for its message's turn; one that has to wait longer comes again.
_WAIT_S = 3.0

_MEMBER = re.compile(r"[UW][A-Z0-9]{6,}")


class SlackSender:
    """Posts to one webhook, whose address is itself the secret."""

    type = "slack"
    # Slack has no word for "this is the same message again".
    idempotent = False

    def __init__(self, name: str, settings: SlackChannel) -> None:
        url = settings.url.get_secret_value() if settings.url else ""
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        self._room = settings.room
        self._timeout_ms = settings.timeout
        self._pace = Pace(_GAP_S)
        # The last part of the path is what makes the address a secret, whatever it looks like.
        key = urlsplit(url).path.rstrip("/").rpartition("/")[2]
        self._client = HttpClient(url, secrets=[key], tls=Tls(settings.ca_file))

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`; waits for its turn before, a few seconds at most."""
        room = recipient.room or self._room
        post = Post(
            self._client.target,
            to_json(document(notification, recipient, room)),
            {"Content-Type": "application/json"},
        )
        self._wait()
        try:
            deliver(self._client, post, Deadline(self._timeout_ms))
        except DeliveryError as error:
            if error.retry_after_ms is not None:
                self._pace.rest(error.retry_after_ms / 1000)
            raise
        return f"posted to {room}" if room else "posted"

    def _wait(self) -> None:
        """Until it is this message's turn."""
        is_taken, wait_s = self._pace.take(_WAIT_S)
        if not is_taken:
            raise DeliveryError(
                "not tried: Slack has asked to be left alone",
                retryable=True,
                retry_after_ms=ceil(wait_s * 1000),
            )
        time.sleep(wait_s)


def document(notification: Notification, recipient: Recipient, room: str | None) -> dict[str, object]:
    """The message: subject as a line, body set in fixed width, because it holds a table."""
    subject = _escaped(notification.subject, _SUBJECT_LIMIT)
    heading = f"*{subject}*"
    if recipient.recipients:
        heading += "\nfor " + ", ".join(_mention(each) for each in recipient.recipients)[:_SUBJECT_LIMIT]
    blocks = [_section(heading)]
    if recipient.words is not None and recipient.words.has_body:
        # A template's body is Slack's own markup.
        if body := notification.body.strip()[:_BODY_LIMIT]:
            blocks.append(_section(body))
    else:
        # A fence within the text would end ours.
        if body := _escaped(notification.body.strip().replace("```", "'''"), _BODY_LIMIT):
            blocks.append(_section(f"```{body}```"))
        if recipient.link:
            blocks.append(_section(f"<{recipient.link}|Acknowledge …>"))
    message: dict[str, object] = {"text": subject, "blocks": blocks}
    if room:
        message["channel"] = room
    return message


def _mention(recipient: str) -> str:
    """A member's id as a mention, which Slack tells its owner of; anything else as text."""
    return f"<@{recipient}>" if _MEMBER.fullmatch(recipient) else _escaped(recipient, _SUBJECT_LIMIT)


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str, limit: int) -> str:
    """Slack's three control signs escaped, and what is beyond the limit cut between two signs."""
    signs: list[str] = []
    length = 0
    for sign in text:
        escaped = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(sign, sign)
        length += len(escaped)
        if length >= limit:
            signs.append("…")
            break
        signs.append(escaped)
    return "".join(signs)
