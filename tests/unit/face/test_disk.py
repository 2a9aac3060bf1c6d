"""What the data directory takes of the disk, by what it is."""

import os
from pathlib import Path

import pytest

from slakeeper.disk import KEPT_S, DiskGauge, disk_use, left_over
from slakeeper.text import disk_text, size_text

BLOCK = 4096


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, blocks in (
        ("meta.json", 1),
        ("log/slakeeper.log", 2),
        ("audit/p000/000000000001.jsonl", 8),
        ("partitions/p000/journal-00000000000000000001.log", 3),
        ("partitions/p000/snapshot-00000000000000000001.msgpack", 4),
        ("partitions/p000/snapshot-00000000000000000000.msgpack.broken", 5),
        ("partitions/p000/journal-00000000000000000001.log.epoch-1.torn", 6),
        ("repaired-20260101T000000Z/partitions/p000/journal-00000000000000000001.log", 7),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(blocks * BLOCK))
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())  # until then some file systems say that it takes nothing
    return folder


def test_every_file_counts_for_what_it_is(data: Path) -> None:
    found = disk_use(data)
    assert found.pop("free_bytes") > 0
    assert {name: size // BLOCK for name, size in found.items()} == {
        "used_bytes": 36,
        "audit_bytes": 8,
        "journal_bytes": 3,
        "snapshot_bytes": 4,
        "logs_bytes": 2,
        "left_over_bytes": 18,
    }
    assert [path.suffix for path, _ in left_over(data)] == [".torn", ".broken", ".log"]


def test_a_gauge_looks_again_when_its_last_look_is_old(data: Path) -> None:
    now_s = 100.0
    gauge = DiskGauge(data, lambda: now_s)
    first = gauge.read()
    (data / "meta.json").unlink()
    assert gauge.read() == first
    now_s += KEPT_S
    later = gauge.read()
    assert first is not None
    assert later is not None
    assert first["used_bytes"] - later["used_bytes"] == BLOCK


def test_without_the_directory_nothing_can_be_told(data: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk_use(data / "nowhere")
    assert DiskGauge(data / "nowhere").read() is None


def test_links_are_not_followed(data: Path, tmp_path: Path) -> None:
    before = disk_use(data)["used_bytes"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(100 * BLOCK))
    (data / "link").symlink_to(tmp_path / "elsewhere")
    assert disk_use(data)["used_bytes"] - before <= BLOCK


@pytest.mark.parametrize(
    "count_bytes, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**30, "5 GiB"),
        (2**52, "4096 TiB"),
    ],
)
def test_sizes_have_the_unit_that_fits(count_bytes: int, text: str) -> None:
    assert size_text(count_bytes) == text


def test_what_is_left_over_is_said_only_when_there_is_something() -> None:
    use = {
        "used_bytes": 1024,
        "free_bytes": 2**30,
        "journal_bytes": 1,
        "snapshot_bytes": 2,
        "logs_bytes": 3,
        "audit_bytes": 4,
    }
    assert disk_text(use) == "disk: 1 KiB used (journal 1 B, snapshot 2 B, audit 4 B, logs 3 B), 1 GiB free"
    assert "logs 3 B, left over 4 B)" in disk_text({**use, "left_over_bytes": 4})
