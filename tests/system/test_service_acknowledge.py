"""People and tools answer: by the link in a real mail, and by PagerDuty's and a tool's own webhooks."""

import hashlib
import hmac
import http.client
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slakeeper.sla.signature import sign
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks, Mailbox
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]


def ask(
    service: Service, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """A request without the token, as it comes from outside, through a proxy."""
    connection = http.client.HTTPConnection(service.run()["http"], timeout=10)
    try:
        connection.request(method, path, body, {"Host": "sla.example.com", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def service(tmp_path: Path, mailbox: Mailbox, hooks: Hooks, make_service: MakeService) -> Service:
    metrics = [metric("latency"), metric("load"), metric("size")]
    config = write_config(
        tmp_path / "config",
        [contract("web", metrics)],
        {
            "channels": {
                "mail": {"type": "email", "host": "127.0.0.1", "port": mailbox.port, "recipients": ["ann@example.com"]},
                "hook": {"type": "webhook", "url": hooks.url, "inbound_secret": "in-secret"},
                "pagerduty": {"inbound_secret": "pd-secret"},
            },
        },
        {"alert_channels": ["mail", "hook"]},
        {"public_url": "https://sla.example.com/"},
    )  # fmt: skip
    made = make_service(config)
    made.start()
    return made


def test_a_violation_is_acknowledged_by_the_button_behind_a_mails_link(
    service: Service, mailbox: Mailbox, hooks: Hooks
) -> None:
    service.observe("latency", 500)
    until(lambda: mailbox.letters and hooks.calls, what="the messages")
    text = mailbox.letters[0].text
    found = re.search(r"https://sla\.example\.com(/ack\?token=\S+)", text)
    assert found is not None
    assert hooks.calls[0].document["ack_url"].startswith("https://sla.example.com/ack?token=")
    link = found[1]
    for _ in range(2):  # a scanner looks, and looks again
        status, page = ask(service, "GET", link)
        assert (status, "Acknowledge as ann@example.com" in page) == (200, True)
    assert not service.violations()[0]["acknowledged"]
    # The link outlives a restart of every process.
    service.stop()
    service.start()
    status, page = ask(service, "POST", link)
    assert (status, "Acknowledged by ann@example.com" in page) == (200, True)
    for _ in range(20):  # whoever presses on changes nothing
        status, page = ask(service, "POST", link)
        assert (status, "It was acknowledged already" in page) == (200, True)
    (row,) = service.violations()
    assert row["acknowledged_by"] == "ann@example.com"
    assert len(row["acknowledgements"]) == 1
    (entry,) = [each for each in service.show("audit", "tail") if each["what"] == "violation.acknowledged"]
    assert (entry["who"], entry["via"]) == ("ann@example.com", "link")
    token = link.partition("token=")[2]
    logs = "".join(path.read_text() for path in (service.data / "log").iterdir())
    assert token not in logs
    assert token not in "".join(path.read_text() for path in (service.data / "audit").rglob("*.jsonl"))
    assert oct((service.data / "ack.key").stat().st_mode)[-3:] == "600"


def test_tools_acknowledge_and_resolve_by_what_they_sign(service: Service) -> None:
    service.observe("load", 500)
    service.observe("size", 500)
    load, size = (service.violation(name) for name in ("load", "size"))
    assert load is not None
    assert size is not None
    event = {
        "id": "01E", "event_type": "incident.acknowledged", "occurred_at": datetime.now(UTC).isoformat(),
        "agent": {"type": "user_reference", "summary": "Bob"}, "data": {"incident_key": load["id"]},
    }  # fmt: skip
    body = json.dumps({"event": event}).encode()
    digest = hmac.new(b"pd-secret", body, hashlib.sha256).hexdigest()
    status, answer = ask(
        service, "POST", "/v1/inbound/pagerduty", body, {"X-PagerDuty-Signature": f"v1={digest}"}
    )
    assert (status, json.loads(answer)) == (200, {"done": [load["id"]], "already": []})
    body = json.dumps({"action": "resolve", "violation_id": size["id"], "by": "carol"}).encode()
    stamp = str(int(time.time()))
    headers = {
        "X-Slakeeper-Timestamp": stamp, "Idempotency-Key": "k",
        "X-Slakeeper-Signature": sign("in-secret", stamp, "k", body),
    }  # fmt: skip
    for _ in range(2):
        status, answer = ask(service, "POST", "/v1/inbound/hook", body, headers)
        assert status == 200
    assert ask(service, "POST", "/v1/inbound/hook", body + b" ", headers)[0] == 401
    entries = {(each["who"], each["via"], each["what"]) for each in service.show("audit", "tail")}
    assert ("Bob", "inbound:pagerduty", "violation.acknowledged") in entries
    assert ("carol", "inbound:hook", "violation.resolved") in entries
