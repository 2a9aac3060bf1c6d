"""Files that grow are put aside: a log by renaming, an output that others hold open by emptying it."""

import os
from pathlib import Path

import pytest

from slakeeper.otp import log


def test_a_log_that_has_grown_is_put_aside_and_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    for number in range(5):
        path.write_text(f"{number}" * 11)
        log.rotate(path, 10, keep=2)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["some.log.1", "some.log.2"]
    assert (tmp_path / "some.log.1").read_text() == "4" * 11


def test_an_output_that_is_held_open_is_emptied_and_goes_on_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log.cut(path, 10)  # not there: nothing to do
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for number in range(5):
        os.write(fd, f"{number}".encode() * 11)
        log.cut(path, 10)
    os.write(fd, b"last")
    log.cut(path, 10)
    os.close(fd)
    assert path.read_bytes() == b"last"
    assert (tmp_path / "output.log.1").read_bytes() == b"4" * 11


def test_without_room_for_a_copy_it_is_emptied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slakeeper.otp.log.shutil.copyfile", fail)
    path = tmp_path / "output.log"
    path.write_text("x" * 11)
    log.cut(path, 10)
    assert path.read_bytes() == b""
