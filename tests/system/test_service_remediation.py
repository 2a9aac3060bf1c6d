"""Automatic remediation of real cells: switched off and on while they run, and over kill -9."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

PARTITIONS = 8


@pytest.fixture
def service(make_service: MakeService, tmp_path: Path) -> Service:
    done = tmp_path / "done"
    enforcement = {
        "automatic_actions": [
            {
                "name": f"mend_{name}",
                "trigger_metric": name,
                "condition": {"gt": 100},
                "action": "touch",
                "target": name,
            }
            for name in ("latency", "door")
        ],
        "remedies": {"touch": {"type": "command", "argv": ["/bin/sh", "-c", f"echo x >> {done}"]}},
        "remediation": {"verify_after": "1m"},
    }
    slas = [contract("shop", [metric("latency")]), contract("vault", [metric("door")], isolation="process")]
    config = write_config(tmp_path / "config", slas, enforcement, service={"partitions": PARTITIONS})
    made = make_service(config, cells=2)
    made.start()
    return made


def tried(service: Service, name: str) -> list[dict[str, Any]]:
    row = service.violation(name)
    return [] if row is None else list(row["remediation_actions"])


def test_the_switch_holds_in_every_cell_and_after_kill_9(service: Service, tmp_path: Path) -> None:
    answer = service.show("remediation", "off", "--by", "ann", "--reason", "upgrade")
    assert (answer["state"], answer["by"], answer["unreached"]) == ("off", "ann", [])
    for cell in ("cell-0", "cell-1", "cell-vault"):
        os.kill(service.pid(cell), signal.SIGKILL)
    until(service.is_whole, what="all cells to be back")
    assert service.show("status")["remediation"]["state"] == "off"
    assert service.get("/v1/status")["remediation"]["reason"] == "upgrade"
    for name in ("latency", "door"):
        service.observe(name, 500)
        until(lambda name=name: bool(tried(service, name)), what="the violation")  # type: ignore[misc]
        assert [row["result"] for row in tried(service, name)] == [
            "not tried: remediation is switched off by ann: upgrade"
        ]
    assert not (tmp_path / "done").exists()
    said = service.cli("status").out
    assert "no action runs by itself: switched off by ann: upgrade" in said

    assert service.show("remediation", "on", "--by", "bob", "--reason", "done")["state"] == "on"
    for name in ("latency", "door"):
        service.observe(name, 1)
        until(lambda name=name: service.violation(name) is None, what="the end")  # type: ignore[misc]
        service.observe(name, 500)
    until(lambda: (tmp_path / "done").exists() and (tmp_path / "done").read_text() == "x\nx\n", what="both")
    kinds = [row["what"] for row in service.show("audit", "tail", "-n", "200")]
    assert "remediation.switched_off" in kinds
    assert "remediation.switched_on" in kinds
    service.stop()


def test_an_open_breaker_holds_in_every_cell_and_after_kill_9(
    make_service: MakeService, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    enforcement = {
        "automatic_actions": [
            {"name": "mend", "trigger_metric": "latency", "condition": {"gt": 100}, "action": "fail"}
        ],
        "remedies": {
            "fail": {
                "type": "command",
                "argv": ["/bin/sh", "-c", f"echo x >> {done}; echo first; echo last; exit 1"],
            }
        },
        "remediation": {"max_remediation_attempts": 1, "breaker_failures": 1, "breaker_reset": "1h"},
    }
    metrics = [metric("latency")]
    slas = [contract("shop", metrics), contract("vault", metrics, isolation="process")]
    service = make_service(
        write_config(tmp_path / "config", slas, enforcement, service={"partitions": PARTITIONS}), cells=2
    )
    service.start()

    def results(sla_id: str) -> list[str]:
        rows = [row for row in service.violations() if row["sla_id"] == sla_id]
        return [action["result"] for row in rows for action in row["remediation_actions"]]

    service.observe("latency", 500, sla="shop")
    until(lambda: any("exit" in each for each in results("shop")), what="the attempt to have failed")
    for cell in ("cell-0", "cell-1", "cell-vault"):
        os.kill(service.pid(cell), signal.SIGKILL)
    until(service.is_whole, what="all cells to be back")
    service.observe("latency", 500, sla="vault")
    until(lambda: bool(results("vault")), what="the other violation")
    [said] = results("vault")
    assert said.startswith("not tried: the breaker of action mend is open until ")
    [failed] = [row["id"] for row in service.violations() if row["sla_id"] == "shop"]
    for shown in (service.show("violations", "show", failed), service.get(f"/v1/violations/{failed}")):
        [attempt] = shown["remediation_actions"]
        assert (attempt["result"], attempt["output"]) == ("exit code 1: last", "first\nlast\n")
    assert "mend, attempt 1, printed:\n  first\n  last\n" in service.cli("violations", "show", failed).out
    assert "output" not in service.get("/v1/violations")[0]["remediation_actions"][0]
    assert done.read_text() == "x\n"
    [row] = service.show("status")["remediation"]["breakers_open"]
    assert (row["action"], row["failures"]) == ("mend", 1)
    assert row["message"] in service.cli("status").out.replace("\n", " ")
    assert b"slakeeper_breakers_open 1.0" in service.http("GET", "/metrics").body
    service.stop()


def test_the_switch_is_turned_over_http_and_the_chain_says_by_whom(service: Service) -> None:
    reply = service.http("POST", "/v1/remediation", {"state": "off", "by": "ann", "reason": "upgrade"})
    assert (reply.status, reply.document["state"], reply.document["unreached"]) == (200, "off", [])
    assert service.show("status")["remediation"]["by"] == "ann"
    [entry] = [each for each in service.show("audit", "tail") if each["what"] == "remediation.switched_off"]
    assert (entry["who"], entry["via"], entry["details"]["reason"]) == ("ann", "http", "upgrade")
    service.stop()
