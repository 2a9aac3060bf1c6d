"""A disk that fails under one partition: its cell begins again from what is there, and no sample is lost or doubled."""

from pathlib import Path

import pytest

from slakeeper.otp.placement import owner_of
from tests.system.configuration import contract, ids_by_partition, metric, write_config
from tests.system.faulty_disk import PROGRAM, Disk, Operation
from tests.system.remains import until
from tests.system.sender import Sender
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

CELLS, PARTITIONS = 2, 4

# The first and the third are of partitions of one cell.
IDS = ids_by_partition(PARTITIONS)
FIRST, SECOND = 0, 2
CELL = f"cell-{owner_of(FIRST, CELLS)}"


@pytest.fixture
def service(tmp_path: Path, make_service: MakeService) -> Service:
    slas = [contract(sla_id, [metric(f"requests_{sla_id}", lateness="10m")]) for sla_id in IDS]
    config = write_config(
        tmp_path / "config", slas, service={"partitions": PARTITIONS, "snapshot_interval": "1s"}
    )
    return make_service(config, cells=CELLS, program=PROGRAM)


def accepted(service: Service) -> dict[str, int]:
    """How many samples each contract has counted."""
    rows = {sla_id: service.metric(sla_id, f"requests_{sla_id}") for sla_id in IDS}
    return {sla_id: row["samples_accepted"] for sla_id, row in rows.items()}


def restarts(service: Service) -> dict[str, int]:
    return {row["name"]: row["restarts"] for row in service.get("/v1/status")["processes"]}


# Commits; the segment that a snapshot begins; the snapshot itself, of which no request hears.
FAULTS: tuple[tuple[Operation, str], ...] = (
    ("write", "journal-*.log"),
    ("sync_data", "journal-*.log"),
    ("write", "journal-*.log.tmp"),
    ("sync", "journal-*.log.tmp"),
    ("write", "snapshot-*.tmp"),
    ("sync", "snapshot-*.tmp"),
)


def sent_over_a_fault(service: Service, disk: Disk, operation: Operation, pattern: str) -> int:
    """Breaks the disk of the cell under a sender; returns how many samples of each contract were acknowledged."""
    cell = service.processes()[CELL]
    with Sender(service, *(f"requests_{sla_id}" for sla_id in IDS), name=f"{operation} {pattern}") as sender:
        until(lambda: sender.batches > 3, what="a running sender")
        disk.break_once(operation, pattern)
        until(lambda: not disk.is_to_break, what=f"{operation} of {pattern} to fail")
        until(lambda: not cell.alive(), what="the cell to end")
        begun = sender.batches
        until(service.is_whole, what="the cell to be back")
        until(lambda: sender.batches > begun + 3, what="batches to be taken again")
    return sender.acknowledged


@pytest.mark.parametrize("partition", [FIRST, SECOND])
def test_a_partition_whose_disk_fails_loses_nothing_and_counts_nothing_twice(
    service: Service, partition: int
) -> None:
    service.start()
    disk, acknowledged = Disk(service.data), 0
    for number, (operation, file) in enumerate(FAULTS, 1):
        acknowledged += sent_over_a_fault(service, disk, operation, f"p{partition:03d}/{file}")
        assert accepted(service) == dict.fromkeys(IDS, acknowledged), (operation, file)
        assert restarts(service) == {**dict.fromkeys(restarts(service), 0), CELL: number}
    service.stop()
    assert not [*(service.data / "partitions").rglob("*.broken")]
