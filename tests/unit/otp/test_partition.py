"""A partition as its users see it, on a real directory."""

import multiprocessing
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slakeeper.otp.partition import Event, JournalError, NoRoom, Partition, Record, Started, Stopped
from tests.unit.otp.partition_world import CODEC, DeferredExecutor, dumps_of, start, state_of


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    opened = Partition(tmp_path / "partitions" / "p0", CODEC)
    opened.open()
    yield opened
    opened.close()


def reopened(partition: Partition) -> Partition:
    partition.close()
    partition.open()
    return partition


def names(partition: Partition, ending: str) -> list[str]:
    return sorted(name for name in os.listdir(partition.directory) if name.endswith(ending))


def test_a_new_partition_is_empty_and_private(partition: Partition) -> None:
    assert partition.records == {}
    assert (partition.seq, partition.snapshot_seq, partition.journal_bytes) == (0, 0, 0)
    assert stat.S_IMODE(partition.directory.stat().st_mode) == 0o700
    for name in os.listdir(partition.directory):
        assert stat.S_IMODE((partition.directory / name).stat().st_mode) == 0o600


def test_committed_ops_come_back_in_order(partition: Partition) -> None:
    partition.append([start("b"), start("a"), Event("b", b"1")])
    partition.commit()
    partition.append([Event("a", b"2"), Event("b", b"3"), start("c")])
    partition.commit()
    partition.append([Stopped("c")])
    partition.commit()
    records = dict(reopened(partition).records)
    assert list(records) == ["b", "a"]
    assert records["b"] == Record("b", "supervisor", "kind", b"arg of b", "permanent", None, [b"1", b"3"])
    assert records["a"].tail == [b"2"]
    assert partition.seq == 3


def test_records_show_appended_ops_at_once_and_the_disk_only_committed_ones(partition: Partition) -> None:
    partition.append([start("a"), Event("a", b"1")])
    partition.commit()
    partition.append([Event("a", b"2"), start("b")])
    assert partition.records["a"].tail == [b"1", b"2"]
    assert "b" in partition.records
    assert state_of(reopened(partition)) == (("a", b"arg of a", (b"1",)),)


def test_rollback_restores_records_and_their_order(partition: Partition) -> None:
    partition.append([start("a"), start("b"), start("c"), Event("a", b"1")])
    partition.commit()
    view, before = partition.records, state_of(partition)
    partition.append([Stopped("a"), start("d"), Event("b", b"2"), Stopped("b"), start("a"), Event("a", b"3")])
    partition.rollback()
    assert state_of(partition) == before
    assert list(view) == ["a", "b", "c"]
    partition.commit()
    assert partition.seq == 1
    assert state_of(reopened(partition)) == before


def test_a_stopped_actor_that_starts_again_is_a_new_one(partition: Partition) -> None:
    partition.append([start("a"), start("b"), Event("a", b"old")])
    partition.commit()
    partition.append([Stopped("a"), Started("a", "other", "kind", b"", "transient"), Event("a", b"new")])
    partition.commit()
    records = dict(reopened(partition).records)
    assert list(records) == ["b", "a"]
    assert (records["a"].supervisor, records["a"].tail) == ("other", [b"new"])


def test_a_commit_of_nothing_writes_nothing(partition: Partition) -> None:
    before = partition.journal_bytes
    partition.append([])
    partition.commit()
    assert (partition.seq, partition.journal_bytes) == (0, before)


def test_ops_that_do_not_fit_the_records_are_refused(partition: Partition) -> None:
    partition.append([start("a")])
    with pytest.raises(ValueError, match="a start of 'a', which exists"):
        partition.append([start("a")])
    with pytest.raises(ValueError, match="Event for 'b', which was never started"):
        partition.append([Event("b", b"")])
    with pytest.raises(ValueError, match="Stopped for 'b'"):
        partition.append([Stopped("b")])
    partition.append([Stopped("a")])
    with pytest.raises(ValueError, match="Event for 'a'"):
        partition.append([Event("a", b"")])


def test_a_snapshot_becomes_the_base_and_keeps_the_tails_of_others(partition: Partition) -> None:
    partition.append([start("a"), start("b"), Event("a", b"1"), Event("b", b"2")])
    partition.commit()
    assert partition.snapshot({"a": b"state of a"}).done()
    partition.append([Event("a", b"3")])
    partition.commit()
    records = reopened(partition).records
    base = records["a"].base
    assert base is not None
    assert (base.read(), records["a"].tail) == (b"state of a", [b"3"])
    assert (records["b"].base, records["b"].tail) == (None, [b"2"])
    assert (partition.seq, partition.snapshot_seq) == (2, 1)


def test_two_snapshots_and_the_journal_since_the_older_are_kept(partition: Partition) -> None:
    for number in range(5):
        partition.append([Event("a", b"%d" % number)] if number else [start("a")])
        partition.commit()
        partition.snapshot(dumps_of(partition))
    assert names(partition, ".msgpack") == [f"snapshot-{seq:020d}.msgpack" for seq in (4, 5)]
    assert names(partition, ".log") == [f"journal-{seq:020d}.log" for seq in (5, 6)]
    assert partition.journal_bytes == 0


def test_a_snapshot_of_an_unchanged_partition_changes_nothing(partition: Partition) -> None:
    partition.append([start("a"), Event("a", b"1")])
    partition.commit()
    before = state_of(partition)
    for _ in range(3):
        partition.snapshot(dumps_of(partition))
    assert partition.seq == partition.snapshot_seq == 1
    assert state_of(reopened(partition)) == before


def test_commits_go_on_while_a_snapshot_is_written_on_a_thread(partition: Partition) -> None:
    partition.append([start("a"), *(Event("a", b"x" * 1000) for _ in range(2000))])
    partition.commit()
    with ThreadPoolExecutor(1) as executor:
        for number in range(20):
            future = partition.snapshot(dumps_of(partition), executor)
            partition.append([Event("a", b"%d" % number)])
            partition.commit()
            future.result(timeout=30)
            assert not partition.snapshotting
    before = state_of(partition)
    assert partition.snapshot_seq == 20
    assert state_of(reopened(partition)) == before


def test_closing_waits_for_a_running_snapshot(partition: Partition) -> None:
    partition.append([start("a"), *(Event("a", b"x" * 1000) for _ in range(2000))])
    partition.commit()
    with ThreadPoolExecutor(1) as executor:
        future = partition.snapshot({}, executor)
        partition.close()
        assert future.done()
    assert names(partition, ".tmp") == []


def test_a_snapshot_is_refused_with_ops_pending_unknown_actors_or_another_one_running(
    partition: Partition,
) -> None:
    partition.append([start("a")])
    with pytest.raises(RuntimeError, match="between append and commit"):
        partition.snapshot({})
    partition.commit()
    with pytest.raises(ValueError, match="states of 'b'"):
        partition.snapshot({"b": b""})
    executor = DeferredExecutor()
    partition.snapshot({}, executor)
    assert partition.snapshotting
    with pytest.raises(RuntimeError, match="being written already"):
        partition.snapshot({})
    executor.run()
    assert not partition.snapshotting


def test_a_snapshot_that_never_ran_is_given_up_by_closing(partition: Partition) -> None:
    partition.append([start("a"), Event("a", b"1")])
    partition.commit()
    before = state_of(partition)
    future = partition.snapshot(dumps_of(partition), DeferredExecutor())
    assert state_of(reopened(partition)) == before
    assert future.cancelled()
    assert names(partition, ".msgpack") == []


def test_a_second_writer_is_refused_until_the_first_closes(partition: Partition) -> None:
    second = Partition(partition.directory, CODEC)
    with pytest.raises(JournalError, match="another writer has this partition"):
        second.open()
    partition.append([start("a")])
    partition.commit()
    partition.close()
    second.open()
    assert list(second.records) == ["a"]
    second.close()


def _try_to_open(directory: Path, answers: "multiprocessing.Queue[str]") -> None:
    try:
        Partition(directory, CODEC).open()
    except JournalError as error:
        answers.put(str(error))
    else:
        answers.put("opened")


def test_a_writer_in_another_process_is_refused(partition: Partition) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_try_to_open, args=(partition.directory, answers))
    process.start()
    assert "another writer" in answers.get(timeout=30)
    process.join(timeout=30)


@pytest.mark.parametrize("replace", [False, True])
def test_a_writer_whose_lock_was_removed_stops_at_the_next_snapshot(
    partition: Partition, replace: bool
) -> None:
    partition.append([start("b")])
    partition.commit()
    (partition.directory / "lock").unlink()
    if replace:
        (partition.directory / "lock").touch()
    with pytest.raises(JournalError, match="its lock file was removed or replaced"):
        partition.snapshot({})
    with pytest.raises(JournalError, match="its lock file"):
        partition.append([start("a")])


def test_a_snapshot_of_nothing_is_not_written(partition: Partition) -> None:
    assert partition.snapshot({}).done()
    assert [path.name for path in partition.directory.glob("snapshot-*")] == []


def test_each_opening_writes_with_a_higher_epoch(partition: Partition) -> None:
    epochs = []
    for _ in range(3):
        newest = partition.directory / names(partition, ".log")[-1]
        epochs.append(int.from_bytes(newest.read_bytes()[10:14]))
        reopened(partition)
    assert epochs == [1, 2, 3]


def test_a_closed_partition_refuses_everything(partition: Partition) -> None:
    partition.close()
    partition.close()
    with pytest.raises(JournalError, match="closed"):
        partition.append([])
    with pytest.raises(JournalError, match="closed"):
        partition.commit()
    with pytest.raises(JournalError, match="closed"):
        partition.snapshot({})
    never = Partition(partition.directory, CODEC)
    with pytest.raises(JournalError, match="not open"):
        never.commit()


def test_an_open_partition_is_not_opened_twice(partition: Partition) -> None:
    with pytest.raises(JournalError, match="open already"):
        partition.open()
    partition.append([start("a")])
    partition.commit()


def test_a_commit_too_large_for_a_record_is_refused_and_can_be_rolled_back(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.otp.journal.MAX_PAYLOAD_BYTES", 100)
    partition.append([start("a"), Event("a", b"x" * 101)])
    with pytest.raises(ValueError, match="at most 100 fit"):
        partition.commit()
    partition.rollback()
    partition.append([start("b")])
    partition.commit()
    assert list(reopened(partition).records) == ["b"]


# -- opened while the disk works ------------------------------------------------------------------------------


def test_records_are_there_before_the_disk_is_done(partition: Partition) -> None:
    partition.append([start("a")])
    partition.commit()
    partition.close()
    disk = DeferredExecutor()
    partition.open(disk)
    assert list(partition.records) == ["a"]
    partition.append([Event("a", CODEC.encode("more"))])
    disk.run()
    partition.ready()
    partition.commit()
    assert len(reopened(partition).records["a"].tail) == 1


def test_a_commit_waits_for_the_disk(partition: Partition) -> None:
    partition.close()
    with ThreadPoolExecutor(1) as disk:
        partition.open(disk)
        partition.append([start("a")])
        partition.commit()
    assert list(reopened(partition).records) == ["a"]


def test_a_disk_that_cannot_is_heard_of_by_whoever_depends_on_it(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition.close()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slakeeper.otp.partition.prune", fail)
    disk = DeferredExecutor()
    partition.open(disk)
    partition.append([start("a")])
    disk.run()
    with pytest.raises(NoRoom, match="cannot be opened"):
        partition.ready()
    with pytest.raises(JournalError, match="could not be opened"):
        partition.commit()
    monkeypatch.undo()
    assert not reopened(partition).records


def test_closing_does_not_wait_for_an_opening_that_never_ran(partition: Partition) -> None:
    partition.close()
    partition.open(DeferredExecutor())
    partition.close()
    partition.open()
    assert not partition.records
