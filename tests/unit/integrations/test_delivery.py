"""What the end of an exchange means, the same for every channel over HTTP."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import DeliveryError, Recipient, Sender, open_channel
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import PagerDutyChannel, SlackChannel, SmsChannel, WebhookChannel
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    Behaviour,
    Cut,
    CutBody,
    Drip,
    FakeServer,
    Hang,
    Reply,
    free_port,
)

SECRET = "hush-hush-4711"


def slack(url: str, timeout_ms: int, ca_file: str | None = None) -> Sender:
    settings = SlackChannel(
        type="slack", url=SecretStr(f"{url}/services/{SECRET}"), timeout=timeout_ms, ca_file=ca_file
    )
    return open_channel("chat", settings)


def pagerduty(url: str, timeout_ms: int, ca_file: str | None = None) -> Sender:
    settings = PagerDutyChannel(
        type="pagerduty",
        base_url=url,
        routing_key=SecretStr(SECRET),
        timeout=timeout_ms,
        ca_file=ca_file,
    )
    return open_channel("pager", settings)


def sms(url: str, timeout_ms: int, ca_file: str | None = None) -> Sender:
    settings = SmsChannel(
        type="sms",
        base_url=url,
        account_sid="AC1",
        auth_token=SecretStr(SECRET),
        sender="+4930",
        recipients=("+491",),
        timeout=timeout_ms,
        ca_file=ca_file,
    )
    return open_channel("phone", settings)


def webhook(url: str, timeout_ms: int, ca_file: str | None = None) -> Sender:
    settings = WebhookChannel(
        type="webhook",
        url=f"{url}/hook",
        secret=SecretStr(SECRET),
        headers={"X-Key": SecretStr(SECRET)},
        timeout=timeout_ms,
        ca_file=ca_file,
    )
    return open_channel("hook", settings)


Opened = Callable[..., Sender]
every_channel = pytest.mark.parametrize("channel", [slack, pagerduty, sms, webhook])


@dataclass(frozen=True)
class Failure:
    retryable: bool
    uncertain: bool
    retry_after_ms: int | None = None


def failure(sender: Sender, notification: Notification) -> tuple[Failure, str]:
    with pytest.raises(DeliveryError) as caught:
        sender.send(notification, Recipient())
    error = caught.value
    return Failure(error.retryable, error.uncertain, error.retry_after_ms), str(error)


@every_channel
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(400, b"bad payload"), Failure(retryable=False, uncertain=False)),
        (Reply(401), Failure(retryable=False, uncertain=False)),
        (Reply(404), Failure(retryable=False, uncertain=False)),
        (Reply(410), Failure(retryable=False, uncertain=False)),
        (Reply(302, b"", {"Location": "/other"}), Failure(retryable=False, uncertain=False)),
        (Reply(408), Failure(retryable=True, uncertain=False)),
        (Reply(429, b"slow down", {"Retry-After": "30"}), Failure(True, False, 30_000)),
        (Reply(429), Failure(retryable=True, uncertain=False)),
        (Reply(500), Failure(retryable=True, uncertain=False)),
        (Reply(503, b"", {"Retry-After": "2"}), Failure(True, False, 2_000)),
        (Hang(), Failure(retryable=True, uncertain=True)),
        (Drip(), Failure(retryable=True, uncertain=True)),
        (Cut(), Failure(retryable=True, uncertain=True)),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Reply) else type(value).__name__,
)
def test_a_failure_says_what_is_known(
    channel: Opened, reply: Behaviour, expected: Failure, server: FakeServer, notification: Notification
) -> None:
    server.then(reply)
    # Only what never answers is waited for in vain; a busy machine is no reason to be late for the rest.
    timeout_ms = 200 if isinstance(reply, Hang | Drip) else 10_000
    assert failure(channel(server.url, timeout_ms), notification)[0] == expected
    assert len(server.requests) == 1


@every_channel
def test_a_refused_connection_is_worth_another_try(channel: Opened, notification: Notification) -> None:
    found, text = failure(channel(f"http://127.0.0.1:{free_port()}", 5_000), notification)
    assert found == Failure(retryable=True, uncertain=False)
    assert "refused the connection" in text


@every_channel
def test_an_unknown_host_is_worth_another_try(channel: Opened, notification: Notification) -> None:
    found, _ = failure(channel("http://nowhere.invalid", 5_000), notification)
    assert found == Failure(retryable=True, uncertain=False)


@every_channel
def test_the_timeout_is_a_total(channel: Opened, server: FakeServer, notification: Notification) -> None:
    server.then(Drip())
    began_s = time.monotonic()
    failure(channel(server.url, 300), notification)
    assert time.monotonic() - began_s < 2


@every_channel
def test_a_success_whose_body_is_lost_is_a_success(
    channel: Opened, server: FakeServer, notification: Notification
) -> None:
    server.then(CutBody(200))
    assert channel(server.url, 5_000).send(notification, Recipient())


@every_channel
def test_a_trusted_server_is_reached_over_tls(
    channel: Opened, trusted: None, notification: Notification
) -> None:
    with FakeServer(tls=True) as secure:
        assert channel(secure.url, 5_000).send(notification, Recipient())


@every_channel
def test_a_server_of_a_private_authority_is_trusted_by_the_channels_own_file(
    channel: Opened, notification: Notification
) -> None:
    with FakeServer(tls=True) as secure:
        assert channel(secure.url, 5_000, str(CERTIFICATE)).send(notification, Recipient())
        found, text = failure(channel(secure.url, 5_000), notification)
        assert "is not trusted" in text
        found, text = failure(channel(secure.url, 5_000, "/nowhere/ca.pem"), notification)
        assert (found, "cannot use /nowhere/ca.pem" in text) == (Failure(True, False), True)
    assert len(secure.requests) == 1


@every_channel
def test_no_secret_is_shown(
    channel: Opened, server: FakeServer, notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"no such thing: {SECRET} /services/{SECRET}".encode()
    server.then(Reply(403, echo), Reply(500, echo), Hang(), Cut())
    sender = channel(server.url, 200)
    texts = [repr(sender)]
    with caplog.at_level(logging.DEBUG):
        for _ in range(4):
            with pytest.raises(DeliveryError) as caught:
                sender.send(notification, Recipient())
            texts.append(str(caught.value))
            texts.append(repr(caught.value.__cause__))
    assert not [text for text in (*texts, caplog.text) if SECRET in text]
    assert "***" in texts[1]
