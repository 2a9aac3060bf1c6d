"""The log as a channel, and channels that end there for want of an address."""

import logging

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import Recipient, open_channel
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import (
    AnyChannel,
    EmailChannel,
    LogChannel,
    PagerDutyChannel,
    SlackChannel,
    SmsChannel,
    WebhookChannel,
)


@pytest.mark.parametrize(
    "settings",
    [
        EmailChannel(type="email", recipients=("a@example.com",)),
        EmailChannel(type="email", host=""),
        SmsChannel(type="sms"),
        SmsChannel(type="sms", account_sid="AC1"),
        SmsChannel(type="sms", account_sid="AC1", auth_token=SecretStr("")),
        SlackChannel(type="slack", room="#alerts"),
        SlackChannel(type="slack", url=SecretStr("")),
        PagerDutyChannel(type="pagerduty"),
        PagerDutyChannel(type="pagerduty", routing_key=SecretStr("")),
        WebhookChannel(type="webhook"),
    ],
    ids=lambda settings: settings.type,
)
def test_a_channel_without_an_address_writes_to_the_log_and_says_so(
    settings: AnyChannel, notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    sender = open_channel("ops", settings)
    assert sender.type == "log"
    detail = sender.send(notification, Recipient(("a@example.com",), "#alerts", "svc"))
    assert detail == "logged: channel ops has no address"
    [record] = caplog.records
    assert (record.name, record.levelno) == ("slakeeper.alert", logging.WARNING)
    line = record.getMessage()
    assert line.startswith("channel ops has no address; alert opened-4711 for a@example.com, #alerts, svc: ")
    assert notification.subject in line
    assert "measured  312 ms" in line


def test_a_channel_that_is_not_configured_says_so(
    notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_channel("nobody", None).send(notification, Recipient()) == (
        "logged: channel nobody is not configured"
    )
    assert "channel nobody is not configured; alert" in caplog.text


def test_a_log_channel_is_what_was_wanted(
    notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    sender = open_channel("log", LogChannel(type="log"))
    assert sender.send(notification, Recipient()) == "logged"
    assert caplog.records[0].getMessage().startswith("alert opened-4711: [critical]")
    assert (sender.idempotent, sender.on_uncertain) == (True, "resend")
