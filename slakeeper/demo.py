"""Something to watch: a small web service on loopback with a fault switch, and a contract about it."""

import threading
from collections.abc import Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slakeeper.concern import DEMO_SLA as SLA_ID
from slakeeper.concern import LEFT_OVER
from slakeeper.config.loader import Configuration
from slakeeper.otp.attach import Client
from slakeeper.otp.service import ProcessSpec, RequestRefused, ServiceContext
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.monitoring import HttpSource
from slakeeper.sla.policy import ActionCondition, AutomaticAction, WebhookRemedy

FAULTS = ("slow", "errors")
SLOW_S = 0.4


def demo_process(port: int) -> ProcessSpec:
    """The web service as a process of the system."""
    return ProcessSpec("demo", "slakeeper.demo:demo", {"port": port})


def demo_port(configuration: Configuration) -> int:
    """The port that :func:`with_demo` was given."""
    source = configuration.monitoring.sources["demo"]
    if not isinstance(source, HttpSource):
        raise TypeError("the demo is probed over HTTP")
    return urlsplit(source.url).port or 0


def with_demo(configuration: Configuration, port: int) -> Configuration:
    """The configuration with a contract, a source and a remedy for the demo service at ``port``."""
    url = f"http://127.0.0.1:{port}"
    contract = Sla.from_document(
        {
            "id": SLA_ID,
            "name": "Demo shop",
            "description": "The built-in sample service: GET / answers, and quickly",
            "service_level": "99.5",
            "time_period": "1h",
            "fee": "1000.00",
            "owner_team": "you",
            "metrics": [
                {
                    "name": "shop_up", "value": 99, "unit": "percentage", "condition": "gt", "weight": "0.6",
                    "interval": "5s", "source": "demo", "query": "up",
                },
                {
                    "name": "shop_latency", "value": 150, "unit": "ms", "condition": "lt", "weight": "0.4",
                    "interval": "5s", "source": "demo", "query": "latency",
                },
            ],
            "compensation": [
                {"metric": "shop_up", "type": "credit", "formula": "credit = duration_min * 2", "auto_approve": True},
                {"metric": "shop_latency", "type": "credit"},
            ],
            "penalties": [{"threshold": 99, "type": "refund", "rate": 10}],
        }
    )  # fmt: skip
    source = HttpSource(type="http", url=f"{url}/", interval=SECOND_MS, timeout=2 * SECOND_MS)
    heal = AutomaticAction(
        name="restart_shop",
        trigger_metric="shop_latency",
        condition=ActionCondition(op="gt", value=Decimal(150)),
        action="restart_shop",
    )
    enforcement, monitoring = configuration.enforcement, configuration.monitoring
    settings = enforcement.remediation.model_copy(update={"verify_after": 15 * SECOND_MS})
    return Configuration(
        slas=(*configuration.slas, contract),
        enforcement=enforcement.model_copy(
            update={
                "automatic_actions": (*enforcement.automatic_actions, heal),
                "remedies": {
                    **enforcement.remedies,
                    "restart_shop": WebhookRemedy(type="webhook", url=f"{url}/heal"),
                },
                "remediation": settings,
            }
        ),
        monitoring=monitoring.model_copy(update={"sources": {**monitoring.sources, "demo": source}}),
        service=configuration.service,
        thresholds=configuration.thresholds,
    )


def left_over(data: Path) -> str:
    """What to say about the demo's contract where it runs without the demo; empty when it is not there."""
    with Client(data) as client:
        rows = client.request("slas", {})["slas"]
    return LEFT_OVER if any(row["id"] == SLA_ID for row in rows) else ""


def demo(args: Mapping[str, Any], context: ServiceContext) -> "DemoService":
    """The entry point of the demo's process; ``args`` holds ``port``."""
    return DemoService(int(args["port"]))


class DemoService:
    """Answers ``GET /``; ``POST /fault/slow`` or ``/fault/errors`` breaks it, ``POST /heal`` mends it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: _Server | None = None

    def start(self) -> Mapping[str, Any]:
        self._server = _Server(self._port)
        threading.Thread(target=self._server.serve_forever, name="demo", daemon=True).start()
        return {"demo": f"127.0.0.1:{self._port}"}

    def stop(self, deadline_s: float) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def beat(self) -> Mapping[str, Any]:
        return {}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RequestRefused("invalid", "the demo speaks HTTP")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fault = ""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.slow = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        fault = self.server.fault
        if fault == "slow":
            self.server.slow.wait(SLOW_S)
        self._answer(500 if fault == "errors" else 200, f"fault: {fault or 'none'}")

    def do_POST(self) -> None:
        _, _, fault = self.path.rpartition("/fault/")
        if self.path == "/heal":
            self.server.fault = ""
        elif fault in FAULTS:
            self.server.fault = fault
        else:
            self._answer(404, f"there are /fault/{', /fault/'.join(FAULTS)} and /heal")
            return
        self._answer(200, f"fault: {self.server.fault or 'none'}")

    def _answer(self, status: int, text: str) -> None:
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing: one line a second about a probe helps nobody."""
