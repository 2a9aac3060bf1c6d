"""The real apprise against a server on the loopback."""

import logging
import sys
import threading

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import DeliveryError, Recipient, Sender, open_channel
from slakeeper.integrations.log import LogSender
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import AppriseChannel
from tests.unit.integrations.fake_http import Cut, Drip, FakeServer, Hang, Reply, free_port

KEY = "kanarienvogel-4711"


def opened(server: FakeServer | None, timeout_ms: int = 5_000, query: str = "") -> Sender:
    port = free_port() if server is None else server.port
    url = SecretStr(f"json://127.0.0.1:{port}/{KEY}{query}")
    return open_channel("phone", AppriseChannel(type="apprise", url=url, timeout=timeout_ms))


def test_a_message_arrives_with_its_link(server: FakeServer, notification: Notification) -> None:
    recipient = Recipient(link="https://sla.example.com/ack?token=a.b")
    assert opened(server).send(notification, recipient) == "sent by apprise (JSON)"
    [request] = server.requests
    document = request.json()
    assert request.path == f"/{KEY}"
    assert document["title"] == notification.subject
    assert document["message"].startswith("API: latency does not keep its promise.")
    assert "Acknowledge: https://sla.example.com/ack?token=a.b" in document["message"]
    assert document["type"] == "failure"


@pytest.mark.parametrize("behaviour", [Reply(500, KEY.encode()), Reply(404), Cut()])
def test_what_was_not_reported_as_sent_is_uncertain_and_shows_no_address(
    server: FakeServer, notification: Notification, behaviour: Reply | Cut, caplog: pytest.LogCaptureFixture
) -> None:
    server.then(behaviour)
    with caplog.at_level(logging.DEBUG), pytest.raises(DeliveryError) as caught:
        opened(server).send(notification, Recipient())
    assert (caught.value.retryable, caught.value.uncertain) == (True, True)
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text


def test_a_service_that_hangs_is_waited_for_no_longer_than_the_timeout(
    server: FakeServer, notification: Notification
) -> None:
    server.then(Hang())
    with pytest.raises(DeliveryError, match="apprise did not finish within 200ms; it may have arrived"):
        opened(server, 200, "?rto=1").send(notification, Recipient())


def test_messages_that_never_come_to_an_end_are_a_few_at_most(
    server: FakeServer, notification: Notification
) -> None:
    server.then(*[Drip()] * 4)
    sender = opened(server, 300, "?rto=60")
    errors = []
    for _ in range(9):
        with pytest.raises(DeliveryError) as caught:
            sender.send(notification, Recipient())
        errors.append(caught.value)
    assert [error.uncertain for error in errors] == [True] * 4 + [False] * 5
    assert all(error.retryable for error in errors)
    assert str(errors[-1]) == "not tried: apprise is still at earlier messages"
    left = [thread for thread in threading.enumerate() if thread.name == "apprise phone"]
    assert len(left) == 4
    server.closing.set()
    for thread in left:
        thread.join(5)
    assert sender.send(notification, Recipient()) == "sent by apprise (JSON)"


def test_an_address_that_it_does_not_know_is_no_use_trying_again(notification: Notification) -> None:
    sender = open_channel("phone", AppriseChannel(type="apprise", url=SecretStr(f"nothing://{KEY}")))
    with pytest.raises(DeliveryError) as caught:
        sender.send(notification, Recipient())
    assert not caught.value.retryable
    assert KEY not in str(caught.value)


def test_without_the_extra_it_says_what_to_install(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryError, match=r"slakeeper\[apprise\]") as caught:
        opened(None).send(notification, Recipient())
    assert not caught.value.retryable


def test_without_an_address_it_is_the_log() -> None:
    assert isinstance(open_channel("phone", AppriseChannel(type="apprise")), LogSender)
