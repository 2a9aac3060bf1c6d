"""The data directory's own facts, and which cell serves what."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.record import SCHEMA_VERSION
from slakeeper.config.loader import Configuration
from slakeeper.layout import LayoutError, cell_settings, make_layout
from slakeeper.reading import empty_configuration
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric
from slakeeper.system import build_system
from tests.unit.disk_calls import DiskCalls


def sla(name: str, isolation: Any = "shared") -> Sla:
    return Sla(id=name, isolation=isolation, metrics=(Metric(name="m", value=1),))


def configured(*slas: Sla) -> Configuration:
    return replace(empty_configuration(), slas=slas)


def test_the_number_of_partitions_is_fixed_when_the_directory_is_made(tmp_path: Path) -> None:
    first = configured()
    make_layout(tmp_path, first, 2)
    service = first.service.model_copy(update={"partitions": 64})
    assert (
        make_layout(tmp_path, replace(first, service=service), 2).partition_count
        == first.service.partition_count
    )


def test_the_facts_of_a_directory_are_on_the_disk_before_anything_is_written_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    make_layout(tmp_path, configured(), 2)
    renamed = ("rename", str(tmp_path / "meta.json.tmp"), str(tmp_path / "meta.json"))
    assert tmp_path / "meta.json.tmp" in calls.synced_before(renamed)
    assert tmp_path in calls.synced_after(renamed)


def test_every_partition_has_one_cell_whatever_their_number(tmp_path: Path) -> None:
    for count in (1, 2, 3, 8, 50):
        layout = make_layout(tmp_path, configured(), count)
        numbers = sorted(number for cell in layout.cells for number in cell.partitions)
        assert numbers == list(range(layout.partition_count))
        assert all(cell.partitions for cell in layout.cells)


def test_a_contract_keeps_its_partition_when_the_number_of_cells_changes(tmp_path: Path) -> None:
    names = [f"sla-{number}" for number in range(50)]
    found: list[dict[str, str]] = []
    for count in (1, 3):
        layout = make_layout(tmp_path, configured(*map(sla, names)), count)
        parts: dict[str, str] = {}
        for cell in layout.cells:
            settings = cell_settings(cell, layout, tmp_path, configured(), tuple(map(sla, names)), None)
            for document in settings.contracts:
                from slakeeper.otp.placement import partition_of

                parts[document["id"]] = cell.partitions[
                    partition_of(document["id"], settings.partition_count)
                ]
        found.append(parts)
    assert found[0] == found[1]
    assert set(found[0]) == set(names)


def test_an_isolated_contract_has_a_cell_and_a_partition_of_its_own(tmp_path: Path) -> None:
    configuration = configured(sla("a"), sla("gold", "process"))
    layout = make_layout(tmp_path, configuration, 2)
    alone = layout.cells[-1]
    assert (alone.name, alone.sla_id, dict(alone.partitions)) == ("cell-gold", "gold", {0: "alone-gold"})
    settings = cell_settings(alone, layout, tmp_path, configuration, configuration.slas, None)
    assert [document["id"] for document in settings.contracts] == ["gold"]
    assert settings.partition_count == 1


def test_a_contract_stays_where_its_data_is_when_its_isolation_changes(tmp_path: Path) -> None:
    make_layout(tmp_path, configured(sla("a"), sla("b", "process")), 2)
    layout = make_layout(tmp_path, configured(sla("a", "process"), sla("b")), 2)
    assert layout.moved == ("a", "b")
    assert layout.cell_of("b").sla_id == "b"
    assert layout.cell_of("a").sla_id is None
    assert make_layout(tmp_path, configured(sla("a"), sla("b", "process")), 2).moved == ()


def test_the_cell_of_an_isolated_contract_stays_when_the_configuration_drops_it(tmp_path: Path) -> None:
    make_layout(tmp_path, configured(sla("b", "process")), 1)
    assert [cell.name for cell in make_layout(tmp_path, configured(), 1).cells] == ["cell-0", "cell-b"]


def test_no_two_cells_share_a_name(tmp_path: Path) -> None:
    layout = make_layout(
        tmp_path, configured(sla("0", "process"), sla("1", "process"), sla("0-alone", "process")), 2
    )
    names = [cell.name for cell in layout.cells]
    assert len(set(names)) == len(names) == 5
    assert layout.cell_of("0").sla_id == "0"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", "{}", '{"version": 1}', '{"version": 1, "partitions": "8", "isolated": {}}',
     '{"version": 1, "partitions": 0, "isolated": {}}', '{"version": 1, "partitions": 8, "isolated": []}',
     '{"version": 1, "partitions": 8, "isolated": {}, "schema": "1"}',
     '{"version": 1, "partitions": 8, "isolated": {"a": 1}}', '{"version": 1, "partitions": true, "isolated": {}}'],
)  # fmt: skip
def test_damaged_facts_are_refused_by_name_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(LayoutError, match=r"meta\.json.*damaged"):
        make_layout(tmp_path, configured(), 2)
    assert (tmp_path / "meta.json").read_text() == text


def test_data_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"version": 2, "shape": "unknown"}))
    with pytest.raises(LayoutError, match="version 2"):
        make_layout(tmp_path, configured(), 2)


def test_what_a_newer_program_stored_is_refused_and_what_an_older_one_stored_is_taken_over(
    tmp_path: Path,
) -> None:
    meta = tmp_path / "meta.json"
    facts = {"version": 1, "partitions": 8, "isolated": {}}
    meta.write_text(json.dumps({**facts, "schema": SCHEMA_VERSION + 1}))
    with pytest.raises(LayoutError, match=rf"of schema {SCHEMA_VERSION + 1}, .* up to {SCHEMA_VERSION}"):
        make_layout(tmp_path, configured(), 2)
    meta.write_text(json.dumps(facts))
    make_layout(tmp_path, configured(), 2)
    assert json.loads(meta.read_text())["schema"] == SCHEMA_VERSION


def test_a_place_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LayoutError, match="cannot be used"):
        make_layout(tmp_path / "file" / "data", configured(), 2)


def test_the_directory_is_the_owners_alone(tmp_path: Path) -> None:
    make_layout(tmp_path / "data", configured(), 2)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_system_is_its_cells_then_the_gateway_then_the_contact(tmp_path: Path) -> None:
    configuration = configured(sla("a"), sla("gold", "process"))
    system = build_system(tmp_path, configuration)({"runtime_dir": "/run/x", "token": "t"})
    assert [process.name for process in system.processes] == [
        "cell-0",
        "cell-1",
        "cell-gold",
        "gateway",
        "admin",
    ]
    topology = system.facts["topology"]
    assert topology["cells"][2] == {"name": "cell-gold", "socket": "/run/x/2.sock", "sla": "gold"}
    assert topology["partitions"] == configuration.service.partition_count
    assert {process.heartbeat_ms for process in system.processes} == {
        configuration.service.heartbeat_interval
    }
    cell = next(process for process in system.processes if process.name == "cell-gold")
    assert cell.args["settings"].socket_path == Path("/run/x/2.sock")


def test_a_second_generation_is_built_like_the_first(tmp_path: Path) -> None:
    build = build_system(tmp_path, configured(sla("a")))
    facts = {"runtime_dir": "/run/x", "token": "t"}
    assert build(facts) == build(facts)
