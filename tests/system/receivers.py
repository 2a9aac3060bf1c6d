"""Where the service's messages arrive in the tests: an SMTP server and a webhook receiver on the loopback."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Letter:
    """One mail as it was taken."""

    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def id(self) -> str:
        """The notification's id."""
        return str(self.message["X-Slakeeper-Id"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())


class _AnyPort(Controller):
    """Learns the port it was given before it is tried."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class Mailbox:
    """An SMTP server that keeps all it gets, for as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self._controller = _AnyPort(self, hostname="127.0.0.1", port=0)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    @property
    def port(self) -> int:
        port: int = self._controller.port
        return port

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=modern)
        assert isinstance(message, EmailMessage)
        self.letters.append(Letter(tuple(envelope.rcpt_tos), message))
        return "250 taken"

    def to(self, recipient: str, kind: str = "", about: str = "") -> list[Letter]:
        """The letters to somebody, of a kind (as their ids begin), that name ``about``."""
        return [
            letter
            for letter in list(self.letters)
            if recipient in letter.recipients and letter.id.startswith(kind) and about in letter.text
        ]


@dataclass(frozen=True)
class Call:
    """One POST to the receiver."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Hooks:
    """A webhook receiver that keeps all it gets, for as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # its sender was killed in the middle: it has not arrived
                calls.append(Call({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="hooks")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def of(self, kind: str, violation_id: str) -> list[Call]:
        """The calls of a kind about a violation."""
        documents = [(call, call.document) for call in list(self.calls)]
        return [
            call
            for call, document in documents
            if document["kind"] == kind and violation_id in document["violation_ids"]
        ]
