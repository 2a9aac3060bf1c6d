"""Twilio's API, against an account that keeps what it sent."""

from dataclasses import replace
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import DeliveryError, Recipient, Sender, open_channel
from slakeeper.integrations.sms import message
from slakeeper.integrations.sms_text import length
from slakeeper.sla.ack_claim import read
from slakeeper.sla.ack_link import Links
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import SmsChannel
from tests.unit.integrations.fake_http import Cut, FakeServer, Hang, Reply, json_reply
from tests.unit.integrations.fake_services import Twilio


def opened(
    server: FakeServer,
    *recipients: str,
    on_uncertain: Literal["resend", "hold"] = "hold",
    timeout_ms: int = 5_000,
    **settings: Any,
) -> Sender:
    return open_channel(
        "phone",
        SmsChannel(
            type="sms",
            base_url=server.url,
            account_sid="AC1",
            auth_token=SecretStr("token"),
            recipients=recipients,
            on_uncertain=on_uncertain,
            timeout=timeout_ms,
            **{"sender": "+4930", **settings},
        ),
    )


def failure(
    sender: Sender, notification: Notification, *numbers: str, after: DeliveryError | None = None
) -> DeliveryError:
    """What an attempt comes to, ``after`` an earlier one."""
    with pytest.raises(DeliveryError) as caught:
        sender.send(notification, Recipient(numbers, ends=after.ends if after else {}))
    return caught.value


REFUSED = json_reply({"code": 21211, "message": "Invalid 'To' number"}, 400)


def test_every_number_is_told_once(notification: Notification) -> None:
    twilio = Twilio()
    with FakeServer(twilio) as server:
        sender = opened(server, "+491", "+492")
        assert sender.send(notification, Recipient()) == "sent to +491 (SM1), +492 (SM2)"
        assert sender.send(replace(notification, id="other"), Recipient(("+493", "+493"))) == (
            "sent to +493 (SM3)"
        )
    assert twilio.told == ["+491", "+492", "+493"]
    assert twilio.sent[0][1] == message(notification)


def test_a_receipt_that_gives_the_token_away_is_masked(notification: Notification) -> None:
    with FakeServer(lambda _: json_reply({"sid": "SM token " + "x" * 500}, 201)) as server:
        detail = opened(server).send(notification, Recipient(("+491",)))
    assert detail == f"sent to +491 (SM *** {'x' * 33})"


def test_a_messaging_service_stands_in_for_a_number(notification: Notification) -> None:
    with FakeServer(Twilio()) as server:
        opened(server, sender="MG42").send(notification, Recipient(("+491",)))
        assert server.requests[0].form()["MessagingServiceSid"] == "MG42"


def test_a_refused_number_is_named_beside_those_that_were_told(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans["+491"] = [REFUSED]
    with FakeServer(twilio) as server:
        error = failure(opened(server), notification, "+491", "+492")
    assert str(error).startswith("sent to +492 (SM1); +491 refused: answered 400")
    assert (error.retryable, error.uncertain) == (False, False)
    assert {number: end.status.value for number, end in error.ends.items()} == {
        "+491": "failed", "+492": "sent",
    }  # fmt: skip


def test_numbers_all_refused_are_a_final_failure(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans = {"+491": [REFUSED], "+492": [REFUSED]}
    with FakeServer(twilio) as server:
        error = failure(opened(server), notification, "+491", "+492")
    assert (error.retryable, error.uncertain) == (False, False)


def test_another_try_goes_only_to_those_who_were_not_told(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans = {"+492": [Reply(429, b"", {"Retry-After": "7"})], "+493": [REFUSED]}
    with FakeServer(twilio) as server:
        sender, numbers = opened(server), ("+491", "+492", "+493")
        error = failure(sender, notification, *numbers)
        assert (error.retryable, error.uncertain, error.retry_after_ms) == (True, False, 7_000)
        # Another process knows as much.
        error = failure(opened(server), notification, *numbers, after=error)
    assert not error.retryable
    assert str(error).startswith("sent to +491 (SM1), +492 (SM2); +493 refused")
    assert twilio.told == ["+491", "+492"]


def test_a_doubtful_number_is_not_tried_again_when_it_is_to_be_held(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans = {"+491": [Cut()], "+492": [Reply(500)]}
    with FakeServer(twilio) as server:
        sender = opened(server)
        # First the one that is worth another try ...
        error = failure(sender, notification, "+491", "+492")
        assert (error.retryable, error.uncertain) == (True, False)
        # ... and in the end the doubt remains.
        error = failure(sender, notification, "+491", "+492", after=error)
        assert error.uncertain
    assert twilio.told == ["+492"]


def test_a_doubtful_number_is_tried_again_when_it_is_to_be_resent(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans = {"+491": [Cut()]}
    with FakeServer(twilio) as server:
        sender = opened(server, on_uncertain="resend")
        error = failure(sender, notification, "+491", "+492")
        assert error.uncertain
        assert sender.send(notification, Recipient(("+491", "+492"), ends=error.ends)).startswith("sent to")
    assert twilio.told == ["+492", "+491"]


def test_numbers_for_which_no_time_is_left_wait_for_another_try(notification: Notification) -> None:
    twilio = Twilio()
    twilio.plans = {"+491": [Hang()]}
    with FakeServer(twilio) as server:
        sender = opened(server, timeout_ms=200)
        error = failure(sender, notification, "+491", "+492")
        assert (error.retryable, error.uncertain) == (True, False)
        assert "+492: not tried, the time was up" in str(error)


def test_without_recipients_the_log_is_told_and_says_why(
    server: FakeServer, notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened(server).send(notification, Recipient()) == "logged: channel phone has no recipients"
    assert notification.subject in caplog.text
    assert server.requests == []


def test_a_text_fits_on_a_telephone(notification: Notification) -> None:
    lines = message(notification).splitlines()
    assert lines == [notification.subject, f"slakeeper ack {notification.violation_ids[0]} --by YOUR-NAME"]
    resolved = replace(notification, kind=NotificationKind.RESOLVED, subject="s" * 600)
    assert message(resolved) == "s" * 157 + "..."


VIOLATION = "v018bcfe56800-0123abcd"
LINKS = Links("https://sla.example.com", b"k" * 32, 24 * 3600 * 1000)


@pytest.mark.parametrize("subject", ["[critical] API, gold customers: latency", "[critical] " + "x" * 400])
@pytest.mark.parametrize("people", [(), ("ann",), ("+4915112345678",)])
def test_a_text_with_its_link_is_one_sms_and_the_link_is_whole(
    notification: Notification, subject: str, people: tuple[str, ...]
) -> None:
    news = replace(notification, subject=subject, violation_ids=(VIOLATION,))
    link = LINKS.address(news, "phone", people)
    text = message(news, Recipient(people, link=link))
    first, second = text.splitlines()
    assert second == link
    assert first.rstrip(".") == subject[: len(first.rstrip("."))]
    assert len(first) >= 30
    assert length(text) <= 160
    assert read(LINKS.key, parse_qs(urlsplit(second).query)["token"][0]) is not None


def test_a_text_whose_link_is_long_takes_more_than_one_sms_and_the_link_stays_whole(
    notification: Notification,
) -> None:
    long = Links(f"https://{'sla.' * 20}example.com", b"k" * 32, 1000)
    news = replace(notification, subject="s" * 600, violation_ids=(VIOLATION,))
    link = long.address(news, "phone", ("ann",))
    text = message(news, Recipient(link=link))
    assert text.endswith(f"...\n{link}")
    assert 160 < len(text) <= 459
    # Of a flood even that is too much.
    flood = replace(news, violation_ids=tuple(f"v{number:012x}-00000000" for number in range(40)))
    text = message(flood, Recipient(link=long.address(flood, "phone", ("ann",))))
    assert text.endswith("slakeeper ack v000000000000-00000000 --by YOUR-NAME")
    assert length(text) <= 160


@pytest.mark.parametrize(
    ("text", "septets"),
    [
        ("", 0),
        ("a" * 160, 160),
        ("[a]", 5),
        ("€", 2),
        ("ä@_", 3),
        ("я" * 70, 160),
        ("я" * 71, 163),
        ("😀", 5),
    ],
)
def test_what_a_text_takes_of_an_sms(text: str, septets: int) -> None:
    assert length(text) == septets


def test_typography_is_said_plainly_and_other_scripts_stay(notification: Notification) -> None:
    news = replace(notification, kind=NotificationKind.RESOLVED, subject="„API“ – latency ≤ 250 µs…")
    assert message(news) == '"API" - latency <= 250 us...'
    news = replace(news, subject="Магазин: " + "задержка " * 40)
    text = message(news)
    assert text.startswith("Магазин: задержка")
    assert len(text) <= 70
