"""A background load of samples, in a process of its own: ``python -m bench.load ADDRESS``, a plan as JSON on stdin.

Open loop: each request has its time, whether earlier ones were answered or not; what is late is counted as late,
so that a service that stalls cannot make its own load lighter. Ends when stdin does, then prints what it saw as JSON.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """What is sent.

    Attributes:
        token: of the service.
        metrics: names, sent to in turn.
        value: of every sample.
        samples_per_s: in all.
        batch: samples in a request.
        connections: at most so many requests are on their way at once.
    """

    token: str
    metrics: tuple[str, ...]
    value: float
    samples_per_s: float
    batch: int
    connections: int


class _Link:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.due_s = 0.0


class Load:
    """Sends by the plan until :meth:`run` is told to stop."""

    def __init__(self, address: str, plan: Plan) -> None:
        host, _, port = address.rpartition(":")
        self._links = [_Link(host, int(port)) for _ in range(plan.connections)]
        self._plan = plan
        self._requests = _requests(address, plan)
        self._latencies_ms: list[float] = []
        self._per_second: list[int] = []
        self._refused = 0

    def run(self, stop_fd: int) -> dict[str, Any]:
        """Sends until ``stop_fd`` ends, then waits for what is on its way.

        Returns:
            ``latencies_ms`` of the requests, from their time to their answer; ``per_second``: samples accepted in
            each whole second; ``refused``: requests not answered 202.
        """
        links = {link.socket.fileno(): link for link in self._links}
        idle = deque(self._links)
        poll = select.epoll()
        for fd in (*links, stop_fd):
            poll.register(fd, select.EPOLLIN)
        every_s = self._plan.batch / self._plan.samples_per_s
        began_s = due_s = time.perf_counter()
        number, sending = 0, True
        while sending or len(idle) < len(links):
            now_s = time.perf_counter()
            while sending and idle and due_s <= now_s:
                link = idle.popleft()
                link.due_s = due_s
                link.socket.sendall(self._requests[number % len(self._requests)])
                number += 1
                due_s += every_s
            wait_s = max(0.0, due_s - time.perf_counter()) if sending and idle else 1.0
            for fd, _ in poll.poll(wait_s):
                if fd == stop_fd:
                    sending = False
                    poll.unregister(fd)
                elif self._answered(links[fd], began_s):
                    idle.append(links[fd])
        # The last second is cut short.
        return {
            "latencies_ms": self._latencies_ms,
            "per_second": self._per_second[:-1],
            "refused": self._refused,
        }

    def _answered(self, link: _Link, began_s: float) -> bool:
        data = link.socket.recv(65536)
        if not data:
            raise ConnectionError("the service closed a connection")
        link.received += data
        head, found, body = link.received.partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        if len(body) < length:
            return False
        now_s = time.perf_counter()
        self._latencies_ms.append((now_s - link.due_s) * 1000)
        if head.split(b" ", 2)[1] == b"202":
            second = int(now_s - began_s)
            self._per_second += [0] * (second + 1 - len(self._per_second))
            self._per_second[second] += json.loads(body)["accepted"]
        else:
            self._refused += 1
        link.received = b""
        return True


def _requests(address: str, plan: Plan) -> list[bytes]:
    """Ready-made requests, each metric in turn: making them meanwhile would be load, too."""
    requests = []
    for start in range(0, len(plan.metrics), plan.batch if plan.batch < len(plan.metrics) else 1):
        names = [plan.metrics[(start + offset) % len(plan.metrics)] for offset in range(plan.batch)]
        samples = [{"metric": name, "value": plan.value} for name in names]
        body = json.dumps({"samples": samples}, separators=(",", ":")).encode()
        head = (
            f"POST /v1/samples HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {plan.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def main(arguments: list[str]) -> None:
    (address,) = arguments
    given = json.loads(sys.stdin.readline())
    plan = Plan(**{**given, "metrics": tuple(given["metrics"])})
    json.dump(Load(address, plan).run(sys.stdin.fileno()), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
