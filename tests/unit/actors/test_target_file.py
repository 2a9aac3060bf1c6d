"""Remediation targets as files: one record for all cells and over every restart."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.target_file import TargetError, TargetFiles, acting_on, file_name
from slakeeper.otp.actor import RequestError
from slakeeper.sla.policy import EnforcementPolicy, RemediationSettings
from slakeeper.sla.target import TargetBusy, wanted
from tests.unit.actors.cell_world import (
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    WARNING,
    World,
    action,
    contract,
    enforcement,
    metric,
)
from tests.unit.actors.test_audit import said

SETTINGS = RemediationSettings.model_validate({"breaker_failures": 100})


@pytest.fixture
def files(tmp_path: Path) -> TargetFiles:
    return TargetFiles(tmp_path / "targets")


def take(files: TargetFiles, target: str, key: str) -> None:
    files.claim(target, wanted("run", "restart", key, SETTINGS, NOW_MS), SETTINGS, NOW_MS)


def test_what_one_process_writes_another_reads(files: TargetFiles, tmp_path: Path) -> None:
    take(files, "host-1", "k1")
    other = TargetFiles(tmp_path / "targets")
    with pytest.raises(TargetBusy):
        other.claim("host-1", wanted("run-2", "x", "k2", SETTINGS, NOW_MS), SETTINGS, NOW_MS)
    files.settle("host-1", "k1", False, SETTINGS, NOW_MS)
    assert TargetFiles(tmp_path / "targets").breakers()["restart"].failures == 1
    record = tmp_path / "targets" / "host-1.json"
    assert (record.stat().st_mode & 0o077, record.parent.stat().st_mode & 0o077) == (0, 0)


def test_nothing_is_known_before_the_first_attempt(files: TargetFiles) -> None:
    assert files.breakers() == {}


def test_failures_that_are_told_at_once_are_all_counted(files: TargetFiles) -> None:
    def fail(target: str) -> None:
        for number in range(20):
            take(files, target, f"{number}")
            files.settle(target, f"{number}", False, SETTINGS, NOW_MS)

    threads = [threading.Thread(target=fail, args=(f"host-{each}",)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [files._change(f"host-{each}", lambda known: known).breaker("restart") for each in range(4)]
    assert [each.failures for each in found] == [20] * 4


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"claim": 7, "breakers": {"a": 1}}', '{"claim": null}'])
def test_a_damaged_record_is_named_and_lets_nothing_begin(
    files: TargetFiles, tmp_path: Path, damage: str
) -> None:
    take(files, "host-1", "k1")
    (tmp_path / "targets" / "host-1.json").write_text(damage)
    with pytest.raises(TargetError, match=r"host-1\.json is damaged; remove it"):
        take(files, "host-1", "k2")


def test_each_target_has_a_name_of_its_own_that_a_file_may_have() -> None:
    targets = ["a/b", "a_b", "a%2Fb", "..", "x" * 300, "x" * 299 + "y", "ü" * 60, "host-1"]
    names = [file_name(each) for each in targets]
    assert len(set(names)) == len(targets)
    assert all(len(name) <= 200 and "/" not in name for name in names)
    assert file_name("host-1") == "host-1"


def test_a_lock_is_held_while_an_attempt_acts(tmp_path: Path) -> None:
    with acting_on("host-1", tmp_path / "locks"):
        with (tmp_path / "locks" / "host-1.lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(TargetBusy), acting_on("host-1", tmp_path / "locks"):
            pass
    with acting_on("host-1", tmp_path / "locks"):
        pass


# -- cells ----------------------------------------------------------------------------------------------------


def remediating(**settings: Any) -> EnforcementPolicy:
    return enforcement(
        automatic_actions=[action()],
        remedies={"reboot": {"type": "command", "argv": ["reboot"]}},
        remediation={"verify_after": "30s", "backoff": "10s", "max_remediation_attempts": 1, **settings},
    )


@pytest.fixture
def cells(
    tmp_path: Path, make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[World]]:
    """Makes cells of one data directory."""

    def make(count: int, policy: EnforcementPolicy) -> list[World]:
        made = [make_world(policy, shared=tmp_path / "shared") for _ in range(count)]

        def run_remedy(remedy: Any, of: Any, *, idempotency_key: str, **rest: Any) -> Any:
            [owner] = [
                each
                for each in made
                if any(row["id"] in idempotency_key for row in each.violations(resolved=True))
            ]
            return owner.run_remedy(remedy, of, idempotency_key=idempotency_key, **rest)

        monkeypatch.setattr("slakeeper.actors.remediation.run_remedy", run_remedy)
        for number, world in enumerate(made):
            world.define(contract(id=f"api-{number}", metrics=[metric("latency")], compensation=[]))
        return made

    return make


def results(world: World) -> list[tuple[str, str]]:
    return [(row["status"], row["result"]) for row in world.violation()["remediation_actions"]]


def test_a_breaker_that_is_open_stays_so_over_a_restart(make_world: Callable[..., World]) -> None:
    world = make_world(remediating(breaker_failures=1, breaker_reset="10m"))
    world.remedy_works = False
    world.define(contract(id="a", metrics=[metric("latency")], compensation=[]))
    world.define(contract(id="b", metrics=[metric("latency")], compensation=[]))
    world.observe(WARNING, sla="a")
    [before] = world.request("status")["remediation"]["breakers_open"]
    assert (before["action"], before["failures"]) == ("restart", 1)
    world.restart()
    assert world.request("status")["remediation"]["breakers_open"] == [before]
    world.observe(WARNING, sla="b")
    assert len(world.remedied) == 1
    [row] = [row for row in world.violations() if row["sla_id"] == "b"]
    assert row["remediation_actions"][0]["result"] == f"not tried: {before['message']}"
    with pytest.raises(RequestError, match="the breaker of action restart is open"):
        world.request("violation.remediate", id=row["id"], action="restart", by="ann")
    world.pass_time(10 * MINUTE_MS)
    assert world.request("status")["remediation"]["breakers_open"] == []
    world.request("violation.remediate", id=row["id"], action="restart", by="ann")
    world.settle()
    assert len(world.remedied) == 2


def test_failures_in_all_cells_open_one_breaker(cells: Callable[..., list[World]]) -> None:
    worlds = cells(4, remediating(breaker_failures=3, breaker_reset="10m"))
    for world in worlds:
        world.remedy_works = False
        world.observe(WARNING)
        world.pass_time(MINUTE_MS)
    assert [len(world.remedied) for world in worlds] == [1, 1, 1, 0]
    [(status, result)] = results(worlds[3])
    assert (status, result.startswith("not tried: the breaker of action restart is open until")) == (
        "failed",
        True,
    )
    # Nobody was helped, so a warning is told to people at once.
    assert len(worlds[3].told("escalation")) == 1
    assert [row["action"] for row in worlds[3].request("status")["remediation"]["breakers_open"]] == [
        "restart"
    ]
    assert not any(world.host.crash_reports for world in worlds)


def test_a_target_is_one_runs_until_its_attempt_is_verified_in_whichever_cell(
    cells: Callable[..., list[World]],
) -> None:
    one, other = cells(2, remediating())
    one.observe(INFO)
    other.observe(INFO)
    assert (len(one.remedied), len(other.remedied)) == (1, 0)
    assert results(other) == [("pending", "waits: another run is acting on this target")]
    # The process that holds it dies and comes back: it is its target still.
    one.restart()
    other.pass_time(20 * SECOND_MS)
    assert len(other.remedied) == 0
    one.pass_time(31 * SECOND_MS)
    assert results(one) == [("completed", "ineffective")]
    other.pass_time(20 * SECOND_MS)
    assert len(other.remedied) == 1
    # However often it looked in vain, it is one attempt.
    [attempted] = said(other, "remediation.attempted")
    assert attempted["details"]["attempt"] == 1


def test_a_target_whose_cell_does_not_come_back_is_free_after_a_while(
    cells: Callable[..., list[World]],
) -> None:
    one, other = cells(2, remediating(remediation_timeout="1m"))
    one.observe(INFO)
    assert len(one.remedied) == 1
    other.observe(INFO)
    other.pass_time(140 * SECOND_MS)
    assert len(other.remedied) == 0
    other.pass_time(30 * SECOND_MS)
    assert len(other.remedied) == 1
    assert other.environment.claims.breakers()["restart"].failures >= 1
