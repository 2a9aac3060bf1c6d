"""Another server than slakeeper, in a process of its own: answers every request with 202 at once, on one thread.

``python -m bench.stub`` prints its port and serves until stdin ends. What a client that sends as fast as it is answered
costs the others when slakeeper is not who answers.
"""

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

from bench.machine import ROOT

_BODY = b'{"accepted":0,"rejected":[]}'
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


def serve(listener: socket.socket, stop_fd: int) -> None:
    """Answers until there is something to read at ``stop_fd``."""
    links: dict[int, socket.socket] = {}
    received: dict[int, bytes] = {}
    poll = select.epoll()
    for fd in (listener.fileno(), stop_fd):
        poll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == stop_fd:
                return
            if fd == listener.fileno():
                link, _ = listener.accept()
                links[link.fileno()], received[link.fileno()] = link, b""
                poll.register(link.fileno(), select.EPOLLIN)
                continue
            data = _read(links[fd])
            if not data:
                poll.unregister(fd)
                links.pop(fd).close()
                continue
            received[fd] = _answered(links[fd], received[fd] + data)


def _read(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 20)
    except ConnectionError:
        return b""


def _answered(link: socket.socket, data: bytes) -> bytes:
    """Answers the request if all of it is there; what is left over."""
    head, found, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0]) if found else 0
    if not found or len(body) < length:
        return data
    link.sendall(ANSWER)
    return body[length:]


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """Its address, while the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.stub"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(listener, sys.stdin.fileno())


if __name__ == "__main__":
    main()
