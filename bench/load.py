"""A load of samples, in a process of its own: ``python -m bench.load ADDRESS``, a plan as JSON on stdin.

Open loop: each request has its time, whether earlier ones were answered or not; what is late is counted as late,
so that a service that stalls cannot make its own load lighter. Without a rate: each connection sends its next request
when the last one was answered. Ends when stdin does, then prints what it saw as JSON.
"""

import dataclasses
import heapq
import json
import secrets
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgpack

from bench.machine import ROOT

# How soon a refused request is sent again; sooner than Retry-After asks for, to see when it is taken.
AGAIN_AFTER_S = 0.01


@dataclass(frozen=True)
class Plan:
    """What is sent.

    Attributes:
        token: of the service.
        metrics: names, sent to in turn.
        value: of every sample.
        samples_per_s: in all; 0 for as many as are taken.
        batch: samples in a request.
        connections: at most so many requests are on their way at once.
        content: ``json`` or ``msgpack``.
        insist: a request that is refused is sent again, under the same batch id, until it is taken.
    """

    token: str
    metrics: tuple[str, ...]
    value: float
    samples_per_s: float
    batch: int
    connections: int
    content: str = "json"
    insist: bool = False


class _Link:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.number = 0
        self.due_s = 0.0


class Load:
    """Sends by the plan until :meth:`run` is told to stop."""

    def __init__(self, address: str, plan: Plan) -> None:
        host, _, port = address.rpartition(":")
        self._links = [_Link(host, int(port)) for _ in range(plan.connections)]
        self._plan = plan
        self._requests = _requests(address, plan)
        self._name = secrets.token_hex(4)
        self._again: list[tuple[float, int, float]] = []
        self._latencies_ms: list[float] = []
        self._per_second: list[int] = []
        self._refused = 0
        self._accepted = 0

    def run(self, stop_fd: int) -> dict[str, Any]:
        """Sends until ``stop_fd`` ends, then waits for what is on its way.

        Returns:
            ``latencies_ms`` of the requests that were taken, from their time to their answer; ``per_second``: samples
            accepted in each whole second; ``accepted``: in all; ``refused``: answers other than 202.
        """
        links = {link.socket.fileno(): link for link in self._links}
        idle = deque(self._links)
        poll = select.epoll()
        for fd in (*links, stop_fd):
            poll.register(fd, select.EPOLLIN)
        rate = self._plan.samples_per_s
        every_s = self._plan.batch / rate if rate else 0.0
        began_s = due_s = time.perf_counter()
        number, sending = 0, True
        while sending or self._again or len(idle) < len(links):
            now_s = time.perf_counter()
            while idle and self._again and self._again[0][0] <= now_s:
                _, again, was_due_s = heapq.heappop(self._again)
                self._send(idle.popleft(), again, was_due_s)
            while sending and idle and due_s <= now_s:
                self._send(idle.popleft(), number, due_s if rate else now_s)
                number += 1
                due_s += every_s
            next_s = [due_s] * sending + [each[0] for each in self._again[:1]] if idle else []
            wait_s = min(1.0, max(0.0, min(next_s, default=now_s + 1.0) - time.perf_counter()))
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
            "accepted": self._accepted,
            "refused": self._refused,
        }

    def _send(self, link: _Link, number: int, due_s: float) -> None:
        link.number, link.due_s = number, due_s
        query = f"?batch_id={self._name}-{number}" if self._plan.insist else ""
        line = f"POST /v1/samples{query} HTTP/1.1\r\n".encode()
        link.socket.sendall(line + self._requests[number % len(self._requests)])

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
        if head.split(b" ", 2)[1] == b"202":
            self._latencies_ms.append((now_s - link.due_s) * 1000)
            second = int(now_s - began_s)
            self._per_second += [0] * (second + 1 - len(self._per_second))
            accepted = json.loads(body)["accepted"]
            self._per_second[second] += accepted
            self._accepted += accepted
        else:
            self._refused += 1
            if self._plan.insist:
                heapq.heappush(self._again, (now_s + AGAIN_AFTER_S, link.number, link.due_s))
        link.received = b""
        return True


def _requests(address: str, plan: Plan) -> list[bytes]:
    """Ready-made requests but for their first line, each metric in turn: making them meanwhile would be load, too."""
    requests = []
    for start in range(0, len(plan.metrics), plan.batch if plan.batch < len(plan.metrics) else 1):
        names = [plan.metrics[(start + offset) % len(plan.metrics)] for offset in range(plan.batch)]
        document = {"samples": [{"metric": name, "value": plan.value} for name in names]}
        body = (
            msgpack.packb(document)
            if plan.content == "msgpack"
            else json.dumps(document, separators=(",", ":")).encode()
        )
        head = (
            f"Host: {address}\r\nAuthorization: Bearer {plan.token}\r\n"
            f"Content-Type: application/{plan.content}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def start_load(address: str, plan: Plan) -> "subprocess.Popen[str]":
    """Begins a load in a process of its own; returns when it is connected, or has failed."""
    command = [sys.executable, "-m", "bench.load", address]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(dataclasses.asdict(plan)) + "\n")
    process.stdin.flush()
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end_load(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Stops a load and gives what it saw.

    Raises:
        RuntimeError: it failed.
    """
    output, _ = process.communicate(timeout=60)
    if process.returncode != 0:
        raise RuntimeError(f"the load failed with status {process.returncode}")
    report: dict[str, Any] = json.loads(output)
    return report


def main(arguments: list[str]) -> None:
    (address,) = arguments
    given = json.loads(sys.stdin.readline())
    plan = Plan(**{**given, "metrics": tuple(given["metrics"])})
    load = Load(address, plan)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    json.dump(load.run(sys.stdin.fileno()), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
