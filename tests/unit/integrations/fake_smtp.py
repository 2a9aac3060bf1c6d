"""A real SMTP server on the loopback that can refuse, hang and vanish."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.unit.integrations.fake_http import free_port

PASSWORD = "hush-hush-4711"


@dataclass
class Post:
    """A post office: what it took, and how it treats a phase of the conversation.

    A plan is a reply such as ``450 later``, or ``hang``, or ``cut``.
    """

    plans: dict[str, str] = field(default_factory=dict)
    letters: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    hellos: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)

    async def _plan(self, phase: str, server: SMTP, usual: str) -> str:
        plan = self.plans.get(phase, usual)
        if plan == "hang":
            await asyncio.Event().wait()
        if plan == "cut":
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return plan

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.hellos.append(hostname)
        session.host_name = hostname
        await self._plan("ehlo", server, "")
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._plan("mail", server, "250 OK")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return reply

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._plan(address, server, "250 OK")
        if reply.startswith("25"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        reply = await self._plan("data", server, "250 taken")
        if reply.startswith("250"):
            content = envelope.content if isinstance(envelope.content, bytes) else b""
            letter = message_from_bytes(content, policy=modern)
            assert isinstance(letter, EmailMessage)
            self.letters.append((envelope.rcpt_tos, letter))
        return reply

    async def handle_QUIT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        return await self._plan("quit", server, "221 Bye")

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@contextlib.contextmanager
def running(post: Post, **options: Any) -> Iterator[int]:
    # Port 0 is looked up as it stands by the controller's own check, so that a free one is taken.
    controller = Controller(post, hostname="127.0.0.1", port=free_port(), server_hostname="fake", **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()
