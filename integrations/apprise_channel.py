"""The hundred services that apprise knows, by one of its addresses: the extra ``slakeeper[apprise]``.

apprise says whether it worked and not why, keeps no deadline of its own and logs addresses, which are secrets. So it
runs on a thread that is waited for no longer than the channel's ``timeout``, its loggers are closed, and a message
that it did not report as sent is *uncertain*. A thread that is not waited for any longer cannot be ended: only a few
of a channel are left to themselves, or a service that never finishes would have one for every try.
"""

import logging
import threading
from typing import Any

from slakeeper.integrations.channel import DeliveryError, OnUncertain, Recipient
from slakeeper.sla.duration import format_duration
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import AppriseChannel, Severity

# Whoever logs on behalf of apprise: all of them may show the address.
_LOGGERS = ("apprise", "requests", "urllib3")

# One that hangs once must not close its channel; each that does is a thread and a connection.
_MOST_LEFT = 4

_SEVERE = (Severity.CRITICAL, Severity.BREACH)


class AppriseSender:
    """Posts by apprise; imported when the first message is sent."""

    type = "apprise"
    # Most services have no word for "this is the same message again".
    idempotent = False

    def __init__(self, name: str, settings: AppriseChannel) -> None:
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        self._url = settings.url.get_secret_value() if settings.url else ""
        self._timeout_ms = settings.timeout
        self._lock = threading.Lock()
        self._left: set[threading.Thread] = set()

    def __repr__(self) -> str:
        return f"AppriseSender({self.name!r})"

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        _close_loggers()
        with self._lock:
            self._left = {thread for thread in self._left if thread.is_alive()}
            if len(self._left) >= _MOST_LEFT:
                raise DeliveryError("not tried: apprise is still at earlier messages", retryable=True)
        try:
            import apprise
        except ImportError:
            raise DeliveryError("apprise is not installed: slakeeper[apprise]", retryable=False) from None
        service = apprise.Apprise.instantiate(self._url, suppress_exceptions=True)
        if not service:
            raise DeliveryError("apprise does not understand the address", retryable=False)
        self._within_time(service, _kind(notification, apprise.NotifyType), *_text(notification, recipient))
        return f"sent by apprise ({service.service_name})"

    def _within_time(self, service: Any, kind: Any, title: str, body: str) -> None:
        ends: list[bool | str] = []

        def run() -> None:
            try:
                ends.append(bool(service.notify(body=body, title=title, notify_type=kind)))
            except Exception as error:  # noqa: BLE001 - a plug-in's own, which may show the address
                ends.append(type(error).__name__)

        thread = threading.Thread(target=run, name=f"apprise {self.name}", daemon=True)
        thread.start()
        thread.join(self._timeout_ms / 1000)
        if not ends:
            with self._lock:
                self._left.add(thread)
            reason = f"apprise did not finish within {format_duration(self._timeout_ms)}"
        elif ends[0] is True:
            return
        else:
            reason = "apprise could not send it" if ends[0] is False else f"apprise failed ({ends[0]})"
        raise DeliveryError(f"{reason}; it may have arrived", retryable=True, uncertain=True)


def _close_loggers() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _text(notification: Notification, recipient: Recipient) -> tuple[str, str]:
    body = notification.body
    if recipient.link and not (recipient.words and recipient.words.has_body):
        body += f"\nAcknowledge: {recipient.link}\n"
    return notification.subject, body


def _kind(notification: Notification, kinds: Any) -> Any:
    """Its colour, where the service has colours."""
    if notification.kind.value in ("resolved", "acknowledged"):
        return kinds.SUCCESS
    return kinds.FAILURE if notification.severity in _SEVERE else kinds.WARNING
