"""``slakeeper doctor`` on a stopped system: what it says, what a repair does, what it refuses."""

import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slakeeper import App, Metric, Sla
from slakeeper.actors.audit import AuditState, begin_chains, recorded_chain
from slakeeper.actors.audit_file import AuditFiles
from slakeeper.actors.record import SCHEMA_VERSION, make_codec
from slakeeper.backup import BackupRefused, back_up
from slakeeper.chain import cut_chain
from slakeeper.cli import main
from slakeeper.disk import KEYS
from slakeeper.layout import LayoutError, make_layout
from slakeeper.loss import contract_of
from slakeeper.otp import run_file
from slakeeper.otp.filesystem import Lock, OsFileSystem
from slakeeper.otp.journal import HEADER_BYTES, segment_path
from slakeeper.otp.look import Look
from slakeeper.otp.partition import Event, Partition, Started
from slakeeper.reading import empty_configuration
from slakeeper.sla.audit import Fact, Link, link

CODEC = make_codec()
FIRST_MS = 1_700_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose p001 has four commits, and p000 one."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    meta = {"version": 1, "partitions": 2, "isolated": {}, "served": ["p000", "p001"]}
    (folder / "meta.json").write_text(json.dumps(meta))
    for name, count in (("p000", 1), ("p001", 4)):
        partition = Partition(folder / "partitions" / name, CODEC)
        partition.open()
        address = "monitor:a::b:latency"
        for number in range(count):
            if not number:
                partition.append([Started(address, "s", "monitor", CODEC.encode(None), "permanent")])
            event = ("s", ((FIRST_MS + number * 1000, 5.0),))
            partition.append([Event(address, CODEC.encode(event))])
            partition.commit()
        partition.close()
    return folder


def damage(data: Path) -> Path:
    """Flips a byte of the second record of p001."""
    path = segment_path(data / "partitions" / "p001", 1)
    content = bytearray(path.read_bytes())
    second = HEADER_BYTES + 26 + int.from_bytes(content[HEADER_BYTES : HEADER_BYTES + 4])
    content[second + 30] ^= 1
    path.write_bytes(content)
    return path


def doctor(data: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), "doctor", *words])


def examined(data: Path, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(doctor(data, "--json", *words).stdout)
    return document


def test_a_sound_directory_is_well(data: Path) -> None:
    result = doctor(data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "stopped, 2 partitions, 2 sound" in result.stdout
    assert result.stdout.endswith("All is well.\n")


def test_damage_is_shown_with_its_place_and_what_a_repair_would_give_up(data: Path) -> None:
    path = damage(data)
    result = doctor(data)
    assert result.exit_code == 1
    assert f"slakeeper --data {data} doctor --repair" in result.stdout
    assert "3 events of a:b" not in result.stdout  # the damaged one cannot be read
    assert "2 events of a:b, 2023-11-14T22:13:22Z to 2023-11-14T22:13:23Z" in result.stdout
    document = examined(data)
    sound, damaged = document["partitions"]
    assert (sound["state"], damaged["state"], document["ok"]) == ("sound", "damaged", False)
    (found,) = damaged["damage"]
    assert (found["file"], found["sequence"]) == (str(path), 2)
    assert damaged["keeps"] == {"sequence": 1, "snapshot": 0, "actors": 1}
    lost = damaged["gives_up"]
    assert (lost["first_sequence"], lost["last_sequence"], lost["commits"]) == (2, 4, 3)
    assert (lost["commits_readable"], lost["events"], lost["contracts"]) == (2, 2, ["a:b"])
    assert (lost["from_ms"], lost["to_ms"]) == (FIRST_MS + 2000, FIRST_MS + 3000)


def test_looking_changes_nothing(data: Path) -> None:
    damage(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    doctor(data)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_a_repair_keeps_what_it_took_out_and_says_where(data: Path) -> None:
    path = damage(data)
    content = path.read_bytes()
    result = doctor(data, "--repair", "--by", "ann")
    assert result.exit_code == 0
    (folder,) = data.glob("repaired-*")
    assert str(folder) in result.stdout
    assert (folder / "partitions" / "p001" / path.name).read_bytes() == content
    report = json.loads((folder / "report.json").read_text())
    assert report["partitions"][1]["gives_up"]["commits"] == 3
    assert report["repaired"]["partitions"] == ["p001"]
    partition = Partition(data / "partitions" / "p001", CODEC)
    partition.open()
    # What was kept, the beginning of its audit chain, and the note of the repair.
    assert partition.seq == 3
    partition.close()
    chain = [json.loads(each.line) for each in recorded(data, "p001").unfiled]
    assert [entry["what"] for entry in chain] == ["chain.begun", "partition.repaired"]
    assert chain[1]["who"] == "ann"
    assert chain[1]["details"] == {
        "audit_entries_set_aside": 0, "contracts": ["a:b"], "folder": str(folder), "given_up_commits": 3,
        "kept_sequence": 1,
    }  # fmt: skip


def recorded(data: Path, name: str) -> AuditState:
    """The partition's audit chain."""
    partition = Partition(data / "partitions" / name, CODEC, Look())
    partition.open()
    try:
        return recorded_chain(partition, name, CODEC)
    finally:
        partition.close()


def chain_of(data: Path, count: int) -> list[Link]:
    """Gives p001 an audit chain, of which the files are ahead by ``count`` entries."""
    partition = Partition(data / "partitions" / "p001", CODEC)
    partition.open()
    begin_chains({"p001": partition}, CODEC, FIRST_MS)
    partition.close()
    links = list(recorded(data, "p001").unfiled)
    for number in range(count):
        links.append(
            link(links[-1].head, "p001", Fact(FIRST_MS, "violation.opened", "slakeeper", subject=str(number)))
        )
    AuditFiles(data / "audit").append("p001", links)
    return links


@pytest.mark.parametrize("segment_bytes", [300, 1_000_000])
def test_audit_entries_that_a_partition_does_not_have_are_set_aside(
    data: Path, tmp_path: Path, segment_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.actors.audit_file.SEGMENT_BYTES", segment_bytes)
    links = chain_of(data, 0)
    for number in range(4):
        links.append(
            link(links[-1].head, "p001", Fact(FIRST_MS, "violation.opened", "slakeeper", subject=str(number)))
        )
        AuditFiles(data / "audit").append("p001", links[-1:])
    folder, aside = data / "audit" / "p001", tmp_path / "aside"
    before = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    assert cut_chain(data, "p001", aside) == 4
    assert [line for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()] == [
        links[0].line
    ]
    kept = {path.name: path.read_bytes() for path in aside.iterdir()}
    assert kept.items() <= before.items()
    assert all(each.line in "".join(map(bytes.decode, kept.values())) for each in links[1:])
    assert cut_chain(data, "p001", tmp_path / "again") == 0
    assert not (tmp_path / "again").exists()


def test_setting_audit_entries_aside_can_be_interrupted_anywhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.actors.audit_file.SEGMENT_BYTES", 700)
    links = chain_of(data, 3)
    for number in range(6):
        links.append(
            link(links[-1].head, "p001", Fact(FIRST_MS, "violation.opened", "slakeeper", subject=str(number)))
        )
        AuditFiles(data / "audit").append("p001", links[-1:])
    folder, aside = data / "audit" / "p001", tmp_path / "aside"
    before = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    assert len(before) > 2
    steps = 0

    def step(name: str, interrupted_at: int) -> None:
        real = getattr(OsFileSystem, name)

        def run(self: OsFileSystem, *given: Path) -> Any:
            nonlocal steps
            steps += 1
            if steps == interrupted_at:
                raise OSError(5, "interrupted")
            return real(self, *given)

        patched.setattr(OsFileSystem, name, run)

    for interrupted_at in range(1, 100):
        steps = 0
        with monkeypatch.context() as patched:
            for name in ("link", "create", "rename", "remove", "sync_directory"):
                step(name, interrupted_at)
            try:
                cut_chain(data, "p001", aside)
                break
            except OSError:
                kept = {path.name: path.read_bytes() for path in aside.iterdir()} if aside.exists() else {}
                whole = {path.name: path.read_bytes() for path in folder.iterdir()}
                assert all(content in (kept.get(name), whole.get(name)) for name, content in before.items())
    assert [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()] == [
        links[0].line
    ]
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before


def test_a_repair_that_ended_before_its_note_is_noted_by_the_next_and_once(data: Path) -> None:
    damage(data)
    doctor(data, "--repair")
    (folder,) = data.glob("repaired-*")
    for _ in range(2):
        (folder / "noted").unlink()
        assert doctor(data, "--repair").exit_code == 0
    decided = [json.loads(each.line)["what"] for each in recorded(data, "p001").unfiled]
    assert decided == ["chain.begun", "partition.repaired"]


def test_a_second_repair_does_nothing(data: Path) -> None:
    damage(data)
    assert examined(data, "--repair")["ok"]
    document = examined(data, "--repair")
    assert (document["ok"], document["repaired"]) == (True, None)
    (folder,) = data.glob("repaired-*")
    assert str(folder) in document["left_over"][0]["file"]


def test_two_repairs_within_a_second_have_folders_of_their_own(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: FIRST_MS * 1_000_000)
    (data / "repaired-20231114T221320Z").mkdir()
    damage(data)
    assert examined(data, "--repair")["repaired"]["folder"] == str(data / "repaired-20231114T221320Z-2")


def test_a_repair_is_refused_while_the_system_runs(data: Path) -> None:
    damage(data)
    held = run_file.lock(data)
    try:
        result = doctor(data, "--repair")
    finally:
        os.close(held)
    assert result.exit_code == 1
    assert "end it first" in result.stderr
    assert not list(data.glob("repaired-*"))


def test_a_repair_is_refused_while_a_program_uses_a_partition(data: Path) -> None:
    damage(data)
    partition = Partition(data / "partitions" / "p000", CODEC)
    partition.open()
    result = doctor(data, "--repair")
    partition.close()
    assert result.exit_code == 1
    assert "another program uses p000" in result.stderr
    assert not list(data.glob("repaired-*"))


def test_a_newer_format_is_not_repaired(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slakeeper.otp.journal.FORMAT", 0)
    document = examined(data, "--repair")
    assert {row["state"] for row in document["partitions"]} == {"unknown"}
    assert "Start the newer program again" in document["problems"][0]
    assert document["repaired"] is None


def test_what_a_newer_program_wrote_is_not_repaired_by_this_one(data: Path) -> None:
    path = damage(data)
    content = path.read_bytes()
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "schema": SCHEMA_VERSION + 1}))
    result = doctor(data, "--repair")
    assert (result.exit_code, "start the newer one again" in result.stderr) == (1, True)
    assert path.read_bytes() == content
    assert list(data.glob("repaired-*")) == []


def test_without_a_data_directory_nothing_is_made(tmp_path: Path) -> None:
    for words in ((), ("--repair",)):
        result = doctor(tmp_path / "nowhere", *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "there is no data directory" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_file_of_facts_and_an_open_directory_are_problems(data: Path) -> None:
    (data / "meta.json").write_text("{")
    data.chmod(0o755)
    problems = examined(data)["problems"]
    assert "meta.json: is damaged" in problems[0]
    assert "open to other users" in problems[1]


def test_a_full_disk_and_a_wrong_configuration_are_problems(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "config-folder").write_text(f"{tmp_path}/config\n")
    monkeypatch.setattr(
        "slakeeper.doctor.disk_use", lambda data: {**dict.fromkeys(KEYS, 0), "free_bytes": 1024}
    )
    configuration, disk = examined(data)["problems"]
    assert f"see: slakeeper check --config {tmp_path}/config" in configuration
    assert "is nearly full, 1 KiB free: samples are refused" in disk


@pytest.mark.parametrize(
    "address, contract",
    [
        ("contract:api", "api"), ("ledger:a:b", "a:b"), ("monitor:api:latency", "api"), ("monitor:a::b:c:d", "a:b"),
        ("violation:v01-ff", None), ("ingest:p000", None), ("nothing", None),
    ],
)  # fmt: skip
def test_addresses_tell_their_contract(address: str, contract: str | None) -> None:
    assert contract_of(address) == contract


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_a_partition_that_is_gone_is_missed_until_it_is_given_up(data: Path, how: str) -> None:
    folder = data / "partitions" / "p000"
    if how == "removed":
        shutil.rmtree(folder)
    else:
        for path in folder.glob("journal-*"):
            path.unlink()
    document = examined(data)
    assert (document["ok"], document["missing"]) == (False, ["p000"])
    assert "Restore a backup" in doctor(data).stdout
    with pytest.raises(LayoutError, match="p000 missing or empty"):
        make_layout(data, empty_configuration(), 1)
    with pytest.raises(BackupRefused, match=r"p000 of .* is missing"):
        back_up(data, data.parent / "b.tar", None, 0)
    mended = examined(data, "--repair")
    assert (mended["ok"], mended["begun_anew"]) == (True, ["p000"])
    assert examined(data)["ok"]


def test_who_gave_up_a_partition_is_in_its_new_chain_and_the_old_one_is_kept_aside(data: Path) -> None:
    links = chain_of(data, 3)
    shutil.rmtree(data / "partitions" / "p001")
    document = examined(data, "--repair", "--by", "ann")
    assert (document["ok"], document["begun_anew"], document["audit_ahead"]) == (True, ["p001"], {})
    (folder,) = data.glob("repaired-*")
    assert document["repaired"] == {"folder": str(folder), "partitions": []}
    (aside,) = (folder / "audit" / "p001").iterdir()
    assert aside.read_text().splitlines() == [each.line for each in links]
    begun, noted = (json.loads(each.line) for each in recorded(data, "p001").unfiled)
    assert (begun["seq"], begun["what"]) == (1, "chain.begun")
    assert (noted["what"], noted["who"], noted["details"]["audit_entries_set_aside"]) == (
        "partition.repaired", "ann", 4,
    )  # fmt: skip
    assert noted["details"]["kept_sequence"] == 0
    assert examined(data)["ok"]
    again = doctor(data, "--repair")
    assert (again.exit_code, list(data.glob("repaired-*"))) == (0, [folder])


def test_a_snapshot_without_its_journal_is_damage_and_is_kept(data: Path) -> None:
    folder = data / "partitions" / "p001"
    partition = Partition(folder, CODEC)
    partition.open()
    partition.snapshot({})
    partition.close()
    for path in folder.glob("journal-*"):
        path.unlink()
    document = examined(data)
    assert (document["missing"], document["partitions"][1]["state"]) == ([], "damaged")
    mended = examined(data, "--repair")
    assert (mended["ok"], mended["begun_anew"]) == (True, [])
    assert mended["partitions"][1]["keeps"] == {"sequence": 4, "snapshot": 4, "actors": 1}
    assert examined(data)["ok"]


def test_partitions_without_the_facts_of_the_directory_are_a_problem(data: Path) -> None:
    (data / "meta.json").unlink()
    assert "meta.json is missing" in examined(data)["problems"][0]


def test_a_journal_that_ends_before_its_audit_entries_is_a_problem(data: Path) -> None:
    chain_of(data, 3)
    document = examined(data)
    assert document["partitions"][1]["state"] == "sound"
    assert document["audit_ahead"] == {"p001": 3}
    assert "missing from the end of the journal" in document["problems"][0]


@pytest.mark.parametrize("what", ["snapshot", "segment"])
def test_what_a_partition_would_fall_back_on_is_looked_at(data: Path, what: str) -> None:
    partition = Partition(data / "partitions" / "p001", CODEC)
    partition.open()
    address = next(iter(partition.records))
    for number in range(2):
        partition.append([Event(address, CODEC.encode(("s", ((FIRST_MS + 9000 + number, 5.0),))))])
        partition.commit()
        partition.snapshot({})
    partition.close()
    folder = data / "partitions" / "p001"
    older = min(folder.glob("snapshot-*"))
    between = min(folder.glob("journal-*"))
    path = older if what == "snapshot" else between
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    document = examined(data)
    assert [row["state"] for row in document["partitions"]] == ["sound", "sound"]
    assert [each["file"] for each in document["partitions"][1]["fallback"]] == [str(path)]
    assert "fall back on" in document["problems"][0]


def chained(data: Path) -> Path:
    """A chain in the journal and in the files of p001; the file."""
    with App.start(data=data, mode="inline") as app:
        for sla_id in ("a", "b", "c"):
            metrics = [Metric(name="latency", value="250", condition="lt")]
            app.define_sla(Sla(id=sla_id, name=sla_id, service_level="99.9", metrics=metrics))
    return max((data / "audit").glob("*/*.jsonl"), key=lambda path: path.stat().st_size)


def test_the_doctor_says_where_an_audit_chain_is_broken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = chained(data)
    assert examined(data)["problems"] == []
    path.write_text(path.read_text().replace("chain.begun", "chain.began"))
    document = examined(data)
    assert {each["file"] for each in document["audit"]} == {str(path.relative_to(data))}
    (problem,) = document["problems"]
    assert problem.startswith(f"{path.parent.name}: its audit chain is not intact: {path.relative_to(data)}:")
    assert problem in doctor(data).stdout
    assert doctor(data).exit_code == 1


def test_the_doctor_says_that_a_running_system_did_not_say_how_far_its_chains_are(tmp_path: Path) -> None:
    data = tmp_path / "data"
    chained(data)
    held = run_file.lock(data)
    try:
        document = examined(data)
    finally:
        os.close(held)
    assert document["audit_unknown"]
    assert "the audit chain could not be verified" in document["problems"][-1]


def test_a_stop_waits_for_audit_entries_that_are_being_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    metric = Metric(name="latency", value="250", condition="lt")
    with App.start(data=data, mode="inline") as app:
        app.define_sla(Sla(id="a", name="a", service_level="99.9", metrics=[metric]))
        # As a write that the actor has begun, whose thread goes on when the host has ended.
        locks = [taken(folder / "lock") for folder in (data / "audit").iterdir()]

        def end() -> None:
            for lock in locks:
                lock.release()

        ending = threading.Timer(0.3, end)
        ending.start()
        app.define_sla(Sla(id="b", name="b", service_level="99.9", metrics=[metric]))
    ending.join()
    filed = "".join(path.read_text() for path in (data / "audit").glob("*/*.jsonl"))
    assert filed.count('"contract.defined"') == 2


def taken(path: Path) -> Lock:
    """A lock that others have for moments."""
    for _ in range(1_000):
        with contextlib.suppress(BlockingIOError):
            return OsFileSystem().lock(path)
        time.sleep(0.005)
    raise AssertionError(f"{path}: others do not let go of it")
