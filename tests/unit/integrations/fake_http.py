"""A small HTTP server on the loopback that behaves as badly as it is told to, and remembers what it was asked."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

CERTIFICATE = Path(__file__).with_name("localhost.pem")
EXPIRED = Path(__file__).with_name("expired.pem")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """The request is read and nothing is ever said."""


@dataclass(frozen=True)
class Cut:
    """The request is read and the connection closed."""


@dataclass(frozen=True)
class CutBody:
    """An answer that ends in the middle."""

    status: int = 200


@dataclass(frozen=True)
class Drip:
    """Every 20 ms a byte of an answer that never ends; each byte begins any naive time-out anew."""

    head: bytes = b"HTTP/1.1 200 OK\r\nX-Long: "


@dataclass(frozen=True)
class Flood:
    """An answer without end, as fast as it is read."""


Behaviour = Reply | Hang | Cut | CutBody | Drip | Flood
Application = Callable[[Request], Behaviour]


def json_reply(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


class FakeServer:
    """Runs until the ``with`` block ends; then every thread of it has ended too."""

    def __init__(
        self,
        application: Application | None = None,
        *,
        tls: bool = False,
        wants_certificate: bool = False,
        certificate: Path = CERTIFICATE,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._script: list[Behaviour] = []
        self._application = application or (lambda _: Reply())
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if wants_certificate:
                context.load_verify_locations(CERTIFICATE)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fake http")
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"

    def then(self, *behaviours: Behaviour) -> Self:
        """The next requests are answered like this, and the ones after them by the application."""
        self._script.extend(behaviours)
        return self

    def behaviour(self, request: Request) -> Behaviour:
        self.requests.append(request)
        return self._script.pop(0) if self._script else self._application(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what many tests are about."""


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def setup(self) -> None:
            fake.connections += 1
            super().setup()

        def log_message(self, *_: object) -> None:
            """Silent."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            request = Request(self.command, parts.path, query, _headers(self.headers), body)
            with contextlib.suppress(ConnectionError):
                self._behave(fake.behaviour(request))

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 # http.server's own names

        def _behave(self, behaviour: Behaviour) -> None:
            match behaviour:
                case Reply(status, body, headers):
                    self._head(status, {"Content-Length": str(len(body)), **headers})
                    self.wfile.write(body)
                    return
                case Hang():
                    fake.closing.wait()
                case Cut():
                    pass
                case CutBody(status):
                    self._head(status, {"Content-Length": "1000"})
                    self.wfile.write(b'{"half":')
                case Drip(head):
                    self.wfile.write(head)
                    while not fake.closing.wait(0.02):
                        self.wfile.write(b"x")
                case Flood():
                    self._head(200, {})
                    while not fake.closing.is_set():
                        self.wfile.write(b"y" * 65536)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _head(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()

    return Handler


def _headers(message: Message) -> dict[str, str]:
    """By their names in the usual capitals."""
    return {key.title(): value for key, value in message.items()}


@contextlib.contextmanager
def silent_listener() -> Iterator[int]:
    """A port that takes connections and never says a word, not even for TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
