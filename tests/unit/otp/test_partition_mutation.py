"""The crash tests bite: with any one precaution taken out of the code, one of them fails."""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from slakeeper.otp import base, journal, partition, snapshot
from slakeeper.otp.filesystem import File, FileSystem
from slakeeper.otp.journal import JournalError
from slakeeper.otp.sim_filesystem import CrashFileSystem, _File
from tests.unit.otp import test_partition_crash as crash
from tests.unit.otp import test_recovery as recovery
from tests.unit.otp.partition_world import DIRECTORY, dumps_of, opened, start

Mutate = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[], object]


def nothing(*_: object) -> None:
    pass


def commits_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_File, "sync_data", nothing)


def new_files_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_File, "sync", nothing)


def names_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CrashFileSystem, "sync_directory", nothing)


def files_keep_their_temporary_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CrashFileSystem, "rename", nothing)


def half_a_file_may_have_the_name_of_a_whole_one(patch: pytest.MonkeyPatch) -> None:
    """Files are written in place. The checksums alone would still tell; so they have to go, too."""

    def write_in_place(fs: FileSystem, path: Path, pieces: Iterable[bytes]) -> File:
        file = fs.create(path)
        for piece in pieces:
            file.write(piece)
        file.sync()
        fs.sync_directory(path.parent)
        return file

    patch.setattr(journal, "write_atomically", write_in_place)
    patch.setattr(snapshot, "write_atomically", write_in_place)
    snapshots_are_not_checked(patch)


def records_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "_record_crc", lambda *_: 0)


def snapshots_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "crc32", lambda *_: 0)


def states_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    class Anything(int):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    patch.setattr(base, "crc32", lambda *_: Anything(0))


def one_snapshot_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "KEPT", 1)


def what_was_found_is_relied_on(patch: pytest.MonkeyPatch) -> None:
    """The last record is not written again at the opening; its writer may never have synced it."""
    patch.setattr(CrashFileSystem, "rewrite_end", nothing)


def the_journal_goes_with_the_newest_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Segments that only the older snapshot needs are removed, too."""

    def prune(fs: FileSystem, directory: Path) -> None:
        names = fs.names(directory)
        seqs = snapshot.snapshot_seqs(names)
        for first in journal.segment_seqs(names):
            if seqs and first <= seqs[-1]:
                fs.remove(journal.segment_path(directory, first))

    patch.setattr(partition, "prune", prune)


def commits_do_not_wait_for_the_segment_after_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(partition.Partition, "rotating", False)


def a_snapshot_needs_no_segment_after_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal.Rotation, "complete", nothing)


def a_segment_that_failed_is_begun_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal.Rotation, "complete", lambda rotation: rotation._journal.rotate())


def a_failed_write_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    write = _File.write

    def insist(file: _File, data: bytes) -> None:
        try:
            write(file, data)
        except OSError:
            write(file, data)

    patch.setattr(_File, "write", insist)


def a_failed_sync_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    sync = _File.sync_data

    def insist(file: _File) -> None:
        try:
            sync(file)
        except OSError:
            sync(file)

    patch.setattr(_File, "sync_data", insist)


def a_state_changed_on_the_disk_is_noticed() -> None:
    fs = CrashFileSystem()
    written = opened(fs)
    written.append([start("a")])
    written.commit()
    written.snapshot(dumps_of(written))
    state = written.records["a"].base
    assert state is not None
    content = fs._directories[DIRECTORY].seen[snapshot.snapshot_path(DIRECTORY, 1).name].seen
    content[-5] ^= 1
    with pytest.raises(JournalError):
        state.read()


def power_lost_with_any_survivor() -> None:
    """As the crash tests have it, with more luck for the disk."""
    for crash_at in range(crash.steps_of(crash.SCRIPT)):
        run = crash.crash(crash.SCRIPT, crash_at)
        for survival in crash.survivals(12):
            crash.recovered_for_good(run.fs.after_power_loss(survival), run.allowed)


KILLED = crash.test_what_a_killed_writer_left_in_memory_only_is_made_durable_by_opening
FLIPPED = recovery.test_a_snapshot_with_any_byte_flipped_falls_back_to_the_older_one_and_loses_nothing


def with_a_failing_disk() -> None:
    crash.test_an_io_error_at_any_operation_loses_nothing_and_is_never_retried(errno.EIO)


def with_a_segment_begun_by_a_commit() -> None:
    crash.test_the_segment_after_a_snapshot_is_begun_by_whoever_comes_first(crash.commits_first)


def with_a_segment_begun_beside() -> None:
    crash.test_the_segment_after_a_snapshot_is_begun_by_whoever_comes_first(crash.background_first)


CHECKS: tuple[Check, ...] = (
    power_lost_with_any_survivor, KILLED, FLIPPED, with_a_failing_disk, a_state_changed_on_the_disk_is_noticed,
    with_a_segment_begun_by_a_commit, with_a_segment_begun_beside,
    crash.test_a_segment_that_could_not_be_begun_is_not_tried_again,
)  # fmt: skip


def fails(check: Check) -> bool:
    try:
        check()
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  refused, unreadable, not what was committed: a catch
        return True
    return False


def test_the_code_as_it_is_passes() -> None:
    assert not any(map(fails, CHECKS))


@pytest.mark.parametrize(
    ("mutate", "check"),
    [
        (commits_are_not_synced, power_lost_with_any_survivor),
        (new_files_are_not_synced, power_lost_with_any_survivor),
        (names_are_not_synced, power_lost_with_any_survivor),
        (files_keep_their_temporary_names, power_lost_with_any_survivor),
        (half_a_file_may_have_the_name_of_a_whole_one, power_lost_with_any_survivor),
        (records_are_not_checked, power_lost_with_any_survivor),
        (snapshots_are_not_checked, FLIPPED),
        (states_are_not_checked, a_state_changed_on_the_disk_is_noticed),
        (one_snapshot_is_enough, FLIPPED),
        (what_was_found_is_relied_on, KILLED),
        (the_journal_goes_with_the_newest_snapshot, FLIPPED),
        (a_failed_write_is_tried_again, with_a_failing_disk),
        (a_failed_sync_is_tried_again, with_a_failing_disk),
        (commits_do_not_wait_for_the_segment_after_a_snapshot, with_a_segment_begun_by_a_commit),
        (a_snapshot_needs_no_segment_after_it, with_a_segment_begun_beside),
        (
            a_segment_that_failed_is_begun_again,
            crash.test_a_segment_that_could_not_be_begun_is_not_tried_again,
        ),
    ],
)
def test_each_precaution_that_is_taken_out_is_missed(
    mutate: Mutate, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert fails(check)
