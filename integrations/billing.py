"""Billing: each approved ledger entry as a signed JSON POST, once; 2xx means that it is taken and settled."""

from slakeeper.integrations.channel import OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.delivery import deliver
from slakeeper.integrations.http_client import HttpClient, Tls
from slakeeper.integrations.webhook import signed_post
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import BILLING, BillingWebhook


class BillingSender:
    """Posts the entry itself, as ``compensation --json`` shows it; see the webhook channel for the signature."""

    type = "webhook"

    def __init__(self, settings: BillingWebhook) -> None:
        headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        self.name = BILLING
        self.on_uncertain: OnUncertain = settings.on_uncertain
        # The receiver has the Idempotency-Key to tell a repetition by; ``hold`` says that it does not look.
        self.idempotent = settings.on_uncertain == "resend"
        self._timeout_ms = settings.timeout
        self._secret = settings.secret.get_secret_value() if settings.secret else ""
        secrets = [self._secret, *headers.values()]
        self._client = HttpClient(settings.url, headers, secrets, Tls(settings.ca_file))

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        post = signed_post(self._client.target, notification.details, notification.id, self._secret)
        answer = deliver(self._client, post, Deadline(self._timeout_ms))
        return f"billing answered {answer.status}"
