"""A conversation with an SMTP server, phase by phase, within a deadline."""

import contextlib
import re
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import EmailPolicy
from email.utils import parseaddr
from typing import Any

from slakeeper.integrations.channel import DeliveryError
from slakeeper.integrations.deadline import Deadline, connect, limit
from slakeeper.integrations.http_answer import masked

# How long we wait for a goodbye [ms]: the message has been taken by then.
_QUIT_MS = 500

# Of what a server says: enough for its reason.
_SHOWN_CHARS = 200

# What smtplib can log in by; their names stand beside what is secret.
_MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")


class _Client(smtplib.SMTP):
    """smtplib's client over a socket with a deadline."""

    def __init__(self, deadline: Deadline, context: ssl.SSLContext | None) -> None:
        # A name given here saves a look-up of our own, for which nobody has a time limit.
        super().__init__(local_hostname="[127.0.0.1]")
        self._deadline = deadline
        self._tls = context
        self.said: list[str] | None = None
        """The arguments of commands from now on, while it is a list."""

    def putcmd(self, cmd: str, args: str = "") -> None:
        if self.said is not None:
            self.said += f"{cmd} {args}".split()
        super().putcmd(cmd, args)

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


class Session:
    """One conversation with a server.

    Attributes:
        uncertain: the message has left, at least in part, and the server has not yet said what became of it.
        refused: recipients that the server did not take, with code and reason.
    """

    def __init__(self, host: str, port: int, deadline: Deadline) -> None:
        self.uncertain = False
        self.refused: dict[str, tuple[int, str]] = {}
        self._secrets: list[str] = []
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
        """Logs in; what proves who asks is not quoted from then on, neither as it is nor as it was sent."""
        said: list[str] = []
        self._smtp.said = said
        try:
            self._smtp.login(username, password)
        finally:
            self._smtp.said = None
            coded = b64encode(password.encode()).decode()
            secrets = {password, coded, *said}.difference({"", "AUTH", *_MECHANISMS})
            self._secrets = sorted(secrets, key=len, reverse=True)

    def shown(self, words: bytes | str) -> str:
        """What a server said, as one line of at most ``_SHOWN_CHARS`` signs that gives no secret away."""
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
        return " ".join(masked(text, self._secrets).split())[:_SHOWN_CHARS]

    def envelope(self, sender: str, addresses: Sequence[str]) -> None:
        """Names sender and recipients; see ``refused``."""
        options = []
        if not all(address.isascii() for address in (sender, *addresses)):
            if not self._smtp.has_extn("smtputf8"):
                raise smtplib.SMTPNotSupportedError("the server takes no addresses beyond ASCII")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
            self._policy = SMTP_POLICY.clone(utf8=True)
        self._expect(self._smtp.mail(sender, options), 250)
        for address in addresses:
            code, words = self._smtp.rcpt(mailbox(address) or address)
            if code == 421:  # the server says goodbye: there is no next one to ask
                raise smtplib.SMTPResponseException(code, words)
            if code not in (250, 251):
                self.refused[address] = (code, f"{code} {self.shown(words)}")

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


def mailbox(text: str) -> str | None:
    """The bare address in ``eva@example.com`` or ``Eva <eva@example.com>``, None when it is none.

    A name without a domain is one: a server of our own knows ``root``.
    """
    # parseaddr is too kind to what stands alone: it would make "no address" into noaddress.
    address = parseaddr(text)[1] if "<" in text else text.strip()
    return address if text.isprintable() and re.fullmatch(r"[^\s<>(),;:\"]+", address) else None


def refusal(code: int, reason: str) -> DeliveryError:
    """4xx means not now, 5xx means no (RFC 5321 §4.2.1); no code at all is a broken connection."""
    return DeliveryError(reason, retryable=code < 500)
