"""Email by SMTP.

Each phase is taken by itself, because the phase decides what a failure means: before the message's text leaves,
nothing was delivered; from then until the server's answer, nobody knows.
"""

import contextlib
import hashlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import EmailPolicy
from email.utils import formatdate, parseaddr
from typing import Any

from slakeeper.integrations.channel import DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline, connect, limit, tls_context
from slakeeper.integrations.log import LogSender
from slakeeper.sla.duration import format_duration
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import EmailChannel

# How long we wait for a goodbye [ms]: the message has been taken by then.
_QUIT_MS = 500

_SUBJECT_LIMIT = 400


class MailSender:
    """Sends plain text to each recipient of one message in one session."""

    type = "email"
    # The Message-ID is the same for a repetition, and many mailboxes show such a message once; none must.
    idempotent = False

    def __init__(self, name: str, settings: EmailChannel) -> None:
        self.name = name
        self.on_uncertain: OnUncertain = settings.on_uncertain
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MailSender({self.name!r}, {self._settings.host}:{self._settings.port})"

    def send(self, notification: Notification, recipient: Recipient) -> str:
        """See :class:`slakeeper.integrations.channel.Sender`."""
        addresses = tuple(dict.fromkeys(recipient.recipients or self._settings.recipients))
        if not addresses:
            return LogSender(self.name, why="has no recipients").send(notification, recipient)
        unfit = {address: (553, "not an address") for address in addresses if not _is_address(address)}
        fit = [address for address in addresses if address not in unfit]
        if not fit:
            raise _refusal(553, f"no recipient is an address: {', '.join(map(repr, addresses))}")
        letter = compose(notification, self._settings.sender, fit)
        deadline = Deadline(self._settings.timeout)
        session = _Session(self._settings.host or "", self._settings.port, deadline)
        try:
            try:
                self._greet(session)
                refused = unfit | session.envelope(parseaddr(self._settings.sender)[1], fit)
                session.data(letter)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                raise self._failure(error, session) from None
            session.bye()
        finally:
            session.close()
        taken = [address for address in addresses if address not in refused]
        detail = "sent to " + ", ".join(taken)
        if refused:
            detail += "; refused: " + ", ".join(f"{who} ({why})" for who, (_, why) in refused.items())
        return detail

    def _greet(self, session: "_Session") -> None:
        settings = self._settings
        session.open(self._tls() if settings.tls == "implicit" else None)
        if settings.tls == "starttls":
            session.encrypt(self._tls())
        if settings.username:
            session.login(
                settings.username, settings.password.get_secret_value() if settings.password else ""
            )

    def _tls(self) -> ssl.SSLContext:
        """Made once, when first needed: reading the system's certificates takes a while."""
        with self._lock:
            if self._context is None:
                self._context = tls_context()
            return self._context

    def _failure(self, error: Exception, session: "_Session") -> DeliveryError:
        where = f"{self._settings.host}:{self._settings.port}"
        match error:
            case DeliveryError():
                return error
            case smtplib.SMTPResponseException():
                return _refusal(
                    error.smtp_code, f"{where} answered {error.smtp_code}: {_text(error.smtp_error)}"
                )
            case smtplib.SMTPNotSupportedError():
                return DeliveryError(f"{where}: {error}", retryable=False)
            case ssl.SSLCertVerificationError():
                reason = f"the certificate of {where} is not trusted: {error.verify_message}"
            case ssl.SSLError():
                reason = f"no TLS with {where}: {error.reason or 'the handshake failed'}"
            case _ if session.out_of_time(error):
                reason = f"{where} did not finish within {format_duration(self._settings.timeout)}"
            case socket.gaierror():
                reason = f"cannot resolve {self._settings.host}: {error.strerror}"
            case ConnectionRefusedError():
                reason = f"{where} refused the connection"
            case OSError(strerror=str() as words):
                reason = f"lost {where}: {words}"
            case smtplib.SMTPServerDisconnected():
                reason = f"{where} cut the connection"
            case smtplib.SMTPException():
                return DeliveryError(f"{where}: {error}", retryable=False)
            case _:
                # A ValueError's text may hold what was to be sent, the password too.
                return DeliveryError(
                    f"{where}: the message cannot be sent ({type(error).__name__})", retryable=False
                )
        if session.uncertain:
            reason += ", after the message had left"
        return DeliveryError(reason, retryable=True, uncertain=session.uncertain)


class _Client(smtplib.SMTP):
    """smtplib's client over a socket with a deadline."""

    def __init__(self, deadline: Deadline, context: ssl.SSLContext | None) -> None:
        # A name given here saves a look-up of our own, for which nobody has a time limit.
        super().__init__(local_hostname="[127.0.0.1]")
        self._deadline = deadline
        self._tls = context

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = connect(host, port, self._deadline)
        local = sock.getsockname()[0]
        self.local_hostname = f"[IPv6:{local}]" if ":" in local else f"[{local}]"
        if self._tls is not None:
            plain = sock
            try:
                sock = self._tls.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
            limit(sock, self._deadline)
        return sock


class _Session:
    """One conversation with a server.

    Attributes:
        uncertain: the message has left, at least in part, and the server has not yet said what became of it.
    """

    def __init__(self, host: str, port: int, deadline: Deadline) -> None:
        self.uncertain = False
        self._host = host
        self._port = port
        self._deadline = deadline
        self._client: _Client | None = None
        self._policy: EmailPolicy[Any] = SMTP_POLICY

    @property
    def _smtp(self) -> _Client:
        if self._client is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        return self._client

    def out_of_time(self, error: BaseException) -> bool:
        """Whether the deadline was what ended the conversation; smtplib shows that as a lost connection."""
        return self._deadline.is_over or any(
            isinstance(each, TimeoutError) for each in (error, error.__context__)
        )

    def open(self, context: ssl.SSLContext | None) -> None:
        """Connects, with TLS from the first byte when a context is given, and says hello."""
        self._client = _Client(self._deadline, context)
        self._client._host = self._host  # type: ignore[attr-defined] # the name that STARTTLS checks
        code, words = self._client.connect(self._host, self._port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)
        self._client.ehlo_or_helo_if_needed()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Goes on under TLS; a server that cannot is not spoken to in the clear."""
        self._smtp.starttls(context=context)
        if self._smtp.sock is not None:
            limit(self._smtp.sock, self._deadline)
        self._smtp.ehlo_or_helo_if_needed()

    def login(self, username: str, password: str) -> None:
        self._smtp.login(username, password)

    def envelope(self, sender: str, addresses: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Names sender and recipients.

        Returns:
            The refused ones with code and reason; at least one was accepted.

        Raises:
            DeliveryError: every one was refused; worth another try when one was put off.
        """
        addresses = tuple(addresses)
        options = []
        if not all(address.isascii() for address in (sender, *addresses)):
            if not self._smtp.has_extn("smtputf8"):
                raise smtplib.SMTPNotSupportedError("the server takes no addresses beyond ASCII")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
            self._policy = SMTP_POLICY.clone(utf8=True)
        self._expect(self._smtp.mail(sender, options), 250)
        refused: dict[str, tuple[int, str]] = {}
        for address in addresses:
            code, words = self._smtp.rcpt(parseaddr(address)[1] or address)
            if code == 421:  # the server says goodbye: there is no next one to ask
                raise smtplib.SMTPResponseException(code, words)
            if code not in (250, 251):
                refused[address] = (code, f"{code} {_text(words)}")
        if len(refused) == len(addresses):
            reasons = ", ".join(f"{who} ({why})" for who, (_, why) in refused.items())
            raise _refusal(
                min(code for code, _ in refused.values()), f"every recipient was refused: {reasons}"
            )
        return refused

    def data(self, letter: EmailMessage) -> None:
        """Hands over the text and waits for the server's word that it has it."""
        self._expect(self._smtp.docmd("DATA"), 354)
        text = re.sub(rb"(?m)^\.", b"..", letter.as_bytes(policy=self._policy))
        self.uncertain = True
        self._smtp.send(text + (b".\r\n" if text.endswith(b"\r\n") else b"\r\n.\r\n"))
        code, words = self._smtp.getreply()
        if code == -1:
            raise smtplib.SMTPServerDisconnected("no answer to the message")
        self.uncertain = False
        self._expect((code, words), 250)

    def bye(self) -> None:
        """Takes leave; the message is the server's by now, so that nothing here can go wrong for it."""
        with contextlib.suppress(OSError, smtplib.SMTPException):
            if self._smtp.sock is not None:
                limit(self._smtp.sock, Deadline(_QUIT_MS))
            self._smtp.docmd("QUIT")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    @staticmethod
    def _expect(answer: tuple[int, bytes], wanted: int) -> None:
        code, words = answer
        if code == -1:
            raise smtplib.SMTPServerDisconnected("no answer")
        if code != wanted:
            raise smtplib.SMTPResponseException(code, words)


def compose(notification: Notification, sender: str, addresses: Iterable[str]) -> EmailMessage:
    """The message; built again from the same notification it is the same, byte for byte."""
    domain = sender_domain(sender)
    letter = EmailMessage(policy=SMTP_POLICY)
    letter["From"] = _one_line(sender)
    letter["To"] = ", ".join(_one_line(address) for address in addresses)
    letter["Subject"] = _one_line(notification.subject)[:_SUBJECT_LIMIT]
    letter["Date"] = formatdate(notification.at_ms / 1000)
    letter["Message-ID"] = message_id(notification.id, domain)
    # What comes later about the same matter hangs below it in a mailbox.
    letter["References"] = message_id(notification.dedup_key, domain)
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Slakeeper-Id"] = _one_line(notification.id)
    letter.set_content(notification.body, cte="quoted-printable")
    return letter


def message_id(key: str, domain: str) -> str:
    """A Message-ID made of a key: the same for the same key, different for different ones."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip(".-")[:48]
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return f"<{plain}.{digest}@{domain}>" if plain else f"<{digest}@{domain}>"


def sender_domain(sender: str) -> str:
    """The domain of an address, ``localhost`` when it has none."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return domain if re.fullmatch(r"[A-Za-z0-9.-]+", domain) else "localhost"


def _is_address(text: str) -> bool:
    """Whether it can stand in a RCPT command; a bare ``root`` can, where the server is our own."""
    return re.fullmatch(r"[^\s<>(),;:\"]+", parseaddr(text)[1]) is not None and text.isprintable()


def _refusal(code: int, reason: str) -> DeliveryError:
    """4xx means not now, 5xx means no (RFC 5321 §4.2.1); no code at all is a broken connection."""
    return DeliveryError(reason, retryable=code < 500)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())[:200]
