"""A message to several recipients: to whom it still goes, and what it has come to for all of them together."""

from collections.abc import Iterable, Mapping

from slakeeper.integrations.channel import DeliveryError, OnUncertain
from slakeeper.sla.record import DeliveryStatus, RecipientEnd


def pending(
    addresses: Iterable[str], ends: Mapping[str, RecipientEnd], on_uncertain: OnUncertain
) -> tuple[str, ...]:
    """Those who are still to be sent the message.

    Args:
        ends: what earlier attempts came to.
    """
    again = {DeliveryStatus.SENDING}
    if on_uncertain == "resend":
        again.add(DeliveryStatus.UNCERTAIN)
    return tuple(each for each in addresses if each not in ends or ends[each].status in again)


def end_of(error: DeliveryError) -> RecipientEnd:
    """What an error means for a recipient: in doubt, worth another try, or refused for good."""
    if error.uncertain:
        status = DeliveryStatus.UNCERTAIN
    else:
        status = DeliveryStatus.SENDING if error.retryable else DeliveryStatus.FAILED
    return RecipientEnd(status, str(error))


def outcome(ends: Mapping[str, RecipientEnd], retry_after_ms: int | None = None) -> str:
    """The words for a message that everybody has.

    Args:
        ends: of every recipient.
        retry_after_ms: how long to wait before another try [ms], as the other side wants it.

    Raises:
        DeliveryError: somebody does not have it; says what is best done next, and of several the ``ends``.
    """
    by_status: dict[DeliveryStatus, dict[str, str]] = {}
    for who, end in ends.items():
        by_status.setdefault(end.status, {})[who] = end.words
    sent = by_status.get(DeliveryStatus.SENT, {})
    parts = []
    if sent:
        parts.append(
            "sent to " + ", ".join(f"{who} ({words})" if words else who for who, words in sent.items())
        )
    for status in (DeliveryStatus.SENDING, DeliveryStatus.UNCERTAIN):
        parts += [f"{who}: {words}" for who, words in by_status.get(status, {}).items()]
    parts += [f"{who} refused: {words}" for who, words in by_status.get(DeliveryStatus.FAILED, {}).items()]
    if by_status.keys() <= {DeliveryStatus.SENT}:
        return "; ".join(parts)
    is_waiting = DeliveryStatus.SENDING in by_status
    is_doubtful = DeliveryStatus.UNCERTAIN in by_status
    raise DeliveryError(
        "; ".join(parts),
        retryable=is_waiting or is_doubtful,
        # Those who are worth another try come first, whatever is in doubt.
        uncertain=is_doubtful and not is_waiting,
        retry_after_ms=retry_after_ms if is_waiting else None,
        ends=ends if len(ends) > 1 else None,
    )
