"""Makes a data directory of a backup: all of it, checked, or nothing."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from slakeeper.actors.record import make_codec
from slakeeper.archive import ArchiveError, Manifest, read_archive, sync_folder
from slakeeper.chain import cut_chain, note_release
from slakeeper.layout import LayoutError, check_meta
from slakeeper.otp import run_file
from slakeeper.otp.filesystem import OsFileSystem
from slakeeper.otp.survey import survey
from slakeeper.reading import CONFIG_MEMORY
from slakeeper.restored import MARK, mark_of

_PIECE_BYTES = 1024 * 1024


class RestoreRefused(Exception):
    """Nothing was restored; the text says why."""


def restore(source: Path, data: Path, now_ms: int, *, live: bool = False, by: str = "") -> dict[str, Any]:
    """Makes ``data`` of a backup; durable on return.

    The whole backup is checked before anything is written, and again while it is; the directory appears under its name
    only when it is whole and opens.

    Args:
        live: what the copy says and does is real at once; without it, it is held until ``start --live``.
        by: who restores; with ``live`` the copy's audit chain says so.

    Returns:
        ``{"data", "taken_at_ms", "partitions": {name: commits}, "live"}``.

    Raises:
        RestoreRefused: the directory is not empty or in use, or the backup is not whole.
        OSError: it cannot be read or written.
    """
    _refuse_unless_free(data)
    if not source.is_file():
        raise RestoreRefused(f"there is no backup {source}")
    try:
        manifest = read_archive(source)
        data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = data.with_name(f".{data.name}.{os.getpid()}.restoring")
        try:
            building.mkdir(mode=0o700)
        except FileExistsError as error:
            raise RestoreRefused(
                f"{building} is there, of a restore that was interrupted; remove it"
            ) from error
        try:
            _fill(source, building, manifest, data)
            mark = mark_of(manifest.taken_at_ms, now_ms, str(source.absolute()))
            if live:
                check_meta(building)
                note_release(building, mark, by, now_ms)
            else:
                _write(building / MARK, json.dumps(mark, indent=1).encode())
            _sync_all(building)
            _refuse_unless_free(data)
            # Takes the place of an empty directory, and of no other.
            building.rename(data)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    except (ArchiveError, LayoutError) as error:
        raise RestoreRefused(str(error)) from error
    sync_folder(data.parent)
    return {
        "data": str(data),
        "taken_at_ms": manifest.taken_at_ms,
        "partitions": dict(sorted(manifest.partitions.items())),
        "live": live,
    }


def _refuse_unless_free(data: Path) -> None:
    holder = run_file.holder(data)
    if holder is not None:
        raise RestoreRefused(f"{data} is in use by process {holder.pid}; name another directory with --data")
    if data.exists() and not data.is_dir():
        raise RestoreRefused(f"{data} is no directory")
    if data.is_dir() and any(data.iterdir()):
        raise RestoreRefused(f"{data} is not empty; name a new directory with --data")
    if os.path.ismount(data):
        raise RestoreRefused(f"{data} is a mount point; name a new directory in it with --data")


def _fill(source: Path, building: Path, manifest: Manifest, data: Path) -> None:
    def take(name: str, content: IO[bytes]) -> None:
        path = building / name
        _make_folders(path.parent)
        with _created(path) as file:
            while piece := content.read(_PIECE_BYTES):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    if read_archive(source, take) != manifest:
        raise ArchiveError(f"{source}: it was changed while it was being restored")
    for name, sequence in manifest.partitions.items():
        folder = building / "partitions" / name
        _make_folders(folder)
        found = survey(OsFileSystem(), folder, make_codec())
        if not found.is_sound or found.kept.end.seq != sequence:
            raise ArchiveError(
                f"{source}: {name} does not open as it should: commit {found.kept.end.seq}, not {sequence}"
            )
        # They were copied after the partition, and may know more than it does.
        cut_chain(building, name)
    _move_configuration(building, Path(manifest.data), data)


def _move_configuration(building: Path, old: Path, new: Path) -> None:
    """A configuration that lives in the data directory is where that is now."""
    memory = building / CONFIG_MEMORY
    with contextlib.suppress(FileNotFoundError, ValueError):
        inside = Path(memory.read_text().rstrip("\n")).relative_to(old)
        memory.unlink()
        _write(memory, f"{new / inside}\n".encode())


def _make_folders(folder: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700)


def _created(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb")


def _write(path: Path, content: bytes) -> None:
    with _created(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    sync_folder(folder)
