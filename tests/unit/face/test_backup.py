"""Backup and restore: what is in the file, that it is checked, what a restored copy does and what it must not do."""

import json
import logging
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slakeeper import App, Metric, Sla, backup
from slakeeper.ack_key import ACK_KEY_FILE, ack_key
from slakeeper.actors.output_file import OutputFiles
from slakeeper.archive import MANIFEST, SEAL, ArchiveError, read_archive
from slakeeper.audit import last_entries, verify
from slakeeper.backup import BackupRefused, back_up
from slakeeper.cli import main
from slakeeper.otp import run_file
from slakeeper.otp.filesystem import OsFileSystem
from slakeeper.otp.journal import JournalError
from slakeeper.otp.partition import Partition
from slakeeper.restore import RestoreRefused, restore
from slakeeper.restored import MARK, held_because, release
from slakeeper.sla.ack_claim import Claim, mint, read
from tests.unit.disk_calls import DiskCalls
from tests.unit.otp.partition_world import CODEC

NOW_MS = 1_700_000_000_000


def make_contract(app: App, sla_id: str = "api") -> None:
    app.define_sla(
        Sla(
            id=sla_id,
            name=sla_id,
            service_level="99.9",
            metrics=[Metric(name="latency", value="250", condition="lt")],
        )
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A stopped data directory with two contracts, one violation open in each."""
    folder = tmp_path / "data"
    with App.start(data=folder, mode="inline") as app:
        for sla_id in ("api", "shop"):
            make_contract(app, sla_id)
        app.observe("latency", 999.0)
        assert app.flush() == []
    return folder


@pytest.fixture
def file(data: Path) -> Path:
    target = data.parent / "backup.tar"
    back_up(data, target, None, NOW_MS)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def cli(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_what_remedies_printed_is_part_of_it_as_far_as_it_is_still_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = OutputFiles(data / "outputs")
    for violation_id in ("v1", "v2"):
        outputs.keep(violation_id, "restart", 1, f"of {violation_id}\n")
    listed = backup._own_files

    def listed_before_the_oldest_went(folder: Path) -> list[Path]:
        paths = list(listed(folder))
        outputs.forget(["v1"])
        return paths

    monkeypatch.setattr(backup, "_own_files", listed_before_the_oldest_went)
    back_up(data, tmp_path / "backup.tar", None, NOW_MS)
    restore(tmp_path / "backup.tar", tmp_path / "copy", NOW_MS)
    [path] = (tmp_path / "copy" / "outputs").iterdir()
    assert path.read_text() == "of v2\n"


def known(data: Path) -> Any:
    with App.start(data=data, mode="inline") as app:
        return app.violations(), app.compensation(), [row["id"] for row in app.check_slas()]


def test_a_restored_copy_has_the_same_contracts_and_violations(
    data: Path, file: Path, tmp_path: Path
) -> None:
    restore(file, tmp_path / "copy", NOW_MS)
    copy, original = known(tmp_path / "copy"), known(data)
    assert copy == original
    assert len(copy[0]) == 2


def test_restored_twice_is_the_same(file: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        restore(file, tmp_path / name, NOW_MS)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_file_is_its_owners_alone_and_has_no_secrets(data: Path, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    (data / "token").write_text("secret")
    (data / "run.json").write_text("{}")
    again = data.parent / "again.tar"
    back_up(data, again, None, NOW_MS)
    with tarfile.open(again) as tar:
        names = tar.getnames()
    assert names[-2:] == [MANIFEST, SEAL]
    assert {name.partition("/")[0] for name in names[:-2]} == {"meta.json", "partitions", "audit"}
    assert not [name for name in names if name.endswith("lock")]
    assert not [path for path in data.parent.iterdir() if path.name.endswith(".partial")]


def test_links_that_were_sent_are_good_after_a_restore_and_their_key_is_the_owners_alone(
    data: Path, tmp_path: Path
) -> None:
    claim = Claim(("v1",), "mail", ("ann",), NOW_MS)
    token = mint(ack_key(data), claim)
    back_up(data, tmp_path / "keyed.tar", None, NOW_MS)
    restore(tmp_path / "keyed.tar", tmp_path / "copy", NOW_MS)
    assert (tmp_path / "copy" / ACK_KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert read(ack_key(tmp_path / "copy"), token) == claim
    # Whoever has revoked the links of the original has to do so in the copy.
    (tmp_path / "copy" / ACK_KEY_FILE).unlink()
    assert read(ack_key(tmp_path / "copy"), token) is None


def test_a_running_system_is_copied_without_a_stop(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "running.tar"
    with App.start(data=data, mode="inline") as app:
        app.observe("latency", 1.0)
        assert app.flush() == []
        metrics = app._cluster.sla("api").result(10)["metrics"]
        made = back_up(data, target, lambda: app._cluster.backup().result(10), NOW_MS)
        app.observe("latency", 2.0)
        assert app.flush() == []
    restore(target, tmp_path / "copy", NOW_MS)
    assert sum(made["partitions"].values()) > 4
    with App.start(data=tmp_path / "copy", mode="inline") as app:
        copied = app._cluster.sla("api").result(10)["metrics"]
    counted = [row["samples_accepted"] for row in metrics]
    assert [row["samples_accepted"] for row in copied] == counted == [2]


def test_a_file_that_went_is_looked_for_again(data: Path, tmp_path: Path) -> None:
    with App.start(data=data, mode="inline") as app:
        rows = app._cluster.backup().result(10)
        gone = [{**row, "files": [["journal-gone.log", 5]]} for row in rows]
        answers = [gone, rows]
        back_up(data, tmp_path / "ok.tar", lambda: answers.pop(0), NOW_MS)
        with pytest.raises(BackupRefused, match="try again"):
            back_up(data, tmp_path / "no.tar", lambda: gone, NOW_MS)
    assert not (tmp_path / "no.tar").exists()


def test_files_of_the_audit_and_a_configuration_inside_go_with_it(data: Path, tmp_path: Path) -> None:
    for name in ("audit/2026.log", "config/sla_definitions.yaml"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(f"{name}\n")
    (data / "config-folder").write_text(f"{data / 'config'}\n")
    back_up(data, tmp_path / "file.tar", None, NOW_MS)
    copy = tmp_path / "copy"
    restore(tmp_path / "file.tar", copy, NOW_MS)
    assert (copy / "audit/2026.log").read_text() == "audit/2026.log\n"
    assert (copy / "config/sla_definitions.yaml").is_file()
    assert (copy / "config-folder").read_text() == f"{copy / 'config'}\n"


def test_a_configuration_elsewhere_stays_where_it_is(data: Path, tmp_path: Path) -> None:
    (data / "config-folder").write_text("/etc/slakeeper\n")
    back_up(data, tmp_path / "file.tar", None, NOW_MS)
    restore(tmp_path / "file.tar", tmp_path / "copy", NOW_MS)
    assert (tmp_path / "copy" / "config-folder").read_text() == "/etc/slakeeper\n"


def test_a_backup_of_a_stopped_system_is_refused_while_somebody_uses_it(data: Path, tmp_path: Path) -> None:
    lock = run_file.lock(data)
    with pytest.raises(BackupRefused, match="is in use by process"):
        back_up(data, tmp_path / "no.tar", None, NOW_MS)
    os.close(lock)
    partition = Partition(data / "partitions" / "p000", CODEC)
    partition.open()
    with pytest.raises(BackupRefused, match="another program uses"):
        back_up(data, tmp_path / "no.tar", None, NOW_MS)
    partition.close()


def test_a_damaged_partition_is_not_copied(data: Path, tmp_path: Path) -> None:
    for path in (data / "partitions").glob("p*/*0*.*"):
        path.write_bytes(b"nonsense")
    result = cli("--data", data, "backup", tmp_path / "no.tar")
    assert result.exit_code == 1
    assert "is damaged" in result.stderr
    assert not (tmp_path / "no.tar").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
@pytest.mark.parametrize("words", [["backup", "other.tar"], ["audit", "verify"]])
def test_a_directory_that_cannot_be_understood_is_refused_in_one_line(
    data: Path, text: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    (data / "meta.json").write_text(text)
    result = cli("--data", data, *words)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"{data / 'meta.json'}: " in result.stderr
    assert not Path("other.tar").exists()


def test_without_a_data_directory_there_is_nothing_to_copy(tmp_path: Path) -> None:
    result = cli("--data", tmp_path / "nowhere", "backup", tmp_path / "no.tar")
    assert (result.exit_code, "is no data directory" in result.stderr) == (1, True)


def test_a_backup_that_fails_leaves_the_one_before(
    data: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slakeeper.archive.os.fsync", fail)
    with pytest.raises(OSError):
        back_up(data, file, None, NOW_MS)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if "partial" in path.name] == []


def test_a_backup_takes_the_place_of_the_one_before_when_it_is_on_the_disk(
    data: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"an older one")
    calls = DiskCalls(monkeypatch)
    back_up(data, file, None, NOW_MS)
    read_archive(file)
    (renamed,) = (call for call in calls.made if call[0] == "rename" and call[2] == str(file))
    assert Path(renamed[1]) in calls.synced_before(renamed)
    assert file.parent in calls.synced_after(renamed)


def test_what_a_backup_that_was_killed_left_goes_with_the_next_and_one_that_is_written_stays(
    data: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar"
    # In a container the next process has the same number.
    left = [tmp_path / f".backup.tar.{number}.partial" for number in (os.getpid(), 1)]
    others = [tmp_path / ".backup.tar.2.partial", tmp_path / ".other.tar.1.partial"]
    for path in (*left, *others):
        path.write_bytes(b"x")
    lock = OsFileSystem().lock(others[0])
    back_up(data, target, None, NOW_MS)
    lock.release()
    read_archive(target)
    assert [path.exists() for path in left] == [False, False]
    assert [path.exists() for path in others] == [True, True]


def test_a_backup_that_is_written_is_not_taken_for_a_left_over_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup.tar"
    fsync, seen = os.fsync, []

    def look(fd: int) -> None:
        for path in tmp_path.glob(".backup.tar.*.partial"):
            with pytest.raises(BlockingIOError):
                OsFileSystem().lock(path)
            seen.append(path)
        fsync(fd)

    monkeypatch.setattr("slakeeper.archive.os.fsync", look)
    back_up(data, target, None, NOW_MS)
    assert seen


def test_a_restored_directory_has_its_name_when_all_of_it_is_on_the_disk(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    copy = tmp_path / "copy"
    restore(file, copy, NOW_MS)
    (renamed,) = (call for call in calls.made if call[0] == "rename" and call[2] == str(copy))
    building = Path(renamed[1])
    written = {building / path.relative_to(copy) for path in copy.rglob("*") if path.name != "lock"}
    assert {building, *written} <= calls.synced_before(renamed)
    assert tmp_path in calls.synced_after(renamed)


def test_a_disk_that_is_full_is_named(
    data: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slakeeper.archive.os.fsync", fail)
    for target, words in ((file, ("backup", file)), (tmp_path / "copy", ("restore", file))):
        folder = data if words[0] == "backup" else target
        result = cli("--json", "--data", folder, *words)
        assert (result.exit_code, result.stderr) == (1, f"slakeeper: {target}: No space left on device\n")
        assert json.loads(result.stdout)["error"]["message"].startswith(str(target))


def test_what_a_restore_that_was_killed_left_is_named(file: Path, tmp_path: Path) -> None:
    left = tmp_path / f".copy.{os.getpid()}.restoring"
    left.mkdir()
    refused = cli("--data", tmp_path / "copy", "restore", file)
    assert (refused.exit_code, str(left) in refused.stderr, "remove it" in refused.stderr) == (1, True, True)


def test_a_backup_with_any_byte_changed_is_refused_or_the_same(file: Path, tmp_path: Path) -> None:
    content, target = file.read_bytes(), tmp_path / "copy"
    whole = read_archive(file)
    damaged = tmp_path / "damaged.tar"
    for at in range(0, len(content), 97):
        changed = bytearray(content)
        changed[at] ^= 0x20
        damaged.write_bytes(changed)
        try:
            # Padding, times and owners in a header count for nothing; all else is told.
            assert read_archive(damaged) == whole
        except ArchiveError:
            with pytest.raises(RestoreRefused):
                restore(damaged, target, NOW_MS)
            assert not target.exists()


def test_a_backup_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    content, damaged = file.read_bytes(), tmp_path / "damaged.tar"
    with tarfile.open(file) as tar:
        last = tar.getmember(SEAL)
    end = last.offset_data + last.size
    for size in (*range(0, end, 257), end - 1):
        damaged.write_bytes(content[:size])
        with pytest.raises(RestoreRefused):
            restore(damaged, tmp_path / "copy", NOW_MS)
    assert not (tmp_path / "copy").exists()
    assert [path.name for path in tmp_path.iterdir() if "restoring" in path.name] == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "./meta.json"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)
    with pytest.raises(RestoreRefused, match="is no file of a data directory"):
        restore(tmp_path / "evil.tar", tmp_path / "copy", NOW_MS)


def test_links_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo("meta.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(RestoreRefused, match="is no file of a data directory"):
        restore(tmp_path / "evil.tar", tmp_path / "copy", NOW_MS)


def test_a_directory_that_is_not_empty_or_in_use_is_left_alone(
    file: Path, data: Path, tmp_path: Path
) -> None:
    before = contents(data)
    refused = cli("--data", data, "restore", file)
    assert refused.exit_code == 1
    assert "is not empty" in refused.stderr
    lock = run_file.lock(data)
    refused = cli("--data", data, "restore", file)
    os.close(lock)
    assert f"is in use by process {os.getpid()}" in refused.stderr
    assert {name: content for name, content in contents(data).items() if name != "lock"} == {
        name: content for name, content in before.items() if name != "lock"
    }
    (tmp_path / "file").write_text("mine")
    assert cli("--data", tmp_path / "file", "restore", file).exit_code != 0


def test_an_empty_directory_is_filled(file: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    done = cli("--json", "--data", tmp_path / "copy", "restore", file)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["data"] == str(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


def test_a_newer_backup_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slakeeper.archive.FORMAT", 0)
    with pytest.raises(RestoreRefused, match="of a newer slakeeper"):
        restore(file, tmp_path / "copy", NOW_MS)


# -- what leaves a restored copy ------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A channel and an action that leave marks in a folder."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "sla_definitions.yaml").write_text(
        "slas:\n  - id: api\n    metrics: [{name: latency, value: 250, condition: lt, aggregation: last}]\n"
    )
    (folder / "enforcement.yaml").write_text(
        "channels:\n"
        "  hook: {type: webhook, url: 'http://127.0.0.1:9/'}\n"
        "automatic_actions:\n"
        "  - {name: mend, trigger_metric: latency, condition: {gt: 250}, action: touch}\n"
        "remediation: {verify_after: 1ms, max_remediation_attempts: 1}\n"
        "remedies:\n"
        f"  touch: {{type: command, argv: [touch, {tmp_path}/acted]}}\n"
    )
    (folder / "monitoring.yaml").write_text("alert_channels: [hook]\n")
    return folder


@pytest.fixture
def held(config: Path, tmp_path: Path) -> Path:
    with App.start(config, tmp_path / "original", "inline"):
        pass
    back_up(tmp_path / "original", tmp_path / "file.tar", None, NOW_MS)
    restore(tmp_path / "file.tar", tmp_path / "copy", NOW_MS)
    return tmp_path / "copy"


def broken(app: App) -> dict[str, Any]:
    """Breaks the promise; the violation once its action has ended."""
    ended = threading.Event()
    app.on("remediation.ended", lambda event: ended.set())
    app.observe("latency", 999.0)
    assert app.flush() == []
    assert ended.wait(10), "no action was recorded"
    row: dict[str, Any] = app.violations()[0]
    return row


def test_a_restored_copy_tells_nobody_and_runs_nothing_and_says_so(
    held: Path, config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "this is a copy restored from a backup of 2023-11-14T22:13:20" in held_because(held)
    with caplog.at_level(logging.WARNING, "slakeeper.alert"), App.start(config, held, "inline") as app:
        row = broken(app)
        (cell,) = app._cluster.status().result(10)["cells"]
    assert "slakeeper --data" in cell["held"]
    assert not (tmp_path / "acted").exists()
    assert "dry run" in json.dumps(row["remediation_actions"]) or "dry_run" in json.dumps(
        row["remediation_actions"]
    )
    assert any("channel hook is held back" in record.getMessage() for record in caplog.records)


def test_what_was_restored_with_live_acts(held: Path, config: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    restore(tmp_path / "file.tar", live, NOW_MS, live=True)
    assert held_because(live) == ""
    with App.start(config, live, "inline") as app:
        broken(app)
    assert (tmp_path / "acted").exists()


def released(data: Path) -> list[dict[str, Any]]:
    with App.start(data=data, mode="inline"):
        pass  # the files follow the journal
    assert verify(data, None).is_intact
    return [each for each in last_entries(data, 1000) if each["what"] == "copy.released"]


def test_the_audit_chain_says_who_let_a_copy_take_over_and_says_it_once(held: Path) -> None:
    mark = (held / MARK).read_bytes()
    release(held, "ann", NOW_MS + 5)
    assert held_because(held) == ""
    (held / MARK).write_bytes(mark)  # a crash before the mark was gone
    release(held, "ann", NOW_MS + 9)
    release(held, "bob", NOW_MS + 9)  # it is no held copy any more
    (entry,) = released(held)
    assert (entry["who"], entry["via"], entry["at_ms"]) == ("ann", "cli", NOW_MS + 5)
    assert entry["details"]["restored_at_ms"] == NOW_MS


def test_a_copy_that_took_over_is_not_held_again_by_a_loss_of_power(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    release(held, "ann", NOW_MS)
    assert held in calls.synced_after(("remove", str(held / MARK)))


def test_the_audit_chain_says_who_restored_a_copy_that_acts_at_once(file: Path, tmp_path: Path) -> None:
    restore(file, tmp_path / "live", NOW_MS, live=True, by="ann")
    assert [entry["who"] for entry in released(tmp_path / "live")] == ["ann"]


def test_a_copy_that_cannot_say_who_let_it_take_over_is_held_back_still(held: Path) -> None:
    for journal in (held / "partitions").glob("*/journal-*.log"):
        journal.write_bytes(b"x" * 100 + journal.read_bytes()[100:])
    with pytest.raises(JournalError):
        release(held, "ann", NOW_MS)
    assert held_because(held)


@pytest.mark.parametrize("what", ["pipe", "folder", "link", "inside"])
def test_a_backup_replaces_nothing_but_an_ordinary_file_elsewhere(
    data: Path, tmp_path: Path, what: str
) -> None:
    target = tmp_path / "target"
    match what:
        case "pipe":
            os.mkfifo(target)
        case "folder":
            target.mkdir()
        case "link":
            target.symlink_to(tmp_path / "other")
        case _:
            target = data / "b.tar"
    with pytest.raises(BackupRefused, match=r"no ordinary file|in the data directory"):
        back_up(data, target, None, 0)
    assert what == "inside" or not target.is_file()
