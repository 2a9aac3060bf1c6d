"""A repair keeps the longest history that holds, destroys nothing, and comes to the same end whatever interrupts it."""

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.otp import journal
from slakeeper.otp.journal import HEADER_BYTES, Journal, JournalError, Position, segment_path
from slakeeper.otp.partition import Event, Partition, Started
from slakeeper.otp.repair import repair
from slakeeper.otp.sim_filesystem import CrashFileSystem, PowerLoss
from slakeeper.otp.snapshot import snapshot_path
from slakeeper.otp.survey import Survey, survey
from tests.unit.otp.partition_world import (
    CODEC,
    DIRECTORY,
    SCRIPTS,
    Command,
    Run,
    State,
    opened,
    state_of,
)

FOLDER = Path("/data/repaired/partition-0")

# Snapshots at 3 and 5; segments from 1, 4 and 6; then one from 8, by a second start.
SCRIPT: list[Command] = [
    ("commit", [(1, "a", b""), (1, "b", b"")]),
    ("commit", [(1, "a", b"one"), (1, "b", b"two")]),
    ("commit", [(1, "c", b""), (1, "a", b"three" * 40)]),
    ("snapshot", (False, ["a", "b"])),
    ("commit", [(1, "b", b"four")]),
    ("commit", [(0, "c", b""), (1, "a", b"five")]),
    ("snapshot", (False, ["a"])),
    ("commit", [(1, "a", b"six"), (1, "d", b"")]),
    ("commit", [(1, "b", b"seven")]),
]
LATER: list[Command] = [
    ("commit", [(1, "a", b"eight")]),
    ("commit", [(1, "d", b"nine"), (1, "b", b"nine")]),
]


def disk() -> tuple[CrashFileSystem, list[State]]:
    """A disk, and the state after each commit."""
    first = Run(CrashFileSystem())
    first.execute(SCRIPT)
    first.partition.close()
    second = Run(first.fs)
    second.acknowledged = first.acknowledged
    second.execute(LATER)
    second.partition.close()
    return first.fs.copy(), [*first.history, *second.history[1:]]


SEGMENTS = [segment_path(DIRECTORY, first) for first in (4, 6, 8)]
SNAPSHOTS = [snapshot_path(DIRECTORY, seq) for seq in (3, 5)]


def ends(segment: bytes) -> list[int]:
    found = [HEADER_BYTES]
    while found[-1] < len(segment):
        found.append(found[-1] + 26 + int.from_bytes(segment[found[-1] : found[-1] + 4]))
    return found


def flip(fs: CrashFileSystem, path: Path, at: int) -> None:
    content = bytearray(fs.files(DIRECTORY)[path.name])
    content[at] ^= 0x41
    fs.put(path, bytes(content))


def take(fs: CrashFileSystem, *paths: Path) -> None:
    for path in paths:
        fs.remove(path)


def surveyed(fs: CrashFileSystem) -> Survey:
    return survey(fs, DIRECTORY, CODEC)


def repaired(fs: CrashFileSystem) -> Survey:
    """Surveys, repairs; what it says afterwards."""
    repair(fs, surveyed(fs), FOLDER)
    return surveyed(fs)


# Each does something to a disk; what is kept after the repair, by sequence number.
def _damaged_record(fs: CrashFileSystem) -> None:
    flip(fs, SEGMENTS[1], HEADER_BYTES + 30)


def _damaged_end_of_a_segment(fs: CrashFileSystem) -> None:
    flip(fs, SEGMENTS[1], ends(fs.files(DIRECTORY)[SEGMENTS[1].name])[1] + 5)


def _damaged_header(fs: CrashFileSystem) -> None:
    flip(fs, SEGMENTS[1], 12)


def _damage_in_the_last_segment(fs: CrashFileSystem) -> None:
    flip(fs, SEGMENTS[2], HEADER_BYTES + 30)


def _missing_segment(fs: CrashFileSystem) -> None:
    take(fs, SEGMENTS[1])


def _missing_segments(fs: CrashFileSystem) -> None:
    take(fs, *SEGMENTS)


def _missing_last_part(fs: CrashFileSystem) -> None:
    take(fs, SEGMENTS[1])
    fs.put(SNAPSHOTS[1], b"nonsense")


def _no_valid_snapshot(fs: CrashFileSystem) -> None:
    for path in SNAPSHOTS:
        fs.put(path, b"nonsense")


def _no_valid_snapshot_seen_before(fs: CrashFileSystem) -> None:
    _no_valid_snapshot(fs)
    with pytest.raises(JournalError):
        opened(fs)


def _nothing_but_broken_snapshots(fs: CrashFileSystem) -> None:
    take(fs, *SEGMENTS)
    _no_valid_snapshot_seen_before(fs)


def _two_writers(fs: CrashFileSystem) -> None:
    stale = Journal(fs, DIRECTORY, Position(7, 12345, 1))
    stale.write(CODEC.encode([(1, "a", b"stale")]))
    stale.close()


def _segment_of_another_history(fs: CrashFileSystem) -> None:
    other = CrashFileSystem()
    other.make_directory(DIRECTORY)
    writer = Journal(other, DIRECTORY, Position(7, 777, 2))
    writer.write(CODEC.encode([(1, "a", b"other")]))
    fs.put(SEGMENTS[2], other.files(DIRECTORY)[SEGMENTS[2].name])


def _snapshot_of_another_history(fs: CrashFileSystem) -> None:
    other = Run(CrashFileSystem())
    other.execute([("commit", [(1, "x", b"")]), *([("commit", [(1, "x", b"other")])] * 5)])  # type: ignore[list-item]
    other.partition.snapshot({})
    fs.put(snapshot_path(DIRECTORY, 6), other.fs.files(DIRECTORY)[snapshot_path(DIRECTORY, 6).name])


def _unreadable_segment(fs: CrashFileSystem) -> None:
    fs.unreadable.add(SEGMENTS[1])


def _sound_but_unreadable(fs: CrashFileSystem) -> None:
    take(fs, SEGMENTS[2])
    last = ends(fs.files(DIRECTORY)[SEGMENTS[1].name])
    data = fs.files(DIRECTORY)[SEGMENTS[1].name]
    chain = int.from_bytes(data[last[-2] + 4 : last[-2] + 8])
    writer = Journal(fs, DIRECTORY, Position(7, chain, 1))
    writer.write(CODEC.encode([(1, "nobody", b"event of nobody")]))
    writer.write(CODEC.encode([(1, "a", b"after it")]))
    writer.close()


DAMAGES: list[tuple[Callable[[CrashFileSystem], None], int]] = [
    (_damaged_record, 5),
    (_damaged_end_of_a_segment, 6),
    (_damaged_header, 5),
    (_damage_in_the_last_segment, 7),
    (_missing_segment, 5),
    (_missing_segments, 5),
    (_missing_last_part, 5),
    (_no_valid_snapshot, 0),
    (_no_valid_snapshot_seen_before, 0),
    (_nothing_but_broken_snapshots, 0),
    (_two_writers, 7),
    (_segment_of_another_history, 7),
    (_snapshot_of_another_history, 9),
    (_unreadable_segment, 5),
    (_sound_but_unreadable, 7),
]
each_damage = pytest.mark.parametrize(
    ("damage", "kept"), DAMAGES, ids=[damage.__name__.strip("_") for damage, _ in DAMAGES]
)


@each_damage
def test_after_a_repair_the_longest_history_that_holds_opens(
    damage: Callable[[CrashFileSystem], None], kept: int
) -> None:
    fs, history = disk()
    damage(fs)
    with pytest.raises(JournalError):
        opened(fs.copy() if not fs.unreadable else fs)
    found = surveyed(fs)
    assert not found.is_sound
    assert found.kept.end.seq == kept
    after = repaired(fs)
    assert after.is_sound
    assert (after.kept.end.seq, after.kept.actors) == (kept, len(history[kept]))
    fs.unreadable.clear()
    partition = opened(fs.after_power_loss("nothing"))
    assert state_of(partition) == history[kept]
    partition.append([Event("a", b"goes on")] if kept else [Started("new", "s", "k", b"", "permanent")])
    partition.commit()


@each_damage
def test_a_survey_changes_nothing_and_a_second_repair_does_nothing(
    damage: Callable[[CrashFileSystem], None], kept: int
) -> None:
    fs, _ = disk()
    damage(fs)
    before, steps = fs.files(DIRECTORY), fs.steps
    surveyed(fs)
    assert (fs.files(DIRECTORY), fs.steps) == (before, steps)
    after = repaired(fs)
    steps = fs.steps
    repair(fs, after, FOLDER)
    assert fs.steps == steps


def contents(fs: CrashFileSystem, *folders: Path) -> set[bytes]:
    found: set[bytes] = set()
    for folder in folders:
        if folder in fs._directories:
            found |= set(fs.files(folder).values())
    return found


@each_damage
def test_a_repair_that_loses_power_anywhere_can_be_repeated_and_nothing_is_destroyed(
    damage: Callable[[CrashFileSystem], None], kept: int
) -> None:
    fs, history = disk()
    damage(fs)
    unreadable, fs.unreadable = fs.unreadable, set()
    originals = contents(fs, DIRECTORY)
    trial = fs.copy()
    trial.unreadable = set(unreadable)
    repaired(trial)
    for crash_at in range(trial.steps):
        hit = fs.copy()
        hit.unreadable, hit.crash_at = set(unreadable), crash_at
        with pytest.raises(PowerLoss):
            repaired(hit)
        for survival in ("nothing", "everything", *map(Random, range(4))):
            again = hit.after_power_loss(survival)  # type: ignore[arg-type]
            again.unreadable = set(unreadable) if not unreadable - set(again_paths(again)) else set()
            # A new folder for each try, as the command makes one.
            second = FOLDER.with_name("second")
            repair(again, surveyed(again), second)
            again.unreadable = set()
            assert originals <= contents(again, DIRECTORY, FOLDER, second)
            assert state_of(opened(again)) == history[kept]


def again_paths(fs: CrashFileSystem) -> list[Path]:
    return [DIRECTORY / name for name in fs.files(DIRECTORY)]


@each_damage
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_repair_that_fails_anywhere_can_be_repeated(
    number: int, damage: Callable[[CrashFileSystem], None], kept: int
) -> None:
    fs, history = disk()
    damage(fs)
    unreadable, fs.unreadable = fs.unreadable, set()
    trial = fs.copy()
    trial.unreadable = set(unreadable)
    repaired(trial)
    for fail_at in range(trial.steps):
        hit = fs.copy()
        hit.unreadable, hit.fail_at = set(unreadable), {fail_at: number}
        with pytest.raises(OSError):
            repaired(hit)
        hit.fail_at = {}
        repair(hit, surveyed(hit), FOLDER.with_name("second"))
        hit.unreadable = set()
        assert state_of(opened(hit)) == history[kept]


def test_a_disk_that_gives_no_second_names_gets_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: CrashFileSystem, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(CrashFileSystem, "link", refuse)
    fs, history = disk()
    _damaged_record(fs)
    before = fs.files(DIRECTORY)
    repaired(fs)
    assert fs.files(FOLDER) == {path.name: before[path.name] for path in SEGMENTS[1:]}
    assert state_of(opened(fs)) == history[5]


def test_what_is_given_up_is_read_as_far_as_it_can_be() -> None:
    fs, _ = disk()
    flip(fs, SEGMENTS[1], HEADER_BYTES + 30)
    found = surveyed(fs)
    (damage,) = found.damages
    assert (damage.path, damage.byte, damage.seq) == (SEGMENTS[1], HEADER_BYTES, 6)
    assert (found.known_seq, found.lost_count) == (9, 4)
    assert [commit.seq for commit in found.lost] == [7, 8, 9]
    assert found.lost[0].ops == (Event("b", b"seven"),)
    assert found.lost[2].ops == (Event("d", b"nine"), Event("b", b"nine"))
    size = ends(fs.files(DIRECTORY)[SEGMENTS[1].name])
    assert found.unreadable_bytes == size[1] - size[0]


def test_commits_of_a_segment_whose_header_is_damaged_can_still_be_read() -> None:
    fs, _ = disk()
    _damaged_header(fs)
    assert [commit.seq for commit in surveyed(fs).lost] == [6, 7, 8, 9]


def test_what_the_next_opening_mends_by_itself_is_no_damage() -> None:
    fs, history = disk()
    fs.put(SNAPSHOTS[1], b"nonsense")
    fs.put(SEGMENTS[2], fs.files(DIRECTORY)[SEGMENTS[2].name][:-1])
    found = surveyed(fs)
    assert found.is_sound
    assert [remark.path for remark in found.remarks] == [SNAPSHOTS[1], SEGMENTS[2]]
    assert found.kept.end.seq == 8
    assert state_of(opened(fs)) == history[8]


def test_what_openings_put_aside_is_listed() -> None:
    fs, _ = disk()
    fs.put(SNAPSHOTS[1], b"nonsense")
    fs.put(SEGMENTS[2], fs.files(DIRECTORY)[SEGMENTS[2].name][:-1])
    opened(fs).close()
    assert {path.suffix for path in surveyed(fs).left_over} == {".broken", ".torn"}


def test_a_newer_format_is_refused_and_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FORMAT", journal.FORMAT + 1)
    fs, _ = disk()
    monkeypatch.undo()
    with pytest.raises(JournalError, match="Start the newer program again"):
        surveyed(fs)


@settings(max_examples=150, deadline=None)
@given(script=SCRIPTS, data=st.data())
def test_any_script_with_any_damage_gives_a_state_that_was_committed(
    script: list[Command], data: st.DataObject
) -> None:
    run = Run(CrashFileSystem())
    run.execute(script)
    run.partition.close()
    fs = run.fs.copy()
    names = sorted(name for name in fs.files(DIRECTORY) if name != "lock")
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        content = fs.files(DIRECTORY)[name]
        what = data.draw(st.sampled_from(["flip", "cut", "remove", "zero"]))
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        match what:
            case "flip" if content:
                flip(fs, DIRECTORY / name, at)
            case "cut":
                fs.put(DIRECTORY / name, content[:at])
            case "zero":
                fs.put(DIRECTORY / name, content[:at] + bytes(len(content) - at))
            case _:
                take(fs, DIRECTORY / name)
    found = surveyed(fs)
    opens = True
    try:
        partition: Partition | None = opened(fs.copy())
    except JournalError:
        opens, partition = False, None
    assert found.is_sound == opens
    if partition is None:
        assert repaired(fs).is_sound
        partition = opened(fs)
    assert partition.seq == found.kept.end.seq
    assert state_of(partition) == run.history[found.kept.end.seq]


def test_on_a_real_disk(tmp_path: Path) -> None:
    from slakeeper.otp.filesystem import OsFileSystem

    fs, history = disk()
    _damaged_record(fs)
    folder = tmp_path / "p000"
    folder.mkdir()
    for name, content in fs.files(DIRECTORY).items():
        (folder / name).write_bytes(content)
    real = OsFileSystem()
    aside = tmp_path / "repaired" / "p000"
    repair(real, survey(real, folder, CODEC), aside)
    assert survey(real, folder, CODEC).is_sound
    assert sorted(path.name for path in aside.iterdir()) == [path.name for path in SEGMENTS[1:]]
    assert (aside / SEGMENTS[1].name).read_bytes() == fs.files(DIRECTORY)[SEGMENTS[1].name]
    partition = Partition(folder, CODEC)
    partition.open()
    assert state_of(partition) == history[5]
    partition.close()
