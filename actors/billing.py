"""Approved entries of one ledger on their way to billing: sent until they are taken, and settled by that.

An entry goes through the ledger's outbox under its own id, so that billing recognises a repetition. What billing
refused, or what was held back because this is a copy, is sent again when the ledger starts the next time: by then
somebody has mended what was wrong. What may have arrived, at a billing that does not look at ids, is left to a person.
"""

from typing import Any

from slakeeper.actors.audit import note
from slakeeper.actors.environment import Environment
from slakeeper.actors.outbox import Delivery, DeliveryChanged, Outbox
from slakeeper.integrations.channel import Recipient
from slakeeper.otp.actor import Performed, RequestError
from slakeeper.otp.context import Context
from slakeeper.sla.audit import What
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.notification import bill
from slakeeper.sla.policy import BILLING
from slakeeper.sla.record import DeliveryStatus


class Billing:
    """What a ledger has sent, or tries to.

    Args:
        open_deliveries: that have not ended.
        unbilled: those of entries that billing has not taken and that are not tried now.
    """

    def __init__(
        self, open_deliveries: tuple[Delivery, ...] = (), unbilled: tuple[Delivery, ...] = ()
    ) -> None:
        self._outbox = Outbox(open_deliveries, never_gives_up=True)
        self._unbilled = {delivery.key: delivery for delivery in unbilled}

    def dump(self) -> tuple[tuple[Delivery, ...], tuple[Delivery, ...]]:
        """What makes the same again, given to the constructor."""
        return self._outbox.dump(), tuple(self._unbilled.values())

    def apply(self, event: DeliveryChanged) -> None:
        """Takes the event into the state; call it from the owner's ``apply``."""
        delivery = event.delivery
        self._outbox.apply(event)
        self._unbilled.pop(delivery.key, None)
        if delivery.is_final and delivery.status is not DeliveryStatus.SENT:
            self._unbilled[delivery.key] = delivery

    def forget(self, key: str) -> None:
        """The entry is settled; call it from the owner's ``apply``."""
        self._unbilled.pop(key, None)

    def send(self, ctx: Context, entry: LedgerEntry) -> None:
        """Sends an entry that was just approved; without billing it waits for a person."""
        environment: Environment = ctx.environment
        if BILLING in environment.senders:
            self._outbox.post(ctx, entry.id, BILLING, Recipient(), bill(entry, ctx.now_ms))

    def resume(self, ctx: Context) -> None:
        """After a restart: goes on with what was on its way, and once more with what was refused or held back."""
        environment: Environment = ctx.environment
        for uncertain in self._outbox.resume(ctx):
            self._note(ctx, uncertain)
        sender = environment.senders.get(BILLING)
        if sender is None or sender.type == "log":
            return
        for delivery in list(self._unbilled.values()):
            if delivery.status is not DeliveryStatus.UNCERTAIN:
                self._outbox.post(ctx, delivery.key, BILLING, Recipient(), delivery.notification)

    def retry_due(self, ctx: Context) -> None:
        """Sends what is due again."""
        self._outbox.retry_due(ctx)

    def performed(self, ctx: Context, performed: Performed) -> Delivery | None:
        """Takes the end of an attempt; the delivery when billing has taken the entry."""
        ended = self._outbox.performed(ctx, performed)
        if ended is None:
            return None
        if ended.status is DeliveryStatus.SENT:
            return ended
        self._note(ctx, ended)
        return None

    def withdraw(self, ctx: Context, key: str) -> None:
        """Somebody settles the entry by hand: it is not sent any more.

        Raises:
            RequestError: ``conflict`` while it is on its way, and so perhaps settled by billing in this moment.
        """
        delivery = self._outbox.delivery(key)
        if delivery is None:
            return
        if delivery.due_ms is None:
            raise RequestError("conflict", f"{key} is on its way to billing; try again", reason="on_its_way")
        self._outbox.withdraw(ctx, key, "settled by hand")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Each entry that billing has not taken yet, by id: ``{"status", "attempts", "due_time", "detail"}``."""
        return {
            delivery.key: {
                "status": delivery.status.value,
                "attempts": delivery.attempts,
                "due_time": delivery.due_ms,
                "detail": delivery.detail,
            }
            for delivery in (*self._outbox.dump(), *self._unbilled.values())
        }

    @staticmethod
    def _note(ctx: Context, ended: Delivery) -> None:
        entry = ended.notification.details
        note(
            ctx, What.COMPENSATION_UNBILLED, sla_id=ended.notification.sla_id, subject=ended.key,
            amount=entry["amount"], currency=entry["currency"], status=ended.status, attempts=ended.attempts,
            detail=ended.detail,
        )  # fmt: skip
        ctx.publish("billing.failed", {"entry": entry, "status": ended.status.value, "detail": ended.detail})
