"""HTTP for channels, remedies and sources: one exchange, one total time limit, no hidden retry or redirect.

An exchange that fails says whether the request may have reached the other side, because that decides whether a
message is lost or merely unconfirmed. Connections live as long as one send or one poll: a kept one may be closed
by the peer just as the next request leaves, and then nobody knows.

urllib3's pools are not used: they log every request's path, and a path can be a secret (Slack's webhooks).
"""

import http.client
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from slakeeper.integrations.deadline import Deadline, connect, limit, tls_context
from slakeeper.integrations.http_answer import PATH_SIGNS, QUERY_SIGNS, Answer, address_secrets
from slakeeper.sla.duration import format_duration

ANSWER_LIMIT = 1024 * 1024
"""How much of an answer is read [bytes] unless the caller wants more."""

SAID_LIMIT = 64 * 1024
"""The same of what is said to a message: that it was taken or why not, a few hundred bytes. Whoever answers without an
end costs as much as is read, for every message."""

# X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h.
_CERT_HAS_EXPIRED = 10

_Failure = (OSError, http.client.HTTPException, HTTPError)


class HttpError(Exception):
    """No answer.

    Attributes:
        sent: the request, or a part of it, may have reached the other side.
        lasting: trying again the same way is of no use.
        expired: the peer's certificate was valid once.
    """

    def __init__(self, message: str, *, sent: bool, lasting: bool = False, expired: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.lasting = lasting
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: whom to trust (None: the system's authorities), and who asks (None: nobody in particular)."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def seen(self) -> tuple[tuple[str, int], ...]:
        """The files and when each was written, 0 when it is not there: a renewed one is another."""
        names = (name for name in (self.ca_file, self.cert_file, self.key_file) if name is not None)
        return tuple((name, Path(name).stat().st_mtime_ns if Path(name).is_file() else 0) for name in names)


class HttpClient:
    """The way to one address.

    Args:
        url: base address; user and password in it become basic authorisation. What may be a key in it is a secret.
        headers: sent with every request.
        secrets: texts that never appear in an error or an excerpt.
        tls: files other than the system's, read anew when they change.
        at: where below ``url`` the service has what is wanted, which is no secret: ``/v2/enqueue``.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        tls: Tls = Tls(),
        at: str = "",
    ) -> None:
        parts = urlsplit(url)
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path.rstrip("/") + at if at else parts.path
        self.path = quote(path, safe=PATH_SIGNS) or "/"
        self.query = quote(parts.query, safe=QUERY_SIGNS)
        self.headers = {
            "User-Agent": "slakeeper",
            "Accept": "application/json, */*;q=0.1",
            **(headers or {}),
        }
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            authorization = basic_auth(user, password)
            self.headers.setdefault("Authorization", authorization)
            secrets = (*secrets, authorization)
        known = {secret for secret in (*secrets, *address_secrets(url)) if secret}
        self.secrets = tuple(sorted(known, key=len, reverse=True))
        self._tls = tls
        self._context: tuple[tuple[tuple[str, int], ...], ssl.SSLContext] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"HttpClient({self.scheme}://{self.host}:{self.port})"

    @property
    def target(self) -> str:
        """Path and query of the base address."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def open(self, deadline: Deadline) -> "HttpConnection":
        """A connection for one send or one poll; it is made with the first request."""
        return HttpConnection(self, deadline)

    def post(self, target: str, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        """One POST; of its answer ``SAID_LIMIT`` bytes are read.

        Raises:
            HttpError: no answer came.
        """
        with self.open(deadline) as connection:
            headers = {**headers, "Connection": "close"}
            return connection.request("POST", target, body=body, headers=headers, answer_limit=SAID_LIMIT)

    def tls(self) -> ssl.SSLContext:
        """Made when first needed, as reading the system's certificates takes a while; anew when a file has changed.

        Raises:
            HttpError: a file cannot be used.
        """
        with self._lock:
            seen = self._tls.seen()
            if self._context is None or self._context[0] != seen:
                tls = self._tls
                try:
                    self._context = seen, tls_context(tls.ca_file, tls.cert_file, tls.key_file)
                except (OSError, ValueError) as error:
                    names = ", ".join(name for name, _ in seen) or "the system's certificates"
                    raise HttpError(
                        f"cannot use {names}: {getattr(error, 'strerror', None) or error}", sent=False
                    ) from None
            return self._context[1]


class HttpConnection:
    """A connection with a time limit for all that is done over it; used by one thread."""

    def __init__(self, client: HttpClient, deadline: Deadline) -> None:
        self._client = client
        self._deadline = deadline
        self._connection: HTTPConnection | None = None
        self.certificate_end_s: float | None = None
        """Until when the peer's certificate is valid [Unix s]; None before there is one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def renew(self, deadline: Deadline) -> None:
        """Another time limit from now on, for whoever keeps the connection because what it sends can be repeated."""
        self._deadline = deadline

    def connect(self) -> None:
        """Makes the connection, if there is none, as :meth:`request` would: for whoever limits that alone.

        Raises:
            HttpError: there is none.
        """
        try:
            self._connected()
        except _Failure as error:
            self.close()
            raise HttpError(self._reason(error, sent=False), sent=False) from None

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        answer_limit: int = ANSWER_LIMIT,
        enough: Callable[[bytearray], bool] | None = None,
    ) -> Answer:
        """One request and its answer.

        Args:
            target: path and query, encoded.
            answer_limit: how much of the body is read [bytes]; what is beyond makes it ``broken``.
            enough: whether the body so far is all that is wanted; the rest of a stream is not waited for then.

        Raises:
            HttpError: no status line and headers came back.
        """
        sent = False
        try:
            connection = self._connected()
            self._write(connection, method, target, body, {**self._client.headers, **(headers or {})})
            sent = True
            response = connection.getresponse()
        except _Unwritable:
            # Its text shows the header or the path, and either may be a secret.
            self.close()
            message = "a header or the address holds a sign that HTTP does not allow"
            raise HttpError(message, sent=False, lasting=True) from None
        except _Interrupted as error:
            self.close()
            raise HttpError(self._reason(error, sent=True), sent=True) from None
        except _Failure as error:
            self.close()
            expired = any(
                isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code == _CERT_HAS_EXPIRED
                for cause in _causes(error)
            )
            raise HttpError(self._reason(error, sent=sent), sent=sent, expired=expired) from None
        content, broken = bytearray(), ""
        try:
            read = response.read if enough is None else response.read1
            while len(content) <= answer_limit and (piece := read(64 * 1024)):
                content += piece
                if enough is not None and enough(content):
                    self.close()
                    break
        except _Failure as error:
            broken = self._reason(error, sent=True)
        is_cut = bool(broken)
        if len(content) > answer_limit:
            broken = f"the answer is longer than {answer_limit} bytes"
        if broken:
            self.close()
        body = bytes(content[:answer_limit])
        return Answer(response.status, response.headers, body, broken, is_cut, self._client.secrets)

    @staticmethod
    def _write(
        connection: HTTPConnection, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        try:
            connection.request(method, target, body=body, headers=headers, preload_content=False)
        except (ValueError, http.client.InvalidURL):  # found before the first byte leaves
            raise _Unwritable from None
        except _Failure as error:
            raise _Interrupted from error

    def _connected(self) -> HTTPConnection:
        """The connection, made anew when the peer has closed it after an answer."""
        client, connection = self._client, self._connection
        if connection is None:
            if client.scheme == "https":
                connection = _TlsConnection(client.host, client.port, ssl_context=client.tls())
            else:
                connection = _PlainConnection(client.host, client.port)
            self._connection = connection
        connection.deadline = self._deadline  # type: ignore[attr-defined]
        if connection.sock is None or not connection.is_connected:
            connection.close()
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                end = (connection.sock.getpeercert() or {}).get("notAfter")
                self.certificate_end_s = float(ssl.cert_time_to_seconds(str(end))) if end else None
        limit(connection.sock, self._deadline)
        connection.timeout = self._deadline.remaining_s()
        return connection

    def _reason(self, error: BaseException, *, sent: bool) -> str:
        where = f"{self._client.host}:{self._client.port}"
        causes = list(_causes(error))
        if self._deadline.is_over or any(isinstance(cause, TimeoutError) for cause in causes):
            within = f"within {format_duration(self._deadline.limit_ms)}"
            return f"no answer from {where} {within}" if sent else f"no connection to {where} {within}"
        for cause in causes:
            match cause:
                case ssl.SSLCertVerificationError():
                    return f"the certificate of {where} is not trusted: {cause.verify_message}"
                case ssl.SSLError():
                    return f"no TLS with {where}: {cause.reason or 'the handshake failed'}"
                case socket.gaierror():
                    return f"cannot resolve {self._client.host}: {cause.strerror}"
                case ConnectionRefusedError():
                    return f"{where} refused the connection"
                case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
                    return f"{where} cut the connection"
                case http.client.IncompleteRead():
                    return f"{where} cut its answer short"
                case OSError() if cause.strerror:
                    return f"no connection to {where}: {cause.strerror}"
        return f"{where} does not speak HTTP as expected ({type(causes[-1]).__name__})"


class _Unwritable(Exception):
    """A request that HTTP has no form for; nothing was sent."""


class _Interrupted(Exception):
    """A request that may have been sent in part."""


class _PlainConnection(HTTPConnection):
    deadline: Deadline

    def _new_conn(self) -> socket.socket:
        return connect(self.host, self.port, self.deadline)


class _TlsConnection(HTTPSConnection):
    deadline: Deadline

    def _new_conn(self) -> socket.socket:
        return connect(self.host, self.port, self.deadline)


def basic_auth(user: str, password: str) -> str:
    """The value of an ``Authorization`` header."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def to_json(document: Any) -> bytes:
    """Compact JSON; what JSON has no word for goes as text."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    """The error and what is behind it: libraries wrap one in another, as an argument or as its cause."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        inner = next((each for each in error.args[1:] if isinstance(each, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return seen
