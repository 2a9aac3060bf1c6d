"""A webhook receiver on the loopback that notes when each message came."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from bench.table import Limit

GIVE_UP_S = 30.0

ARRIVES_WITHIN = Limit("p95", 50.0)
"""From the POST of a breaking sample to the webhook [ms]."""

Arrival = tuple[str, float]


class Loopback:
    """A server on a free port of the loopback, for as long as the ``with`` lasts; each request has a thread."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="loopback")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Receiver(Loopback):
    """Takes every POST with 204 while the ``with`` block lasts.

    Args:
        names: what a message is about; of each name the first arrival is kept.
    """

    def __init__(self, names: Callable[[dict[str, Any]], Iterable[str]]) -> None:
        arrived = self._arrived_s = dict[str, float]()
        news = self._news = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                now_s = time.perf_counter()
                self.send_response(204)
                self.end_headers()
                found = names(json.loads(body))
                with news:
                    for name in found:
                        arrived.setdefault(name, now_s)
                    news.notify_all()

            def log_message(self, *_: object) -> None:
                """Silent."""

        super().__init__(Handler)
        self.url += "/hook"

    def arrived_s(self, name: str) -> float:
        """When the first message about it was there, by ``time.perf_counter``; waits for it.

        Raises:
            TimeoutError: it did not come.
        """
        with self._news:
            if not self._news.wait_for(lambda: name in self._arrived_s, GIVE_UP_S):
                raise TimeoutError(f"no message about {name} within {GIVE_UP_S:g} s")
            return self._arrived_s[name]


def openings(document: dict[str, Any]) -> Iterable[str]:
    """The contract that a message of slakeeper says is broken."""
    return [document["sla_id"]] if document["kind"] == "opened" else []


def alerts(document: dict[str, Any]) -> Iterable[str]:
    """The series that a message of Alertmanager is about, by their label ``sla``."""
    return [each["labels"]["sla"] for each in document["alerts"] if each["status"] == "firing"]
