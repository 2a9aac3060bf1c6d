"""Silences and dependencies between real cells: in force everywhere, after kill -9 too, and told when they are over."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp.placement import owner_of, partition_of
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

PARTITIONS = 8


def in_cell(number: int, name: str) -> str:
    """An id that lives in that one of two cells."""
    ids = (f"{name}-{each}" for each in range(1000))
    return next(each for each in ids if owner_of(partition_of(each, PARTITIONS), 2) == number)


NETWORK, SHOP, ALONE = in_cell(0, "network"), in_cell(1, "shop"), "vault"


@pytest.fixture
def service(make_service: MakeService, tmp_path: Path, hooks: Hooks) -> Service:
    slas = [
        contract(NETWORK, [metric("loss")]),
        contract(SHOP, [metric("latency")], depends_on=[NETWORK]),
        contract(ALONE, [metric("door")], isolation="process", depends_on=[NETWORK]),
    ]
    config = write_config(
        tmp_path / "config",
        slas,
        {"channels": {"hook": {"type": "webhook", "url": hooks.url}}},
        {"alert_channels": ["hook"]},
        service={"partitions": PARTITIONS},
    )
    made = make_service(config, cells=2)
    made.start()
    return made


def told(hooks: Hooks, service: Service, name: str) -> bool:
    row = service.violation(name)
    return row is not None and bool(hooks.of("opened", row["id"]))


def shown(service: Service, name: str) -> dict[str, Any]:
    row = service.violation(name)
    assert row is not None
    return row


def test_a_silence_holds_in_every_cell_and_after_kill_9_and_what_is_open_is_told_when_it_is_ended(
    service: Service, hooks: Hooks
) -> None:
    how = ("--for", "2h", "--by", "ann", "--reason", "upgrade")
    made = service.show("silence", "add", "--match", "metric=~latency|door", *how)
    mistyped = service.invoke("silence", "add", "--sla", SHOP, "--metric", "latancy", *how)
    assert (mistyped.code, made["warnings"]) == (0, [])
    mistyped_id, warning = mistyped.err.removeprefix("slakeeper: ").split(": ")
    assert warning == "there is no metric 'latancy' now\n"
    service.show("silence", "expire", mistyped_id, "--by", "ann")
    for name, sla_id in (("latency", SHOP), ("door", ALONE)):
        service.observe(name, 500, sla=sla_id)
    for cell in ("cell-1", f"cell-{ALONE}"):
        os.kill(service.pid(cell), signal.SIGKILL)
    until(service.is_whole, what="both cells to be back")
    assert [row["id"] for row in service.show("silence", "list")] == [made["id"]]
    assert [shown(service, name)["silenced_by"] for name in ("latency", "door")] == [[made["id"]]] * 2
    service.observe("loss", 500, sla=NETWORK)
    until(lambda: told(hooks, service, "loss"), what="news of what is not silenced")
    service.observe("loss", 1, sla=NETWORK)
    assert not told(hooks, service, "latency")
    assert not told(hooks, service, "door")
    service.http("DELETE", f"/v1/silences/{made['id']}?by=bob")
    assert service.get("/v1/silences") == []
    until(
        lambda: told(hooks, service, "latency") and told(hooks, service, "door"),
        limit_s=60,
        what="news of what was silenced",
    )
    service.stop()


def test_a_break_in_another_cell_mutes_what_depends_on_it_until_it_is_over(
    service: Service, hooks: Hooks
) -> None:
    service.observe("loss", 500, sla=NETWORK)
    service.observe("latency", 500, sla=SHOP)
    service.observe("door", 500, sla=ALONE)
    until(
        lambda: all(shown(service, name)["inhibited_by"] == [NETWORK] for name in ("latency", "door")),
        what="the break to be known in all cells",
    )
    until(lambda: told(hooks, service, "loss"), what="news of the network")
    service.show("resolve", shown(service, "loss")["id"], "--by", "ann")
    until(
        lambda: told(hooks, service, "latency") and told(hooks, service, "door"),
        limit_s=60,
        what="news of what is still broken",
    )
    service.stop()
