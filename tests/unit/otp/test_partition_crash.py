"""Power is lost at every operation, with every kind of survival: what was committed is there, in order."""

import errno
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.otp.journal import segment_path
from slakeeper.otp.partition import Event, JournalError
from slakeeper.otp.sim_filesystem import CrashFileSystem, PowerLoss, Survival
from tests.unit.otp.partition_world import (
    DIRECTORY,
    SCRIPTS,
    Command,
    Run,
    State,
    dumps_of,
    opened,
    partition_on,
    state_of,
)

WITHIN_S = 20.0

# Starts, events, a stop, a rollback, snapshots in one go, and one with commits before, during and after it.
SCRIPT: list[Command] = [
    ("commit", [(1, "a", b""), (1, "b", b"")]),
    ("commit", [(1, "a", b"one"), (1, "b", b"two"), (1, "a", b"three")]),
    ("snapshot", (False, ["a", "b"])),
    ("commit", [(1, "c", b""), (1, "a", b"x" * 1300)]),
    ("rollback", [(0, "a", b""), (1, "c", b"gone"), (1, "a", b""), (1, "d", b"")]),
    ("snapshot", (False, ["a"])),
    ("commit", [(0, "b", b""), (1, "b", b"again")]),
    ("snapshot", (True, ["a", "b", "c"])),
    ("commit", [(1, "a", b"during")]),
    ("commit", [(1, "b", b"during")]),
    ("finish_snapshot", None),
    ("commit", [(1, "c", b"after")]),
    ("snapshot", (False, [])),
    ("commit", [(1, "a", b"last")]),
]


def survivals(seeds: int) -> list[Survival]:
    return ["nothing", "everything", *map(Random, range(seeds))]


def crash(script: Sequence[Command], crash_at: int) -> Run:
    run = Run(CrashFileSystem(crash_at=crash_at))
    with pytest.raises(PowerLoss):
        run.execute(script)
    return run


def steps_of(script: Sequence[Command]) -> int:
    run = Run(CrashFileSystem())
    run.execute(script)
    return run.fs.steps


def recovered_for_good(fs: CrashFileSystem, allowed: set[State]) -> State:
    """Opens; what that shows has to outlive a power loss right after it, and the partition has to work on."""
    shown = state_of(opened(fs))
    assert shown in allowed
    again = fs.after_power_loss("nothing")
    partition = opened(again)
    assert state_of(partition) == shown
    if partition.records:
        partition.append([Event(next(iter(partition.records)), b"life goes on")])
        partition.commit()
        assert state_of(opened(again.after_power_loss("nothing"))) == state_of(partition)
    return shown


def test_nothing_committed_is_lost_whenever_the_power_goes() -> None:
    for crash_at in range(steps_of(SCRIPT)):
        run = crash(SCRIPT, crash_at)
        for survival in survivals(6):
            recovered_for_good(run.fs.after_power_loss(survival), run.allowed)


def test_nothing_is_lost_when_the_power_goes_again_during_recovery() -> None:
    for crash_at in range(steps_of(SCRIPT)):
        run = crash(SCRIPT, crash_at)
        for first in survivals(1):
            disk = run.fs.after_power_loss(first)
            steps = _recovery_steps(disk)
            for second_crash_at in range(steps):
                recovering = disk.copy()
                recovering.crash_at = second_crash_at
                with pytest.raises(PowerLoss):
                    opened(recovering)
                for second in ("nothing", Random(second_crash_at)):
                    recovered_for_good(recovering.after_power_loss(second), run.allowed)


def _recovery_steps(disk: CrashFileSystem) -> int:
    trial = disk.copy()
    opened(trial)
    return trial.steps


def test_what_a_killed_writer_left_in_memory_only_is_made_durable_by_opening() -> None:
    for crash_at in range(steps_of(SCRIPT)):
        run = crash(SCRIPT, crash_at)
        run.fs.after_kill()
        recovered_for_good(run.fs, run.allowed)


@settings(max_examples=60, deadline=None)
@given(script=SCRIPTS, data=st.data(), seed=st.integers(0, 2**32))
def test_any_script_survives_any_crash(script: list[Command], data: st.DataObject, seed: int) -> None:
    run = crash(script, data.draw(st.integers(0, steps_of(script) - 1)))
    disk = run.fs.after_power_loss(Random(seed))
    recovering = disk.copy()
    recovering.crash_at = data.draw(st.integers(0, _recovery_steps(disk) - 1))
    with pytest.raises(PowerLoss):
        opened(recovering)
    recovered_for_good(recovering.after_power_loss(Random(seed + 1)), run.allowed)
    recovered_for_good(disk, run.allowed)


@settings(max_examples=60, deadline=None)
@given(script=SCRIPTS)
def test_recovery_gives_the_same_records_however_often(script: list[Command]) -> None:
    run = Run(CrashFileSystem())
    run.execute(script)
    before = state_of(run.partition)
    run.partition.close()
    for _ in range(3):
        partition = opened(run.fs)
        assert state_of(partition) == before == run.acknowledged
        assert list(partition.records) == list(run.partition.records)
        partition.close()


def test_commits_between_any_two_operations_of_a_background_snapshot_are_kept() -> None:
    def prepared() -> Run:
        run = Run(CrashFileSystem())
        run.execute(SCRIPT[:6])
        run.partition.snapshot(dumps_of(run.partition), run.background)
        return run

    plain = prepared()
    first = plain.fs.steps
    plain.background.run()
    for commit_at in range(first, plain.fs.steps):
        for crash_at in range(first, plain.fs.steps + 3):
            run = prepared()

            def commit_once(step: int, run: Run = run, commit_at: int = commit_at) -> None:
                if step == commit_at:
                    run.fs.before_step = None
                    run.commit([Event("a", b"meanwhile")])

            run.fs.before_step = commit_once
            run.fs.crash_at = crash_at
            try:
                run.background.run()
                run.commit([Event("b", b"later")])
            except PowerLoss:
                pass
            for survival in survivals(2):
                recovered_for_good(run.fs.after_power_loss(survival), run.allowed)


def prepared_for_a_new_segment() -> Run:
    """A background snapshot is wanted, and neither its file nor the segment after it is begun."""
    run = Run(CrashFileSystem())
    run.execute(SCRIPT[:2])
    run.partition.snapshot(dumps_of(run.partition), run.background)
    assert segment_path(DIRECTORY, run.partition.seq + 1).name not in run.fs.files(DIRECTORY)
    return run


def commits_first(run: Run) -> None:
    run.commit([Event("a", b"meanwhile")])
    run.background.run()
    run.commit([Event("a", b"later")])


def background_first(run: Run) -> None:
    run.background.run()
    run.commit([Event("a", b"later")])


@pytest.mark.parametrize("go_on", [commits_first, background_first])
def test_the_segment_after_a_snapshot_is_begun_by_whoever_comes_first(go_on: Callable[[Run], None]) -> None:
    plain = prepared_for_a_new_segment()
    first = plain.fs.steps
    go_on(plain)
    assert plain.partition.snapshot_seq
    for at in range(first, plain.fs.steps):
        for fails in (False, True):
            run = prepared_for_a_new_segment()
            if fails:
                run.fs.fail_at = {at: errno.EIO}
            else:
                run.fs.crash_at = at
            with suppress(PowerLoss, JournalError):
                go_on(run)
            for survival in survivals(2):
                recovered_for_good(run.fs.after_power_loss(survival), run.allowed)
    plain.partition.close()
    recovered_for_good(plain.fs, {plain.acknowledged})


def test_a_segment_that_could_not_be_begun_is_not_tried_again() -> None:
    run = prepared_for_a_new_segment()
    run.fs.fail_at = {run.fs.steps: errno.EIO}
    with pytest.raises(JournalError, match="beginning a segment"):
        run.commit([Event("a", b"meanwhile")])
    steps = run.fs.steps
    run.background.run()
    assert isinstance(run.partition._writing, Future)
    assert isinstance(run.partition._writing.exception(), JournalError)
    assert run.fs.steps == steps
    assert refuses_everything(run)


def test_a_commit_waits_for_a_segment_that_is_being_begun() -> None:
    run = prepared_for_a_new_segment()
    begun, go_on, committed = threading.Event(), threading.Event(), threading.Event()

    def hold(step: int) -> None:
        run.fs.before_step = None
        begun.set()
        go_on.wait(WITHIN_S)

    def commit() -> None:
        run.commit([Event("a", b"meanwhile")])
        committed.set()

    run.fs.before_step = hold
    background = threading.Thread(target=run.background.run)
    background.start()
    assert begun.wait(WITHIN_S)
    assert run.partition.rotating
    committing = threading.Thread(target=commit)
    committing.start()
    go_on.set()
    assert committed.wait(WITHIN_S)
    for thread in (background, committing):
        thread.join(WITHIN_S)
    run.partition.close()
    recovered_for_good(run.fs, {run.acknowledged})


def refuses_everything(run: Run) -> bool:
    """Whether every call fails, without touching the disk."""
    partition, steps = run.partition, run.fs.steps
    calls: list[Callable[[], object]] = [
        lambda: partition.append([]),
        partition.commit,
        partition.rollback,
        lambda: partition.snapshot({}),
    ]
    refused = 0
    for call in calls:
        try:
            call()
        except JournalError:
            refused += 1
    return refused == len(calls) and run.fs.steps == steps


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_io_error_at_any_operation_loses_nothing_and_is_never_retried(number: int) -> None:
    for fail_at in range(steps_of(SCRIPT)):
        run = Run(CrashFileSystem(fail_at={fail_at: number}))
        refusal = ""
        try:
            run.execute(SCRIPT)
        except JournalError as error:
            refusal = str(error)
        if "no room for snapshot" in refusal:
            assert number == errno.ENOSPC
        elif refusal:
            assert refuses_everything(run)
        # The machine may lose power, or only the program be started again and the power go afterwards.
        for survival in survivals(2):
            recovered_for_good(run.fs.after_power_loss(survival), run.allowed)
        run.partition.close()
        run.fs.after_kill()
        recovered_for_good(run.fs, run.allowed)


def test_a_full_disk_costs_a_snapshot_but_not_the_partition() -> None:
    fs = CrashFileSystem()
    run = Run(fs)
    run.execute(SCRIPT[:2])
    run.partition.snapshot(dumps_of(run.partition), run.background)
    run.commit([Event("a", b"in the new segment")])
    fs.fail_at = {fs.steps + 1: errno.ENOSPC}
    future = run.partition._writing  # the future that snapshot() returned
    run.background.run()
    assert future is not None
    assert "no room for snapshot 2" in str(future.exception())
    run.commit([Event("a", b"goes on")])
    assert run.partition.snapshot_seq == 0
    assert not [name for name in fs.files(DIRECTORY) if name.endswith(".tmp")]
    run.partition.snapshot(dumps_of(run.partition))
    assert run.partition.snapshot_seq == 4
    recovered_for_good(fs.after_power_loss("nothing"), run.allowed)


@pytest.mark.parametrize("fail_after", range(8))
def test_a_background_snapshot_that_fails_otherwise_stops_the_partition(fail_after: int) -> None:
    run = Run(CrashFileSystem())
    run.execute(SCRIPT[:2])
    future = run.partition.snapshot(dumps_of(run.partition), run.background)
    run.fs.fail_at = {run.fs.steps + fail_after: errno.EIO}
    run.background.run()
    assert isinstance(future.exception(), JournalError)
    with pytest.raises(JournalError, match="recover from it"):
        run.commit([])
    run.partition.close()
    recovered_for_good(run.fs, run.allowed)


def test_a_partition_can_be_opened_again_after_it_failed() -> None:
    fs = CrashFileSystem()
    partition = partition_on(fs)
    fs.fail_at = {0: errno.EIO}
    with pytest.raises(JournalError, match="cannot be opened"):
        partition.open()
    partition.open()
    assert state_of(partition) == ()
