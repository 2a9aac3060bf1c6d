"""The number of cells changes between two starts: partitions move whole, and each contract takes its history along."""

from pathlib import Path
from typing import Any

import pytest

from slakeeper import App, StartError
from slakeeper.otp import attach
from slakeeper.otp.placement import owner_of, partition_of
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Mailbox
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

PARTITIONS = 8

# One for each of four cells, and one that has a cell of its own.
SHARED = ("shop", "mill", "farm", "bank")
ALONE = "vault"
ALL = (*SHARED, ALONE)


def ids_by_cell() -> list[str]:
    """An id for each of four cells, so that with another number each moves or not."""
    found: dict[int, str] = {}
    for number in range(1000):
        sla_id = f"{SHARED[number % 4]}-{number}"
        found.setdefault(owner_of(partition_of(sla_id, PARTITIONS), 4), sla_id)
    return [found[cell] for cell in range(4)]


@pytest.fixture
def config(tmp_path: Path, mailbox: Mailbox) -> Path:
    rule = {"metric": "over", "type": "credit", "formula": "credit = actual - threshold"}
    levels = [
        {"type": "mail", "recipients": ["first@example.com"]},
        {"type": "mail", "recipients": ["later@example.com"], "delay": "10m"},
    ]
    metrics = [metric("over"), metric("walking")]
    slas = [contract(sla_id, metrics, compensation=[rule]) for sla_id in ids_by_cell()]
    slas.append(contract(ALONE, metrics, compensation=[rule], isolation="process"))
    return write_config(
        tmp_path / "config",
        slas,
        {
            "escalation_policies": [{"severity": "critical", "levels": levels}],
            "channels": {"mail": {"type": "email", "host": "127.0.0.1", "port": mailbox.port}},
        },
        service={"partitions": PARTITIONS},
    )


def eventful(service: Service) -> None:
    """In each contract one violation is over and priced, another open with its people being told."""
    for sla_id in (*ids_by_cell(), ALONE):
        service.observe("over", 500, sla=sla_id)
        service.observe("walking", 500, sla=sla_id)
        service.observe("over", 1, sla=sla_id)

    def is_settled() -> bool:
        rows = service.violations(resolved=True)
        said = [record["status"] for row in rows for record in row["escalations"]]
        return len(service.get("/v1/compensation")) == 5 and said == ["sent"] * 10

    until(is_settled, what="every message that is due to be recorded as sent")


def known(service: Service) -> dict[str, Any]:
    """Everything that does not change with the time of day."""
    rows = service.violations(resolved=True)
    walking = [row["id"] for row in rows if row["metric_name"] == "walking"]
    contracts = {sla_id: service.get(f"/v1/slas/{sla_id}") for sla_id in (*ids_by_cell(), ALONE)}
    return {
        "violations": rows,
        "ledger": service.get("/v1/compensation"),
        "walks": {each: service.actor(f"escalation:{each}")["state"]["walk"] for each in walking},
        "versions": {sla_id: shown["version"] for sla_id, shown in contracts.items()},
        "periods": {sla_id: shown["period"]["start"] for sla_id, shown in contracts.items()},
        "samples": {
            (sla_id, row["name"]): row["samples_accepted"]
            for sla_id, shown in contracts.items()
            for row in shown["metrics"]
        },
    }


def cells(service: Service) -> set[str]:
    return {cell["name"] for cell in service.run()["topology"]["cells"]}


def test_every_contract_keeps_its_history_when_the_number_of_cells_changes(
    make_service: MakeService, config: Path, mailbox: Mailbox
) -> None:
    service = make_service(config, cells=4)
    service.start()
    eventful(service)
    before = known(service)
    assert {row["status"] for row in before["violations"]} == {"open", "resolved"}
    assert len(before["ledger"]) == 5
    assert all(walk["status"] == "walking" for walk in before["walks"].values())
    letters = len(mailbox.letters)
    for count in (1, 4, 3, 8):
        service.stop()
        service.cells = count
        service.start()
        assert cells(service) == {*(f"cell-{number}" for number in range(count)), f"cell-{ALONE}"}
        assert known(service) == before, count
    # Nobody was told again, and what is open goes on wherever it is now.
    assert len(mailbox.letters) == letters
    for sla_id in (*ids_by_cell(), ALONE):
        service.observe("walking", 1, sla=sla_id)
    until(lambda: not service.violations(), what="the violations to end")
    service.stop()


def test_a_second_system_on_the_same_directory_is_refused_whatever_its_cells(
    make_service: MakeService, config: Path
) -> None:
    first = make_service(config, cells=4)
    first.start()
    pid = first.pid("heart")
    second = make_service(config, cells=1)
    for detached in (["--detach"], ["--no-view"]):
        refused = second.cli(*second.start_arguments, *detached)
        assert (refused.code, refused.out) == (1, "")
        assert f"in use by process {pid}" in refused.complaint
    for mode in ("inline", "processes"):
        with pytest.raises(StartError, match=f"in use by process {pid}"):
            App.start(config, first.data, mode)
    assert attach.running(first.data)["pid"] == pid
    assert first.is_whole()
    first.stop()
