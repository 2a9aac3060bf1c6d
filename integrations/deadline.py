"""A total time limit for an exchange over a socket.

The libraries' own time-outs begin anew with each address, each read and each line, so that a peer which sends a
byte now and then can hold a thread for ever. Here every wait gets what is left of one span.
"""

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

_Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


class Deadline:
    """The end of one exchange, on the monotonic clock."""

    __slots__ = ("_end_s", "limit_ms")

    def __init__(self, limit_ms: int) -> None:
        self.limit_ms = limit_ms
        self._end_s = time.monotonic() + limit_ms / 1000

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end_s

    def remaining_s(self) -> float:
        """What is left [s], > 0.

        Raises:
            TimeoutError: nothing is left.
        """
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the time is up")
        return left_s


class _Plain(socket.socket):
    """A connected socket whose every wait ends at ``deadline``."""

    deadline: Deadline | None = None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self.deadline is not None:
            self.settimeout(self.deadline.remaining_s())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        if self.deadline is not None:
            self.settimeout(self.deadline.remaining_s())
        super().sendall(*args, **kwargs)


class _Encrypted(ssl.SSLSocket):
    """The same over TLS."""

    deadline: Deadline | None = None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self.deadline is not None:
            self.settimeout(self.deadline.remaining_s())
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:  # what SSLSocket.sendall calls until all is sent
        if self.deadline is not None:
            self.settimeout(self.deadline.remaining_s())
        return super().send(*args, **kwargs)


def tls_context(
    ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Names are checked, and certificates against the system's authorities, or those of ``ca_file`` alone.

    Its sockets take a deadline.

    Args:
        cert_file, key_file: who asks; one PEM file may hold both. A key with a passphrase is refused.

    Raises:
        OSError: a file cannot be read. ssl.SSLError, which is one, when there is no sense in it.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file, password="")
    context.sslsocket_class = _Encrypted
    return context


def limit(sock: socket.socket, deadline: Deadline) -> None:
    """Ends every further wait of a socket of this module at ``deadline``.

    A TLS socket is made anew around the plain one and must be given the deadline again.
    """
    cast("_Plain", sock).deadline = deadline
    sock.settimeout(deadline.remaining_s())


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection to the first address of ``host`` that answers.

    Raises:
        socket.gaierror: the name has no address.
        OSError: no address answered; the last one's error. TimeoutError when the time was up.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port, deadline):
        sock = _Plain(family, kind, protocol)
        try:
            limit(sock, deadline)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or socket.gaierror(socket.EAI_NONAME, "the name has no address")


def _resolve(host: str, port: int, deadline: Deadline) -> _Addresses:
    """Like ``getaddrinfo``, within the deadline.

    The resolver knows no time-out of ours, so a name is looked up in a thread of its own; when that is slower
    than we may be it ends by itself, within the resolver's limits, and nobody waits for it.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    with contextlib.suppress(socket.gaierror):  # not a plain address: a name
        return socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    answers: queue.SimpleQueue[_Addresses | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    thread.start()
    try:
        answer = answers.get(timeout=deadline.remaining_s())
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    thread.join()
    if isinstance(answer, OSError):
        raise answer
    return answer
