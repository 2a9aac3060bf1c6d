"""The audit chain's files: whatever a crash leaves, the next write makes it whole, and nothing confirmed is touched."""

import errno
import logging
from pathlib import Path
from random import Random

import pytest

from slakeeper.actors import audit_file
from slakeeper.actors.audit_file import AuditFiles, Fork, segment_name
from slakeeper.otp.filesystem import Readable
from slakeeper.otp.sim_filesystem import CrashFileSystem, PowerLoss
from slakeeper.sla.audit import Fact, Head, Link, link

ROOT = Path("/data/audit")
FIRST = ROOT / "p000" / segment_name(1)


def chain(count: int, start: Head | None = None, who: str = "ann") -> list[Link]:
    links: list[Link] = []
    head = start or Head()
    for number in range(count):
        links.append(link(head, "p000", Fact(number, "test", who, details={"text": "x" * 300})))
        head = links[-1].head
    return links


def written(links: list[Link]) -> bytes:
    return b"".join(each.line.encode() + b"\n" for each in links)


SIX = chain(6)


@pytest.fixture
def fs() -> CrashFileSystem:
    made = CrashFileSystem()
    AuditFiles(ROOT, made).append("p000", SIX[:3])
    return made


def content(fs: CrashFileSystem) -> bytes:
    return b"".join(fs.files(ROOT / "p000")[name] for name in sorted(fs.files(ROOT / "p000")))


def test_entries_follow_on_what_is_confirmed(fs: CrashFileSystem) -> None:
    assert AuditFiles(ROOT, fs).append("p000", SIX[3:]) == 6
    assert content(fs) == written(SIX)


def test_an_append_reads_no_more_of_a_segment_than_the_end_that_it_follows_on(
    fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = 0
    opened = fs.open

    def counted(path: Path) -> Readable:
        file = opened(path)
        read_at = file.read_at

        def count(offset: int, length: int) -> bytes:
            nonlocal read_bytes
            read_bytes += length
            return read_at(offset, length)

        monkeypatch.setattr(file, "read_at", count)
        return file

    monkeypatch.setattr(fs, "open", counted)
    monkeypatch.setattr(fs, "read", lambda path: pytest.fail(f"{path} was read whole"))
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs) == written(SIX)
    assert 0 < read_bytes < 100


def test_what_is_confirmed_survives_a_loss_of_power(fs: CrashFileSystem) -> None:
    assert content(fs.after_power_loss("nothing")) == written(SIX[:3])


def test_entries_that_are_there_already_are_not_doubled(fs: CrashFileSystem) -> None:
    AuditFiles(ROOT, fs).append("p000", SIX[3:5])
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs) == written(SIX)


def test_entries_that_only_seem_to_be_there_are_written_again(fs: CrashFileSystem) -> None:
    """After a sync that failed the system shows what the disk does not have."""
    fs.fail_at = {fs.steps + 2: errno.EIO}
    with pytest.raises(OSError):
        AuditFiles(ROOT, fs).append("p000", SIX[3:])
    fs.fail_at = {}
    assert content(fs) == written(SIX)
    assert content(fs.after_power_loss("everything")) == written(SIX[:3])
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs.after_power_loss("nothing")) == written(SIX)


@pytest.mark.parametrize("seed", range(40))
def test_power_lost_at_any_operation_leaves_what_the_next_write_makes_whole(seed: int) -> None:
    random = Random(seed)
    for crash_at in range(20):
        fs = CrashFileSystem(crash_at)
        done = 0
        try:
            for end in (2, 3, 6):
                AuditFiles(ROOT, fs).append("p000", SIX[done:end])
                done = end
        except PowerLoss:
            fs = fs.after_power_loss(random)
        if done < 6:
            AuditFiles(ROOT, fs).append("p000", SIX[done:])
        assert content(fs) == written(SIX)
        assert content(fs.after_power_loss("nothing")) == written(SIX)


def test_a_full_segment_is_followed_by_another(fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "SEGMENT_BYTES", 1000)
    AuditFiles(ROOT, fs).append("p000", SIX[3:5])
    AuditFiles(ROOT, fs).append("p000", SIX[5:])
    assert sorted(fs.files(ROOT / "p000")) == [segment_name(1), segment_name(4), segment_name(6)]
    assert content(fs.after_power_loss("nothing")) == written(SIX)


def test_a_cut_end_shows_as_a_gap_and_nothing_is_lost_by_it(
    fs: CrashFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    fs.put(FIRST, written(SIX[:2]))
    with caplog.at_level(logging.ERROR, "slakeeper.audit"):
        AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs) == written([*SIX[:2], *SIX[3:]])
    assert "run: slakeeper audit verify" in caplog.text


def test_a_file_that_is_gone_shows_as_a_gap(fs: CrashFileSystem) -> None:
    fs.remove(FIRST)
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert fs.files(ROOT / "p000") == {segment_name(4): written(SIX[3:])}


def test_entries_beyond_the_chain_are_put_aside_when_that_is_wanted(fs: CrashFileSystem) -> None:
    """As after an older copy of the journals was put back: the files have gone another way since."""
    other = chain(2, SIX[2].head, who="bob")
    fs.put(FIRST, written([*SIX[:3], *other]))
    fork = AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert isinstance(fork, Fork)
    assert (fork.seq, fork.count) == (4, 2)
    assert fs.files(ROOT / "p000") == {segment_name(1): written([*SIX[:3], *other])}
    assert AuditFiles(ROOT, fs).append("p000", SIX[3:], puts_aside=True) == 6
    kept = {segment_name(1): written(SIX), fork.file: written(other)}
    assert fs.files(ROOT / "p000") == fs.after_power_loss("nothing").files(ROOT / "p000") == kept


def test_whole_segments_beyond_the_chain_are_put_aside_too(
    fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "SEGMENT_BYTES", 1000)
    other = chain(3, SIX[1].head, who="bob")
    fs.put(FIRST, written([*SIX[:2], other[0]]))
    fs.put(ROOT / "p000" / segment_name(4), written(other[1:]))
    fork = AuditFiles(ROOT, fs).append("p000", SIX[2:])
    assert isinstance(fork, Fork)
    assert (fork.seq, fork.count) == (3, 3)
    AuditFiles(ROOT, fs).append("p000", SIX[2:], puts_aside=True)
    assert fs.files(ROOT / "p000") == {segment_name(1): written(SIX), fork.file: written(other)}


def test_a_chain_that_was_taken_back_by_many_segments_is_put_aside_whole(
    fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a partition was begun anew: its first entry has the name of the oldest segment."""
    monkeypatch.setattr(audit_file, "SEGMENT_BYTES", 1000)
    known = chain(40)
    for first in range(3, 40):
        AuditFiles(ROOT, fs).append("p000", known[first : first + 1])
    assert len(fs.files(ROOT / "p000")) > 10
    assert content(fs) == written(known)
    anew = chain(2, who="bob")
    fork = AuditFiles(ROOT, fs).append("p000", anew)
    assert isinstance(fork, Fork)
    assert (fork.seq, fork.count, content(fs)) == (1, 40, written(known))
    assert AuditFiles(ROOT, fs).append("p000", anew, puts_aside=True) == 2
    assert fs.files(ROOT / "p000") == {segment_name(1): written(anew), fork.file: written(known)}


def test_a_segment_that_somebody_put_where_the_next_one_belongs_is_not_written_over(
    fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "SEGMENT_BYTES", 1000)
    fs.put(ROOT / "p000" / segment_name(4), written(SIX[:2]))
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs) == written([*SIX[:3], *SIX[:2], *SIX[3:]])


def test_confirmed_entries_that_were_moved_are_left_where_they_are(fs: CrashFileSystem) -> None:
    fs.put(FIRST, written([SIX[0], SIX[2], SIX[1]]))
    assert AuditFiles(ROOT, fs).append("p000", SIX[3:], puts_aside=True) == 6
    assert content(fs) == written([SIX[0], SIX[2], SIX[1], *SIX[3:]])


def test_entries_that_a_stop_wrote_beyond_one_write_are_the_chains_own(fs: CrashFileSystem) -> None:
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert AuditFiles(ROOT, fs).append("p000", SIX[3:], at_most=1) == 6
    assert content(fs) == written(SIX)


def test_a_small_write_that_comes_too_late_cuts_nothing_off(fs: CrashFileSystem) -> None:
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    fork = AuditFiles(ROOT, fs).append("p000", SIX[3:5], at_most=1)
    assert isinstance(fork, Fork)
    assert (fork.seq, fork.count) == (6, 1)
    assert content(fs) == written(SIX)


def test_a_write_takes_no_more_entries_than_it_may(fs: CrashFileSystem) -> None:
    assert AuditFiles(ROOT, fs).append("p000", SIX[3:], at_most=2) == 5
    assert content(fs) == written(SIX[:5])


def test_entries_of_the_chain_in_later_segments_are_known_and_not_doubled(
    fs: CrashFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the journals were put back as they were before the last entries had been confirmed."""
    monkeypatch.setattr(audit_file, "SEGMENT_BYTES", 1000)
    AuditFiles(ROOT, fs).append("p000", SIX[3:5])
    AuditFiles(ROOT, fs).append("p000", SIX[5:])
    assert AuditFiles(ROOT, fs).append("p000", SIX[2:], at_most=1) == 6
    assert content(fs) == content(fs.after_power_loss("nothing")) == written(SIX)


def test_two_do_not_write_at_once(fs: CrashFileSystem) -> None:
    lock = fs.lock(ROOT / "p000" / "lock")
    with pytest.raises(BlockingIOError):
        AuditFiles(ROOT, fs).append("p000", SIX[3:])
    lock.release()
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert content(fs) == written(SIX)


def test_a_write_that_comes_too_late_cuts_nothing_off(fs: CrashFileSystem) -> None:
    AuditFiles(ROOT, fs).append("p000", SIX[3:])
    assert isinstance(AuditFiles(ROOT, fs).append("p000", SIX[3:5]), Fork)
    assert content(fs) == written(SIX)


def test_the_files_of_the_system_are_for_their_owner_alone(tmp_path: Path) -> None:
    AuditFiles(tmp_path / "audit").append("p000", SIX)
    path = tmp_path / "audit" / "p000" / segment_name(1)
    assert path.read_bytes() == written(SIX)
    assert [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)] == [
        0o600, 0o700, 0o700,
    ]  # fmt: skip
