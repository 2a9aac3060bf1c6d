"""The links in messages by which people acknowledge."""

from dataclasses import dataclass, field

from slakeeper.sla.ack_claim import MAX_VIOLATIONS, Claim, mint
from slakeeper.sla.notification import Notification, NotificationKind

_ASKS = (
    NotificationKind.OPENED,
    NotificationKind.WORSENED,
    NotificationKind.ESCALATION,
    NotificationKind.ESCALATION_FAILED,
)


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links.

    Attributes:
        public_url: where people reach the HTTP interface, without a slash at the end.
        key: what they are signed with.
        lifetime_ms: how long after its message a link is good [ms].
    """

    public_url: str
    key: bytes = field(repr=False)
    lifetime_ms: int

    def address(self, notification: Notification, channel: str, people: tuple[str, ...]) -> str:
        """The link of a message, the same when it is sent again; empty when there is nothing to acknowledge."""
        if not notification.violation_ids or notification.kind not in _ASKS:
            return ""
        ids = notification.violation_ids[:MAX_VIOLATIONS]
        claim = Claim(ids, channel, people, notification.at_ms + self.lifetime_ms)
        return f"{self.public_url}/ack?token={mint(self.key, claim)}"
