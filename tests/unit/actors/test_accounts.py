"""The books of a day on which every channel fails in every way: each message has one end, and all who count agree.

The real senders speak to services that keep what they take, refuse, ask to wait, break down, fall silent and cut the
connection, before they have taken a message or after. In the middle the cell's process dies. At the end what was to be
told, what the outboxes, the audit chain, ``status``, ``channel list`` and ``/metrics`` say, and what the services have
taken are added up.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from slakeeper.actors.outbox import DeliveryChanged, Outbox
from slakeeper.channel_state import merged_channels
from slakeeper.integrations.channel import Recipient, open_channel
from slakeeper.integrations.messenger import Messenger
from slakeeper.integrations.slack import SlackSender
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import AnyChannel, PagerDutyChannel, SlackChannel, SmsChannel, WebhookChannel
from slakeeper.sla.record import DeliveryStatus
from slakeeper.web.metrics import exposition
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    World,
    contract,
    enforcement,
    metric,
)
from tests.unit.integrations.fake_http import (
    Application,
    Behaviour,
    Cut,
    CutBody,
    FakeServer,
    Hang,
    Reply,
    Request,
)
from tests.unit.integrations.fake_services import PagerDuty, Receiver, Slack, Twilio

CONTRACTS = 8
NAMES = ("slack", "pagerduty", "sms", "webhook")
RECOGNISE = ("pagerduty", "webhook")

# As short as an answer on the loopback allows: many messages get none.
SILENT_MS = 1_000
SILENCES = 6

Identity = tuple[str, str, tuple[str, ...]]
"""A message to a place: channel, the notification's id, recipients."""


@dataclass(frozen=True)
class End:
    """What became of a message in the end."""

    channel: str
    status: DeliveryStatus
    attempts: int
    detail: str


@dataclass
class Books:
    """What really happened, told by those whom it happened to."""

    random: Random
    current: Identity = ("", "", ())
    silences: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    taken: Counter[Identity] = field(default_factory=Counter)
    intended: set[tuple[Identity, str]] = field(default_factory=set)
    ends: dict[tuple[Identity, str], set[End]] = field(default_factory=lambda: defaultdict(set))

    def spoiled(self, service: Application) -> Application:
        """The service behind every fault there is."""
        faults: list[tuple[Behaviour, bool]] = [
            (Reply(429, b"slow down", {"Retry-After": "7"}), False), (Reply(500), False), (Reply(503), False),
            (Reply(400, b"no"), False), (Cut(), False), (Cut(), True), (Hang(), True), (CutBody(), True),
        ]  # fmt: skip

        def answer(request: Request) -> Behaviour:
            channel = self.current[0]
            self.asked[channel] += 1
            fault, is_taken = (None, True) if self.random.random() < 0.5 else self.random.choice(faults)
            if isinstance(fault, Hang):
                self.silences += 1
                if self.silences > SILENCES:
                    fault = Cut()
            reply = service(request) if is_taken else None
            if is_taken:
                self.taken[self.current] += 1
            return fault or reply or Reply(500)

        return answer


@dataclass
class Marked:
    """A messenger that says whose message is on its way; effects run one after the other here."""

    messenger: Messenger
    books: Books

    def send(self, notification: Notification, recipient: Recipient) -> str:
        self.books.current = (self.messenger.name, notification.id, recipient.recipients)
        return self.messenger.send(notification, recipient)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.messenger, name)


def settings_of(name: str, url: str, timeout_ms: int) -> AnyChannel:
    match name:
        case "slack":
            return SlackChannel(
                type="slack", url=SecretStr(f"{url}/services/T0/B0/secret"), timeout=timeout_ms
            )
        case "pagerduty":
            return PagerDutyChannel(
                type="pagerduty", base_url=url, routing_key=SecretStr("key-1"), timeout=timeout_ms
            )
        case "sms":
            return SmsChannel(
                type="sms", base_url=url, account_sid="AC1", auth_token=SecretStr("token"), sender="+4930",
                recipients=("+491",), timeout=timeout_ms,
            )  # fmt: skip
        case _:
            return WebhookChannel(type="webhook", url=url, secret=SecretStr("s3cret"), timeout=timeout_ms)


SERVICES: dict[str, Callable[[], Application]] = {
    "slack": Slack, "pagerduty": PagerDuty, "sms": Twilio, "webhook": lambda: Receiver("s3cret"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack's pace is kept in real time; here time is virtual."""
    monkeypatch.setattr(SlackSender, "_wait", lambda self: None)


@pytest.fixture
def books(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Books:
    made = Books(Random(request.param))
    post, apply = Outbox.post, Outbox.apply

    def keep_post(
        outbox: Outbox,
        ctx: Any,
        key: str,
        channel: str,
        recipient: Recipient,
        message: Notification,
        *rest: Any,
    ) -> None:
        made.intended.add(((channel, message.id, recipient.recipients), key))
        post(outbox, ctx, key, channel, recipient, message, *rest)

    def keep_end(outbox: Outbox, event: DeliveryChanged) -> None:
        delivery = event.delivery
        if delivery.is_final:  # also when it is replayed: then it is the same again
            identity = (delivery.channel, delivery.notification.id, delivery.recipients)
            made.ends[identity, delivery.key].add(
                End(delivery.channel, delivery.status, delivery.attempts, delivery.detail)
            )
        apply(outbox, event)

    monkeypatch.setattr(Outbox, "post", keep_post)
    monkeypatch.setattr(Outbox, "apply", keep_end)
    return made


def a_day(world: World) -> None:
    """Everything breaks, the process dies with messages on their way, everything is well again."""
    ids = [f"api-{number}" for number in range(CONTRACTS)]
    for sla_id in ids:
        world.define(contract(id=sla_id, name=sla_id, metrics=[metric("latency")], compensation=[]))
    for sla_id in ids[: CONTRACTS // 2]:
        world.observe(CRITICAL, sla=sla_id)
    for sla_id in ids[CONTRACTS // 2 :]:
        sample = ["latency", CRITICAL, world.now_ms, sla_id, None]
        world.request("samples", samples=[sample], batch_id=None)
        world.turn()
    assert world.executor.waiting
    world.restart()
    world.pass_time(30 * MINUTE_MS)
    for _ in range(5):
        world.pass_time(6_000)
        for sla_id in ids:
            world.observe(GOOD, sla=sla_id)
    world.pass_time(3 * HOUR_MS)


@pytest.mark.parametrize("books", [1, 2, 3], indirect=True)
def test_every_message_has_one_end_and_all_books_agree(
    make_world: Callable[..., World], books: Books
) -> None:
    policy = enforcement(
        channels={name: {"type": "log"} for name in NAMES},
        escalation_policies=[
            {"severity": "critical", "timeout": "30d", "repeat": 0, "notify_channels": ["webhook"],
             "levels": [{"type": name, "delay": "1m"} for name in NAMES]},
        ],
    )  # fmt: skip
    world = make_world(policy, {"alert_channels": list(NAMES)})
    with ExitStack() as stack:
        for name in NAMES:
            server = stack.enter_context(FakeServer(books.spoiled(SERVICES[name]())))
            sender = open_channel(name, settings_of(name, server.url, SILENT_MS))
            world.senders[name] = Marked(Messenger(sender), books)  # type: ignore[assignment]
        a_day(world)
    assert not world.host.crash_reports

    # What was to be told, and nothing else, has one end each.
    assert len(books.intended) > CONTRACTS * 2 * len(NAMES)
    assert set(books.ends) == books.intended
    assert {key: len(ends) for key, ends in books.ends.items() if len(ends) != 1} == {}
    ends = {identity: end for (identity, _), found in books.ends.items() for end in found}
    assert len(ends) == len(books.ends)
    by_status = Counter(end.status for end in ends.values())
    assert set(by_status) == {DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN}

    # It is what the other sides say.
    for identity, end in ends.items():
        taken = books.taken[identity]
        match end.status:
            case DeliveryStatus.SENT:
                assert taken == 1 or (taken > 1 and identity[0] in RECOGNISE)
            case DeliveryStatus.FAILED:
                # Taken with no answer to it, sent again, and then refused: only where a repetition is recognised.
                assert taken == 0 or identity[0] in RECOGNISE
            case _:
                assert identity[0] not in RECOGNISE
                assert taken <= 1
    assert set(books.taken) <= set(ends)

    # The audit chain has each of them once, with the same end.
    lines = [
        json.loads(line)
        for path in sorted((world.directory / "audit").rglob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    told = Counter(
        (line["details"]["channel"], line["details"]["status"])
        for line in lines
        if line["what"] in ("alert.delivered", "escalation.delivered")
    )
    assert told == Counter((end.channel, end.status.value) for end in ends.values())

    # The counts of channels are counts of attempts of this process; what was on its way when the other died is in none.
    rows = merged_channels([world.request("channels")["channels"]])
    for row in rows:
        name = row["name"]
        assert row["sent"] == sum(
            end.channel == name and end.status is DeliveryStatus.SENT for end in ends.values()
        )
        assert row["sent"] + row["failed"] + row["uncertain"] == books.asked[name]
    status = world.request("status")
    given_up = sum(end.status is not DeliveryStatus.SENT for end in ends.values())
    assert sum(row["alerts_failed"] for row in status["slas"]) == given_up
    page = exposition({**status, "cells": []}, rows, [], [], {}, 0).decode()
    shown = {
        (sample.labels["channel"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(page)
        if family.name == "slakeeper_message_attempts"
        for sample in family.samples
    }
    assert shown == {
        (row["name"], key): row[key] for row in rows for key in ("sent", "logged", "failed", "uncertain")
    }
