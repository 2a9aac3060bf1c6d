"""The operating system's files behind the port."""

import errno
import os
import stat
from pathlib import Path

import pytest

from slakeeper.otp.filesystem import OsFileSystem, write_atomically

FS = OsFileSystem()


def test_directories_are_made_with_their_parents_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    FS.make_directory(path)
    FS.make_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert FS.names(path) == []


def test_a_file_in_the_way_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError):
        FS.make_directory(tmp_path / "a")


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    file = FS.create(tmp_path / "f")
    file.write(b"one")
    file.sync()
    file.write(b"two")
    file.sync_data()
    file.close()
    file.close()
    assert FS.read(tmp_path / "f") == b"onetwo"
    FS.create(tmp_path / "f").close()
    assert FS.read(tmp_path / "f") == b""


def test_writes_that_the_system_cuts_short_are_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    file = FS.create(tmp_path / "f")
    file.write(b"0123456789")
    file.close()
    assert FS.read(tmp_path / "f") == b"0123456789"
    FS.rewrite_end(tmp_path / "f", 4, b"abcde")
    assert FS.read(tmp_path / "f") == b"0123abcde"


def test_an_end_is_rewritten_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    FS.rewrite_end(path, 3, b"34")
    assert path.read_bytes() == b"01234"
    FS.rewrite_end(path, 0, b"")
    assert path.read_bytes() == b""


def test_an_atomic_write_replaces_the_whole_file_and_can_be_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old and longer")
    large = [b"x" * 100_000 for _ in range(8)]
    file = write_atomically(FS, path, [b"new", *large])
    file.write(b"end")
    file.close()
    assert path.read_bytes() == b"new" + b"".join(large) + b"end"
    assert os.listdir(tmp_path) == ["f"]


def test_an_atomic_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    path = tmp_path / "f"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="no room"):
        write_atomically(FS, path, [b"new"])
    assert os.listdir(tmp_path) == ["f"]
    assert path.read_bytes() == b"old"


def test_a_lock_excludes_until_released_and_knows_when_its_file_is_gone(tmp_path: Path) -> None:
    lock = FS.lock(tmp_path / "lock")
    assert lock.is_current()
    with pytest.raises(BlockingIOError):
        FS.lock(tmp_path / "lock")
    lock.release()
    lock.release()
    again = FS.lock(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    assert not again.is_current()
    other = FS.lock(tmp_path / "lock")
    assert not again.is_current()
    assert other.is_current()
    again.release()
    other.release()
