"""A disk that fills up: samples are refused, nothing acknowledged is lost, and all goes on when there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slakeeper import App
from slakeeper.client import RequestFailed
from tests.system import faulty_disk
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import COMMAND, MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

RESERVE_BYTES = 4_000_000
DISK_BYTES = 16_000_000


class MountedDisk:
    """A file system of its own, which is full soon; only where one may be mounted."""

    program = COMMAND

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._others = folder / "others"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def fill(self, leave_bytes: int) -> None:
        """Takes all room but so much."""
        with self._others.open("ab") as file:
            try:
                file.truncate(0)
                while True:
                    file.write(bytes(100_000))
                    file.flush()
            except OSError:
                pass
        size = self._others.stat().st_size
        with self._others.open("r+b") as file:
            file.truncate(max(0, size - leave_bytes))

    def clear(self) -> None:
        self._others.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class PretendedDisk(faulty_disk.Disk):
    """A disk that says it is full, and then takes nothing more; everywhere."""

    program = faulty_disk.PROGRAM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data")
        self.folder = folder

    def close(self) -> None:
        pass


SmallDisk = MountedDisk | PretendedDisk


@pytest.fixture(params=[MountedDisk, PretendedDisk])
def small_disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk: SmallDisk = request.param(folder)
    if isinstance(disk, PretendedDisk):  # for a service within this process
        faulty_disk.install(disk, monkeypatch.setattr)
    yield disk
    disk.close()


@pytest.fixture
def service(small_disk: SmallDisk, tmp_path: Path, make_service: MakeService) -> Service:
    config = write_config(
        tmp_path / "config",
        [contract("shop", [metric("orders", aggregation="sum", interval="1h")])],
        service={"min_free_bytes": RESERVE_BYTES},
    )
    made = make_service(config, "disk/data", cells=1, program=small_disk.program)
    made.start()
    return made


def outcome(service: Service, batch_id: str) -> int:
    """The status of a POST of one sample with that batch id; 0 without an answer."""
    body = {"samples": [{"metric": "orders", "value": 1}], "batch_id": batch_id}
    try:
        return service.http("POST", "/v1/samples", body).status
    except OSError:
        return 0


def test_samples_are_refused_below_the_reserve_and_people_are_not(
    service: Service, small_disk: SmallDisk
) -> None:
    assert outcome(service, "1") == 202
    small_disk.fill(RESERVE_BYTES // 2)
    until(lambda: outcome(service, "2") == 503, what="samples to be refused")
    reply = service.http(
        "POST", "/v1/samples", {"samples": [{"metric": "orders", "value": 1}], "batch_id": "3"}
    )
    assert int(reply.headers["retry-after"]) >= 1
    assert "the disk is nearly full" in reply.document["reason"]
    assert reply.document["cause"] == "no_room"
    assert "the disk is nearly full, samples are refused" in service.cli("status").out
    assert service.cli("sla", "suspend", "shop").code == 0
    assert service.cli("sla", "resume", "shop").code == 0
    small_disk.clear()
    until(lambda: outcome(service, "3") == 202, what="samples to be taken again")
    assert {row["restarts"] for row in service.get("/v1/status")["processes"]} == {0}
    service.stop()


def test_a_disk_that_others_fill_to_the_last_byte_loses_nothing(
    service: Service, small_disk: SmallDisk
) -> None:
    sent = acknowledged = 0
    for number in range(5):
        sent += 1
        acknowledged += outcome(service, f"before-{number}") == 202
    cell = service.processes()["cell-0"]
    small_disk.fill(0)

    def has_ended() -> bool:
        """The reserve is gone: what still has to be written ends the cell, once the journal's last page is full."""
        service.invoke("sla", "suspend", "shop")
        service.invoke("sla", "resume", "shop")
        return not cell.alive()

    until(has_ended, what="the cell to end")
    until(lambda: outcome(service, "x") == 503, what="samples to be refused")
    refused = service.cli("sla", "show", "shop")
    assert refused.code != 0
    assert "room on the disk" in refused.err
    assert "cell-0 waits for room on the disk" in service.cli("status").out
    small_disk.clear()
    until(lambda: outcome(service, "x") == 202, what="the cell to go on")
    row = service.metric("shop", "orders")
    assert acknowledged == sent == 5
    assert row["samples_accepted"] == acknowledged + 1
    service.stop()
    assert not [*(small_disk.folder / "data" / "partitions").rglob("*.broken")]


def test_a_service_that_is_stopped_on_a_full_disk_starts_when_there_is_room(
    service: Service, small_disk: SmallDisk
) -> None:
    assert outcome(service, "1") == 202
    small_disk.fill(0)
    service.stop()
    small_disk.clear()
    service.start()
    assert service.metric("shop", "orders")["samples_accepted"] == 1
    assert outcome(service, "1") == 202  # a resend: not counted twice
    assert service.metric("shop", "orders")["samples_accepted"] == 1
    service.stop()


def test_a_detached_start_says_that_the_disk_is_nearly_full(service: Service, small_disk: SmallDisk) -> None:
    service.stop()
    small_disk.fill(RESERVE_BYTES * 3 // 4)
    started = service.cli(*service.start_arguments, "--detach")
    assert started.code == 0
    assert started.err.startswith("slakeeper: the disk is nearly full, samples are refused: ")
    assert " 3.8 MiB are to stay free" in started.err
    service.stop()
    small_disk.clear()
    assert service.cli(*service.start_arguments, "--detach").err == ""
    service.stop()


def test_a_program_with_slakeeper_inside_goes_on_by_itself_when_there_is_room(
    small_disk: SmallDisk, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path / "config",
        [contract("shop", [metric("orders", aggregation="sum", interval="1h")])],
        service={"min_free_bytes": RESERVE_BYTES},
    )

    def accepted(app: App) -> int:
        shown = app._cluster.sla("shop").result(10)
        return int(shown["metrics"][0]["samples_accepted"])

    with App.start(config, small_disk.folder / "data", "inline") as app:
        app.observe("orders", 1)
        assert app.flush() == []
        small_disk.fill(0)

        def has_no_room() -> bool:
            try:
                app.stop_monitoring("shop")
                app.start_monitoring("shop")
            except RequestFailed as failure:
                return "room on the disk" in str(failure)
            return False

        def is_back() -> bool:
            try:
                return app.list_slas() == ["shop"]
            except RequestFailed:
                return False

        until(has_no_room, what="the disk to be full to the last page of the journal")
        small_disk.clear()
        until(is_back, what="the cell to be there again")
        app.start_monitoring("shop")
        app.observe("orders", 1)
        assert app.flush() == []
        assert accepted(app) == 2
    with App.start(config, small_disk.folder / "data", "inline") as app:
        assert accepted(app) == 2
