"""The file of a backup: a tar of the data directory's own files, and last a manifest with a checksum of each.

``manifest.json``: ``format``, ``slakeeper`` (the version that wrote it), ``taken_at_ms`` (when it was begun), ``data``
(where), ``partitions`` (name to ``sequence``: how many commits it has) and ``files`` (name to ``bytes``, ``sha256``).
``manifest.sha256`` behind it is its own checksum, and the end.
"""

import contextlib
import fcntl
import glob
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from slakeeper.otp.filesystem import OsFileSystem

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
PARTIAL_SUFFIX = ".partial"

_PIECE_BYTES = 1024 * 1024


class ArchiveError(Exception):
    """It is no backup, or not a whole one, or of a newer version; the text says what is wrong with it."""


@dataclass(frozen=True)
class Part:
    """One file of a backup: its name below the data directory, and its first ``size`` bytes.

    ``file`` is open: its name on the disk may go meanwhile.
    """

    name: str
    size: int
    file: BinaryIO


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself."""

    taken_at_ms: int
    data: str
    partitions: dict[str, int]
    files: dict[str, tuple[int, str]]
    """Name to (size [bytes], SHA-256 in hexadecimal)."""


def write_archive(target: Path, parts: Sequence[Part], about: dict[str, Any]) -> int:
    """Writes a backup, readable by its owner alone; under its name only when it is whole and durable.

    Args:
        target: replaced if it is there.
        about: the manifest but for ``format`` and ``files``.

    Returns:
        Its size [bytes].

    Raises:
        OSError: it cannot be written, or a part is shorter than it says; ``target`` is as it was.
    """
    _remove_left_over(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a disk without locks: then nothing of it is removed as left over
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.fdopen(fd, "wb") as file:
            files: dict[str, dict[str, Any]] = {}
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for part in parts:
                    digest = hashlib.sha256()
                    part.file.seek(0)
                    tar.addfile(_header(part.name, part.size, about), _Watched(part, digest))
                    files[part.name] = {"bytes": part.size, "sha256": digest.hexdigest()}
                manifest = json.dumps({"format": FORMAT, **about, "files": files}, indent=1).encode()
                tar.addfile(_header(MANIFEST, len(manifest), about), io.BytesIO(manifest))
                seal = hashlib.sha256(manifest).hexdigest().encode()
                tar.addfile(_header(SEAL, len(seal), about), io.BytesIO(seal))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.rename(target)
        sync_folder(target.parent)
        return size
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _remove_left_over(target: Path) -> None:
    """What killed backups to the same place left, each as large as a backup. One that is being written is locked."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*{PARTIAL_SUFFIX}"):
        if path.is_symlink():
            continue
        with contextlib.suppress(BlockingIOError, PermissionError, FileNotFoundError):
            lock = OsFileSystem().lock(path)
            try:
                path.unlink()
            finally:
                lock.release()


def _header(name: str, size: int, about: dict[str, Any]) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(about["taken_at_ms"] // 1000)
    return info


class _Watched(io.RawIOBase):
    """Reads a part and hashes what is read; refuses to end early."""

    def __init__(self, part: Part, digest: "hashlib._Hash") -> None:
        self._part = part
        self._digest = digest
        self._left = part.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._part.file.read(wanted)
        if len(data) < wanted:
            raise OSError(f"{self._part.name} is shorter than it was when the backup began")
        self._digest.update(data)
        self._left -= len(data)
        return data


def read_archive(source: Path, take: Callable[[str, IO[bytes]], None] | None = None) -> Manifest:
    """Reads a backup to its end and checks every byte.

    Args:
        take: is given each file's name and contents, to be read to their end; checked only after that.

    Raises:
        ArchiveError: it is not what was written.
        OSError: it cannot be read, or ``take`` fails.
    """
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    sealed, is_sealed = "", False
    try:
        with tarfile.open(source, mode="r:") as tar:
            for member, content in _members(tar):
                if manifest is not None:
                    if is_sealed or member.name != SEAL:
                        raise ArchiveError(f"{source}: something follows the manifest")
                    is_sealed = content.read() == sealed.encode()
                    continue
                if member.name == MANIFEST:
                    text = content.read()
                    manifest, sealed = _manifest(source, text), hashlib.sha256(text).hexdigest()
                    continue
                if member.name in found:
                    raise ArchiveError(f"{source}: {member.name} is in it twice")
                reader = _Hashing(content)
                if take is not None:
                    take(member.name, reader)  # type: ignore[arg-type]
                reader.drain()
                found[member.name] = (member.size, reader.digest.hexdigest())
    except tarfile.TarError as error:
        raise ArchiveError(f"{source}: is no whole tar file: {error}") from error
    if manifest is None:
        raise ArchiveError(f"{source}: has no manifest: it is no backup, or is cut off")
    if not is_sealed:
        raise ArchiveError(f"{source}: its manifest is damaged, or its end is cut off")
    for name in sorted(found.keys() | manifest.files.keys()):
        if found.get(name) != manifest.files.get(name):
            raise ArchiveError(f"{source}: {name} is damaged, missing or not part of it")
    return manifest


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in tar:
        path = PurePosixPath(member.name)
        content = tar.extractfile(member) if member.isreg() else None
        # Nothing that this program writes has such names; whoever made it may want to write somewhere else.
        if content is None or path.is_absolute() or ".." in path.parts or str(path) != member.name:
            raise ArchiveError(f"{tar.name!s}: {member.name!r} is no file of a data directory")
        yield member, content


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, content: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._content = content

    def read(self, size: int = _PIECE_BYTES) -> bytes:
        data = self._content.read(size)
        self.digest.update(data)
        return data

    def drain(self) -> None:
        while self.read():
            pass


def _manifest(source: Path, text: bytes) -> Manifest:
    try:
        read = json.loads(text)
        if read["format"] > FORMAT:
            raise ArchiveError(
                f"{source}: format {read['format']} of a newer slakeeper; this one reads {FORMAT}"
            )
        return Manifest(
            int(read["taken_at_ms"]),
            str(read["data"]),
            {name: int(each["sequence"]) for name, each in read["partitions"].items()},
            {name: (int(each["bytes"]), str(each["sha256"])) for name, each in read["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(f"{source}: its manifest is damaged: {error!r}") from error


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
