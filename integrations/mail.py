"""Email by SMTP.

Each phase is taken by itself, because the phase decides what a failure means: before the message's text leaves,
nothing was delivered; from then until the server's answer, nobody knows.
"""

import hashlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, parseaddr

from slakeeper.integrations.channel import NOBODY, DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.deadline import Deadline, tls_context
from slakeeper.integrations.log import LogSender
from slakeeper.integrations.mail_html import default_html
from slakeeper.integrations.recipient import end_of, outcome, pending
from slakeeper.integrations.smtp import Session, mailbox, refusal
from slakeeper.sla.duration import format_duration
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import EmailChannel
from slakeeper.sla.record import DeliveryStatus, RecipientEnd

_SUBJECT_LIMIT = 400


class MailSender:
    """Sends one message, as text and as HTML, to all its recipients in one session."""

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
        unfit = RecipientEnd(DeliveryStatus.FAILED, "not an address")
        fit = [address for address in addresses if mailbox(address) is not None]
        if not fit:
            raise refusal(553, f"no recipient is an address: {', '.join(map(repr, addresses))}")
        ends = {**recipient.ends, **{each: unfit for each in addresses if each not in fit}}
        waiting = pending(addresses, ends, self.on_uncertain)
        if waiting:
            # Who has it stands in it all the same: sent again it is the same message, byte for byte.
            letter = compose(notification, self._settings.sender, fit, recipient)
            ends |= self._handed_over(letter, waiting, is_for_all=len(waiting) == len(addresses))
        return outcome({each: ends[each] for each in addresses})

    def _handed_over(
        self, letter: EmailMessage, addresses: tuple[str, ...], *, is_for_all: bool
    ) -> dict[str, RecipientEnd]:
        """What one session came to for each of its addresses.

        Raises:
            DeliveryError: it failed alike for everybody whom the message is for.
        """
        failure: DeliveryError | None = None
        session = Session(self._settings.host or "", self._settings.port, Deadline(self._settings.timeout))
        try:
            self._greet(session)
            session.envelope(parseaddr(self._settings.sender)[1], addresses)
            if len(session.refused) < len(addresses):
                session.data(letter)
            session.bye()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            failure = self._explained(error, session)
        finally:
            session.close()
        if failure is not None and is_for_all and not session.refused:
            raise failure from None
        ends = {who: end_of(refusal(code, why)) for who, (code, why) in session.refused.items()}
        end = RecipientEnd(DeliveryStatus.SENT) if failure is None else end_of(failure)
        return {**dict.fromkeys(addresses, end), **ends}

    def _greet(self, session: "Session") -> None:
        settings = self._settings
        session.open(self._tls() if settings.tls == "implicit" else None)
        if settings.tls == "starttls":
            session.encrypt(self._tls())
        if settings.username:
            session.login(
                settings.username, settings.password.get_secret_value() if settings.password else ""
            )

    def _tls(self) -> ssl.SSLContext:
        """Of a file made anew each time, as it may have changed; else once: the system's certificates take a while."""
        name = self._settings.ca_file
        if name is not None:
            try:
                return tls_context(name)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise DeliveryError(f"cannot use {name}: {why}", retryable=True) from None
        with self._lock:
            if self._context is None:
                self._context = tls_context()
            return self._context

    def _explained(self, error: Exception, session: "Session") -> DeliveryError:
        where = f"{self._settings.host}:{self._settings.port}"
        match error:
            case smtplib.SMTPResponseException() if not session.uncertain:
                return refusal(
                    error.smtp_code, f"{where} answered {error.smtp_code}: {session.shown(error.smtp_error)}"
                )
            case smtplib.SMTPNotSupportedError():
                return DeliveryError(f"{where}: {session.shown(str(error))}", retryable=False)
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
            case smtplib.SMTPException() if session.uncertain:
                reason = f"{where} answered what makes no sense"
            case smtplib.SMTPException():
                return DeliveryError(f"{where}: {session.shown(str(error))}", retryable=False)
            case _:
                # A ValueError's text may hold what was to be sent, the password too.
                return DeliveryError(
                    f"{where}: the message cannot be sent ({type(error).__name__})", retryable=False
                )
        if session.uncertain:
            reason += ", after the message had left"
        return DeliveryError(reason, retryable=True, uncertain=session.uncertain)


def compose(
    notification: Notification, sender: str, addresses: Iterable[str], recipient: Recipient = NOBODY
) -> EmailMessage:
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
    words, text = recipient.words, notification.body
    if recipient.link and not (words and words.has_body):
        text += f"\nOr open this and press the button:\n  {recipient.link}\n"
    letter.set_content(text, cte="quoted-printable")
    html = words.html if words and words.html is not None else None
    if html is None and not (words and words.has_body):
        html = default_html(notification, recipient.link)
    if html is not None:
        letter.add_alternative(html, subtype="html", cte="quoted-printable")
        letter.set_boundary(f"=_{hashlib.blake2b(notification.id.encode(), digest_size=16).hexdigest()}")
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


def _one_line(text: str) -> str:
    return " ".join(text.split())
