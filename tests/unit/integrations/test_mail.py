"""Email, against a real SMTP server on the loopback that can refuse, hang and vanish."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from typing import Any, BinaryIO, cast

import pytest
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr, ValidationError

from slakeeper.integrations.channel import DeliveryError, Recipient, Sender, open_channel
from slakeeper.integrations.mail import compose, message_id
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import EmailChannel
from slakeeper.sla.record import DeliveryStatus, RecipientEnd
from tests.unit.integrations.fake_http import CERTIFICATE, free_port, silent_listener
from tests.unit.integrations.fake_smtp import PASSWORD, Post, running


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def opened(port: int, timeout_ms: int = 5_000, **settings: Any) -> Sender:
    values = {"host": "127.0.0.1", "sender": "SLA <sla@example.com>", **settings}
    return open_channel("mail", EmailChannel(type="email", port=port, timeout=timeout_ms, **values))


def failure(sender: Sender, notification: Notification, *addresses: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(notification, Recipient(addresses or ("a@example.com",)))
    return caught.value


# --- what arrives ------------------------------------------------------------------------------------


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def test_a_message_arrives_as_plain_text(notification: Notification) -> None:
    post = Post()
    with running(post) as port:
        sender = opened(port, recipients=("ops@example.com",))
        assert sender.send(notification, Recipient()) == "sent to ops@example.com"
    [(recipients, letter)] = post.letters
    assert recipients == ["ops@example.com"]
    assert letter["Subject"] == notification.subject
    assert letter["From"] == "SLA <sla@example.com>"
    assert letter["To"] == "ops@example.com"
    assert letter["Message-ID"] == message_id(notification.id, "example.com")
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"].datetime.timestamp() * 1000 == notification.at_ms
    assert text_of(letter).replace("\r\n", "\n") == notification.body
    assert post.hellos == ["[127.0.0.1]"]


def test_the_levels_recipients_come_before_the_channels_own(notification: Notification) -> None:
    post = Post()
    with running(post) as port:
        sender = opened(port, recipients=("ops@example.com",))
        assert sender.send(notification, Recipient(("Eva <eva@example.com>",))) == (
            "sent to Eva <eva@example.com>"
        )
    assert post.letters[0][0] == ["eva@example.com"]


def test_a_body_keeps_its_dots_its_umlauts_and_its_long_lines(notification: Notification) -> None:
    post = Post()
    body = ".\n..two\n.one\n" + "Grüße € " * 500 + "\nend\n"
    with running(post) as port:
        opened(port).send(replace(notification, body=body), Recipient(("a@example.com",)))
    assert text_of(post.letters[0][1]).replace("\r\n", "\n") == body


def test_a_subject_cannot_bring_headers_of_its_own(notification: Notification) -> None:
    post = Post()
    wild = replace(notification, subject="one\r\nBcc: eve@example.com\n" + "ü" * 300)
    with running(post) as port:
        opened(port).send(wild, Recipient(("a@example.com",)))
    [(_, letter)] = post.letters
    assert letter["Bcc"] is None
    assert letter["Subject"].startswith("one Bcc: eve@example.com ü")


def test_the_same_notification_is_the_same_message(notification: Notification) -> None:
    first = compose(notification, "sla@example.com", ["a@example.com"])
    assert bytes(first) == bytes(compose(notification, "sla@example.com", ["a@example.com"]))
    resolved = replace(notification, id="resolved-1", kind=NotificationKind.RESOLVED)
    second = compose(resolved, "sla@example.com", ["a@example.com"])
    assert first["Message-ID"] != second["Message-ID"]
    assert first["References"] == second["References"]


def test_keys_that_look_alike_have_different_message_ids() -> None:
    assert message_id("a b", "x") != message_id("a-b", "x")
    assert message_id("ü", "x").isascii()


def test_an_address_beyond_ascii_is_taken_where_the_server_can(notification: Notification) -> None:
    post = Post()
    with running(post, enable_SMTPUTF8=True) as port:
        assert opened(port).send(notification, Recipient(("jörg@example.com",)))
    [(recipients, letter)] = post.letters
    assert recipients == ["jörg@example.com"]
    assert letter["To"] == "jörg@example.com"
    with running(Post(), enable_SMTPUTF8=False) as port:
        error = failure(opened(port), notification, "jörg@example.com")
    assert (error.retryable, error.uncertain) == (False, False)


def test_without_recipients_the_log_is_told_and_says_why(
    notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened(free_port()).send(notification, Recipient()) == "logged: channel mail has no recipients"
    assert notification.subject in caplog.text


# --- recipients --------------------------------------------------------------------------------------


def test_who_is_put_off_gets_it_with_the_next_try_and_who_has_it_does_not_get_it_again(
    notification: Notification,
) -> None:
    post = Post({"b@example.com": "550 no such user", "c@example.com": "450 greylisted"})
    everybody = ("a@example.com", "b@example.com", "c@example.com", "no address")
    with running(post) as port:
        sender = opened(port)
        first = failure(sender, notification, *everybody)
        assert (first.retryable, first.uncertain) == (True, False)
        assert str(first) == (
            "sent to a@example.com; c@example.com: 450 greylisted; "
            "b@example.com refused: 550 no such user; no address refused: not an address"
        )
        post.plans = {}
        with pytest.raises(DeliveryError) as caught:
            sender.send(notification, Recipient(everybody, ends=first.ends))
    assert (caught.value.retryable, caught.value.uncertain) == (False, False)
    assert str(caught.value).startswith("sent to a@example.com, c@example.com; b@example.com refused: 550")
    assert [recipients for recipients, _ in post.letters] == [["a@example.com"], ["c@example.com"]]
    [first_letter, second_letter] = [bytes(letter) for _, letter in post.letters]
    assert first_letter == second_letter


@pytest.mark.parametrize(
    ("plan", "end"),
    [
        ("451 later", DeliveryStatus.SENDING), ("554 spam", DeliveryStatus.FAILED),
        ("cut", DeliveryStatus.UNCERTAIN),
    ],
)  # fmt: skip
def test_what_becomes_of_the_text_is_so_for_those_that_the_server_had_taken(
    plan: str, end: DeliveryStatus, notification: Notification
) -> None:
    post = Post({"b@example.com": "550 no such user", "data": plan})
    with running(post) as port:
        error = failure(opened(port), notification, "a@example.com", "b@example.com")
    assert {who: each.status for who, each in error.ends.items()} == {
        "a@example.com": end, "b@example.com": DeliveryStatus.FAILED,
    }  # fmt: skip
    assert error.retryable == (end is not DeliveryStatus.FAILED)
    assert error.uncertain == (end is DeliveryStatus.UNCERTAIN)


@pytest.mark.parametrize(("on_uncertain", "count"), [("resend", 1), ("hold", 0)])
def test_who_may_have_it_gets_it_again_only_where_that_is_the_policy(
    on_uncertain: str, count: int, notification: Notification
) -> None:
    post = Post()
    ends = {
        "a@example.com": RecipientEnd(DeliveryStatus.SENT),
        "b@example.com": RecipientEnd(DeliveryStatus.UNCERTAIN, "cut"),
    }
    with running(post) as port:
        sender = opened(port, on_uncertain=on_uncertain)
        recipient = Recipient(tuple(ends), ends=ends)
        if count:
            assert sender.send(notification, recipient) == "sent to a@example.com, b@example.com"
        else:
            with pytest.raises(DeliveryError, match=r"sent to .*; b@example\.com: cut") as caught:
                sender.send(notification, recipient)
            assert caught.value.uncertain
    assert [recipients for recipients, _ in post.letters] == [["b@example.com"]] * count


@pytest.mark.parametrize(
    ("replies", "retryable"),
    [
        (("550 no", "553 no"), False),
        (("450 later", "450 later"), True),
        (("550 no", "450 later"), True),
    ],
)
def test_recipients_all_refused(
    replies: tuple[str, str], retryable: bool, notification: Notification
) -> None:
    post = Post({"a@example.com": replies[0], "b@example.com": replies[1]})
    with running(post) as port:
        error = failure(opened(port), notification, "a@example.com", "b@example.com")
    assert (error.retryable, error.uncertain) == (retryable, False)
    assert replies[1] in str(error)
    assert post.letters == []


def test_recipients_that_are_no_addresses_are_a_final_failure(notification: Notification) -> None:
    error = failure(opened(free_port()), notification, "a b", "x@y\r\nDATA", "", "a,b@c")
    assert (error.retryable, error.uncertain) == (False, False)


# --- failures by phase -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plans", "retryable", "uncertain"),
    [
        ({"mail": "451 later"}, True, False),
        ({"mail": "550 not you"}, False, False),
        ({"mail": "cut"}, True, False),
        ({"mail": "hang"}, True, False),
        ({"ehlo": "hang"}, True, False),
        ({"a@example.com": "cut"}, True, False),
        ({"a@example.com": "421 closing"}, True, False),
        ({"data": "451 later"}, True, False),
        ({"data": "554 spam"}, False, False),
        ({"data": "hang"}, True, True),
        ({"data": "cut"}, True, True),
    ],
    ids=str,
)
def test_a_failure_says_what_is_known(
    plans: dict[str, str], retryable: bool, uncertain: bool, notification: Notification
) -> None:
    with running(Post(plans)) as port:
        error = failure(opened(port, 300), notification)
    assert (error.retryable, error.uncertain, error.retry_after_ms) == (retryable, uncertain, None)


def test_an_answer_to_the_message_that_makes_no_sense_leaves_doubt(notification: Notification) -> None:
    with running(Post({"data": "250 " + "x" * 9_000})) as port:
        error = failure(opened(port), notification)
    assert (error.retryable, error.uncertain) == (True, True)


@pytest.mark.parametrize("plan", ["hang", "cut"])
def test_a_message_that_was_taken_is_delivered_whatever_comes_after(
    plan: str, notification: Notification
) -> None:
    post = Post({"quit": plan})
    with running(post) as port:
        began_s = time.monotonic()
        assert opened(port).send(notification, Recipient(("a@example.com",))) == "sent to a@example.com"
        assert time.monotonic() - began_s < 3
    assert len(post.letters) == 1


def test_the_timeout_is_a_total_even_while_the_server_talks(notification: Notification) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                while not stop.wait(0.02):
                    peer.sendall(b"220-welcome\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        began_s = time.monotonic()
        error = failure(opened(listener.getsockname()[1], 300), notification)
        took_s = time.monotonic() - began_s
        stop.set()
        thread.join()
    assert took_s < 2
    assert (error.retryable, error.uncertain) == (True, False)
    assert "did not finish within 300ms" in str(error)


def test_a_refused_connection_is_worth_another_try(notification: Notification) -> None:
    error = failure(opened(free_port()), notification)
    assert (error.retryable, error.uncertain) == (True, False)
    assert "refused the connection" in str(error)


def test_an_unknown_host_is_worth_another_try(notification: Notification) -> None:
    error = failure(opened(25, host="nowhere.invalid"), notification)
    assert (error.retryable, error.uncertain) == (True, False)


# --- TLS and login -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_starttls_with_login(notification: Notification) -> None:
    post = Post()
    options = {
        "tls_context": server_tls(),
        "require_starttls": True,
        "auth_required": True,
        "authenticator": post.authenticate,
    }
    with running(post, **options) as port:
        sender = opened(port, host="localhost", tls="starttls", username="me", password=SecretStr(PASSWORD))
        assert sender.send(notification, Recipient(("a@example.com",))) == "sent to a@example.com"
    assert post.logins == ["me"]
    assert len(post.letters) == 1


@pytest.mark.usefixtures("trusted")
def test_tls_from_the_first_byte(notification: Notification) -> None:
    post = Post()
    with running_tls(post) as port:
        sender = opened(port, host="localhost", tls="implicit")
        assert sender.send(notification, Recipient(("a@example.com",))) == "sent to a@example.com"
    assert len(post.letters) == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_of_a_private_authority_is_trusted_by_the_channels_own_file(
    tls: str, notification: Notification
) -> None:
    post = Post()
    with running_tls(post) if tls == "implicit" else running(post, tls_context=server_tls()) as port:
        sender = opened(port, host="localhost", tls=tls, ca_file=str(CERTIFICATE))
        assert sender.send(notification, Recipient(("a@example.com",))) == "sent to a@example.com"
        error = failure(opened(port, host="localhost", tls=tls, ca_file="/nowhere/ca.pem"), notification)
    assert (error.retryable, error.uncertain) == (True, False)
    assert str(error) == "cannot use /nowhere/ca.pem: No such file or directory"


@pytest.mark.parametrize(
    ("host", "tls", "is_fine"),
    [
        ("smtp.example.com", "none", False), ("10.0.0.7", "none", False),
        ("smtp.example.com", "starttls", True), ("smtp.example.com", "implicit", True),
        ("localhost", "none", True), ("127.0.0.2", "none", True), ("::1", "none", True), (None, "none", True),
    ],
)  # fmt: skip
def test_a_password_leaves_the_machine_over_tls_only(host: str | None, tls: str, is_fine: bool) -> None:
    settings = {"type": "email", "host": host, "tls": tls, "username": "me", "password": "hush"}
    if is_fine:
        EmailChannel.model_validate(settings)
        return
    with pytest.raises(ValidationError, match="set tls to starttls or implicit") as caught:
        EmailChannel.model_validate(settings)
    assert [error["type"] for error in caught.value.errors()] == ["password_in_clear"]


@contextlib.contextmanager
def running_tls(post: Post) -> Iterator[int]:
    # The controller's own check of its start trusts nobody, our certificate neither, hence the bare server.
    ready = threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(post, loop=loop), "127.0.0.1", 0, ssl=server_tls())
        port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stopped.wait()

    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_nobody_vouches_for_is_not_spoken_to(tls: str, notification: Notification) -> None:
    post = Post()
    with running_tls(post) if tls == "implicit" else running(post, tls_context=server_tls()) as port:
        error = failure(opened(port, host="localhost", tls=tls), notification)
    assert (error.retryable, error.uncertain) == (True, False)
    assert "certificate" in str(error)
    assert post.letters == []


def test_a_server_without_starttls_is_not_spoken_to_in_the_clear(notification: Notification) -> None:
    post = Post()
    with running(post) as port:
        error = failure(opened(port, tls="starttls"), notification)
    assert (error.retryable, error.uncertain) == (False, False)
    assert "STARTTLS" in str(error)
    assert post.letters == []


def test_a_handshake_that_never_ends_is_bounded(notification: Notification) -> None:
    with silent_listener() as port:
        began_s = time.monotonic()
        error = failure(opened(port, 300, tls="implicit"), notification)
    assert time.monotonic() - began_s < 2
    assert (error.retryable, error.uncertain) == (True, False)


# That a password may go in the clear is what these tests' server is warned of.
in_the_clear = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@in_the_clear
def test_a_wrong_password_is_final_and_not_shown(
    notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    post = Post()
    with running(post, auth_required=True, auth_require_tls=False, authenticator=post.authenticate) as port:
        sender = opened(port, username="me", password=SecretStr(PASSWORD + "x"))
        error = failure(sender, notification)
    assert (error.retryable, error.uncertain) == (False, False)
    assert "535" in str(error)
    assert PASSWORD not in str(error) + repr(sender) + caplog.text


@in_the_clear
def test_a_password_that_smtp_cannot_carry_is_final_and_not_shown(notification: Notification) -> None:
    post = Post()
    with running(post, auth_required=True, auth_require_tls=False, authenticator=post.authenticate) as port:
        error = failure(opened(port, username="me", password=SecretStr("hüsh")), notification)
    assert (error.retryable, error.uncertain) == (False, False)
    assert "hüsh" not in str(error)


def test_a_server_that_takes_no_login_is_final(notification: Notification) -> None:
    with running(Post()) as port:
        error = failure(opened(port, username="me", password=SecretStr(PASSWORD)), notification)
    assert (error.retryable, error.uncertain) == (False, False)


def test_a_server_that_says_the_password_back_is_not_quoted(notification: Notification) -> None:
    encoded = b64encode(PASSWORD.encode()).decode()
    post = Post({"mail": f"554 {PASSWORD} {encoded}"})
    with running(post, auth_require_tls=False, authenticator=post.authenticate) as port:
        sender = opened(port, username="slakeeper", password=SecretStr(PASSWORD))
        assert str(failure(sender, notification)).endswith("answered 554: *** ***")


@contextlib.contextmanager
def echoing(mechanism: str, before: str = "") -> Iterator[int]:
    """A server that refuses every login and says back what it was told."""

    def converse(lines: BinaryIO) -> None:
        lines.write(b"220 here\r\n")
        lines.flush()
        for line in lines:
            said = line.decode().strip()
            if said.startswith("ehlo"):
                lines.write(f"250-here\r\n250 AUTH {mechanism}\r\n".encode())
            elif said == "AUTH CRAM-MD5":
                lines.write(b"334 " + b64encode(b"<1.2@here>") + b"\r\n")
            elif said.startswith("AUTH LOGIN"):
                lines.write(b"334 " + b64encode(b"Password:") + b"\r\n")
            else:
                lines.write(f"535 {before}{said}\r\n".encode())
            lines.flush()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer, peer.makefile("rwb") as lines, contextlib.suppress(OSError):
            converse(cast(BinaryIO, lines))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("mechanism", "shown"), [("PLAIN", "AUTH PLAIN ***"), ("LOGIN", "***"), ("CRAM-MD5", "***")]
)
def test_a_server_that_says_a_login_back_as_it_was_sent_is_not_quoted(
    mechanism: str, shown: str, notification: Notification
) -> None:
    with echoing(mechanism) as port:
        error = failure(opened(port, username="me", password=SecretStr(PASSWORD)), notification)
    assert str(error).endswith(f"answered 535: {shown}")


def test_of_a_login_that_stands_at_the_end_of_what_is_shown_nothing_is_left(
    notification: Notification,
) -> None:
    filler = "x" * 180 + " "
    with echoing("PLAIN", filler) as port:
        error = failure(opened(port, username="me", password=SecretStr(PASSWORD)), notification)
    assert str(error).endswith("x AUTH PLAIN ***")
