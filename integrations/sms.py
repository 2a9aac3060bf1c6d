"""SMS by Twilio's Messages API: one POST for each number."""

from urllib.parse import quote, urlencode

from slakeeper.integrations import sms_text
from slakeeper.integrations.channel import NOBODY, DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import Post, deliver
from slakeeper.integrations.http_answer import masked
from slakeeper.integrations.http_client import HttpClient, Tls, basic_auth
from slakeeper.integrations.log import LogSender
from slakeeper.integrations.recipient import end_of, outcome, pending
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import SmsChannel
from slakeeper.sla.record import DeliveryStatus, RecipientEnd

# Three parts of a concatenated message; people read the first.
_TEXT_LIMIT = 459

# "[critical] " and the beginning of a name: a subject that is shorter says nothing any more.
_SUBJECT_LEAST = 30

# A receipt ("SM" and 32 hexadecimal digits) is shown; what is longer is none of Twilio's.
_RECEIPT_LIMIT = 40


class SmsSender:
    """Tells several numbers; a repetition of a message goes only to those that do not have it yet."""

    type = "sms"
    # Twilio cannot tell a repetition.
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
            settings.base_url,
            {"Authorization": authorization},
            secrets=[token, authorization],
            tls=Tls(settings.ca_file),
            at=f"/2010-04-01/Accounts/{quote(account, safe='')}/Messages.json",
        )

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        numbers = tuple(dict.fromkeys(recipient.recipients or self._recipients))
        if not numbers:
            return LogSender(self.name, why="has no recipients").send(notification, recipient)
        text = message(notification, recipient)
        deadline = Deadline(self._timeout_ms)
        ends = dict(recipient.ends)
        pauses = []
        for number in pending(numbers, ends, self.on_uncertain):
            try:
                ends[number] = RecipientEnd(DeliveryStatus.SENT, self._post(number, text, deadline))
            except DeliveryError as error:
                ends[number] = end_of(error)
                pauses.append(error.retry_after_ms or 0)
        return outcome({number: ends[number] for number in numbers}, max(pauses, default=0) or None)

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
