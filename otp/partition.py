"""A partition: the durable records of a group of actors, in one journal and one series of snapshots.

One commit is one journal record and one fdatasync, for however many ops. A snapshot is every record in one
file; taking one folds tails into bases, so that the journal before it can go, and takes the bases out of memory:
they are read from the file when somebody asks for them.
"""

import errno
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from slakeeper.otp import snapshot_body
from slakeeper.otp.codec import Codec, CodecError
from slakeeper.otp.filesystem import TEMPORARY_SUFFIX, FileSystem, Lock, OsFileSystem, Readable
from slakeeper.otp.journal import (
    HEADER_BYTES,
    Journal,
    JournalError,
    NoRoom,
    Position,
    Recovered,
    Rotation,
    recover,
    secure_end,
    segment_path,
    segment_seqs,
)
from slakeeper.otp.record import Event, Op, Record, RecordTable, Started, Stopped
from slakeeper.otp.snapshot import newest_snapshot, prune, snapshot_path, write_snapshot

__all__ = ["Event", "JournalError", "NoRoom", "Op", "Partition", "Record", "Started", "Stopped"]

# A snapshot that finds no room costs nothing but the room: all of it is still in the journal.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Partition:
    """Owns a directory: one writer at a time, in this and any other process. All methods belong to one thread.

    Args:
        directory: made if missing; nothing else may live in it.
        codec: writes the ops and the snapshot's body; it need not know any record class.
        fs: where the files are; the operating system's if None.
    """

    def __init__(self, directory: Path, codec: Codec, fs: FileSystem | None = None) -> None:
        self.directory = directory
        self._codec = codec
        self._fs: FileSystem = OsFileSystem() if fs is None else fs
        self._table = RecordTable(codec)
        self._lock: Lock | None = None
        self._journal: Journal | None = None
        self._failure: str | None = "it is not open"
        self._failed_as: type[JournalError] = JournalError
        self._older_bytes = 0  # of the journal since the newest snapshot, without the current segment
        self._snapshot_seq = 0
        self._beginning: Future[Journal] | None = None
        self._writing: Future[None] | None = None
        self._rotation: Rotation | None = None
        self.waited_s = 0.0
        """How long a commit waited for the segment after the newest snapshot."""
        self._files: list[Readable] = []  # of snapshots that bases are in; the newest last
        self._held_bytes = 0

    @property
    def records(self) -> Mapping[str, Record]:
        """By address in the order they started: what the disk holds, and the ops appended since. To be read only."""
        return self._table.records

    @property
    def seq(self) -> int:
        """The number of commits so far; equal to ``snapshot_seq`` when a snapshot would add nothing."""
        return self._usable_journal().position.seq

    @property
    def snapshot_seq(self) -> int:
        """The ``seq`` of the newest durable snapshot; 0 without one."""
        return self._snapshot_seq

    @property
    def journal_bytes(self) -> int:
        """About what the next opening has to read beside the snapshot [bytes]."""
        return self._older_bytes + self._usable_journal().size

    @property
    def held_bytes(self) -> int:
        """What came into memory since the last snapshot was begun, and stays until the next: events, states [bytes]."""
        return self._held_bytes

    @property
    def snapshot_bytes(self) -> int:
        """About what the next snapshot will be [bytes]."""
        return self._held_bytes + (self._files[-1].size if self._files else 0)

    @property
    def snapshotting(self) -> bool:
        """Whether a background snapshot is still being written."""
        return self._writing is not None and not self._writing.done()

    @property
    def rotating(self) -> bool:
        """Whether the journal's segment after a background snapshot is not there yet; a commit waits for it."""
        return self._rotation is not None and not self._rotation.is_done

    def open(self, background: Executor | None = None) -> None:
        """Takes the lock, recovers ``records``, and begins a segment with a new epoch; all of it durable on return.

        Args:
            background: has the disk do its part on one of its threads. Then on return there are ``records``, and ops
                may be appended; whatever depends on the disk waits for it, and raises what was the matter: a
                commit, :meth:`ready`.

        Raises:
            JournalError: another writer has it; or damage, a gap, a newer format, an I/O error. Trying lost nothing:
                bad snapshots are renamed to ``*.broken`` and a torn last record is copied to ``*.torn`` before it
                is cut off.
        """
        if self._lock is not None:
            raise JournalError(f"{self.directory}: it is open already")
        try:
            self._fs.make_directory(self.directory)
            self._lock = self._fs.lock(self.directory / "lock")
            history = self._recover()
            if background is None:
                self._journal = self._begin(history)
            else:
                self._beginning = background.submit(self._begin, history)
        except BlockingIOError as error:
            raise JournalError(
                f"{self.directory / 'lock'}: another writer has this partition; stop it first"
            ) from error
        except OSError as error:
            raise self._not_opened(error) from error
        finally:
            if self._journal is None and self._beginning is None:
                self.close()
        self._failure, self._failed_as = None, JournalError

    def ready(self) -> None:
        """Waits until the opening is durable.

        Raises:
            JournalError: it could not be made so; or the partition is closed or has failed.
        """
        self._usable_journal()

    def append(self, ops: Sequence[Op]) -> None:
        """Adds ops to the next commit, and to ``records`` at once; nothing is written yet.

        Raises:
            ValueError: a start of an address that exists, or an event or a stop of one that does not; the ops
                before it stay appended.
            JournalError: the partition is closed or has failed.
        """
        if self._failure is not None:
            raise self._failed_as(f"{self.directory}: {self._failure}")
        self._table.append(ops)
        for op in ops:
            if isinstance(op, Event):
                self._held_bytes += len(op.data)

    def append_event(self, address: str, data: bytes) -> None:
        """As :meth:`append` of one :class:`Event`, for those that come by the thousand."""
        if self._failure is not None:
            raise self._failed_as(f"{self.directory}: {self._failure}")
        self._table.append_event(address, data)
        self._held_bytes += len(data)

    def commit(self) -> None:
        """Makes the ops since the last commit durable, all or none; free if there are none.

        Raises:
            JournalError: whether they are durable is unknown. Never retried: this and every later call fails, and
                only opening the directory anew shows what the disk has.
            ValueError: the ops are over 1 GiB; roll back.
        """
        journal = self._usable_journal()
        if self._table.is_settled:
            return
        if self.rotating:
            began_s = time.perf_counter()
            self._rotate()
            self.waited_s = time.perf_counter() - began_s
        try:
            journal.write(self._table.payload())
        except OSError as error:
            raise self._fail("writing the journal", error) from error
        self._table.settle()

    def rollback(self) -> None:
        """Forgets the ops since the last commit; ``records`` is as it was then.

        Raises:
            JournalError: the partition is closed or has failed.
        """
        self._usable_journal()
        self._table.undo()

    def rebase(self, address: str, state: bytes) -> None:
        """Gives a record a new base in place of its base and tail; the next snapshot takes it out of memory.

        Args:
            state: encoded; what base and tail amount to. No op of this address may wait for a commit.

        Raises:
            ValueError: an address that does not exist.
        """
        self._table.rebase({address: state})
        self._held_bytes += len(state)

    def snapshot(self, dumps: Mapping[str, bytes], background: Executor | None = None) -> Future[None]:
        """Writes everything into one file, with new bases for some addresses, and lets old files go.

        The journal goes on in a new segment before the snapshot is written, so commits go on meanwhile; the first of
        them waits for the segment, or begins it if the background has not got to that.

        Args:
            dumps: encoded states by address, each as of the last commit; the tails of these are cleared now.
            background: writes the file on one of its threads; inline if None.

        Returns:
            Done when the snapshot is durable and the files before the previous one are removed. It raises
            JournalError if not: with the disk full everything goes on without that snapshot, after any other
            I/O error the partition has failed. Inline these are raised here.

        Raises:
            JournalError: the partition is closed or has failed, or someone removed or replaced its lock.
            RuntimeError: ops are not committed, or another snapshot is being written.
            ValueError: a dump of an address that does not exist.
        """
        journal = self._usable_journal()
        if not self._table.is_settled:
            raise RuntimeError(f"{self.directory}: a snapshot between append and commit")
        if self.snapshotting:
            raise RuntimeError(f"{self.directory}: a snapshot is being written already")
        # The bases first: they mean what base and tail meant before, so that a failure below changes nothing.
        self._table.rebase(dumps)
        done: Future[None] = Future()
        done.set_result(None)
        if journal.position.seq == 0:
            # Nothing was ever committed. A snapshot of it would stand in for later ones that are lost.
            return done
        try:
            if self._lock is None or not self._lock.is_current():
                self._failure = "its lock file was removed or replaced: another writer may have it"
                raise JournalError(f"{self.directory}: {self._failure}")
        except OSError as error:
            raise self._fail("looking at its lock", error) from error
        self._rotation, self.waited_s = Rotation(journal), 0.0
        self._older_bytes += journal.size
        self._held_bytes = 0
        while len(self._files) > 1:  # the one before moved every base into the last
            self._files.pop(0).close()
        work = (journal.position, self._table.content(), self._older_bytes)
        if background is not None:
            self._writing = background.submit(self._write_snapshot, *work)
            return self._writing
        self._write_snapshot(*work)
        return done

    def copy_of(self) -> list[tuple[str, int]]:
        """What a copy of the partition as of the last commit is made of: names in its directory, and how much of each.

        None of these files is removed before the snapshot after the next; one that grows meanwhile grows behind its
        part. A copy that is opened has ``seq`` commits.

        Returns:
            (name, length [bytes]) of the newest snapshot, if there is one, and of the segments since.

        Raises:
            JournalError: the partition is closed or has failed.
        """
        journal = self._usable_journal()
        self._rotate()
        # Read once: another thread may be about to finish the next one.
        seq = self._snapshot_seq
        firsts = [first for first in segment_seqs(self._fs.names(self.directory)) if first > seq]
        paths = [snapshot_path(self.directory, seq)] if seq else []
        paths += [segment_path(self.directory, first) for first in firsts[:-1]]
        copied = []
        for path in paths:
            with closing(self._fs.open(path)) as file:
                copied.append((path.name, file.size))
        # Of the one that is being written what is durable, which is all but a commit that failed.
        return [*copied, (segment_path(self.directory, firsts[-1]).name, HEADER_BYTES + journal.size)]

    def close(self) -> None:
        """Waits for a running snapshot, then closes and gives the lock back; appended ops are lost.

        A second call does nothing.
        """
        writing, self._writing = self._writing, None
        # Its outcome belongs to whoever holds the future; here it only has to be over, or never begin.
        if writing is not None and not writing.cancel():
            writing.exception()
        beginning, self._beginning = self._beginning, None
        if beginning is not None and not beginning.cancel() and beginning.exception() is None:
            self._journal = beginning.result()
        journal, self._journal = self._journal, None
        lock, self._lock = self._lock, None
        self._failure = self._failure or "it is closed"
        files, self._files = self._files, []
        try:
            for file in files:
                file.close()
            if journal is not None:
                journal.close()
        finally:
            if lock is not None:
                lock.release()

    # -- inside ---------------------------------------------------------------------------------------------

    def _usable_journal(self) -> Journal:
        if self._beginning is not None:
            beginning, self._beginning = self._beginning, None
            try:
                self._journal = beginning.result()
            except OSError as error:
                self._failure, self._failed_as = "it could not be opened", _error_of(error)
                raise self._not_opened(error) from error
        if self._failure is not None or self._journal is None:
            raise self._failed_as(f"{self.directory}: {self._failure}")
        return self._journal

    def _rotate(self) -> None:
        """Sees that the journal is in the segment after the newest snapshot that was begun; on any thread."""
        rotation = self._rotation
        if rotation is None:
            return
        try:
            rotation.complete()
        except OSError as error:
            raise self._fail("beginning a segment", error) from error

    def _fail(self, doing: str, error: OSError) -> JournalError:
        self._failure = f"{doing} failed ({error}); what the disk has is unknown: stop, and recover from it"
        self._failed_as = _error_of(error)
        return self._failed_as(f"{self.directory}: {self._failure}")

    def _not_opened(self, error: OSError) -> JournalError:
        return _error_of(error)(f"{self.directory}: cannot be opened: {error}")

    def _recover(self) -> Recovered:
        self._table = RecordTable(self._codec)
        for name in self._fs.names(self.directory):
            if name.endswith(TEMPORARY_SUFFIX):
                self._fs.remove(self.directory / name)
        start = Position()
        snapshot = newest_snapshot(self._fs, self.directory)
        try:
            if snapshot is not None:
                start = snapshot.position
                self._files.append(snapshot.file)
                self._table.load(snapshot_body.entries(self._codec, snapshot))
            history = recover(self._fs, self.directory, start)
            for payload in history.payloads:
                self._table.replay(bytes(payload))
        except (CodecError, KeyError, TypeError, ValueError) as error:
            # The checksums hold, so these bytes were written: by another program, or by a defect of this one.
            raise JournalError(
                f"{self.directory}: what is there since sequence {start.seq} is sound but unreadable: {error!r}"
            ) from error
        self._snapshot_seq, self._older_bytes, self._held_bytes = start.seq, history.size, history.size
        return history

    def _begin(self, history: Recovered) -> Journal:
        """What of an opening is to be durable; on any thread, and nothing of it needs the records."""
        if history.last is not None:
            secure_end(self._fs, history.last)
        prune(self._fs, self.directory)
        end = history.position
        return Journal(self._fs, self.directory, replace(end, epoch=end.epoch + 1))

    def _write_snapshot(
        self, position: Position, content: list[snapshot_body.Entry], older_bytes: int
    ) -> None:
        """On the executor's thread: touches only the snapshot's files and segments that are no longer written."""
        self._rotate()  # first: whoever finds the snapshot looks for the segment after it
        written: snapshot_body.Written = []
        try:
            body = snapshot_body.pieces(self._codec, content, written)
            write_snapshot(self._fs, self.directory, position, body)
            file = self._fs.open(snapshot_path(self.directory, position.seq))
            snapshot_body.move(written, file)
            self._files.append(file)
            # Before the pruning: whether old files are gone or not, this snapshot counts.
            self._snapshot_seq = position.seq
            self._older_bytes -= older_bytes
            prune(self._fs, self.directory)
        except JournalError as error:
            self._failure = f"a snapshot could not be written: {error}"
            raise
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise NoRoom(f"{self.directory}: no room for snapshot {position.seq}: {error}") from error
            raise self._fail("writing a snapshot", error) from error


def _error_of(error: OSError) -> type[JournalError]:
    return NoRoom if error.errno in _NO_ROOM else JournalError
