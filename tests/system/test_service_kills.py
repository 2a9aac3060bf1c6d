"""Cells and gateway are killed at random moments, again and again, under batches that span partitions and cells."""

import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from slakeeper.otp import posix
from tests.system.configuration import contract, ids_by_partition, metric, write_config
from tests.system.remains import until
from tests.system.sender import Sender
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

# Two cells have two partitions each, and every partition one contract.
CELLS, PARTITIONS = 2, 4

SEED, KILLS = 11, 14

# The root allows ten restarts in a minute, and a root that is killed begins to count anew.
ROOT_EVERY = 5

# A batch takes some milliseconds; within this time a kill meets every stage of several.
LONGEST_WAIT_S = 0.3

SENDERS = ("left", "right")


IDS = ids_by_partition(PARTITIONS)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    # A batch that waited for a restart is late for its window only after this time.
    slas = [contract(sla_id, [metric(f"requests_{sla_id}", lateness="10m")]) for sla_id in IDS]
    # Snapshots are made all the time, so that kills meet them as well.
    return write_config(
        tmp_path / "config", slas, service={"partitions": PARTITIONS, "snapshot_interval": "1s"}
    )


def counted(service: Service) -> dict[str, tuple[int, int]]:
    """Of each contract how many samples were accepted, and how many came late."""
    rows = {sla_id: service.metric(sla_id, f"requests_{sla_id}") for sla_id in IDS}
    return {sla_id: (row["samples_accepted"], row["samples_late"]) for sla_id, row in rows.items()}


def test_what_was_acknowledged_counts_once_however_often_processes_are_killed(
    make_service: MakeService, config: Path
) -> None:
    service = make_service(config, cells=CELLS)
    service.start()
    random = Random(SEED)
    with ExitStack() as stack:
        senders = [
            stack.enter_context(Sender(service, *(f"requests_{sla_id}" for sla_id in IDS), name=name))
            for name in SENDERS
        ]
        for number in range(1, KILLS + 1):
            begun = [sender.batches for sender in senders]
            until(
                lambda begun=begun: all(  # type: ignore[misc]
                    sender.batches > before for sender, before in zip(senders, begun, strict=True)
                ),
                what=f"batches to be taken after {number - 1} kills",
            )
            until(service.is_whole, what="every process")
            time.sleep(random.uniform(0, LONGEST_WAIT_S))
            victims = ["root"] if number % ROOT_EVERY == 0 else random.choice(
                [["cell-0"], ["cell-1"], ["gateway"], ["cell-0", "cell-1"], ["cell-0", "gateway"]]
            )  # fmt: skip
            processes = service.processes()
            posix.kill([processes[name].pid for name in victims])
    acknowledged = sum(sender.acknowledged for sender in senders)
    until(service.is_whole, what="every process")
    assert counted(service) == dict.fromkeys(IDS, (acknowledged, 0))
    assert min(sender.refused for sender in senders) > 0
    assert min(sender.batches for sender in senders) > KILLS
    service.stop()
    service.start()
    assert counted(service) == dict.fromkeys(IDS, (acknowledged, 0))
    service.stop()
