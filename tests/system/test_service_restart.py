"""What the service knows outlives it: a stop and a start, and a snapshot that was cut short."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from slakeeper import App
from slakeeper.otp import attach
from slakeeper.otp.placement import partition_of
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Mailbox
from tests.system.remains import until
from tests.system.sender import Sender
from tests.system.service import MakeService, Rows, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

SLA_ID = "shop"
METRICS = ("walking", "acknowledged", "over")

# How long the third level of a critical violation's walk waits: over a stop and a start of a quick machine.
LONG_MS = 3_000


@pytest.fixture
def config(tmp_path: Path, mailbox: Mailbox) -> Path:
    rule = {"metric": "over", "type": "credit", "formula": "credit = actual - threshold"}
    levels = [
        {"type": "mail", "recipients": [f"level{number}@example.com"], "delay": delay_ms}
        for number, delay_ms in enumerate((0, 50, LONG_MS))
    ]
    return write_config(
        tmp_path / "config",
        [
            contract(SLA_ID, [metric(name) for name in METRICS], compensation=[rule], approver="chief"),
            contract("busy", [metric("requests", lateness="10m"), metric("patient")]),
        ],
        {
            "escalation_policies": [
                {"severity": "critical", "levels": levels, "timeout": "10m"},
                {"severity": "warning", "levels": [*levels[:2], {**levels[2], "delay": "10m"}]},
            ],
            "channels": {"mail": {"type": "email", "host": "127.0.0.1", "port": mailbox.port}},
        },
    )


def eventful(service: Service, mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    """Brings one of the metrics into each state; returns the violations by metric name."""
    for name in METRICS:
        service.observe(name, 500)
    service.observe("patient", 130)
    rows = {row["metric_name"]: row for row in service.violations()}
    service.post(f"/v1/violations/{rows['acknowledged']['id']}/ack", {"by": "eva", "note": "mine"})
    service.observe("over", 1)
    service.observe("acknowledged", 600)
    until(lambda: is_settled(service, rows), what="every message that is due to be recorded as sent")
    return rows


def is_settled(service: Service, rows: dict[str, dict[str, Any]]) -> bool:
    """Whether everything that has begun has also been recorded, but for the third levels of walks."""
    records = {
        row["metric_name"]: [record["status"] for record in row["escalations"]]
        for row in service.violations(resolved=True)
    }
    with attach.Client(service.data) as client:
        try:
            client.request("actor", {"operation": "state", "address": f"violation:{rows['over']['id']}"})
        except attach.RequestFailed:
            archived = True
        else:
            archived = False
    said = {status for statuses in records.values() for status in statuses}
    walked = min(len(records["walking"]), len(records["patient"]))
    return archived and said == {"sent"} and walked >= 2


def told(mailbox: Mailbox, violation_id: str) -> list[str]:
    """Which messages of its walk a violation's people got, in order."""
    return [letter.id for letter in list(mailbox.letters) if letter.id.startswith(f"{violation_id}.0.")]


def known_rows(rows: Rows) -> Rows:
    """Violations with the first two levels of their walks: the third one's time comes when it comes."""
    return [{**row, "escalations": row["escalations"][:2]} for row in rows]


def known(service: Service) -> dict[str, Any]:
    """Everything of the contract that does not change with the time of day."""
    shown = service.get(f"/v1/slas/{SLA_ID}")
    counters = ("name", "state", "value", "samples_accepted", "samples_late", "samples_duplicate")
    return {
        "violations": known_rows(service.violations(resolved=True)),
        "compensation": service.get("/v1/compensation"),
        "contracts": [row["id"] for row in service.get("/v1/slas")],
        "version": shown["version"],
        "start": shown["period"]["start"],
        "metrics": [{name: row[name] for name in counters} for row in shown["metrics"]],
    }


def test_a_stop_and_a_start_keep_violations_acknowledgements_walks_ledger_and_samples(
    make_service: MakeService, config: Path, mailbox: Mailbox
) -> None:
    service = make_service(config)
    service.start()
    rows = eventful(service, mailbox)
    patient = f"escalation:{rows['patient']['id']}"
    before, walk = known(service), service.actor(patient)["state"]["walk"]
    assert (walk["severity"], walk["level_index"], walk["status"]) == ("warning", 2, "walking")
    # A client goes on sending over it.
    with Sender(service, "requests") as sender:
        until(lambda: sender.batches > 10, what="a running sender")
        service.stop()
        service.start()

    # Samples that were acknowledged are counted, and each once, in whichever way it ended.
    assert service.metric("busy", "requests")["samples_accepted"] == sender.acknowledged > 50
    assert sender.refused > 0
    assert known(service) == before
    assert before["version"] == 1
    assert {row["metric_name"]: row["status"] for row in before["violations"]} == {
        "walking": "open",
        "patient": "open",
        "acknowledged": "acknowledged",
        "over": "resolved",
    }
    (entry,) = before["compensation"]
    assert (entry["amount"], entry["status"]) == ("400.0", "pending")
    # A walk stands where it stood, with the deadline that it had.
    assert service.actor(patient)["state"]["walk"] == walk

    # It goes on from there: the level that is due is sent at its time, none again, none left out.
    sent = [f"{rows['walking']['id']}.0.critical.0.{level}" for level in range(3)]
    assert told(mailbox, rows["walking"]["id"]) in (sent[:2], sent)
    until(lambda: told(mailbox, rows["walking"]["id"]) == sent, what="the third level")
    # The one that was acknowledged has not moved.
    assert service.actor(f"escalation:{rows['acknowledged']['id']}")["state"]["walk"]["due_ms"] is None

    # What was pending can be decided, and what is open ends as ever.
    decided = service.show("compensation", "approve", entry["id"], "--by", "chief", "--reason", "it is due")
    assert (decided["id"], decided["status"], decided["decided_by"]) == (entry["id"], "approved", "chief")
    service.observe("walking", 1)
    until(lambda: service.violation("walking", "resolved"))
    service.stop()


def test_a_snapshot_cut_short_at_any_length_costs_nothing(
    make_service: MakeService, config: Path, mailbox: Mailbox
) -> None:
    service = make_service(config)
    service.start()
    eventful(service, mailbox)
    before = known(service)
    service.stop()
    kept = service.data.with_name("kept")
    shutil.copytree(service.data, kept)
    for cut in ("nothing left", "header only", "half", "all but a byte"):
        shutil.rmtree(service.data)
        shutil.copytree(kept, service.data)
        snapshot = max((service.data / "partitions" / f"p{partition_of(SLA_ID, 4):03d}").glob("snapshot-*"))
        whole = snapshot.read_bytes()
        length = {"nothing left": 0, "header only": 20, "half": len(whole) // 2}.get(cut, len(whole) - 1)
        snapshot.write_bytes(whole[:length])
        if cut == "half":
            # With another number of cells, too: what a contract was is in its partition, whoever serves that.
            service.cells = 3
            service.start()
            assert known(service) == before
            service.stop()
        else:
            with App.start(config, service.data, "inline") as app:
                assert known_rows(app.violations(include_resolved=True)) == before["violations"], cut
                assert app.compensation() == before["compensation"], cut
                assert app.get_sla(SLA_ID).id == SLA_ID
        assert [path.name for path in snapshot.parent.glob("*.broken")] == [f"{snapshot.name}.broken"], cut
