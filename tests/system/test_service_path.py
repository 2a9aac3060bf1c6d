"""From a sample to the money: one broken promise all the way through the service, seen from every side."""

import hashlib
import hmac
import socket
from pathlib import Path

import pytest

from slakeeper import App
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks, Mailbox
from tests.system.remains import until
from tests.system.service import MakeService

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

SECRET = "hush-hush-4711"


@pytest.fixture
def config(tmp_path: Path, mailbox: Mailbox, hooks: Hooks) -> Path:
    """Uptime as the seed promises it; mail and webhook; a command that writes a file; four short levels."""
    uptime = metric("uptime", 99.999, "gt", unit="percentage")
    rule = {"metric": "uptime", "type": "service_credit", "violation_type": "below_threshold",
            "formula": "credit = 10 * (threshold - actual)", "auto_approve": True}  # fmt: skip
    script = f"printenv SLAKEEPER_PARAMETERS SLAKEEPER_IDEMPOTENCY_KEY >> {tmp_path / 'repaired'}"
    return write_config(
        tmp_path / "config",
        [contract("web", [uptime], service_level=99.5, compensation=[rule])],
        {
            "automatic_actions": [
                {"name": "repair", "trigger_metric": "uptime", "condition": {"lt": 99.9}, "action": "mend",
                 "parameters": {"nodes": 2}},
            ],
            "remedies": {"mend": {"type": "command", "argv": ["/bin/sh", "-c", script], "timeout": "10s"}},
            "remediation": {"verify_after": "10m"},
            "escalation_policies": [
                {"severity": "critical", "timeout": "10m", "levels": [
                    {"type": "mail", "recipients": ["first@example.com"], "delay": 0},
                    {"type": "hook", "delay": 50},
                    {"type": "mail", "recipients": ["third@example.com"], "delay": 50},
                    {"type": "mail", "recipients": ["fourth@example.com"], "delay": 3_000},
                ]},
            ],
            "channels": {
                "mail": {"type": "email", "host": "127.0.0.1", "port": mailbox.port,
                         "recipients": ["team@example.com"], "from": "slakeeper@example.com"},
                "hook": {"type": "webhook", "url": hooks.url, "secret": SECRET},
            },
        },
        {"alert_channels": ["mail", "hook"]},
    )  # fmt: skip


def test_a_broken_promise_goes_all_the_way(
    tmp_path: Path, config: Path, make_service: MakeService, mailbox: Mailbox, hooks: Hooks
) -> None:
    service = make_service(config)
    service.start()
    service.observe("uptime", 100)
    assert service.violations() == []
    service.observe("uptime", 99.5, sla="web")

    # Seen by HTTP, on the command line and by a program that attaches itself.
    (row,) = service.violations()
    assert (row["sla_id"], row["metric_name"], row["status"]) == ("web", "uptime", "open")
    assert (row["severity"], row["actual_value"], row["threshold_value"]) == ("critical", 99.5, 99.999)
    violation_id = row["id"]
    assert [one["id"] for one in service.show("violations")] == [violation_id]
    with App.attach(service.data) as app:
        assert [one["id"] for one in app.violations()] == [violation_id]
        assert app.get_sla_status("web")["open_violations"] == 1
        (estimate,) = app.calculate_compensation(violation_id)
        assert estimate["amount"] == "4.990"

    # People and machines hear of it, once each.
    until(lambda: mailbox.to("team@example.com") and hooks.of("opened", violation_id), what="the alerts")
    (letter,) = mailbox.to("team@example.com")
    assert letter.subject == "[critical] The web: uptime"
    assert "promised  > 99.999 %" in letter.text
    assert "measured  99.5 %" in letter.text
    assert f"Acknowledge on {socket.gethostname()} with:" in letter.text
    assert f"slakeeper --data {service.data} ack {violation_id} --by YOUR-NAME" in letter.text
    (call,) = hooks.of("opened", violation_id)
    key = call.headers["idempotency-key"]
    signed = f"{call.headers['x-slakeeper-timestamp']}.{key}.".encode() + call.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert call.headers["x-slakeeper-signature"] == f"sha256={expected}"
    assert call.headers["idempotency-key"] == call.document["id"] == letter.id

    # The action was really carried out.
    repaired = tmp_path / "repaired"
    until(repaired.exists, what="the action")
    assert until(repaired.read_text).splitlines() == ['{"nodes": 2}', f"{violation_id}.repair.1"]

    # The escalation walks its levels in order, until somebody answers.
    until(lambda: mailbox.to("third@example.com"), what="the third level")
    answer = service.post(f"/v1/violations/{violation_id}/ack", {"by": "eva", "note": "I am on it"})
    assert (answer["status"], answer["acknowledged_by"]) == ("acknowledged", "eva")
    (first,), (third,) = mailbox.to("first@example.com"), mailbox.to("third@example.com")
    (second,) = hooks.of("escalation", violation_id)
    assert [first.id, second.document["id"], third.id] == [
        f"{violation_id}.0.critical.0.{level}" for level in range(3)
    ]
    walk = service.actor(f"escalation:{violation_id}")
    assert (walk["state"]["walk"]["status"], walk["state"]["walk"]["due_ms"]) == ("acknowledged", None)
    assert walk["timers"] == []

    # Good samples close it; what it costs is booked; everyone who was told hears the end.
    service.observe("uptime", 100)
    (ended,) = until(lambda: [row for row in service.violations(resolved=True) if row["resolved"]])
    assert (ended["id"], ended["status"], ended["worst_value"]) == (violation_id, "resolved", 99.5)
    assert ended["end_time"] >= ended["start_time"]
    assert service.violations() == []
    (entry,) = service.show("compensation")
    assert (entry["violation_id"], entry["amount"], entry["status"]) == (violation_id, "4.990", "approved")
    assert (entry["compensation_type"], entry["formula"]) == (
        "service_credit",
        "credit = 10 * (threshold - actual)",
    )
    assert service.get("/v1/compensation?sla=web") == [entry]
    until(lambda: hooks.of("resolved", violation_id)[1:], what="both ends on the webhook")
    until(lambda: mailbox.to("team@example.com", "resolved"), what="the end of the alert")
    for told in ("first@example.com", "third@example.com"):
        until(lambda told=told: mailbox.to(told, f"{violation_id}.resolved"))  # type: ignore[misc]

    # The record is complete: the action helped, three levels were sent, the fourth never was.
    (record,) = until(
        lambda: [
            row
            for row in service.violations(resolved=True)
            if [one["result"] for one in row["remediation_actions"]] == ["effective"]
        ]
    )
    (action,) = record["remediation_actions"]
    assert (action["action_type"], action["name"], action["status"]) == ("automatic", "repair", "completed")
    assert [(one["level"], one["channel"], one["status"]) for one in record["escalations"]] == [
        (0, "mail", "sent"),
        (1, "hook", "sent"),
        (2, "mail", "sent"),
    ]

    # The report tells the same story, to people and to programs.
    shown = service.shown([("report", "--sla", "web"), ("status",)])
    document = shown["report", "--sla", "web"]
    assert document["sla"]["id"] == "web"
    assert [one["id"] for one in document["violations"]] == [violation_id]
    assert "4.990" in str(document["violations"])
    text = service.cli("report", "--sla", "web").out
    assert text.startswith("# Service level report: The web\n")
    assert violation_id in text
    assert "4.990" in text
    assert [row["open_violations"] for row in shown["status",]["slas"]] == [0]

    assert mailbox.to("fourth@example.com") == []
    assert len(mailbox.letters) == len({(letter.id, letter.recipients) for letter in mailbox.letters})
    assert len(hooks.calls) == len({call.headers["idempotency-key"] for call in hooks.calls})
    service.stop()
