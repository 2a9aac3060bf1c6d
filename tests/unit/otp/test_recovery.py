"""What opening makes of every kind of damage: cut, flipped, missing, foreign, newer."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.otp import journal, snapshot
from slakeeper.otp.journal import Journal, JournalError, Position, segment_path
from slakeeper.otp.partition import Event, Op, Partition
from slakeeper.otp.sim_filesystem import CrashFileSystem
from slakeeper.otp.snapshot import snapshot_path
from tests.unit.otp.partition_world import (
    CODEC,
    DIRECTORY,
    SCRIPTS,
    Command,
    Run,
    State,
    dumps_of,
    opened,
    start,
    state_of,
)

HEADER_BYTES = 30
GOLDEN = Path(__file__).parent / "golden"
"""Directories as they were written, by the snapshot's format: a line for each file, its name and bytes."""


def commits(count: int) -> tuple[CrashFileSystem, list[State]]:
    """A disk with a start and then events, one a commit, in one segment; and the state after each commit."""
    fs = CrashFileSystem()
    partition = opened(fs)
    states = [state_of(partition)]
    for number in range(count):
        partition.append([Event("a", b"event %d" % number) if number else start("a")])
        partition.commit()
        states.append(state_of(partition))
    partition.close()
    return fs, states


def record_ends(segment: bytes) -> list[int]:
    ends = [HEADER_BYTES]
    while ends[-1] < len(segment):
        ends.append(ends[-1] + 26 + int.from_bytes(segment[ends[-1] : ends[-1] + 4]))
    return ends


def with_file(fs: CrashFileSystem, path: Path, content: bytes) -> CrashFileSystem:
    changed = fs.copy()
    changed.put(path, content)
    return changed


def without_file(fs: CrashFileSystem, *paths: Path) -> CrashFileSystem:
    changed = fs.copy()
    for path in paths:
        changed.remove(path)
    return changed.copy()


def refusal(fs: CrashFileSystem) -> str:
    """The text of the refusal to open, which must leave every file as it was."""
    before = fs.files(DIRECTORY)
    with pytest.raises(JournalError) as caught:
        opened(fs)
    assert fs.files(DIRECTORY) == before
    assert not fs.locks
    return str(caught.value)


SEGMENT = segment_path(DIRECTORY, 1)


def test_a_journal_cut_at_any_byte_gives_the_records_that_are_whole() -> None:
    fs, states = commits(6)
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    ends = record_ends(segment)
    for size in range(len(segment)):
        whole = sum(end <= size for end in ends[1:])
        cut = with_file(fs, SEGMENT, segment[:size])
        partition = opened(cut)
        assert state_of(partition) == states[whole]
        assert partition.seq == whole
        # What was cut off is kept aside, byte for byte.
        torn = [content for name, content in cut.files(DIRECTORY).items() if name.endswith(".torn")]
        rest = segment[max((end for end in ends if end <= size), default=0) : size]
        assert torn == ([rest] if rest else [])
        partition.append([Event("a", b"new")] if whole else [start("b")])
        partition.commit()
        assert state_of(opened(cut.after_power_loss("nothing"))) == state_of(partition)


@settings(max_examples=40, deadline=None)
@given(script=SCRIPTS, data=st.data())
def test_any_journal_cut_anywhere_gives_a_prefix_of_its_commits(
    script: list[Command], data: st.DataObject
) -> None:
    run = Run(CrashFileSystem())
    run.execute(script)
    last = max(name for name in run.fs.files(DIRECTORY) if name.startswith("journal-"))
    content = run.fs.files(DIRECTORY)[last]
    first = int(re.findall(r"\d+", last)[0])
    size = data.draw(st.integers(0, len(content)))
    partition = opened(with_file(run.fs, DIRECTORY / last, content[:size]))
    whole = first - 1 + sum(end <= size for end in record_ends(content)[1:])
    assert state_of(partition) == run.history[whole]


def test_a_flipped_byte_before_the_last_record_is_refused_with_place_and_remedy() -> None:
    fs, _ = commits(4)
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    ends = record_ends(segment)
    for at in range(ends[-2]):
        flipped = bytearray(segment)
        flipped[at] ^= 0x41
        text = refusal(with_file(fs, SEGMENT, bytes(flipped)))
        begins = max((end for end in ends if end <= at), default=0)
        assert text.startswith(f"{SEGMENT}: byte {begins}: ")
        seq = sum(end <= at for end in ends[1:]) + 1
        assert f"gives up everything from sequence {seq} on" in text


def test_a_flipped_byte_in_the_last_record_is_a_torn_write() -> None:
    fs, states = commits(4)
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    for at in range(record_ends(segment)[-2], len(segment)):
        flipped = bytearray(segment)
        flipped[at] ^= 0x41
        assert state_of(opened(with_file(fs, SEGMENT, bytes(flipped)))) == states[3]


def test_zeros_after_the_last_record_are_a_torn_write() -> None:
    fs, states = commits(3)
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    assert state_of(opened(with_file(fs, SEGMENT, segment + bytes(5000)))) == states[3]


def test_an_event_that_holds_a_copy_of_an_earlier_record_does_not_make_a_torn_write_damage() -> None:
    fs = CrashFileSystem()
    partition = opened(fs)
    partition.append([start("a")])
    partition.commit()
    copied = fs.files(DIRECTORY)[SEGMENT.name][HEADER_BYTES:]
    partition.append([Event("a", copied + b"more")])
    partition.commit()
    partition.close()
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    assert segment.count(copied) == 2
    assert state_of(opened(with_file(fs, SEGMENT, segment[:-1]))) == (("a", b"arg of a", ()),)


def test_a_record_taken_out_or_repeated_is_refused() -> None:
    fs, _ = commits(4)
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    ends = record_ends(segment)
    for changed in (segment[: ends[1]] + segment[ends[2] :], segment + segment[ends[3] :]):
        assert "a record that does not follow the one before it" in refusal(with_file(fs, SEGMENT, changed))


def test_an_emptied_segment_that_is_not_the_last_is_refused() -> None:
    fs, _ = commits(3)
    opened(fs).close()
    assert "the segment's header is damaged" in refusal(with_file(fs, SEGMENT, b""))


def test_damage_in_a_segment_that_is_not_the_last_is_refused() -> None:
    fs, _ = commits(3)
    opened(fs).close()
    segment = fs.files(DIRECTORY)[SEGMENT.name]
    text = refusal(with_file(fs, SEGMENT, segment[:-1]))
    assert f"byte {record_ends(segment)[-2]}: a damaged record before the last segment" in text


def test_a_missing_segment_is_refused() -> None:
    fs, _ = commits(3)
    partition = opened(fs)
    partition.append([Event("a", b"more")])
    partition.commit()
    partition.close()
    opened(fs).close()
    assert "the records from sequence 1 on are missing" in refusal(without_file(fs, SEGMENT))
    middle = segment_path(DIRECTORY, 4)
    assert f"{middle}: byte 0: the records from sequence 4 on" in refusal(without_file(fs, middle))


def two_snapshots() -> tuple[CrashFileSystem, State]:
    """Commits 1 to 4, snapshots at 2 and 3."""
    fs = CrashFileSystem()
    partition = opened(fs)
    commits: list[list[Op]] = [
        [start("a"), start("b")],
        [Event("a", b"1")],
        [Event("b", b"2")],
        [Event("a", b"3")],
    ]
    for ops in commits:
        partition.append(ops)
        partition.commit()
        if partition.seq in (2, 3):
            partition.snapshot(dumps_of(partition))
    state = state_of(partition)
    partition.close()
    return fs, state


def test_a_snapshot_cut_at_any_byte_falls_back_to_the_older_one_and_loses_nothing() -> None:
    fs, state = two_snapshots()
    path = snapshot_path(DIRECTORY, 3)
    content = fs.files(DIRECTORY)[path.name]
    for size in range(len(content)):
        damaged = with_file(fs, path, content[:size])
        assert state_of(opened(damaged)) == state
        assert damaged.files(DIRECTORY)[path.name + ".broken"] == content[:size]
        assert path.name not in damaged.files(DIRECTORY)


def test_a_snapshot_with_any_byte_flipped_falls_back_to_the_older_one_and_loses_nothing() -> None:
    fs, state = two_snapshots()
    path = snapshot_path(DIRECTORY, 3)
    content = fs.files(DIRECTORY)[path.name]
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        assert state_of(opened(with_file(fs, path, bytes(flipped)))) == state


def test_a_snapshot_under_the_name_of_another_is_not_taken_for_it() -> None:
    fs, state = two_snapshots()
    older = fs.files(DIRECTORY)[snapshot_path(DIRECTORY, 2).name]
    assert state_of(opened(with_file(fs, snapshot_path(DIRECTORY, 3), older))) == state
    assert state_of(opened(with_file(fs, snapshot_path(DIRECTORY, 4), older))) == state


def test_a_snapshot_that_the_disk_cannot_read_falls_back_to_the_older_one() -> None:
    fs, state = two_snapshots()
    fs.unreadable.add(snapshot_path(DIRECTORY, 3))
    assert state_of(opened(fs)) == state


def test_a_missing_snapshot_falls_back_to_the_older_one() -> None:
    fs, state = two_snapshots()
    assert state_of(opened(without_file(fs, snapshot_path(DIRECTORY, 3)))) == state


def test_after_a_fallback_two_good_snapshots_and_their_journal_are_kept_again() -> None:
    fs, _ = two_snapshots()
    fs.put(snapshot_path(DIRECTORY, 3), b"")
    partition = opened(fs)
    partition.append([Event("b", b"more")])
    partition.commit()
    partition.snapshot(dumps_of(partition))
    state = state_of(partition)
    partition.close()
    fs.put(snapshot_path(DIRECTORY, 5), b"")
    assert state_of(opened(fs)) == state


def test_an_only_snapshot_may_be_damaged_while_the_journal_goes_back_to_the_beginning() -> None:
    fs, _ = commits(3)
    partition = opened(fs)
    partition.snapshot(dumps_of(partition))
    state = state_of(partition)
    partition.close()
    fs.put(snapshot_path(DIRECTORY, 3), b"nonsense")
    assert state_of(opened(fs)) == state


def test_no_valid_snapshot_and_no_journal_from_the_beginning_is_refused_again_and_again() -> None:
    fs, _ = two_snapshots()
    for seq in (2, 3):
        fs.put(snapshot_path(DIRECTORY, seq), b"nonsense")
    with pytest.raises(JournalError, match="no older snapshot is left"):
        opened(fs)
    for _ in range(2):
        assert "Restore it from a backup" in refusal(fs)


def test_a_directory_with_nothing_but_a_snapshot_is_refused() -> None:
    fs, _ = two_snapshots()
    segments = [DIRECTORY / name for name in fs.files(DIRECTORY) if name.startswith("journal-")]
    fs = without_file(fs, *segments)
    assert f"{segment_path(DIRECTORY, 4)}: byte 0: the records from sequence 4 on are missing" in refusal(fs)


def test_a_segment_of_another_history_is_refused() -> None:
    fs, _ = two_snapshots()
    other = CrashFileSystem()
    partition = opened(other)
    for _ in range(3):
        partition.append([Event("a", b"another")] if partition.records else [start("a")])
        partition.commit()
    partition.snapshot({})
    partition.close()
    path = segment_path(DIRECTORY, 4)
    text = refusal(with_file(fs, path, other.files(DIRECTORY)[path.name]))
    assert "does not follow what is before it" in text


def test_records_of_a_second_writer_are_refused() -> None:
    fs, _ = commits(2)
    fs.locks.clear()
    stale = Journal(fs, DIRECTORY, Position(2, 0, 1))  # as if nobody had looked at the lock
    stale.write(CODEC.encode([]))
    assert "as if two programs had written" in refusal(fs)


@pytest.mark.parametrize(("name", "newest"), [("journal", journal.FORMAT), ("snapshot", snapshot.FORMAT)])
def test_a_file_of_a_newer_format_is_refused_and_left_alone(
    name: str, newest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"slakeeper.otp.{name}.FORMAT", newest + 1)
    fs, _ = two_snapshots()
    monkeypatch.undo()
    assert f"format {newest + 1}; this program reads up to {newest}" in refusal(fs)


def test_unfinished_files_are_removed() -> None:
    fs, states = commits(1)
    fs.put(DIRECTORY / "snapshot-00000000000000000001.msgpack.tmp", b"half")
    assert state_of(opened(fs)) == states[1]
    assert not [name for name in fs.files(DIRECTORY) if name.endswith(".tmp")]


@pytest.mark.parametrize("version", range(1, snapshot.FORMAT + 1))
def test_files_of_every_format_there_was_load(tmp_path: Path, version: int) -> None:
    for line in (GOLDEN / f"partition-format-{version}.txt").read_text().splitlines():
        name, content = line.split()
        (tmp_path / name).write_bytes(bytes.fromhex(content))
    partition = Partition(tmp_path, CODEC)
    partition.open()
    assert state_of(partition) == (("a", b"arg of a", (b"1", b"3")), ("b", b"arg of b", (b"2",)))
    assert (partition.seq, partition.snapshot_seq) == (4, 3)
    partition.close()
