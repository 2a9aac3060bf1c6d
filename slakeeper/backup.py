"""A consistent copy of a data directory in one file, also while the service runs.

Each partition is taken as of one commit: its cell says which snapshot and how much of which segments make it up, and
those are opened at once; what is open may lose its name to the cell's own tidying and is read all the same. A contract
is in one partition; between partitions a copy may be some milliseconds apart, as they are after a power loss.

The key of acknowledge links is part of it: after a loss the links that people hold have to work. Left out: the token,
the keys and addresses of the run, locks, logs, and what repairs have set aside.
"""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slakeeper import __version__
from slakeeper.ack_key import ACK_KEY_FILE
from slakeeper.actors.record import make_codec
from slakeeper.archive import Part, write_archive
from slakeeper.launch import DEMO_MEMORY
from slakeeper.layout import META_FILE, PARTITIONS, LayoutError, lost_partitions
from slakeeper.otp import run_file
from slakeeper.otp.filesystem import OsFileSystem
from slakeeper.otp.journal import JournalError, segment_path, segment_seqs
from slakeeper.otp.snapshot import snapshot_path
from slakeeper.otp.survey import survey
from slakeeper.reading import CONFIG_MEMORY

# A snapshot after the next one takes the files of the answer away; whoever is that slow asks again.
TRIES = 3

# Folders of the data directory that are copied with all that is in them, when they are there.
OUTPUTS = "outputs"
FOLDERS = ("audit", "targets", OUTPUTS)


class BackupRefused(Exception):
    """No backup was made; the text says why and what to do."""


@dataclass
class _Parts:
    """Open files, and how many commits each partition has."""

    listed: list[Part] = field(default_factory=list)
    sequences: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, data: Path, path: Path, size: int | None = None) -> None:
        """Opens a file of the data directory.

        Args:
            size: how much of it counts [bytes]; all of it if None.
        """
        file = path.open("rb")
        length = os.fstat(file.fileno()).st_size if size is None else size
        self.listed.append(Part(path.relative_to(data).as_posix(), length, file))

    def close(self) -> None:
        for part in self.listed:
            part.file.close()


def back_up(
    data: Path, target: Path, ask: Callable[[], list[dict[str, Any]]] | None, now_ms: int
) -> dict[str, Any]:
    """Writes a backup of a data directory.

    Args:
        ask: asks the running system's cells (``Cluster.backup``); None when nothing runs: then the directory is held
            meanwhile, so that nothing can start.

    Returns:
        ``{"file", "bytes", "files", "partitions": {name: commits}, "taken_at_ms"}``.

    Raises:
        BackupRefused: something is damaged, or begins to use the directory.
        OSError: the file cannot be written.
    """
    if not (data / META_FILE).is_file():
        raise BackupRefused(f"{data} is no data directory of slakeeper: it has no {META_FILE}")
    try:
        lost = lost_partitions(data)
    except LayoutError as error:
        raise BackupRefused(str(error)) from error
    if lost:
        raise BackupRefused(f"{', '.join(lost)} of {data} is missing; see: slakeeper --data {data} doctor")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise BackupRefused(f"{target} is there and no ordinary file")
    if target.resolve().is_relative_to(data.resolve()):
        raise BackupRefused(f"{target} is in the data directory; a backup goes elsewhere")
    _allow_many_files()
    parts = _Parts()
    with contextlib.ExitStack() as stack:
        stack.callback(parts.close)
        if ask is None:
            stack.enter_context(_held(data))
            _stopped(data, parts)
        else:
            _running(data, parts, ask)
        # After the partitions: what the log of acts says can only be newer than they are.
        for path in _own_files(data):
            try:
                parts.add(data, path)
            except FileNotFoundError:
                if path.parent != data / OUTPUTS:  # of which the oldest goes when a new one comes
                    raise
        about = {
            "slakeeper": __version__,
            "taken_at_ms": now_ms,
            "data": str(data),
            "partitions": parts.sequences,
        }
        size = write_archive(target, parts.listed, about)
    return {
        "file": str(target),
        "bytes": size,
        "files": len(parts.listed),
        "partitions": {name: each["sequence"] for name, each in sorted(parts.sequences.items())},
        "taken_at_ms": now_ms,
    }


def _running(data: Path, parts: _Parts, ask: Callable[[], list[dict[str, Any]]]) -> None:
    for left in reversed(range(TRIES)):
        opened = _Parts()
        try:
            for row in ask():
                folder = data / PARTITIONS / row["name"]
                for name, size in row["files"]:
                    opened.add(data, folder / name, size)
                opened.sequences[row["name"]] = {"sequence": row["sequence"]}
        except FileNotFoundError as error:
            opened.close()
            if not left:
                raise BackupRefused(f"{error.filename} went while it was looked for; try again") from error
            continue
        except BaseException:
            opened.close()
            raise
        parts.listed += opened.listed
        parts.sequences |= opened.sequences
        return


def _stopped(data: Path, parts: _Parts) -> None:
    fs, codec = OsFileSystem(), make_codec()
    folder = data / PARTITIONS
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        try:
            lock = fs.lock(directory / "lock")
        except BlockingIOError as error:
            raise BackupRefused(f"another program uses {directory}; end it first") from error
        try:
            found = survey(fs, directory, codec)
            if not found.is_sound:
                raise BackupRefused(f"{directory.name} is damaged; see: slakeeper --data {data} doctor")
            start = found.kept.start.seq
            if start:
                parts.add(data, snapshot_path(directory, start))
            for first in segment_seqs(fs.names(directory)):
                if first > start:
                    parts.add(data, segment_path(directory, first))
            parts.sequences[directory.name] = {"sequence": found.kept.end.seq}
        except JournalError as error:
            raise BackupRefused(str(error)) from error
        finally:
            lock.release()


@contextlib.contextmanager
def _held(data: Path) -> Iterator[None]:
    try:
        lock = run_file.lock(data)
    except run_file.AlreadyRunning as error:
        raise BackupRefused(str(error)) from error
    try:
        yield
    finally:
        os.close(lock)


def _own_files(data: Path) -> Iterator[Path]:
    for name in (META_FILE, ACK_KEY_FILE, CONFIG_MEMORY, DEMO_MEMORY):
        if (data / name).is_file():
            yield data / name
    folders = [data / name for name in FOLDERS]
    memory = data / CONFIG_MEMORY
    if memory.is_file():
        # A configuration that lives in the data directory goes with it; one that lives elsewhere is its owner's.
        folder = Path(memory.read_text().rstrip("\n"))
        if folder.is_relative_to(data) and folder != data:
            folders.append(folder)
    for folder in folders:
        if folder.is_dir():
            files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            yield from sorted(path for path in files if path.name != "lock")


def _allow_many_files() -> None:
    """A thousand partitions are three thousand open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
