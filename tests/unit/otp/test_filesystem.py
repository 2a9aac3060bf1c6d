"""The operating system's files behind the port."""

import errno
import os
import stat
from pathlib import Path

import pytest

from slakeeper.otp.filesystem import OsFileSystem, write_atomically
from tests.unit.disk_calls import DiskCalls

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


# No test can take the power from a real disk. What the port promises of it is that the system was asked, and in order.


def test_a_file_and_its_data_are_synced_when_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    file = FS.create(tmp_path / "f")
    file.write(b"one")
    assert calls.made == []
    file.sync()
    file.sync_data()
    file.close()
    assert calls.made == [("sync", str(tmp_path / "f"))] * 2


def test_a_rewritten_end_is_cut_and_then_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    calls = DiskCalls(monkeypatch)
    FS.rewrite_end(path, 3, b"34")
    assert calls.made == [("cut", str(path)), ("sync", str(path))]


def test_names_are_synced_with_their_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = DiskCalls(monkeypatch)
    FS.sync_directory(tmp_path)
    assert calls.made == [("sync", str(tmp_path))]


def test_each_new_directory_is_durable_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    FS.make_directory(tmp_path / "a" / "b")
    assert calls.made == [("sync", str(tmp_path)), ("sync", str(tmp_path / "a"))]


def test_an_atomic_write_syncs_contents_then_renames_then_syncs_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, temporary = tmp_path / "f", tmp_path / "f.tmp"
    calls = DiskCalls(monkeypatch)
    write_atomically(FS, path, [b"new"]).close()
    assert calls.made == [
        ("sync", str(temporary)), ("rename", str(temporary), str(path)), ("sync", str(tmp_path)),
    ]  # fmt: skip
