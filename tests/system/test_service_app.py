"""slakeeper inside a program, in either mode; and a contract with a process of its own."""

import threading
from pathlib import Path
from typing import Any, Literal

import pytest

from slakeeper import App, Metric, Sla
from slakeeper.launch import StartError
from slakeeper.otp import posix
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import sweep, until
from tests.system.service import MakeService

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

Mode = Literal["processes", "inline"]

CONTRACT = Sla.from_document(
    {
        "id": "api",
        "name": "API",
        "service_level": "99.9",
        "time_period": "30d",
        "approver": "chief",
        "metrics": [metric("latency", 250, unit="ms")],
        "compensation": [
            {"metric": "latency", "type": "credit", "formula": "credit = (actual - threshold) / 10"}
        ],
    }
)


@pytest.fixture(params=["inline", "processes"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def test_a_program_defines_observes_acts_and_finds_it_all_again(mode: Mode, tmp_path: Path) -> None:
    data = tmp_path / "data"
    heard: list[dict[str, Any]] = []
    with App.start(data=data, mode=mode) as app:
        app.on("violation.opened", heard.append)
        assert app.list_slas() == []
        assert app.define_sla(CONTRACT) == {"id": "api", "version": 1}
        assert app.define_sla("web", "Web", [Metric(name="errors", value=5, condition="lt")])["id"] == "web"
        assert app.list_slas() == ["api", "web"]
        assert app.get_sla("api") == CONTRACT
        assert [
            one["reason"] for one in app.validate_sla({"id": "bad", "service_level": 50, "metrics": []})
        ] == [
            "invalid_service_level",
            "no_metrics_defined",
        ]

        for value in (100, 200, 312.5):
            app.observe("latency", value)
        app.observe("nobody_promised", 1)
        assert app.flush() == [("nobody_promised", "unknown_metric")]
        (violation,) = app.violations()
        assert (violation["sla_id"], violation["actual_value"], violation["status"]) == ("api", 312.5, "open")
        assert [row["open_violations"] for row in app.check_slas()] == [1, 0]
        assert app.get_sla_status("api")["open_violations"] == 1
        until(lambda: heard, what="the event")
        assert heard[0]["violation"]["id"] == violation["id"]

        assert app.calculate_compensation(violation["id"])[0]["amount"] == "6.25"
        assert [one["id"] for one in app.enforce_slas()] == [violation["id"]]
        assert app.escalate_violation(violation["id"])["id"] == violation["id"]
        assert app.acknowledge(violation["id"], "eva", "on it")["status"] == "acknowledged"
        app.observe("latency", 100)
        app.flush()
        until(lambda: not app.violations(), what="the end")
        until(app.compensation, what="the ledger")

        app.stop_monitoring()
        app.observe("errors", 500)
        app.flush()
        assert {row["status"] for row in app.check_slas()} == {"suspended"}
        assert app.violations() == []
        app.start_monitoring()
        app.observe("errors", 500)
        app.flush()
        (second,) = app.violations()
        assert app.resolve(second["id"], "eva", "a test")["resolved_by"] == "eva"

    with App.start(data=data, mode=mode) as app:
        assert app.list_slas() == ["api", "web"]
        kept = {row["id"]: row for row in app.violations(include_resolved=True)}
        assert kept.keys() == {violation["id"], second["id"]}
        assert (kept[violation["id"]]["acknowledged_by"], kept[violation["id"]]["worst_value"]) == (
            "eva",
            312.5,
        )
        assert [(row["amount"], row["status"]) for row in app.compensation()] == [("6.25", "pending")]
        assert app.report("api")["sla"]["id"] == "api"
        app.remove_sla("web")
        assert app.list_slas() == ["api"]
    assert sweep() == []
    assert not [each.name for each in threading.enumerate() if each.name.startswith("slakeeper")]


def test_a_wrong_configuration_starts_nothing(mode: Mode, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", [contract("api", [metric("latency", -1)])])
    with pytest.raises(StartError, match=r"sla_definitions.yaml:\d+: slas\[0\].metrics\[0\].value"):
        App.start(config, tmp_path / "data", mode)
    assert sweep() == []


def test_two_programs_cannot_have_one_data_directory(mode: Mode, tmp_path: Path) -> None:
    with (
        App.start(data=tmp_path / "data", mode="inline"),
        pytest.raises(StartError, match="is in use by process"),
    ):
        App.start(data=tmp_path / "data", mode=mode)
    assert sweep() == []


def test_an_isolated_contract_has_a_cell_and_a_journal_of_its_own(
    make_service: MakeService, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path / "config",
        [
            contract("vip", [metric("latency"), metric("errors")], isolation="process"),
            contract("one", [metric("latency")]),
            contract("two", [metric("speed")]),
        ],
    )
    service = make_service(config)
    assert service.start()["cells"] == 3
    cells = {node["address"]: node for node in service.get("/v1/tree")["children"]}
    assert cells.keys() == {"cell-0", "cell-1", "cell-vip", "gateway", "admin"}

    def contracts(name: str) -> list[str]:
        layer = cells[name]["children"][0]["children"]
        return [child["address"] for child in layer if child["kind"] == "contract"]

    assert contracts("cell-vip") == ["contract:vip"]
    assert sorted(contracts("cell-0") + contracts("cell-1")) == ["contract:one", "contract:two"]
    assert (service.data / "partitions" / "alone-vip").is_dir()

    # A sample goes to every contract that has the metric, in whichever cell it lives.
    service.observe("latency", 500)
    opened = {row["sla_id"]: row["id"] for row in service.violations()}
    assert opened.keys() == {"vip", "one"}

    # Its loss is its own affair, and it finds everything again.
    before = service.processes()
    posix.kill([before["cell-vip"].pid])
    service.observe("speed", 1)
    service.observe("errors", 1)
    until(
        lambda: service.processes().get("cell-vip") not in (None, before["cell-vip"]) and service.is_whole()
    )
    assert {name for name, process in service.processes().items() if process != before[name]} == {"cell-vip"}
    assert {row["sla_id"]: row["id"] for row in service.violations()} == opened
    service.stop()

    # It stays where its journal is.
    service.start()
    assert {row["sla_id"]: row["id"] for row in service.violations()} == opened
    assert service.metric("vip", "errors")["samples_accepted"] == 1
    service.stop()
