"""A test message over a channel: begun by one request, its end asked for by others, since no cell waits for a peer."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from slakeeper.actors.audit import note_act
from slakeeper.actors.environment import Environment
from slakeeper.actors.outbox import lane_of
from slakeeper.integrations.channel import DeliveryError, Recipient, Sender
from slakeeper.otp.actor import RequestError
from slakeeper.otp.host import Host
from slakeeper.sla.audit import What
from slakeeper.sla.notification import Notification, NotificationKind, trial

# So many are remembered; whoever began one asks at once.
KEPT = 20


@dataclass(frozen=True, slots=True)
class Trial:
    """One test message; ``status`` is sending, sent, logged, failed or uncertain."""

    channel: str
    status: str = "sending"
    detail: str = ""

    def to_document(self) -> dict[str, Any]:
        return {"channel": self.channel, "status": self.status, "detail": self.detail}


@dataclass
class Trials:
    """The last test messages of this process.

    Attributes:
        submit: runs an effect on an I/O thread of a lane and hands over its end on the cell's own.
    """

    submit: Callable[[str, Callable[[], Any], Callable[[Any, BaseException | None], None]], None]
    known: dict[str, Trial] = field(default_factory=dict)


def begin_trial(host: Host, channel: str, to: str | None, by: str) -> dict[str, Any]:
    """Sends a test message as soon as it is noted that somebody wants it.

    Raises:
        RequestError: there is no such channel, or nothing can be sent from here.
    """
    environment: Environment = host.environment
    trials, channels = environment.trials, environment.enforcement.channels
    if channel not in channels:
        known = ", ".join(sorted(channels)) or "there are none"
        raise RequestError("not_found", f"no channel {channel}; known here: {known}")
    if trials is None:
        raise RequestError("unavailable", "nothing can be sent from here")
    sender = environment.sender(channel)
    identity, who = secrets.token_hex(8), by or "operator"
    note_act(host, next(iter(host.partitions)), What.CHANNEL_TESTED, subject=channel, who=who, to=to or "")
    trials.known[identity] = Trial(channel)
    while len(trials.known) > KEPT:
        del trials.known[next(iter(trials.known))]
    message = trial(host.now_ms, note=f"Sent by {who} from {socket.gethostname()}.")

    def done(value: Any, error: BaseException | None) -> None:
        status, detail = value if error is None else ("failed", f"{type(error).__name__}")
        trials.known[identity] = Trial(channel, status, detail)

    host.after_commit(lambda: trials.submit(lane_of(channel), lambda: send_trial(sender, message, to), done))
    return {"test": identity}


def trial_document(host: Host, identity: str) -> dict[str, Any]:
    """How a test message stands.

    Raises:
        RequestError: it is not known, or not any more.
    """
    trials = host.environment.trials
    found = None if trials is None else trials.known.get(identity)
    if found is None:
        raise RequestError("not_found", f"no test {identity}")
    document: dict[str, Any] = found.to_document()
    return document


def send_trial(sender: Sender, message: Notification, to: str | None) -> tuple[str, str]:
    """Sends a test message and waits for its end.

    Returns:
        ``sent``, ``logged``, ``failed`` or ``uncertain``, and what the other side said.
    """
    if to is None:
        recipient = Recipient()
    elif sender.type == "slack" and to.startswith("#"):
        recipient = Recipient(room=to)
    elif sender.type == "pagerduty":
        recipient = Recipient(service=to)
    else:
        recipient = Recipient((to,))
    try:
        detail = sender.send(message, recipient)
        if sender.type == "pagerduty":  # nobody is to be paged by an incident that stays open
            detail += "; " + sender.send(replace(message, kind=NotificationKind.RESOLVED), recipient)
    except DeliveryError as error:
        return ("uncertain" if error.uncertain else "failed"), str(error)
    return ("logged" if sender.type == "log" else "sent"), detail
