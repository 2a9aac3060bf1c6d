"""What remedies printed: kept in files, shown with one violation, gone with it, and bounded."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors import output_file
from slakeeper.actors.output_file import SHOWN_OUTPUTS, OutputFiles
from slakeeper.integrations.remedy import RemedyResult
from slakeeper.sla.record import ActionRecord, ActionType
from tests.unit.actors.cell_world import DAY_MS, SECOND_MS, WARNING, World
from tests.unit.actors.test_remediation import remediating

MakeWorld = Callable[..., World]


@pytest.fixture
def files(tmp_path: Path) -> OutputFiles:
    return OutputFiles(tmp_path / "outputs")


def record(attempt: int, name: str = "restart") -> ActionRecord:
    return ActionRecord(f"v1.{name}.{attempt}", ActionType.AUTOMATIC, name, "t", {}, attempt, attempt=attempt)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "outputs").iterdir())


# --- files -------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_again_by_whoever_comes_later(files: OutputFiles, tmp_path: Path) -> None:
    files.keep("v1", "restart", 1, "grüße\n")
    files.keep("v1", "a/b..", 2, "second")
    read = OutputFiles(tmp_path / "outputs").read("v1", [record(1), record(2, "a/b.."), record(3)])
    assert read == {"v1.restart.1": "grüße\n", "v1.a/b...2": "second"}
    assert files.read("v2", [record(1)]) == {}
    for path in (tmp_path / "outputs").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_the_latest_attempts_are_shown(files: OutputFiles) -> None:
    count = SHOWN_OUTPUTS + 3
    for attempt in range(1, count + 1):
        files.keep("v1", "restart", attempt, str(attempt))
    shown = files.read("v1", [record(attempt) for attempt in range(1, count + 1)])
    assert set(shown.values()) == {str(attempt) for attempt in range(4, count + 1)}


def test_the_oldest_go_beyond_the_limit(
    files: OutputFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_file, "KEPT_OUTPUTS", 3)
    for number in (3, 1, 2):
        files.keep(f"v{number}", "restart", 1, "x")
        os.utime(tmp_path / "outputs" / f"v{number}.restart.1.txt", (number, number))
    files.keep("v0", "restart", 1, "x")
    assert names(tmp_path) == ["v0.restart.1.txt", "v2.restart.1.txt", "v3.restart.1.txt"]


def test_what_is_forgotten_is_gone_and_nothing_else(files: OutputFiles, tmp_path: Path) -> None:
    files.forget(["v1"])
    for violation_id in ("v1", "v10", "v2"):
        files.keep(violation_id, "restart", 1, "x")
    files.forget(["v1", "v2", "v3"])
    assert names(tmp_path) == ["v10.restart.1.txt"]


def test_cells_that_keep_and_tidy_at_once_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(output_file, "KEPT_OUTPUTS", 20)

    def work(cell: int) -> None:
        files = OutputFiles(tmp_path / "outputs")
        for attempt in range(30):
            files.keep(f"v{cell}", "restart", attempt, "x")

    threads = [threading.Thread(target=work, args=(cell,)) for cell in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    OutputFiles(tmp_path / "outputs").keep("v9", "restart", 1, "x")
    assert len(names(tmp_path)) == 20
    assert caplog.text == ""


def test_a_disk_that_takes_nothing_costs_the_output_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outputs").write_text("in the way")
    OutputFiles(tmp_path / "outputs").keep("v1", "restart", 1, "x")
    assert "v1: the output of restart, attempt 1, is not kept" in caplog.text


# --- in a cell ---------------------------------------------------------------------------------------


def printing(world: World, monkeypatch: pytest.MonkeyPatch, ok: bool = False) -> None:
    """Remedies print which attempt they are."""

    def run_remedy(remedy: Any, action: Any, *, idempotency_key: str, **_: Any) -> RemedyResult:
        world.remedied.append(idempotency_key)
        return RemedyResult(ok, "exit code 1: gone", f"tried {idempotency_key}\ngone\n", 1, 1)

    monkeypatch.setattr("slakeeper.actors.remediation.run_remedy", run_remedy)


def outputs(world: World) -> list[str | None]:
    shown = world.request("violation.show", id=world.violation()["id"])
    return [row["output"] for row in shown["remediation_actions"]]


def test_one_violation_shows_what_each_attempt_printed_and_a_list_does_not(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(remediating(max_remediation_attempts=2))
    printing(world, monkeypatch)
    world.define()
    world.observe(WARNING)
    world.pass_time(10 * SECOND_MS)
    expected = [f"tried {key}\ngone\n" for key in world.remedied]
    assert len(expected) == 2
    assert outputs(world) == expected
    assert all("output" not in row for row in world.violation()["remediation_actions"])
    world.restart()
    assert outputs(world) == expected


def test_an_attempt_that_printed_nothing_has_no_output(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_remediation_attempts=1))
    world.define()
    world.observe(WARNING)
    assert outputs(world) == [None]
    assert not (world.shared / "outputs").exists()


def test_whatever_crashes_whoever_sees_the_end_sees_the_output(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for commit in range(1, 12):
        for when in ("before", "after"):
            world = make_world(remediating(max_remediation_attempts=1))
            printing(world, monkeypatch)
            world.define()
            world.crash_at = (world.commits + commit, when)
            world.do(lambda each: each.observe(WARNING, batch_id="b"))
            world.do(lambda each: each.pass_time(2 * SECOND_MS))
            shown = world.request("violation.show", id=world.violation()["id"])
            ended = [row for row in shown["remediation_actions"] if row["result"].startswith("exit code")]
            assert all(row["output"] for row in ended)


@pytest.mark.parametrize("was_down", [False, True])
def test_it_goes_when_retention_lets_its_violation_go(
    was_down: bool, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(remediating(max_remediation_attempts=1))
    printing(world, monkeypatch)
    world.define()
    world.observe(WARNING)
    world.recover()
    assert len(names(world.shared)) == 1
    assert outputs(world)[0] is not None
    if was_down:
        world.clock.advance(11 * DAY_MS)
        world.restart()
        world.settle()
    world.pass_time(11 * DAY_MS)
    assert world.violations(resolved=True) == []
    assert names(world.shared) == []
