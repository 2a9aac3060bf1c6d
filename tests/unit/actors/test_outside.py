"""Every channel with every fault of the other side, through the outbox: nothing that was to be told is unaccounted for.

The real senders speak to services on the loopback that keep what they take; time is virtual, the waits for an answer
are not.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import open_channel
from slakeeper.integrations.messenger import Messenger
from slakeeper.integrations.slack import SlackSender
from slakeeper.sla.policy import (
    AnyChannel,
    EmailChannel,
    PagerDutyChannel,
    SlackChannel,
    SmsChannel,
    WebhookChannel,
)
from tests.unit.actors.cell_world import CRITICAL, HOUR_MS, World, enforcement
from tests.unit.integrations.fake_http import (
    Behaviour,
    Cut,
    CutBody,
    Drip,
    FakeServer,
    Flood,
    Hang,
    Reply,
    free_port,
)
from tests.unit.integrations.fake_services import Faulty, PagerDuty, Receiver, Slack, Twilio
from tests.unit.integrations.fake_smtp import Post, running

MakeWorld = Callable[..., World]

# Long enough for the loopback on a busy machine; where the other side is silent, as short as it can be.
TIMEOUT_MS = 10_000
SILENT_MS = 1_000
SILENT_SMTP_MS = 400

BUSY = Reply(429, b"slow down", {"Retry-After": "7"})


@dataclass
class Peer:
    """A service, the faults before it, and what it has taken: ids or texts, one for each message that arrived."""

    settings: AnyChannel
    faulty: Faulty
    taken: Callable[[], list[Any]]
    recognises: bool


def slack_peer(server: FakeServer, faulty: Faulty, url: str) -> Peer:
    service = faulty.service = Slack()
    settings = SlackChannel(type="slack", url=SecretStr(f"{url}/services/T0/B0/secret"), timeout=TIMEOUT_MS)
    return Peer(settings, faulty, lambda: service.rooms["#general"], False)


def pagerduty_peer(server: FakeServer, faulty: Faulty, url: str) -> Peer:
    service = faulty.service = PagerDuty()
    settings = PagerDutyChannel(
        type="pagerduty", base_url=url, routing_key=SecretStr("key-1"), timeout=TIMEOUT_MS
    )
    return Peer(settings, faulty, lambda: list(service.incidents), True)


def sms_peer(server: FakeServer, faulty: Faulty, url: str) -> Peer:
    service = faulty.service = Twilio()
    settings = SmsChannel(
        type="sms", base_url=url, account_sid="AC1", auth_token=SecretStr("token"), sender="+4930",
        recipients=("+491",), timeout=TIMEOUT_MS,
    )  # fmt: skip
    return Peer(settings, faulty, lambda: service.told, False)


def webhook_peer(server: FakeServer, faulty: Faulty, url: str) -> Peer:
    service = faulty.service = Receiver("s3cret")
    settings = WebhookChannel(type="webhook", url=url, secret=SecretStr("s3cret"), timeout=TIMEOUT_MS)
    return Peer(settings, faulty, lambda: list(service.taken), True)


PEERS = [slack_peer, pagerduty_peer, sms_peer, webhook_peer]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack's pace is kept in real time; here time is virtual."""
    monkeypatch.setattr(SlackSender, "_wait", lambda self: None)


@pytest.fixture(params=PEERS, ids=["slack", "pagerduty", "sms", "webhook"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    faulty = Faulty(lambda _: Reply(500))
    with FakeServer(faulty) as server:
        yield request.param(server, faulty, server.url)


def telling(make_world: MakeWorld, settings: AnyChannel, *, settles: bool = True) -> World:
    """A cell whose first level is the channel, the second one that works."""
    policy = enforcement(
        escalation_policies=[
            {"severity": "critical", "timeout": "30d", "repeat": 0,
             "levels": [{"type": "outside"}, {"type": "chat", "recipients": ["lead"], "delay": "5m"}]},
        ],
        channels={"chat": {"type": "log"}, "outside": {"type": "log"}},
    )  # fmt: skip
    world = make_world(policy, {"alert_channels": []})
    world.senders["outside"] = Messenger(open_channel("outside", settings))  # type: ignore[assignment]
    world.define()
    if settles:
        world.observe(CRITICAL)
    else:
        world.request("samples", samples=[["latency", CRITICAL, world.now_ms, None, None]], batch_id=None)
    return world


def outcome(world: World) -> str:
    """How the first level's delivery has ended; whatever that is, the next level was told and the chain knows."""
    world.pass_time(2 * HOUR_MS)
    first, second = world.violation()["escalations"]
    assert (second["channel"], second["status"]) == ("chat", "sent")
    assert [recipient.recipients for _, _, recipient in world.sent] == [("lead",)]
    chain = "".join(path.read_text() for path in (world.directory / "audit").rglob("*.jsonl"))
    assert chain.count('"what":"escalation.delivered"') == 2
    given_up = world.status()["alerts_failed"]
    assert given_up == (first["status"] not in ("sent", "logged"))
    return str(first["status"])


@pytest.mark.parametrize(
    "faults",
    [
        [BUSY, BUSY], [Reply(500)] * 3, [Reply(503, b"", {"Retry-After": "30"})], [Reply(408)],
        # Refused with a wish to wait, more often than a failure may be repeated.
        [BUSY] * 9,
    ],
    ids=["429", "500", "503", "408", "429 for long"],
)  # fmt: skip
def test_what_the_other_side_could_not_take_yet_arrives_once(
    make_world: MakeWorld, peer: Peer, faults: list[Behaviour]
) -> None:
    peer.faulty.faults = [(fault, False) for fault in faults]
    world = telling(make_world, peer.settings)
    assert outcome(world) == "sent"
    assert len(peer.taken()) == 1


@pytest.mark.parametrize("fault", [Reply(400, b"no"), Reply(404, b"no"), Reply(302, b"", {"Location": "/x"})])
def test_what_is_refused_for_good_has_failed_and_is_not_tried_again(
    make_world: MakeWorld, peer: Peer, fault: Behaviour
) -> None:
    peer.faulty.faults = [(fault, False)]
    world = telling(make_world, peer.settings)
    assert outcome(world) == "failed"
    assert peer.taken() == []


def test_a_side_that_is_broken_for_good_is_given_up(make_world: MakeWorld, peer: Peer) -> None:
    peer.faulty.faults = [(Reply(500), False)] * 20
    world = telling(make_world, peer.settings)
    assert outcome(world) == "failed"
    assert peer.taken() == []
    assert len(peer.faulty.faults) == 3


def test_a_side_that_asks_to_wait_for_ever_is_given_up_too(make_world: MakeWorld, peer: Peer) -> None:
    peer.faulty.faults = [(BUSY, False)] * 100
    world = telling(make_world, peer.settings)
    assert outcome(world) == "failed"
    assert peer.taken() == []


SILENCES = [Hang(), Cut(), Drip()]


@pytest.mark.parametrize("is_taken", [False, True], ids=["not taken", "taken"])
@pytest.mark.parametrize("fault", SILENCES, ids=["hang", "cut", "drip"])
def test_after_a_silence_what_can_be_recognised_is_sent_again_and_the_rest_is_said_to_be_uncertain(
    make_world: MakeWorld, peer: Peer, fault: Behaviour, is_taken: bool
) -> None:
    peer.faulty.faults = [(fault, is_taken)]
    timeout_ms = TIMEOUT_MS if isinstance(fault, Cut) else SILENT_MS
    world = telling(make_world, peer.settings.model_copy(update={"timeout": timeout_ms}))
    if peer.recognises:
        assert outcome(world) == "sent"
        assert len(peer.taken()) == 1
    else:
        assert outcome(world) == "uncertain"
        assert len(peer.taken()) == is_taken


@pytest.mark.parametrize("fault", [CutBody(), Flood()], ids=["cut body", "flood"])
def test_a_yes_is_a_yes_whatever_follows_it(make_world: MakeWorld, peer: Peer, fault: Behaviour) -> None:
    peer.faulty.faults = [(fault, True)]
    world = telling(make_world, peer.settings)
    assert outcome(world) == "sent"
    assert len(peer.taken()) == 1


@pytest.mark.parametrize("make_peer", PEERS, ids=["slack", "pagerduty", "sms", "webhook"])
def test_where_nobody_listens_nothing_is_uncertain(make_world: MakeWorld, make_peer: Any) -> None:
    faulty = Faulty(lambda _: Reply(500))
    peer = make_peer(None, faulty, f"http://127.0.0.1:{free_port()}")
    assert outcome(telling(make_world, peer.settings)) == "failed"


def test_a_crash_while_a_message_is_on_its_way_leaves_it_uncertain_or_sent_once(
    make_world: MakeWorld, peer: Peer
) -> None:
    world = killed_while_sending(make_world, peer.settings)
    assert outcome(world) == ("sent" if peer.recognises else "uncertain")
    assert len(peer.taken()) == 1


@pytest.mark.parametrize("crashes", [False, True], ids=["cut off", "killed"])
@pytest.mark.parametrize("on_uncertain", ["resend", "hold"])
def test_what_is_uncertain_is_sent_again_or_held_as_its_channel_says(
    make_world: MakeWorld, peer: Peer, on_uncertain: str, crashes: bool
) -> None:
    settings = peer.settings.model_copy(update={"on_uncertain": on_uncertain})
    if crashes:
        world = killed_while_sending(make_world, settings)
    else:
        peer.faulty.faults = [(Cut(), True)]
        world = telling(make_world, settings)
    if on_uncertain == "hold":
        assert outcome(world) == "uncertain"
        assert len(peer.taken()) == 1
    else:
        assert outcome(world) == "sent"
        assert len(peer.taken()) == (1 if peer.recognises else 2)


def killed_while_sending(make_world: MakeWorld, settings: AnyChannel) -> World:
    """A cell that came back after its process had died between the other side's answer and the note of it."""
    world = telling(make_world, settings, settles=False)
    while not (sends := [run for lane, run, _ in world.executor.waiting if lane == "channel-outside"]):
        world.turn()
    [send] = sends
    send()  # it was taken, and nobody is left to hear so
    world.senders["outside"] = Messenger(open_channel("outside", settings))  # type: ignore[assignment]
    world.restart()
    return world


@pytest.mark.parametrize("on_uncertain", ["resend", "hold"])
def test_a_mail_on_its_way_at_a_crash_is_one_or_can_be_told_to_be_the_same(
    make_world: MakeWorld, on_uncertain: Literal["resend", "hold"]
) -> None:
    post = Post()
    with running(post) as port:
        settings = EmailChannel(
            type="email", host="127.0.0.1", port=port, recipients=("a@example.com",), timeout=TIMEOUT_MS,
            on_uncertain=on_uncertain,
        )  # fmt: skip
        world = killed_while_sending(make_world, settings)
        assert outcome(world) == ("sent" if on_uncertain == "resend" else "uncertain")
    letters = [letter for _, letter in post.letters]
    assert len(letters) == (2 if on_uncertain == "resend" else 1)
    assert len({letter["Message-ID"] for letter in letters}) == 1
    assert len({bytes(letter) for letter in letters}) == 1
    [uncertain] = [row for row in world.violation()["escalations"] if row["channel"] == "outside"]
    if on_uncertain == "hold":
        assert uncertain["detail"] == "interrupted while it was being sent"


@pytest.mark.parametrize(
    ("plan", "expected", "count"),
    [
        ({"data": "451 later"}, "failed", 0), ({"data": "554 no"}, "failed", 0), ({"mail": "421 busy"}, "failed", 0),
        ({"a@example.com": "550 nobody"}, "failed", 0), ({"ehlo": "hang"}, "failed", 0), ({"ehlo": "cut"}, "failed", 0),
        ({"data": "hang"}, "uncertain", 0), ({"data": "cut"}, "uncertain", 0), ({"quit": "hang"}, "sent", 1),
        ({}, "sent", 1),
    ],
)  # fmt: skip
def test_a_mail_is_accounted_for_whatever_the_server_does(
    make_world: MakeWorld, plan: dict[str, str], expected: str, count: int
) -> None:
    post = Post(plan)
    is_silent = "hang" in (plan.get("ehlo"), plan.get("data"))
    timeout_ms = SILENT_SMTP_MS if is_silent else TIMEOUT_MS
    with ExitStack() as stack:
        port = stack.enter_context(running(post))
        settings = EmailChannel(
            type="email", host="127.0.0.1", port=port, recipients=("a@example.com",), timeout=timeout_ms,
            on_uncertain="hold",
        )  # fmt: skip
        assert outcome(telling(make_world, settings)) == expected
    assert len(post.letters) == count


@pytest.mark.parametrize("on_uncertain", ["resend", "hold"])
def test_a_number_that_has_its_sms_gets_no_second_one_after_a_crash_before_the_others_try(
    make_world: MakeWorld, on_uncertain: Literal["resend", "hold"]
) -> None:
    twilio = Twilio()
    twilio.plans = {"+492": [BUSY, BUSY]}
    with FakeServer(twilio) as server:
        settings = SmsChannel(
            type="sms", base_url=server.url, account_sid="AC1", auth_token=SecretStr("token"), sender="+4930",
            recipients=("+491", "+492"), timeout=TIMEOUT_MS, on_uncertain=on_uncertain,
        )  # fmt: skip
        world = telling(make_world, settings)
        world.senders["outside"] = Messenger(open_channel("outside", settings))  # type: ignore[assignment]
        world.restart()
        assert outcome(world) == "sent"
    assert twilio.told == ["+491", "+492"]


def test_who_is_greylisted_gets_the_mail_later_and_nobody_gets_it_twice(make_world: MakeWorld) -> None:
    post = Post({"b@example.com": "450 greylisted"})
    with running(post) as port:
        settings = EmailChannel(
            type="email", host="127.0.0.1", port=port, recipients=("a@example.com", "b@example.com"),
            timeout=TIMEOUT_MS,
        )  # fmt: skip
        world = telling(make_world, settings)
        assert world.violation()["escalations"][0]["status"] == "sending"
        post.plans = {}
        assert outcome(world) == "sent"
    assert [recipients for recipients, _ in post.letters] == [["a@example.com"], ["b@example.com"]]


def test_a_flood_of_messages_to_slack_keeps_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    from slakeeper.integrations.pace import Pace

    now_s = [0.0]
    pace = Pace(1.0, lambda: now_s[0])
    assert [pace.take(3.0) for _ in range(5)] == [
        (True, 0.0), (True, 1.0), (True, 2.0), (True, 3.0), (False, 4.0),
    ]  # fmt: skip
    now_s[0] = 10.0
    pace.rest(30.0)
    assert pace.take(3.0) == (False, 30.0)
    now_s[0] = 40.0
    assert pace.take(3.0) == (True, 0.0)
