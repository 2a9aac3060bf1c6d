"""Alert channels: what tells people and systems outside, one file a channel, opened here by its settings.

A send either returns (the other side has taken the message), or raises :class:`DeliveryError`, which says whether
another try makes sense and whether the message may have arrived all the same. A channel's own file is imported
only when it is opened with an address, so that a cell pays for no library it does not use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import SecretStr

from slakeeper.integrations.log import LogSender
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import (
    AnyChannel,
    AppriseChannel,
    EmailChannel,
    LogChannel,
    PagerDutyChannel,
    SlackChannel,
    SmsChannel,
    WebhookChannel,
)
from slakeeper.sla.record import RecipientEnd

OnUncertain = Literal["resend", "hold"]


@dataclass(frozen=True, slots=True)
class Words:
    """What a template of the user's has made of a message; the message already has its subject and body.

    Attributes:
        has_body: the body is the template's: it is sent as it stands, in the channel's own markup.
        html: the HTML part of a mail.
    """

    has_body: bool = False
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message is for, as far as the channel knows the word.

    Attributes:
        recipients: addresses or numbers; empty takes the channel's own.
        room: where it is posted (Slack); None takes the channel's own.
        service: whose duty it is (PagerDuty).
        link: an address that acknowledges what the message is about in the name of whoever gets it; a secret of
            theirs, which no log may show.
        words: None unless a template has been at work.
        ends: what earlier attempts came to, by recipient: whoever has the message does not get it again.
    """

    recipients: tuple[str, ...] = ()
    room: str | None = None
    service: str | None = None
    link: str = field(default="", repr=False)
    words: Words | None = None
    ends: Mapping[str, RecipientEnd] = field(default_factory=dict, hash=False)


NOBODY = Recipient()
"""Nobody is named: the channel's own recipients are told."""


class DeliveryError(Exception):
    """A message that was not, or perhaps not, delivered.

    Attributes:
        retryable: another try may succeed.
        uncertain: it may have arrived: the peer was silent or gone after the message had left.
        retry_after_ms: how long the peer asks to be left alone [ms], None when it does not say.
        ends: what it has come to for each of several recipients; empty when it says nothing of them apart.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        uncertain: bool = False,
        retry_after_ms: int | None = None,
        ends: Mapping[str, RecipientEnd] | None = None,
    ) -> None:
        super().__init__(message)
        self.ends = dict(ends or {})
        self.retryable = retryable
        self.uncertain = uncertain
        self.retry_after_ms = retry_after_ms


class Sender(Protocol):
    """An open channel. Any thread may send; a sender may be used by several at once.

    Attributes:
        name: as in ``enforcement.channels``.
        type: email, sms, slack, pagerduty, webhook, apprise or log; a channel without an address is a log.
        idempotent: the other side can recognise a repetition by the notification's id or dedup key.
        on_uncertain: whether a delivery whose end is unknown is sent again or held.
    """

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def idempotent(self) -> bool: ...
    @property
    def on_uncertain(self) -> OnUncertain: ...

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """Delivers, blocking for at most the channel's ``timeout`` in all.

        Returns:
            What happened, in words for the record.

        Raises:
            DeliveryError: it was not delivered, or nobody knows.
        """
        ...


def open_channel(name: str, settings: AnyChannel | None) -> Sender:
    """The sender of a channel; no connection is made before the first message.

    Args:
        name: the channel's name, used in details and in the log.
        settings: None for a channel that is named but not configured.

    Returns:
        A sender; one that writes to the log, and says why in each line, when the channel has no address.
    """
    match settings:
        case EmailChannel(host=str() as host) if host:
            from slakeeper.integrations.mail import MailSender

            return MailSender(name, settings)
        case SmsChannel(account_sid=str() as account, auth_token=token) if account and _is_given(token):
            from slakeeper.integrations.sms import SmsSender

            return SmsSender(name, settings)
        case SlackChannel(url=url) if _is_given(url):
            from slakeeper.integrations.slack import SlackSender

            return SlackSender(name, settings)
        case PagerDutyChannel(routing_key=key) if _is_given(key):
            from slakeeper.integrations.pagerduty import PagerDutySender

            return PagerDutySender(name, settings)
        case WebhookChannel(url=str() as address) if address:
            from slakeeper.integrations.webhook import WebhookSender

            return WebhookSender(name, settings)
        case AppriseChannel(url=url) if _is_given(url):
            from slakeeper.integrations.apprise_channel import AppriseSender

            return AppriseSender(name, settings)
        case None:
            return LogSender(name, why="is not configured")
        case LogChannel():
            return LogSender(name)
        case _:
            return LogSender(name, why="has no address")


def _is_given(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value())
