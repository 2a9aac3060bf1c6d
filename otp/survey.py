"""What is the matter with a partition that does not open, and what a repair of it would keep. Looks; changes nothing.

The history that is kept begins with a snapshot, or with nothing, and goes on for as long as each record follows the one
before it. Of all snapshots that can be read the one counts from which the history gets furthest. Everything else is
set aside by a repair (:mod:`slakeeper.otp.repair`), and read here as far as it can be, so that people know what it was.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slakeeper.otp.codec import Codec
from slakeeper.otp.filesystem import FileSystem
from slakeeper.otp.journal import (
    FRAME_BYTES,
    HEADER_BYTES,
    TORN_SUFFIX,
    Position,
    epoch_of,
    frame_at,
    segment_path,
    segment_seqs,
    valid_record_after,
)
from slakeeper.otp.record import Op, read_ops
from slakeeper.otp.snapshot import BROKEN_SUFFIX, open_snapshot, snapshot_path, snapshot_seqs
from slakeeper.otp.walk import UNREADABLE, Damage, Walk, read_part, walk


@dataclass(frozen=True, slots=True)
class Commit:
    """One that is not kept, but can still be read: where it stands, and what it did (empty if that is unreadable)."""

    path: Path
    byte: int
    seq: int
    ops: tuple[Op, ...]


_DAMAGED = "damaged: not what was written"


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is of a partition.

    Attributes:
        damages: why it does not open; empty when it does.
        remarks: what the next opening mends by itself, without loss.
        kept: the history that a repair keeps.
        aside: the files that a repair takes out, wholly or in part.
        known_seq: the last commit of which there is any sign.
        epoch: the highest of all writers.
        lost: the commits that a repair gives up and that can be read.
        unreadable_bytes: of the journal, beside these.
        left_over: files that earlier openings have put aside.
        fallback: what is the matter with the older snapshot and its journal, which stand in for a newer one that
            gets damaged; of one that is sound.
    """

    directory: Path
    damages: tuple[Damage, ...]
    remarks: tuple[Damage, ...]
    kept: Walk
    aside: tuple[Path, ...]
    known_seq: int
    epoch: int
    lost: tuple[Commit, ...]
    unreadable_bytes: int
    left_over: tuple[Path, ...]
    fallback: tuple[Damage, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether it opens as it is."""
        return not self.damages

    @property
    def lost_count(self) -> int:
        """How many commits a repair gives up, as far as there is a sign of them."""
        return self.known_seq - self.kept.end.seq


def survey(fs: FileSystem, directory: Path, codec: Codec) -> Survey:
    """Looks at a partition that nobody writes; the caller has its lock.

    Args:
        codec: as the partition's.

    Raises:
        JournalError: something was written by a newer version; that is no damage.
        OSError: a file cannot be read for another reason than damage (EIO).
    """
    names = fs.names(directory)
    firsts = segment_seqs(names)
    broken = [directory / name for name in sorted(names) if name.endswith(BROKEN_SUFFIX)]
    walks: list[Walk] = []
    bad: list[Damage] = []
    foreign: list[Damage] = []
    for seq in reversed(snapshot_seqs(names)):
        found = _walk_from(fs, directory, codec, seq, firsts)
        if isinstance(found, Damage):
            (bad if found.what == _DAMAGED else foreign).append(found)
            continue
        walks.append(found)
        if found.damage is None:
            break
    if not walks or (1 in firsts and all(each.damage is not None for each in walks)):
        from_nothing = walk(fs, directory, codec, None, firsts)
        if from_nothing is not None:
            walks.append(from_nothing)
    # The opening begins with the newest that is sound, and never with nothing where there was a snapshot, unless the
    # journal still goes back that far.
    is_bare = all(not each.start.seq for each in walks) and bool(bad or broken) and 1 not in firsts
    if is_bare:
        bad += [Damage(path, 0, None, "damaged, and no other snapshot is left") for path in broken]
    left_over = tuple(
        directory / name for name in sorted(names) if name.endswith((BROKEN_SUFFIX, TORN_SUFFIX))
    )
    first = walks[0]
    if first.damage is None and not foreign and not is_bare:
        remarks = (*bad, *([first.torn] if first.torn else []))
        seq, epoch = first.end.seq, first.end.epoch
        fallback = _weak_fallback(fs, directory, codec, first.start.seq, firsts)
        return Survey(directory, (), remarks, first, (), seq, epoch, (), 0, left_over, fallback)
    # The newest of those that get as far: less of the journal has to hold.
    kept = max(walks, key=lambda each: each.end.seq)
    tried = walks[: walks.index(kept) + 1]
    own = [each.damage for each in tried if each.damage is not None]
    damages = tuple(dict.fromkeys([*foreign, *bad, *own]))
    gone = [first for first in firsts if kept.cut is not None and first >= kept.cut[0]]
    lost, unreadable_bytes, epoch = _read_lost(fs, directory, codec, kept, gone)
    seqs = snapshot_seqs(names)
    aside = [each.path for each in (*bad, *foreign)]
    # A newer snapshot that led less far belongs to another history.
    aside += [snapshot_path(directory, seq) for seq in seqs if seq > kept.start.seq]
    aside += [segment_path(directory, first) for first in gone]
    signs = [kept.end.seq, *seqs, *(first - 1 for first in firsts), *(commit.seq for commit in lost)]
    signs += snapshot_seqs([path.name.removesuffix(BROKEN_SUFFIX) for path in broken if is_bare])
    epochs = [epoch, *(each.end.epoch for each in walks), *(each.start.epoch for each in walks)]
    return Survey(
        directory,
        damages,
        (),
        kept,
        tuple(dict.fromkeys(aside)),
        max(signs),
        max(epochs),
        tuple(lost),
        unreadable_bytes,
        left_over,
    )


def _walk_from(
    fs: FileSystem, directory: Path, codec: Codec, seq: int, firsts: Sequence[int]
) -> Walk | Damage:
    """The history from a snapshot on; or what is the matter with the snapshot itself."""
    path = snapshot_path(directory, seq)
    snapshot = open_snapshot(fs, path, seq)
    if snapshot is None:
        return Damage(path, 0, None, _DAMAGED)
    with contextlib.closing(snapshot.file):
        walked = walk(fs, directory, codec, snapshot, firsts)
    return Damage(path, 0, None, "sound but unreadable") if walked is None else walked


def _weak_fallback(
    fs: FileSystem, directory: Path, codec: Codec, newest: int, firsts: list[int]
) -> tuple[Damage, ...]:
    """What is the matter with the snapshots before the newest, and the journal from them on, which nobody needs yet."""
    found: list[Damage] = []
    for seq in snapshot_seqs(fs.names(directory)):
        if seq < newest:
            walked = _walk_from(fs, directory, codec, seq, firsts)
            damage = walked if isinstance(walked, Damage) else walked.damage
            found += [damage] if damage is not None else []
    return tuple(found)


def _read_lost(
    fs: FileSystem, directory: Path, codec: Codec, kept: Walk, gone: Sequence[int]
) -> tuple[list[Commit], int, int]:
    """What can be read of the segments that are given up: commits, bytes that hold none, and the highest epoch."""
    files: list[tuple[Path, int, bytes]] = []
    epochs = {kept.end.epoch}
    for first in gone:
        path = segment_path(directory, first)
        data = read_part(fs, path)[0]
        byte = kept.cut[1] if kept.cut is not None and first == kept.cut[0] else 0
        epoch = epoch_of(data)
        epochs.add(epoch or 0)
        files.append((path, max(byte, 0 if epoch is None else HEADER_BYTES), data))
    commits: list[Commit] = []
    unreadable_bytes = 0
    for path, byte, data in files:
        unreadable_bytes += max(len(data) - byte, 0)
        for commit, epoch, size in _commits(codec, path, data, max(byte, HEADER_BYTES), epochs):
            commits.append(commit)
            epochs.add(epoch)
            unreadable_bytes -= size
    return commits, unreadable_bytes, max(epochs)


def _commits(
    codec: Codec, path: Path, data: bytes, byte: int, epochs: set[int]
) -> Iterator[tuple[Commit, int, int]]:
    """Every sound record from a byte on, with its epoch and size [bytes], whatever is between them."""
    view, at = memoryview(data), byte
    while at < len(data):
        frame = frame_at(view, at)
        if frame is None:
            found = (valid_record_after(data, at, Position(0, 0, epoch)) for epoch in sorted(epochs))
            later = [each for each in found if each is not None]
            if not later:
                return
            at = min(later)
            continue
        _, _, seq, epoch, _, end = frame
        ops: tuple[Op, ...] = ()
        with contextlib.suppress(*UNREADABLE):
            ops = tuple(read_ops(codec, bytes(view[at + FRAME_BYTES : end])))
        yield Commit(path, at, seq, ops), epoch, end - at
        at = end
