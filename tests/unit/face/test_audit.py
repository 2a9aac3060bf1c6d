"""The chain as the command line reads it: last entries, what is added, and verifying without slakeeper."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slakeeper import audit
from slakeeper.actors.audit_file import AuditFiles
from slakeeper.audit import AuditError, Follower, last_entries, verify
from slakeeper.audit_text import entry_line, tail_text, verdict_text
from slakeeper.sla.audit import Fact, Head, Link, link

DOCS = Path(__file__).parents[3] / "docs"


class Chains:
    """Chains in the files of a data directory, and a system that says how far they are."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.links: dict[str, list[Link]] = {}
        self.unfiled = 0
        self.away: list[str] = []

    def add(self, partition: str, at_ms: int, **more: Any) -> Link:
        chain = self.links.setdefault(partition, [])
        fact = Fact(at_ms, "violation.opened", "slakeeper", "", "api", f"v{at_ms}", more)
        chain.append(link(chain[-1].head if chain else Head(), partition, fact))
        AuditFiles(self.data / "audit").append(partition, chain[-1:])
        return chain[-1]

    def heads(self) -> dict[str, Any]:
        listed = [
            {
                "partition": name,
                "seq": len(chain),
                "hash": chain[-1].hash,
                "filed_seq": len(chain) - self.unfiled,
                "filed_hash": chain[-1 - self.unfiled].hash,
            }
            for name, chain in self.links.items()
        ]
        return {"heads": listed, "away": self.away}

    def path(self, partition: str) -> Path:
        return self.data / "audit" / partition / "000000000001.jsonl"


@pytest.fixture
def chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chains:
    monkeypatch.setattr(audit, "SETTLE_S", 0.0)
    made = Chains(tmp_path)
    for at_ms in (1, 2, 5):
        made.add("p000", at_ms, value="9.5")
    for at_ms in (3, 4):
        made.add("p001", at_ms)
    return made


def test_the_last_entries_of_all_partitions_are_in_the_order_of_time(chains: Chains) -> None:
    assert [entry["at_ms"] for entry in last_entries(chains.data, 20)] == [1, 2, 3, 4, 5]
    assert [entry["at_ms"] for entry in last_entries(chains.data, 2)] == [4, 5]
    assert last_entries(chains.data, 0) == []


def test_what_is_added_is_told_once(chains: Chains) -> None:
    follower = Follower(chains.data)
    assert follower.added() == []
    for partition, at_ms in (("p001", 6), ("p000", 7), ("p002", 8)):
        chains.add(partition, at_ms)
    assert [entry["at_ms"] for entry in follower.added()] == [6, 7, 8]
    assert follower.added() == []


def test_an_entry_is_one_printable_line(chains: Chains) -> None:
    entry = json.loads(
        chains.add("p000", 1_795_646_489_901, note="on\nit", document={"id": "api"}, empty="").line
    )
    line = entry_line({**entry, "who": "ann", "via": "cli"})
    assert "\n" not in line
    assert "2026-11-25T22:41:29.901Z  p000#4  violation.opened  api v1795646489901  by ann (cli)" in line
    assert tail_text([]) == "No entries."


def test_whole_chains_are_intact_and_show_their_heads(chains: Chains) -> None:
    document = verify(chains.data, chains.heads).to_document()
    assert (document["ok"], document["against"], document["problems"]) == (True, "system", [])
    assert [(each["partition"], each["entries"], each["hash"]) for each in document["partitions"]] == [
        ("p000", 3, chains.links["p000"][-1].hash), ("p001", 2, chains.links["p001"][-1].hash),
    ]  # fmt: skip
    text = verdict_text(document)
    assert f"p000  3 entries  head 3 {chains.links['p000'][-1].hash}" in text
    assert text.endswith("intact: 5 entries in 2 chains, compared with the running system")


def test_a_change_is_named_with_file_and_line(chains: Chains) -> None:
    path = chains.path("p000")
    path.write_text(path.read_text().replace('"9.5"', '"9.6"', 1))
    document = verify(chains.data, chains.heads).to_document()
    [problem] = document["problems"]
    assert (document["ok"], problem["partition"], problem["kind"], problem["file"], problem["line"]) == (
        False, "p000", "edited", "audit/p000/000000000001.jsonl", 1,
    )  # fmt: skip
    assert "NOT INTACT" in verdict_text(document)


def test_of_a_chain_that_was_changed_everywhere_the_first_lines_are_shown_and_how_many_more(
    chains: Chains,
) -> None:
    for at_ms in range(10, 30):
        chains.add("p000", at_ms, value="9.5")
    path = chains.path("p000")
    path.write_text(path.read_text().replace('"9.5"', '"9.6"'))
    document = verify(chains.data, chains.heads).to_document()
    assert len(document["problems"]) == 23
    lines = verdict_text(document).splitlines()
    assert [line for line in lines if line.startswith("edited: ")] == [
        f"edited: {each['message']}" for each in document["problems"][:5]
    ]
    assert "… and 18 more, to audit/p000/000000000001.jsonl:23; all with --json" in lines


@pytest.mark.parametrize(("old", "new"), [('"hash"', '"hush"'), ('"value":"9.5"', '"value":"9.6"')])
def test_a_last_line_that_was_changed_is_no_head(chains: Chains, old: str, new: str) -> None:
    path = chains.path("p000")
    *kept, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*kept, last.replace(old, new)]))
    document = verify(chains.data, chains.heads).to_document()
    assert (document["partitions"][0]["hash"], document["ok"]) == (None, False)
    assert "p000  3 entries  no head: its last line is not as it was written" in verdict_text(document)


@pytest.mark.parametrize("name", ["copy.jsonl", "1.jsonl", "000000000001-old.jsonl"])
def test_a_file_of_entries_under_another_name_is_foreign(chains: Chains, name: str) -> None:
    shutil.copy(chains.path("p000"), chains.path("p000").with_name(name))
    [problem] = verify(chains.data, chains.heads).to_document()["problems"]
    assert (problem["kind"], problem["file"]) == ("foreign", f"audit/p000/{name}")


def test_a_partition_whose_files_are_gone_is_missed(chains: Chains) -> None:
    shutil.rmtree(chains.path("p001").parent)
    [problem] = verify(chains.data, chains.heads).to_document()["problems"]
    assert (problem["kind"], problem["partition"], problem["line"]) == ("truncated", "p001", 0)


def test_a_head_that_was_noted_is_found_again_or_missed(chains: Chains) -> None:
    noted = [each.hash for each in chains.links["p000"][:2]]
    assert verify(chains.data, chains.heads, noted).is_intact
    verdict = verify(chains.data, chains.heads, [*noted, "ab" * 32])
    assert (verdict.is_intact, verdict.unknown_heads) == (False, ("ab" * 32,))


def test_entries_that_are_not_written_yet_are_said_and_are_no_change(chains: Chains) -> None:
    path = chains.path("p000")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    chains.unfiled = 1
    document = verify(chains.data, chains.heads).to_document()
    assert (document["ok"], document["partitions"][0]["unwritten"]) == (True, 1)
    assert "1 not in the file yet" in verdict_text(document)


def test_what_is_written_anew_while_an_entry_is_not_written_yet_is_found(chains: Chains) -> None:
    """As after a kill: the head is in the journal alone, and so not among the lines that were forged."""
    chains.unfiled = 1
    head, forged = Head(), []
    for at_ms in (1, 2):
        fact = Fact(at_ms, "violation.opened", "slakeeper", "", "api", f"v{at_ms}", {"value": "1.0"})
        forged.append(link(head, "p000", fact))
        head = forged[-1].head
    chains.path("p000").write_text("".join(each.line + "\n" for each in forged))
    [problem] = verify(chains.data, chains.heads).to_document()["problems"]
    assert (problem["kind"], problem["partition"], problem["seq"]) == ("foreign", "p000", 2)
    assert "the last one that was written" in problem["message"]


def test_a_cell_that_does_not_answer_is_no_proof_of_anything(chains: Chains) -> None:
    chains.away = ["cell-1"]
    with pytest.raises(AuditError, match="cell-1 did not say how far the chain is"):
        verify(chains.data, chains.heads)


def test_nothing_to_verify_is_said(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="there is no audit chain in"):
        verify(tmp_path, None)


def script(data: Path, partition: str) -> "subprocess.CompletedProcess[str]":
    """The script of the documentation, run on a chain."""
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "audit.md").read_text(), re.DOTALL)
    assert "slakeeper" not in source
    command = [sys.executable, "-I", "-c", source, str(data / "audit" / partition)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_of_the_documentation_verifies_a_chain(chains: Chains) -> None:
    done = script(chains.data, "p000")
    assert (done.returncode, done.stdout.split()) == (0, ["3", chains.links["p000"][-1].hash])


def test_the_script_of_the_documentation_finds_a_change(chains: Chains) -> None:
    path = chains.path("p000")
    path.write_text(path.read_text().replace("v2", "v7"))
    done = script(chains.data, "p000")
    assert (done.returncode, done.stderr.strip()) == (1, f"{path}:2: does not follow entry 1")


def test_the_shell_line_of_the_documentation_gives_the_hash(chains: Chains) -> None:
    [line] = [each for each in (DOCS / "audit.md").read_text().splitlines() if each.endswith("| sha256sum")]
    done = subprocess.run(
        ["sh", "-c", line.replace("FILE", str(chains.path("p000"))).replace("9p", "2p")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == chains.links["p000"][1].hash
