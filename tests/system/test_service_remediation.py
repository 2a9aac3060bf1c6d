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
