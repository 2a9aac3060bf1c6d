"""The heart's files: one holder, private, replaced as a whole, cleaned after a kill."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from slakeeper.otp import posix, run_file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run_file.prepare(tmp_path / "data")
    return tmp_path / "data"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_data_directory_is_made_for_its_owner_alone(data: Path) -> None:
    assert mode(data) == mode(data / "log") == 0o700


def test_a_data_directory_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(run_file.DataDirUnusable, match="Not a directory"):
        run_file.prepare(tmp_path / "file" / "data")


def test_a_second_lock_is_refused_and_names_the_holder(data: Path) -> None:
    fd = run_file.lock(data)
    try:
        with pytest.raises(run_file.AlreadyRunning, match=f"in use by process {os.getpid()}") as caught:
            run_file.lock(data)
        assert caught.value.pid == os.getpid()
        assert run_file.holder(data) == posix.identify(os.getpid())
    finally:
        os.close(fd)
    assert run_file.holder(data) is None
    os.close(run_file.lock(data))


def test_a_lock_ends_with_its_holder(data: Path) -> None:
    script = (
        f"from pathlib import Path\nfrom slakeeper.otp import run_file\nrun_file.lock(Path({str(data)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert run_file.holder(data) is None
    os.close(run_file.lock(data))


@pytest.mark.parametrize("content", ["", "null", "{", "[1]", '["a", 1, "b"]', "[1, 1, 1]"])
def test_a_damaged_lock_file_names_nobody(data: Path, content: str) -> None:
    (data / "lock").write_text(content)
    assert run_file.holder(data) is None


def test_the_run_file_is_private_and_replaced_as_a_whole(data: Path) -> None:
    assert run_file.read(data) is None
    run_file.write(data, {"a": 1})
    run_file.write(data, {"b": 2})
    assert run_file.read(data) == {"b": 2}
    assert mode(data / "run.json") == 0o600
    assert sorted(path.name for path in data.iterdir()) == ["log", "run.json"]
    run_file.remove(data)
    run_file.remove(data)
    assert run_file.read(data) is None


def test_a_damaged_run_file_says_nothing(data: Path) -> None:
    (data / "run.json").write_text("{")
    assert run_file.read(data) is None


def test_the_token_is_kept(data: Path) -> None:
    token = run_file.token(data)
    assert len(token) > 30
    assert run_file.token(data) == token
    assert mode(data / "token") == 0o600


def test_a_runtime_directory_is_private_and_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / ("long" * 30)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    path = run_file.make_runtime_dir()
    assert mode(path) == 0o700
    assert len(str(path)) < 70
    run_file.remove_runtime_dir(path)
    assert not path.exists()


def test_only_a_runtime_directory_is_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    run_file.remove_runtime_dir(tmp_path / "precious")
    run_file.remove_runtime_dir(None)
    run_file.remove_runtime_dir("")
    assert (tmp_path / "precious").is_dir()


def test_leftovers_are_killed_only_when_they_are_the_same_process(data: Path) -> None:
    children = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    left, reused, other_boot = (posix.identify(child.pid) for child in children)
    assert left is not None
    assert reused is not None
    assert other_boot is not None
    runtime = run_file.make_runtime_dir()
    table = [
        {"name": "left", "pid": left.pid, "started": left.started},
        {"name": "reused", "pid": reused.pid, "started": reused.started - 1},
        {"name": "none", "pid": None, "started": 0},
    ]
    try:
        run_file.write(data, {"boot_id": posix.boot_id(), "processes": table, "runtime_dir": str(runtime)})
        assert run_file.clean_leftovers(data) == ["left"]
        assert children[0].wait(timeout=10) == -9
        assert reused.alive()
        assert not runtime.exists()
        assert run_file.read(data) is None
        table = [{"name": "other", "pid": other_boot.pid, "started": other_boot.started}]
        run_file.write(data, {"boot_id": "another", "processes": table})
        assert run_file.clean_leftovers(data) == []
        assert other_boot.alive()
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_lock_is_held_on_the_file_that_others_find(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, calls = fcntl.flock, []

    def taken_away(fd: int, operation: int) -> None:
        flock(fd, operation)
        calls.append(fd)
        if len(calls) == 1:  # by another start, which held it until now and was refused
            (data / "lock").unlink()

    monkeypatch.setattr(fcntl, "flock", taken_away)
    fd = run_file.lock(data)
    assert os.path.samestat(os.fstat(fd), (data / "lock").stat())
    os.close(fd)
