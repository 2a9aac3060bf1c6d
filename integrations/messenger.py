"""A channel with the words of its messages: the acknowledge link, the user's template, and how its sends went.

A template that fails costs nobody a message: the default text goes out instead, and the delivery says so.
"""

import logging
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slakeeper.integrations.channel import DeliveryError, OnUncertain, Recipient, Sender, Words
from slakeeper.integrations.log import LOGGED
from slakeeper.sla.ack_link import Links
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import MessageTemplate
from slakeeper.sla.template import Markup, TemplateFailed, render, variables

_SUBJECT_LIMIT = 400

# What is posted there is read by a whole room or team, whoever it mentions.
_SHARED = frozenset({"slack", "pagerduty"})

# Without a recipient these write to the log.
_ADDRESSED = frozenset({"email", "sms"})


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel's attempts went since its process started; times are Unix ms.

    Attributes:
        logged: messages that went to slakeeper's own log, because the channel has no address.
        template_error: why the template failed the last time, empty when it did not.
    """

    sent: int = 0
    logged: int = 0
    failed: int = 0
    uncertain: int = 0
    last_sent_at_ms: int | None = None
    last_failed_at_ms: int | None = None
    last_error: str = ""
    template_error: str = ""


class Messenger:
    """An open channel; see :class:`slakeeper.integrations.channel.Sender`.

    Args:
        sender: what delivers.
        defaults: whom the channel tells when nobody else is named.
        template: the user's words, if any.
        links: None when there is no address to acknowledge at.
        names: of responders by their address on this channel.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        defaults: tuple[str, ...] = (),
        template: MessageTemplate | None = None,
        links: Links | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._sender = sender
        self._defaults = defaults
        self._template = template
        self._links = links
        self._names = names or {}
        self._lock = threading.Lock()
        self.state = ChannelState()

    def __repr__(self) -> str:
        return f"Messenger({self._sender!r})"

    @property
    def name(self) -> str:
        return self._sender.name

    @property
    def type(self) -> str:
        return self._sender.type

    @property
    def idempotent(self) -> bool:
        return self._sender.idempotent

    @property
    def on_uncertain(self) -> OnUncertain:
        return self._sender.on_uncertain

    @property
    def trouble(self) -> str:
        """What is the matter with it now: its last attempt failed, or its template did; empty if nothing is."""
        state = self.state
        if (state.last_failed_at_ms or 0) > (state.last_sent_at_ms or 0):
            return state.last_error
        return (
            f"its template, so the default text is sent: {state.template_error}"
            if state.template_error
            else ""
        )

    def to_document(self) -> dict[str, Any]:
        """How it does, in plain values; no secret is among them."""
        state = self.state
        return {
            "name": self.name,
            "type": self.type,
            "why": getattr(self._sender, "why", ""),
            "sent": state.sent,
            "logged": state.logged,
            "failed": state.failed,
            "uncertain": state.uncertain,
            "last_sent_at": state.last_sent_at_ms,
            "last_failed_at": state.last_failed_at_ms,
            "last_error": state.last_error,
            "template_error": state.template_error,
        }

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        message, dressed, trouble = self._worded(notification, recipient)
        try:
            detail = self._sender.send(message, dressed)
        except DeliveryError as error:
            self._note_failure(error, trouble)
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours: its text may be a secret, its place is none
            defect = DeliveryError(f"failed unexpectedly: {_where(error)}", retryable=False, uncertain=True)
            self._note_failure(defect, trouble)
            raise defect from None
        if trouble:
            detail += f"; the channel's template failed, the default text was sent: {trouble}"
        now_ms = _now_ms()
        with self._lock:
            state, is_logged = self.state, detail.startswith(LOGGED)
            self.state = replace(
                state,
                sent=state.sent + (not is_logged),
                logged=state.logged + is_logged,
                last_sent_at_ms=state.last_sent_at_ms if is_logged else now_ms,
                template_error=trouble,
            )
        return detail

    def _note_failure(self, error: DeliveryError, trouble: str) -> None:
        with self._lock:
            state = self.state
            self.state = replace(
                state,
                failed=state.failed + (not error.uncertain),
                uncertain=state.uncertain + error.uncertain,
                last_failed_at_ms=_now_ms(),
                last_error=str(error),
                template_error=trouble,
            )

    def _worded(
        self, notification: Notification, recipient: Recipient
    ) -> tuple[Notification, Recipient, str]:
        """The message as it leaves, and why the template made none, if it should have."""
        addresses = recipient.recipients or self._defaults
        # What goes to the log must not show the link.
        is_logged = self.type == "log" or (self.type in _ADDRESSED and not addresses)
        links = None if is_logged else self._links
        link = links.address(notification, self.name, self._people(recipient)) if links else ""
        dressed = replace(recipient, link=link)
        template = self._template
        if template is None:
            return notification, dressed, ""
        body_markup: Markup = "slack" if self.type == "slack" else "text"
        try:
            values = variables(notification, addresses, link)
            subject = self._rendered(template.subject, values, "text")
            body = self._rendered(template.body, values, body_markup)
            html = self._rendered(template.html, values, "html")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with words, the message goes out
            trouble = str(error) if isinstance(error, TemplateFailed) else _where(error)
            logging.getLogger("slakeeper.delivery").error(
                "the template of channel %s failed, the default text is sent instead: %s", self.name, trouble
            )
            return notification, dressed, trouble
        line = " ".join((subject or "").split())[:_SUBJECT_LIMIT]
        worded = replace(
            notification,
            subject=line or notification.subject,
            body=notification.body if body is None else body,
        )
        return worded, replace(dressed, words=Words(body is not None, html)), ""

    @staticmethod
    def _rendered(text: str | None, values: dict[str, Any], markup: Markup) -> str | None:
        return None if text is None else render(text, values, markup)

    def _people(self, recipient: Recipient) -> tuple[str, ...]:
        """By name, if it is known, who gets the message; nobody when others read it too, who would press as they."""
        if self.type in _SHARED:
            return ()
        addresses = recipient.recipients or self._defaults
        return tuple(dict.fromkeys(self._names.get(each, each) for each in addresses))


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
