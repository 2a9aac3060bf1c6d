"""SMS by Twilio's Messages API: one POST for each number."""

import threading
from collections import OrderedDict
from enum import StrEnum
from urllib.parse import quote, urlencode

from slakeeper.integrations import sms_text
from slakeeper.integrations.channel import NOBODY, DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import Post, deliver
from slakeeper.integrations.http_answer import masked
from slakeeper.integrations.http_client import HttpClient, basic_auth
from slakeeper.integrations.log import LogSender
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import SmsChannel

# Three parts of a concatenated message; people read the first.
_TEXT_LIMIT = 459

# "[critical] " and the beginning of a name: a subject that is shorter says nothing any more.
_SUBJECT_LEAST = 30

# A receipt ("SM" and 32 hexadecimal digits) is shown; what is longer is none of Twilio's.
_RECEIPT_LIMIT = 40

# Of how many messages it is remembered who has them already.
_REMEMBERED = 256


class _End(StrEnum):
    DELIVERED = "delivered"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


class SmsSender:
    """Tells several numbers; a repetition of a message goes only to those that do not have it yet.

    That memory is this process's own: Twilio itself cannot tell a repetition.
    """

    type = "sms"
    idempotent = False

    def __init__(self, name: str, settings: SmsChannel) -> None:
        account = settings.account_sid or ""
        token = settings.auth_token.get_secret_value() if settings.auth_token else ""
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        self._timeout_ms = settings.timeout
        self._from = settings.sender
        self._recipients = settings.recipients
        authorization = basic_auth(account, token)
        self._client = HttpClient(
            f"{settings.base_url.rstrip('/')}/2010-04-01/Accounts/{quote(account, safe='')}/Messages.json",
            {"Authorization": authorization},
            secrets=[token, authorization],
        )
        self._lock = threading.Lock()
        self._ends: OrderedDict[str, dict[str, tuple[_End, str]]] = OrderedDict()

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        numbers = tuple(dict.fromkeys(recipient.recipients or self._recipients))
        if not numbers:
            return LogSender(self.name, why="has no recipients").send(notification, recipient)
        text = message(notification, recipient)
        deadline = Deadline(self._timeout_ms)
        ends = self._ends_of(notification.id)
        waiting: dict[str, DeliveryError] = {}
        for number in numbers:
            if number in ends and not self._sends_again(ends[number][0]):
                continue
            try:
                ends[number] = (_End.DELIVERED, self._post(number, text, deadline))
            except DeliveryError as error:
                if error.uncertain:
                    ends[number] = (_End.UNCERTAIN, str(error))
                elif error.retryable:
                    ends.pop(number, None)
                    waiting[number] = error
                else:
                    ends[number] = (_End.REFUSED, str(error))
        return _outcome({number: ends[number] for number in numbers if number in ends}, waiting)

    def _ends_of(self, notification_id: str) -> dict[str, tuple[_End, str]]:
        with self._lock:
            ends = self._ends.setdefault(notification_id, {})
            self._ends.move_to_end(notification_id)
            while len(self._ends) > _REMEMBERED:
                self._ends.popitem(last=False)
            return ends

    def _sends_again(self, end: _End) -> bool:
        return end is _End.UNCERTAIN and self.on_uncertain == "resend"

    def _post(self, number: str, text: str, deadline: Deadline) -> str:
        if deadline.is_over:
            raise DeliveryError("not tried, the time was up", retryable=True)
        # A messaging service stands in for a sender's number.
        sender = {"MessagingServiceSid" if self._from.startswith("MG") else "From": self._from}
        body = urlencode({"To": number, **sender, "Body": text}).encode()
        post = Post(self._client.target, body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = deliver(self._client, post, deadline)
        try:
            return masked(str(answer.json()["sid"]), answer.secrets)[:_RECEIPT_LIMIT]
        except (ValueError, KeyError, TypeError):
            # It was taken; that the receipt cannot be read does not change that.
            return "taken"


def message(notification: Notification, recipient: Recipient = NOBODY) -> str:
    """What fits on a telephone: the subject, and how to acknowledge; or what a template makes.

    The subject gives way so that both are one SMS, as long as enough of it is left to know what it is about.
    """
    if recipient.words is not None and recipient.words.has_body:
        return sms_text.shortened(notification.body.strip(), _TEXT_LIMIT)
    subject, answer = sms_text.plain(" ".join(notification.subject.split())), recipient.link
    if len(answer) > _TEXT_LIMIT - _SUBJECT_LEAST:
        answer = ""  # of a flood
    if not answer and notification.violation_ids and notification.kind is not NotificationKind.RESOLVED:
        answer = f"slakeeper ack {notification.violation_ids[0]} --by YOUR-NAME"
    if not answer:
        return sms_text.fitted(subject, sms_text.ONE_PART)
    room = sms_text.ONE_PART - sms_text.length(f"\n{answer}")
    if room >= _SUBJECT_LEAST:
        return f"{sms_text.fitted(subject, room)}\n{answer}"
    # It takes more than one part, and then nothing of the answer is cut: half of a link is none.
    room = _TEXT_LIMIT - len(answer) - 1
    return f"{sms_text.fitted(subject, room)}\n{answer}"


def _outcome(ends: dict[str, tuple[_End, str]], waiting: dict[str, DeliveryError]) -> str:
    """The words for several numbers, or the one error that says what is best done next."""
    parts = [f"{number}: {error}" for number, error in waiting.items()]
    by_end = {end: {number: words for number, (each, words) in ends.items() if each is end} for end in _End}
    parts += [f"{number}: {words}" for number, words in by_end[_End.UNCERTAIN].items()]
    parts += [f"{number} refused: {words}" for number, words in by_end[_End.REFUSED].items()]
    delivered = by_end[_End.DELIVERED]
    if delivered:
        parts.insert(0, "sent to " + ", ".join(f"{number} ({words})" for number, words in delivered.items()))
    detail = "; ".join(parts)
    if waiting:
        pauses = [error.retry_after_ms for error in waiting.values() if error.retry_after_ms is not None]
        raise DeliveryError(detail, retryable=True, retry_after_ms=max(pauses, default=None))
    if by_end[_End.UNCERTAIN]:
        raise DeliveryError(detail, retryable=True, uncertain=True)
    if not delivered:
        raise DeliveryError(detail, retryable=False)
    return detail
