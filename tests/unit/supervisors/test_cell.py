"""The tree of a cell, and a cell made from its settings; the loop's thread is not started."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from slakeeper.otp.child_spec import Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.otp.placement import partition_of
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy
from slakeeper.supervisors.cell import CellSettings, make_loop
from slakeeper.supervisors.tree import DYNAMIC, cell_tree

NOW_MS = 1_800_000_000_000


def contract(name: str, **changes: Any) -> dict[str, Any]:
    document = {"id": name, "metrics": [{"name": "latency", "value": 250, "condition": "lt"}], **changes}
    return Sla.from_document(document).to_document()


class Cells:
    """Makes the host of a cell as its loop would, and closes what it opened."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.hosts: list[Host] = []
        self.loops: list[Loop] = []

    def make(
        self, *contracts: dict[str, Any], partitions: dict[int, str] | None = None, count: int = 2
    ) -> tuple[Host, Callable[[str, Any], Any]]:
        settings = CellSettings(
            "cell-0", self.data, partitions or {0: "p000", 1: "p001"}, count, contracts, EnforcementPolicy(),
            MonitoringPolicy.model_validate({"sources": {"me": {"type": "host"}, "push": {"type": "internal"}}}),
            None, 60_000,
        )  # fmt: skip
        loop = make_loop(settings, lambda reason: None, ManualClock(NOW_MS))
        self.loops.append(loop)
        host = loop._build(lambda topic, payload: None)
        self.hosts.append(host)

        def request(kind: str, payload: Any) -> Any:
            answer = loop._line._handlers[kind](host, payload)
            host.drain()
            host.commit()
            return answer

        return host, request

    def close(self) -> None:
        for host in self.hosts:
            for partition in host.partitions.values():
                partition.close()
        for loop in self.loops:
            loop._close()
        self.hosts.clear()
        self.loops.clear()


@pytest.fixture
def cells(tmp_path: Path) -> Any:
    made = Cells(tmp_path)
    yield made
    made.close()


def test_the_layers_stand_in_the_order_of_what_builds_on_what() -> None:
    tree = cell_tree("cell-0", ["prom"])
    assert tree.flags.strategy is Strategy.REST_FOR_ONE
    assert [child.address for child in tree.children] == [
        "definition_supervisor", "monitoring_supervisor", "enforcement_supervisor", "alerting_supervisor",
        "reporting_supervisor",
    ]  # fmt: skip


def test_every_layer_sets_a_child_aside_rather_than_end() -> None:
    tree = cell_tree("cell-0", [])
    assert all(getattr(child, "flags", None) is DYNAMIC for child in tree.children)
    assert DYNAMIC.quarantine is not None


def test_each_polled_source_has_an_actor_and_a_pushed_one_has_none(cells: Cells) -> None:
    host, _ = cells.make()
    assert host.addresses("source") == ["source:me@cell-0"]


def test_configured_contracts_are_defined_each_in_its_partition(cells: Cells) -> None:
    names = ["a", "b", "c", "d"]
    host, request = cells.make(*map(contract, names))
    assert [row["id"] for row in request("sla.list", {})["slas"]] == names
    for name in names:
        kept = host.partitions[f"p00{partition_of(name, 2)}"].records
        assert f"contract:{name}" in kept
        assert f"monitor:{name}:latency" in kept


def test_a_restart_with_the_same_configuration_writes_no_new_version(cells: Cells) -> None:
    cells.make(contract("a"))
    cells.close()
    _, request = cells.make(contract("a"))
    assert request("sla.show", {"id": "a"})["version"] == 1
    cells.close()
    _, request = cells.make(contract("a", service_level=98))
    assert request("sla.show", {"id": "a"})["version"] == 2


def test_a_contract_of_another_cell_is_refused(cells: Cells) -> None:
    mine = next(name for name in "abcdef" if partition_of(name, 2) == 0)
    other = next(name for name in "abcdef" if partition_of(name, 2) == 1)
    _, request = cells.make(partitions={0: "p000"})
    assert request("sla.define", {"document": contract(mine)})["version"] == 1
    with pytest.raises(RequestError, match="another cell"):
        request("sla.define", {"document": contract(other)})


def test_a_configured_contract_that_is_not_ours_is_logged_and_stops_no_other(
    cells: Cells, caplog: pytest.LogCaptureFixture
) -> None:
    mine = next(name for name in "abcdef" if partition_of(name, 2) == 0)
    other = next(name for name in "abcdef" if partition_of(name, 2) == 1)
    with caplog.at_level(logging.ERROR):
        _, request = cells.make(contract(other), contract(mine), partitions={0: "p000"})
    assert [row["id"] for row in request("sla.list", {})["slas"]] == [mine]
    assert "another cell" in caplog.text


def test_a_partition_that_another_has_keeps_the_cell_from_starting_and_none_stays_taken(cells: Cells) -> None:
    from slakeeper.actors.record import make_codec

    other = Partition(cells.data / "partitions" / "p001", make_codec())
    other.open()
    with pytest.raises(JournalError, match="another writer"):
        cells.make()
    other.close()
    host, _ = cells.make()
    assert set(host.partitions) == {"p000", "p001"}


def test_a_batch_for_contracts_of_two_partitions_counts_once_in_each(cells: Cells) -> None:
    names = [next(n for n in "abcdef" if partition_of(n, 2) == k) for k in (0, 1)]
    batch = {"samples": [["latency", 100.0, None, None, None]], "batch_id": "b1"}
    _, request = cells.make(*map(contract, names))
    request("samples", batch)
    cells.close()
    _, request = cells.make(*map(contract, names))
    request("samples", batch)
    for name in names:
        [metric] = request("sla.show", {"id": name})["metrics"]
        assert (metric["samples_accepted"], metric["samples_duplicate"]) == (1, 1)
