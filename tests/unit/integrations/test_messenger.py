"""A channel's words: link, template, and what is left when a template fails."""

import logging
from dataclasses import replace

import pytest
from pydantic import SecretStr

from slakeeper.integrations.channel import DeliveryError, Recipient, open_channel
from slakeeper.integrations.mail import compose
from slakeeper.integrations.messenger import Messenger
from slakeeper.sla.ack_link import Links
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import (
    AnyChannel,
    EmailChannel,
    LogChannel,
    MessageTemplate,
    SlackChannel,
    SmsChannel,
    WebhookChannel,
)
from tests.unit.integrations.fake_http import Cut, FakeServer, Reply

LINKS = Links("https://sla.example.com", b"k" * 32, 1000)


class Keeper:
    """A sender that keeps what it is given, or fails."""

    idempotent = True
    on_uncertain = "resend"

    def __init__(self, kind: str = "email") -> None:
        self.name, self.type = "mail", kind
        self.kept: list[tuple[Notification, Recipient]] = []
        self.error: DeliveryError | None = None

    def send(self, notification: Notification, recipient: Recipient) -> str:
        if self.error is not None:
            raise self.error
        self.kept.append((notification, recipient))
        return "taken"


def template(subject: str | None = None, body: str | None = None, html: str | None = None) -> MessageTemplate:
    """Not checked: what passed the check may fail on another message."""
    return MessageTemplate.model_construct(subject=subject, body=body, html=html)


def test_the_link_is_in_the_name_of_whoever_gets_the_message(notification: Notification) -> None:
    keeper = Keeper()
    messenger = Messenger(keeper, defaults=("team@x",), links=LINKS, names={"ann@x": "ann"})  # type: ignore[arg-type]
    messenger.send(notification, Recipient(("ann@x", "bob@x")))
    messenger.send(notification, Recipient())
    messenger.send(notification, Recipient(room="#sla"))
    links = [recipient.link for _, recipient in keeper.kept]
    assert links == [
        LINKS.address(notification, "mail", people) for people in (("ann", "bob@x"), ("team@x",), ("team@x",))
    ]


@pytest.mark.parametrize("kind", ["log", "email", "sms"])
def test_what_goes_to_the_log_for_want_of_an_address_has_no_link(
    kind: str, notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, AnyChannel] = {
        "log": LogChannel(type="log"),
        "email": EmailChannel(type="email", host="127.0.0.1"),
        "sms": SmsChannel(type="sms", account_sid="AC1", auth_token=SecretStr("token")),
    }
    words = template(subject="s {{ ack_url }}", body="b {{ ack_url }}")
    messenger = Messenger(open_channel("c", settings[kind]), template=words, links=LINKS)
    assert messenger.send(notification, Recipient()).startswith("logged")
    assert notification.id in caplog.text
    assert "token=" not in caplog.text


def test_a_template_writes_subject_and_body(notification: Notification) -> None:
    keeper = Keeper()
    words = template(subject="{{ severity }}:\n {{ sla_name }}", body="<{{ sla_name }}>", html="<{{ '<' }}>")
    Messenger(keeper, template=words).send(notification, Recipient())  # type: ignore[arg-type]
    [(message, recipient)] = keeper.kept
    assert (message.subject, message.body) == ("critical: API, gold customers", "<API, gold customers>")
    assert recipient.words is not None
    assert (recipient.words.has_body, recipient.words.html) == (True, "<&lt;>")
    assert message.id == notification.id


@pytest.mark.parametrize(
    "broken", ["{{ nothing_of_that_name }}", "{{ 1 / 0 }}", "{% if %}", "{{ 'x' * 10000000 }}"]
)
def test_a_template_that_fails_loses_no_message_and_says_so(
    notification: Notification, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper()
    messenger = Messenger(keeper, template=template(subject="ours", body=broken))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        detail = messenger.send(notification, Recipient())
    [(message, _)] = keeper.kept
    assert message == notification
    assert detail.startswith("taken; the channel's template failed, the default text was sent: ")
    assert "the template of channel mail failed" in caplog.text
    assert messenger.trouble.startswith("its template, so the default text is sent: ")
    assert messenger.state.sent == 1


def test_what_became_of_the_last_messages_is_known(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_ms = [1_000]
    monkeypatch.setattr("slakeeper.integrations.messenger._now_ms", lambda: clock_ms[0])
    keeper = Keeper()
    messenger = Messenger(keeper)  # type: ignore[arg-type]
    messenger.send(notification, Recipient())
    clock_ms[0] += 1
    keeper.error = DeliveryError("answered 500", retryable=True)
    with pytest.raises(DeliveryError):
        messenger.send(notification, Recipient())
    keeper.error = DeliveryError("no answer", retryable=True, uncertain=True)
    with pytest.raises(DeliveryError):
        messenger.send(notification, Recipient())
    state = messenger.state
    assert (state.sent, state.failed, state.uncertain, state.last_error) == (1, 1, 1, "no answer")
    assert messenger.trouble == "no answer"
    keeper.error = None
    clock_ms[0] += 1
    messenger.send(notification, Recipient())
    assert messenger.trouble == ""


def test_the_log_shows_no_link(notification: Notification, caplog: pytest.LogCaptureFixture) -> None:
    words = template(body="{{ body }}{{ ack_url }}")
    sender = Messenger(open_channel("mail", EmailChannel(type="email")), links=LINKS, template=words)
    with caplog.at_level(logging.WARNING):
        assert sender.send(notification, Recipient()).startswith("logged")
    assert "does not keep its promise" in caplog.text
    assert "token" not in caplog.text
    assert sender.state.logged == 1


def test_a_mail_has_the_link_in_both_its_parts_and_is_the_same_when_sent_again(
    notification: Notification,
) -> None:
    recipient = Recipient(link=LINKS.address(notification, "mail", ("ann",)))
    letter = compose(notification, "sla@example.com", ["ann@x"], recipient)
    plain, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert recipient.link in plain.get_content()
    assert f'href="{recipient.link}"' in html.get_content()
    assert bytes(letter) == bytes(compose(notification, "sla@example.com", ["ann@x"], recipient))


def test_the_html_of_a_mail_escapes_what_it_is_told(notification: Notification) -> None:
    wild = replace(
        notification,
        subject="<script>",
        details={"violations": [{"headline": "<i>", "facts": {"since": "<b>"}}]},
    )
    html = compose(wild, "sla@example.com", ["ann@x"]).get_body(("html",))
    assert html is not None
    text = html.get_content()
    assert "<script>" not in text
    assert "<i>" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def sent(settings: AnyChannel, server: FakeServer, notification: Notification, recipient: Recipient) -> bytes:
    open_channel("c", settings).send(notification, recipient)
    return server.requests[-1].body


def test_slack_and_webhooks_carry_the_link(server: FakeServer, notification: Notification) -> None:
    recipient = Recipient(("U0123ABCD",), link="https://sla.example.com/ack?token=a.b")
    slack = sent(
        SlackChannel(type="slack", url=SecretStr(f"{server.url}/s")), server, notification, recipient
    )
    assert b"<https://sla.example.com/ack?token=a.b|Acknowledge" in slack
    assert b"<@U0123ABCD>" in slack
    hook = sent(WebhookChannel(type="webhook", url=server.url), server, notification, recipient)
    assert b'"ack_url":"https://sla.example.com/ack?token=a.b"' in hook


@pytest.mark.parametrize("behaviour", [Reply(404, b"gone"), Cut()])
def test_an_error_shows_no_link(
    server: FakeServer, notification: Notification, behaviour: Reply | Cut
) -> None:
    server.then(behaviour)
    recipient = Recipient(link="https://sla.example.com/ack?token=a.b")
    with pytest.raises(DeliveryError) as caught:
        open_channel("c", WebhookChannel(type="webhook", url=server.url)).send(notification, recipient)
    assert "token" not in str(caught.value)


def test_a_defect_of_a_channel_is_a_failure_that_shows_none_of_what_it_was_sending(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ValueError("https://hooks.example.com/secret-4711")

    keeper = Keeper()
    monkeypatch.setattr(keeper, "send", fail)
    messenger = Messenger(keeper)  # type: ignore[arg-type]
    with pytest.raises(
        DeliveryError, match=r"failed unexpectedly: ValueError at test_messenger\.py:\d+$"
    ) as caught:
        messenger.send(notification, Recipient())
    assert (caught.value.retryable, caught.value.uncertain) == (False, True)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "4711" not in messenger.trouble


def test_a_message_of_which_no_variables_can_be_made_goes_out_as_it_is(notification: Notification) -> None:
    odd = replace(notification, details={"timezone": "Mars/Olympus", "violations": 7})
    keeper = Keeper()
    detail = Messenger(keeper, template=template(body="x")).send(odd, Recipient())  # type: ignore[arg-type]
    assert keeper.kept[0][0] == odd
    assert "the default text was sent: " in detail
