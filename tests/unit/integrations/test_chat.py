"""Slack, PagerDuty and plain webhooks, against counterparts that keep what they are told."""

import json
from dataclasses import replace

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import DeliveryError, Recipient, open_channel
from slakeeper.integrations.pace import Pace
from slakeeper.integrations.pagerduty import dedup_key
from slakeeper.integrations.slack import SlackSender
from slakeeper.integrations.slack import document as slack_document
from slakeeper.sla.notification import Notification, NotificationKind, trial
from slakeeper.sla.policy import PagerDutyChannel, Severity, SlackChannel, WebhookChannel
from slakeeper.sla.signature import sign
from tests.unit.integrations.fake_http import FakeServer, Reply
from tests.unit.integrations.fake_services import PagerDuty, Receiver, Slack

# --- Slack -------------------------------------------------------------------------------------------


def slack_settings(server: FakeServer, room: str | None = None) -> SlackChannel:
    return SlackChannel(type="slack", url=SecretStr(f"{server.url}/services/T0/B0/secret"), room=room)


def test_slack_posts_to_the_room_of_the_level(notification: Notification) -> None:
    slack = Slack()
    with FakeServer(slack) as server:
        sender = open_channel("chat", slack_settings(server, "#general"))
        detail = sender.send(notification, Recipient(room="#alerts"))
    assert detail == "posted to #alerts"
    assert slack.rooms["#general"] == []
    [post] = slack.rooms["#alerts"]
    assert post["text"] == notification.subject
    assert [block["type"] for block in post["blocks"]] == ["section", "section"]
    assert "measured  312 ms" in post["blocks"][1]["text"]["text"]


def test_slack_posts_to_its_own_room_without_another(notification: Notification) -> None:
    slack = Slack()
    with FakeServer(slack) as server:
        assert open_channel("chat", slack_settings(server)).send(notification, Recipient()) == "posted"
        sender = open_channel("chat", slack_settings(server, "#alerts"))
        assert sender.send(notification, Recipient()) == "posted to #alerts"
    assert (len(slack.rooms["#general"]), len(slack.rooms["#alerts"])) == (1, 1)


def test_slack_cannot_tell_a_repetition_and_holds_by_default(server: FakeServer) -> None:
    sender = open_channel("chat", slack_settings(server))
    assert (sender.name, sender.type, sender.idempotent, sender.on_uncertain) == (
        "chat",
        "slack",
        False,
        "hold",
    )


def test_slack_text_is_escaped_and_within_its_limits(notification: Notification) -> None:
    wild = replace(notification, subject="a < b & c", body="```<!channel>" + "&" * 5_000)
    message = slack_document(wild, Recipient(("<ops>",)), None)
    assert message["text"] == "a &lt; b &amp; c"
    heading, body = (block["text"]["text"] for block in message["blocks"])  # type: ignore[attr-defined]
    assert heading == "*a &lt; b &amp; c*\nfor &lt;ops&gt;"
    assert body.startswith("```'''&lt;!channel&gt;&amp;")
    assert body.endswith("&amp;…```")
    assert len(body) <= 3_000
    assert "channel" not in message


def test_slack_is_told_about_one_message_a_second_and_none_while_it_asks_to_be_left_alone(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack, now_s, slept = Slack(), [100.0], list[float]()

    def sleep(wait_s: float) -> None:
        slept.append(wait_s)
        now_s[0] += wait_s

    monkeypatch.setattr("slakeeper.integrations.slack.time.sleep", sleep)
    with FakeServer(slack) as server:
        sender = SlackSender("chat", slack_settings(server))
        sender._pace = Pace(1.0, lambda: now_s[0])
        for _ in range(3):
            sender.send(notification, Recipient())
        assert slept == [0.0, 1.0, 1.0]
        now_s[0] += 5
        server.then(Reply(429, b"ratelimited", {"Retry-After": "30"}))
        with pytest.raises(DeliveryError, match="ratelimited") as caught:
            sender.send(notification, Recipient())
        assert caught.value.retry_after_ms == 30_000
        with pytest.raises(DeliveryError, match="not tried") as caught:
            sender.send(notification, Recipient())
        assert (caught.value.retryable, caught.value.uncertain) == (True, False)
        assert caught.value.retry_after_ms == 30_000
        assert len(server.requests) == 4
        now_s[0] += 30
        sender.send(notification, Recipient())
    assert len(slack.rooms["#general"]) == 4


# --- PagerDuty ---------------------------------------------------------------------------------------


def pagerduty_settings(server: FakeServer) -> PagerDutyChannel:
    return PagerDutyChannel(type="pagerduty", base_url=f"{server.url}/", routing_key=SecretStr("key-1"))


def test_an_incident_is_raised_repeated_and_ended_under_one_key(notification: Notification) -> None:
    pagerduty, key = PagerDuty(), notification.dedup_key
    with FakeServer(pagerduty) as server:
        sender = open_channel("pager", pagerduty_settings(server))
        assert sender.idempotent
        assert sender.send(notification, Recipient(service="api")) == f"trigger of {key} taken"
        for kind in (
            NotificationKind.WORSENED,
            NotificationKind.ESCALATION,
            NotificationKind.ESCALATION_FAILED,
        ):
            sender.send(replace(notification, kind=kind), Recipient())
        assert pagerduty.incidents == {key: "triggered"}
        taken = replace(notification, kind=NotificationKind.ACKNOWLEDGED)
        assert sender.send(taken, Recipient()) == f"acknowledge of {key} taken"
        assert pagerduty.incidents == {key: "acknowledged"}
        assert sender.send(replace(notification, kind=NotificationKind.RESOLVED), Recipient()) == (
            f"resolve of {key} taken"
        )
    assert pagerduty.incidents == {key: "resolved"}
    payload = pagerduty.events[0]["payload"]
    assert payload["summary"] == notification.subject
    assert (payload["source"], payload["component"], payload["severity"]) == ("api_gold", "api", "critical")
    assert payload["timestamp"] == "2023-11-14T22:13:20.000+00:00"
    assert payload["custom_details"]["violations"] == notification.details["violations"]


def test_the_shapes_are_those_of_the_events_api(notification: Notification) -> None:
    """What its documentation calls required, and nothing that it does not know."""
    pagerduty, link = PagerDuty(), "https://sla.example.com/ack?token=a/b"
    with FakeServer(pagerduty) as server:
        sender = open_channel("pager", pagerduty_settings(server))
        for kind in (NotificationKind.OPENED, NotificationKind.ACKNOWLEDGED, NotificationKind.RESOLVED):
            sender.send(replace(notification, kind=kind), Recipient(service="api", link=link))
        sender.send(trial(1_700_000_000_000), Recipient())
        assert {request.path for request in server.requests} == {"/v2/enqueue"}
    trigger, acknowledge, resolve, test = pagerduty.events
    routing = {"routing_key": "key-1", "dedup_key": notification.dedup_key}
    assert acknowledge == {**routing, "event_action": "acknowledge"}
    assert resolve == {**routing, "event_action": "resolve"}
    assert trigger.keys() == {"routing_key", "event_action", "dedup_key", "payload", "client", "links"}
    assert trigger["links"] == [{"href": link, "text": "Acknowledge in slakeeper"}]
    assert "links" not in test
    for each in (trigger, test):
        assert each["event_action"] == "trigger"
        assert each["payload"].keys() <= {
            "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
        }  # fmt: skip
        assert all(each["payload"][name] for name in ("summary", "source", "severity"))
        assert each["payload"]["severity"] in ("critical", "error", "warning", "info")


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.INFO, "info"),
        (Severity.WARNING, "warning"),
        (Severity.CRITICAL, "critical"),
        (Severity.BREACH, "critical"),
    ],
)
def test_a_severity_has_its_word_there(severity: Severity, expected: str, notification: Notification) -> None:
    pagerduty = PagerDuty()
    with FakeServer(pagerduty) as server:
        sender = open_channel("pager", pagerduty_settings(server))
        sender.send(replace(notification, severity=severity), Recipient())
    assert pagerduty.events[0]["payload"]["severity"] == expected


def test_a_key_that_is_too_long_is_cut_and_stays_its_own() -> None:
    one, other = dedup_key("k" * 400 + "1"), dedup_key("k" * 400 + "2")
    assert len(one) == len(other) == 255
    assert one != other
    assert one == dedup_key("k" * 400 + "1")


def test_an_event_keeps_within_what_is_taken(notification: Notification) -> None:
    pagerduty = PagerDuty()
    huge = replace(notification, subject="s" * 5_000, body="b" * 1_000_000, details={"x": "y" * 1_000_000})
    with FakeServer(pagerduty) as server:
        open_channel("pager", pagerduty_settings(server)).send(huge, Recipient())
        assert len(server.requests[0].body) < 512_000
    assert len(pagerduty.events[0]["payload"]["summary"]) == 1_024


# --- webhooks ----------------------------------------------------------------------------------------


def test_a_webhook_carries_the_whole_notification_signed_and_with_its_key(notification: Notification) -> None:
    receiver = Receiver("s3cret")
    with FakeServer(receiver) as server:
        settings = WebhookChannel(
            type="webhook",
            url=f"{server.url}/in?tenant=a",
            secret=SecretStr("s3cret"),
            headers={"X-Tenant": SecretStr("acme")},
        )
        sender = open_channel("hook", settings)
        assert sender.idempotent
        for _ in range(2):
            assert sender.send(notification, Recipient(("a", "b"), "#r", "svc")) == "answered 204"
        assert server.requests[0].headers["X-Tenant"] == "acme"
        assert server.requests[0].headers["Content-Type"] == "application/json"
        assert (server.requests[0].path, server.requests[0].query) == ("/in", {"tenant": "a"})
    assert list(receiver.taken) == [notification.id]
    document = receiver.taken[notification.id]
    assert document["kind"] == "opened"
    assert document["severity"] == "critical"
    assert document["violation_ids"] == list(notification.violation_ids)
    assert (document["recipients"], document["room"], document["service"]) == (["a", "b"], "#r", "svc")
    assert document["details"] == notification.details


def test_a_webhook_without_a_secret_is_not_signed(server: FakeServer, notification: Notification) -> None:
    open_channel("hook", WebhookChannel(type="webhook", url=server.url)).send(notification, Recipient())
    assert "X-Slakeeper-Signature" not in server.requests[0].headers
    assert json.loads(server.requests[0].body)["id"] == notification.id


def test_a_webhook_that_is_to_be_held_counts_as_one_that_looks_at_no_key(server: FakeServer) -> None:
    settings = WebhookChannel(type="webhook", url=server.url, on_uncertain="hold")
    assert not open_channel("hook", settings).idempotent


def test_the_signature_is_as_documented() -> None:
    # printf '1700000000.opened-1.{}' | openssl dgst -sha256 -hmac key
    digest = "912566c8ceb228958091e3bdfc17b56a6ba6eb9885298d64a386fcf3aa1018d6"
    assert sign("key", "1700000000", "opened-1", b"{}") == f"sha256={digest}"
