"""A backup is taken while clients send; the copy has all that was acknowledged before, and tells nobody by itself."""

from pathlib import Path
from typing import Any

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks
from tests.system.remains import until
from tests.system.sender import Sender
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]


@pytest.fixture
def config(tmp_path: Path, hooks: Hooks) -> Path:
    rule = {"metric": "over", "type": "credit", "formula": "credit = actual - threshold"}
    return write_config(
        tmp_path / "config",
        [
            contract("busy", [metric("requests", lateness="10m")]),
            contract("shop", [metric("over"), metric("open")], compensation=[rule]),
        ],
        {"channels": {"hook": {"type": "webhook", "url": hooks.url}}},
        {"alert_channels": ["hook"]},
        # Snapshots come and go while the copy is made.
        {"snapshot_interval": "100ms"},
    )


def known(service: Service) -> dict[str, Any]:
    return {
        "violations": service.violations(resolved=True),
        "ledger": service.get("/v1/compensation"),
        "contracts": sorted(row["id"] for row in service.get("/v1/slas")),
        "requests": service.metric("busy", "requests")["samples_accepted"],
    }


def test_what_was_acknowledged_before_a_backup_is_in_it_and_a_copy_tells_nobody(
    make_service: MakeService, config: Path, hooks: Hooks, tmp_path: Path
) -> None:
    service = make_service(config)
    service.start()
    disk = service.show("status")["disk"]
    assert 0 < disk["journal_bytes"] <= disk["used_bytes"] < disk["free_bytes"]
    assert disk.keys() == service.get("/v1/status")["disk"].keys()
    assert "\ndisk: " in service.invoke("status").out
    service.observe("over", 500)
    service.observe("over", 1)
    service.observe("open", 500)
    until(lambda: service.get("/v1/compensation"), what="what is owed")
    until(lambda: service.violation("open"), what="the violation")
    until(lambda: len(hooks.calls) == 3, what="the alerts")
    until(lambda: service.actor("alert:shop")["state"]["deliveries"] == [], what="the receipts")
    before = known(service)
    backups = []
    with Sender(service, "requests") as sender:
        for number in range(4):
            begun = sender.batches
            until(lambda begun=begun: sender.batches > begun + 20, what="a running sender")  # type: ignore[misc]
            acknowledged = sender.acknowledged
            made = service.show("backup", str(tmp_path / f"{number}.tar"))
            # One batch may have been on its way to its answer.
            backups.append((made, acknowledged, sender.acknowledged + 5))
    told = len(hooks.calls)

    for number, (made, at_least, at_most) in enumerate(backups):
        copy = make_service(config, name=f"copy-{number}")
        restored = copy.show("restore", made["file"])
        assert restored["partitions"] == made["partitions"]
        start = copy.cli(*copy.start_arguments, "--detach")
        assert start.code == 0, start
        assert "nobody is told and no action is run" in start.complaint
        shown = known(copy)
        assert at_least <= shown["requests"] <= at_most, made
        assert {**shown, "requests": 0} == {**before, "requests": 0}
        assert copy.show("audit", "verify")["ok"]
        # A batch is in it as a whole.
        assert shown["requests"] % 5 == 0
        if number == 0:
            held_copy(copy, hooks, told)
        copy.stop()

    # The original has not noticed.
    assert known(service)["requests"] == sender.acknowledged
    service.stop()


def held_copy(copy: Service, hooks: Hooks, told: int) -> None:
    """It works as the original does, but that nothing leaves; with ``--live`` it is the original."""
    copy.observe("open", 1)
    row = until(lambda: copy.violation("open", "resolved"), what="the end of the violation")
    assert row is not None
    assert "this is a copy restored from a backup" in copy.invoke("status").out
    until(lambda: copy.actor("alert:shop")["state"]["deliveries"] == [], what="the receipts")
    assert len(hooks.calls) == told
    copy.stop()
    assert copy.cli(*copy.start_arguments, "--detach", "--live").err == ""
    assert "this is a copy" not in copy.invoke("status").out
    copy.observe("open", 500)
    until(lambda: len(hooks.calls) > told, what="the alert of the copy that took over")
    # It has become another violation: for the comparison the copy is made anew.


def test_a_copy_restored_twice_is_the_same(make_service: MakeService, config: Path, tmp_path: Path) -> None:
    service = make_service(config)
    service.start()
    service.observe("open", 500)
    until(lambda: service.violation("open"), what="the violation")
    made = service.show("backup", str(tmp_path / "one.tar"))
    service.stop()
    # Of a stopped one it is a command as any other.
    service.show("backup", str(tmp_path / "two.tar"))
    seen = []
    for name in ("first", "second"):
        copy = make_service(config, name=name)
        copy.show("restore", made["file"])
        again = copy.cli("restore", made["file"])
        assert (again.code, again.out) == (1, "")
        assert "is not empty" in again.complaint
        assert copy.cli(*copy.start_arguments, "--detach").code == 0
        seen.append(known(copy))
        busy = copy.cli("restore", made["file"])
        assert "is in use by process" in busy.complaint
        copy.stop()
    assert seen[0] == seen[1]
