"""What a partition names for a copy is the state of its last commit, whatever its snapshots do meanwhile."""

from slakeeper.otp.partition import Event, Partition
from slakeeper.otp.sim_filesystem import CrashFileSystem
from tests.unit.otp.partition_world import DIRECTORY, Command, Run, dumps_of, opened, state_of

SCRIPT: list[Command] = [
    ("commit", [(1, "a", b""), (1, "b", b"")]),
    ("commit", [(1, "a", b"one")]),
    ("snapshot", (False, ["a", "b"])),
    ("commit", [(1, "b", b"two")]),
    ("snapshot", (False, ["b"])),
    ("commit", [(1, "a", b"three")]),
]

Copy = list[tuple[str, bytes]]


def copied(fs: CrashFileSystem, partition: Partition) -> Copy:
    files = fs.files(DIRECTORY)
    return [(name, files[name][:size]) for name, size in partition.copy_of()]


def opened_copy(copy: Copy) -> Partition:
    fs = CrashFileSystem()
    fs.make_directory(DIRECTORY)
    for name, content in copy:
        fs.put(DIRECTORY / name, content)
    return opened(fs)


def test_a_copy_after_every_commit_opens_with_that_commit() -> None:
    for length in range(len(SCRIPT) + 1):
        run = Run(CrashFileSystem())
        run.execute(SCRIPT[:length])
        copy = opened_copy(copied(run.fs, run.partition))
        assert (copy.seq, state_of(copy)) == (run.partition.seq, run.acknowledged)


def test_what_is_not_committed_is_not_in_it() -> None:
    run = Run(CrashFileSystem())
    run.execute(SCRIPT)
    run.partition.append([Event("a", b"never acknowledged")])
    assert state_of(opened_copy(copied(run.fs, run.partition))) == run.acknowledged


def test_a_copy_taken_at_any_operation_of_a_background_snapshot_is_whole() -> None:
    copies: list[tuple[int, Copy]] = []
    run = Run(CrashFileSystem())
    run.execute(SCRIPT)
    run.partition.snapshot(dumps_of(run.partition), run.background)
    run.commit([Event("b", b"meanwhile")])

    def take(step: int) -> None:
        copies.append((run.partition.seq, copied(run.fs, run.partition)))

    run.fs.before_step = take
    run.background.run()
    run.fs.before_step = None
    assert len(copies) > 5
    for seq, copy in copies:
        partition = opened_copy(copy)
        assert (partition.seq, state_of(partition)) == (seq, run.acknowledged)


def test_its_files_are_there_until_the_snapshot_after_the_next() -> None:
    run = Run(CrashFileSystem())
    run.execute(SCRIPT)
    names = [name for name, _ in run.partition.copy_of()]
    before = copied(run.fs, run.partition)
    run.partition.snapshot(dumps_of(run.partition))
    run.commit([Event("a", b"more")])
    assert all(
        dict(before)[name] == run.fs.files(DIRECTORY)[name][: len(dict(before)[name])] for name in names
    )
    run.partition.snapshot(dumps_of(run.partition))
    assert not set(names) <= set(run.fs.files(DIRECTORY))
