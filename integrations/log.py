"""The log as a channel, and as what is left of a channel that has no address."""

import logging
from typing import TYPE_CHECKING

from slakeeper.sla.notification import Notification

if TYPE_CHECKING:
    from slakeeper.integrations.channel import OnUncertain, Recipient


LOGGED = "logged"
"""What :meth:`Sender.send` returns begins with this when the message went to slakeeper's own log only."""


class LogSender:
    """Writes each message as one WARNING of the logger ``slakeeper.alert``."""

    type = "log"
    # A line that stands twice in the log harms nobody.
    idempotent = True
    on_uncertain: "OnUncertain" = "resend"

    def __init__(self, name: str, *, why: str = "") -> None:
        """``why`` says why a channel of another type ended here; empty for a log that is meant to be one."""
        self.name = name
        self.why = f"channel {name} {why}" if why else ""

    def __repr__(self) -> str:
        return f"LogSender({self.name!r}, {self.why!r})"

    def send(self, notification: Notification, recipient: "Recipient") -> str:
        """Never fails: what becomes of the line is the log's own affair."""
        # Looked up at each call: a process forked after the import has other handlers.
        logger = logging.getLogger("slakeeper.alert")
        heading = f"{self.why}; " if self.why else ""
        whom = _whom(recipient)
        logger.warning(
            "%salert %s%s: %s\n%s",
            heading,
            notification.id,
            f" for {whom}" if whom else "",
            notification.subject,
            notification.body.rstrip(),
        )
        return f"{LOGGED}: {self.why}" if self.why else LOGGED


def _whom(recipient: "Recipient") -> str:
    return ", ".join(part for part in (*recipient.recipients, recipient.room, recipient.service) if part)
