"""What is decided is in the audit chain, once, whatever crashes; and the chain is in its files."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.audit import AuditActor, file_the_rest, recorded_chain
from slakeeper.actors.audit_file import segments
from slakeeper.actors.record import make_codec
from slakeeper.concern import status_concerns
from slakeeper.otp.actor import RequestError
from slakeeper.otp.look import Look
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.sla.audit import Head, read
from slakeeper.sla.audit_check import Expected, Finding, Row, check
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    INFO,
    MINUTE_MS,
    SECOND_MS,
    World,
    contract,
    metric,
)
from tests.unit.actors.test_crash import ALONE, BY_HAND, Step, at, remediating, run, sample

MakeWorld = Callable[..., World]
AUDIT = "audit:p000"

BEGIN: list[Step] = [lambda world: world.define()]


def lines(world: World) -> Iterator[Row]:
    folder = world.directory / "audit" / "p000"
    names = segments([each.name for each in folder.iterdir()]) if folder.is_dir() else []
    for name in names:
        *whole, rest = (folder / name).read_bytes().split(b"\n")
        assert not rest
        for number, line in enumerate(whole, 1):
            yield Row(name, number, line.decode("latin-1"))


def finding(world: World) -> Finding:
    assert world.partition is not None
    chain = recorded_chain(world.partition, "p000", world.host.codec)
    assert chain.filed_seq == chain.head_seq
    return check("p000", lines(world), Expected(Head(chain.head_seq, chain.head_hash), chain.filed_seq))


def entries(world: World) -> list[dict[str, Any]]:
    """All of them, from the files of a chain that is intact and complete."""
    found = finding(world)
    assert (found.problems, found.unwritten_count) == ((), 0)
    return [entry.document for row in lines(world) if (entry := read(row.text)) is not None]


def said(world: World, what: str) -> list[dict[str, Any]]:
    return [each for each in entries(world) if each["what"] == what]


def the(world: World, what: str) -> dict[str, Any]:
    [only] = said(world, what)
    return only


# --- what is in it -------------------------------------------------------------------------------------------


def test_a_violation_from_its_opening_to_what_it_cost(make_world: MakeWorld) -> None:
    world = run(make_world(), ALONE)
    violation, [money] = world.violation(), world.ledger()
    counts = Counter(each["what"] for each in entries(world))
    assert counts == {
        "chain.begun": 1, "contract.defined": 1, "violation.opened": 1, "violation.worsened": 1,
        "violation.escalated": 1, "escalation.told": 2, "escalation.delivered": 4, "escalation.exhausted": 1,
        "alert.delivered": 3, "violation.resolved": 1, "compensation.booked": 1, "period.settled": 1,
    }  # fmt: skip
    opened, resolved = the(world, "violation.opened"), the(world, "violation.resolved")
    assert (opened["subject"], opened["sla"], opened["who"], opened["via"]) == (
        violation["id"], "api", "slakeeper", "",
    )  # fmt: skip
    assert opened["details"]["threshold"] == "250"
    assert resolved["details"]["worst_value"] == "500.0"
    booked = the(world, "compensation.booked")
    assert (booked["subject"], booked["details"]["amount"]) == (money["id"], money["amount"])
    assert booked["details"]["arithmetic"] == money["arithmetic"]
    period = the(world, "period.settled")["details"]
    assert (period["met"], period["service_level"]) == (False, "99")
    assert "/" in period["attainment"]
    assert float(period["attainment_pct"]) < 99


def test_every_delivery_says_what_became_of_it(make_world: MakeWorld) -> None:
    world = run(make_world(), ALONE)
    told = {each["details"]["key"]: each["details"] for each in said(world, "escalation.told")}
    ends = {each["details"]["key"]: each["details"] for each in said(world, "escalation.delivered")}
    assert ends.keys() == told.keys() | {"resolved.chat.lead..", "resolved.pager...api"}
    assert [each["channel"] for each in told.values()] == ["chat", "pager"]
    assert {each["status"] for each in ends.values()} == {"sent"}


def test_who_acknowledged_and_resolved_and_how_it_came_in(world: World) -> None:
    world.observe(CRITICAL)
    violation_id = world.violation()["id"]
    world.request("violation.ack", id=violation_id, by="ann", note="on it", via="http")
    world.settle()
    world.request("violation.resolve", id=violation_id, by="bob", note="done", via="cli")
    world.settle()
    acknowledged, resolved = the(world, "violation.acknowledged"), the(world, "violation.resolved")
    assert (acknowledged["who"], acknowledged["via"], acknowledged["details"]["note"]) == (
        "ann", "http", "on it",
    )  # fmt: skip
    assert (resolved["who"], resolved["via"], resolved["details"]["note"]) == ("bob", "cli", "done")
    assert {each["via"] for each in entries(world) if each["who"] == "slakeeper"} == {""}


def test_a_contract_from_its_definition_to_its_removal(world: World) -> None:
    world.request("sla.suspend", id="api", by="ann", via="cli")
    world.request("sla.resume", id="api", by="ann")
    changed = contract(service_level=98, metrics=[metric("latency"), metric("more")])
    world.request("sla.define", document=changed, by="bob")
    world.request("sla.define", document=changed, by="bob")  # the same again changes nothing
    world.request("sla.remove", id="api", by="eve")
    world.request("sla.define", document=changed, by="bob")
    world.settle()
    found = [
        (each["what"], each["who"], each["details"]["version"])
        for each in entries(world)
        if each["what"].startswith("contract.")
    ]
    assert found == [
        ("contract.defined", "operator", 1), ("contract.suspended", "ann", 2), ("contract.resumed", "ann", 3),
        ("contract.updated", "bob", 4), ("contract.removed", "eve", 4), ("contract.defined", "bob", 5),
    ]  # fmt: skip
    document = the(world, "contract.updated")["details"]["document"]
    assert [each["name"] for each in document["metrics"]] == ["latency", "more"]


def test_a_refused_act_leaves_no_entry(world: World) -> None:
    world.observe(CRITICAL)
    before = len(entries(world))
    for kind, payload in (
        ("sla.resume", {"id": "api", "by": "ann"}), ("sla.remove", {"id": "api", "by": "ann"}),
        ("violation.ack", {"id": world.violation()["id"], "by": " "}),
        ("violation.remediate", {"id": world.violation()["id"], "action": "none", "by": "ann"}),
        ("compensation.decide", {"id": "c0", "approve": True, "by": "ann", "reason": "x"}),
        ("actor.kill", {"address": "nobody"}), ("audit.note", {"operation": "praise", "name": "cell-0"}),
    ):  # fmt: skip
        with pytest.raises(RequestError):
            world.request(kind, **payload)
    world.settle()
    assert len(entries(world)) == before


def test_a_remedy_asked_for_by_hand_says_by_whom(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(INFO)
    world.recover()
    world.pass_time(2 * MINUTE_MS)
    world.observe(INFO)
    world.pass_time(5 * MINUTE_MS)
    begun = len(said(world, "remediation.begun"))
    violation_id = world.violations()[0]["id"]
    world.request("violation.remediate", id=violation_id, action="restart", dry_run=True, by="ann", via="cli")
    world.settle()
    requested = the(world, "remediation.requested")
    assert (requested["who"], requested["details"]) == ("ann", {"action": "restart", "dry_run": True})
    by_hand = [each for each in said(world, "remediation.begun")[begun:] if each["who"] == "ann"]
    assert [each["details"]["dry_run"] for each in by_hand] == [True]
    ended = [each for each in said(world, "remediation.ended") if each["who"] == "ann"]
    assert [each["details"]["outcome"] for each in ended] == ["dry_run"]
    attempts = [each["details"]["key"] for each in said(world, "remediation.attempted")]
    assert len(attempts) == len(set(attempts)) >= 2


def test_a_decision_about_money_says_who_and_why(make_world: MakeWorld) -> None:
    world = make_world()
    rules = [{"metric": "latency", "type": "credit", "formula": "credit = 0.1 * actual"}]
    world.define(compensation=rules, approver="boss")
    world.observe(CRITICAL)
    world.recover()
    [entry] = world.ledger()
    assert the(world, "compensation.booked")["details"]["status"] == "pending"
    world.request(
        "compensation.decide", id=entry["id"], approve=False, by="boss", reason="a drill", via="cli"
    )
    world.settle()
    rejected = the(world, "compensation.rejected")
    assert (rejected["who"], rejected["subject"], rejected["details"]["reason"]) == (
        "boss",
        entry["id"],
        "a drill",
    )
    assert rejected["details"]["amount"] == entry["amount"]


def test_what_operators_do_to_actors(world: World) -> None:
    monitor = "monitor:api:latency"
    for operation in ("suspend", "resume", "restart", "kill"):
        world.request(f"actor.{operation}", address=monitor, by="ann", via="cli")
        world.settle()
    for _ in range(6):
        world.host.cast(monitor, "rubbish")
        world.turn()
        world.pass_time(6 * SECOND_MS)
    assert world.actor_status(monitor) == "quarantined"
    world.request("actor.resume", address=monitor, by="bob")
    world.request(
        "actor.redeliver", id=world.request("actor.dead_letters")["dead_letters"][0]["id"], by="bob"
    )
    world.request("audit.note", operation="kill", name="gateway", by="eve", via="cli")
    world.settle()
    found = [(each["what"], each["subject"], each["who"]) for each in entries(world)[2:]]
    assert found == [
        *((f"actor.{what}", monitor, "ann") for what in ("suspended", "resumed", "restarted", "killed")),
        ("actor.released", monitor, "bob"),
        ("letter.redelivered", monitor, "bob"), ("process.killed", "gateway", "eve"),
    ]  # fmt: skip


# --- crashes ---------------------------------------------------------------------------------------------------


def timeless(world: World) -> list[tuple[Any, ...]]:
    """What must not depend on crashes: every entry but for when, in what order, and how often a delivery was tried."""
    found = []
    for each in entries(world):
        details = {key: value for key, value in each["details"].items() if key not in ("attempts", "detail")}
        found.append((each["what"], each["subject"], each["who"], str(sorted(details.items()))))
    return sorted(found)


@pytest.mark.parametrize("steps", [ALONE, BY_HAND], ids=["alone", "by hand"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_commit_loses_no_entry_and_doubles_none(
    make_world: MakeWorld, steps: list[Step], when: Any
) -> None:
    calm = run(make_world(), steps)
    expected = timeless(calm)
    for number in range(2, calm.commits + 1):  # the first makes the chain itself
        world = make_world()
        world.crash_at = (number, when)
        assert timeless(run(world, steps)) == expected, f"{when} commit {number}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_during_remediation_leaves_an_entry_for_each_attempt(
    make_world: MakeWorld, when: Any
) -> None:
    steps: list[Step] = [*BEGIN, sample(INFO, "a"), at(20 * SECOND_MS), sample(GOOD, "b"), at(5 * MINUTE_MS)]
    calm = run(make_world(remediating()), steps)
    for number in range(2, calm.commits + 1):
        world = make_world(remediating())
        world.crash_at = (number, when)
        run(world, steps)
        keys = [each["details"]["key"] for each in said(world, "remediation.attempted")]
        records = world.violation()["remediation_actions"]
        assert sorted(keys) == sorted(each["id"] for each in records), f"{when} commit {number}"


def test_a_restart_after_a_snapshot_goes_on_with_the_chain(world: World) -> None:
    world.observe(CRITICAL)
    assert world.partition is not None
    world.host.snapshot(world.partition)
    before = entries(world)
    world.restart()
    world.settle()
    assert entries(world) == before
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    world.settle()
    assert entries(world)[: len(before)] == before


def break_audit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the audit actor aside."""

    def broken(actor: AuditActor, ctx: Any, message: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(AuditActor, "handle_info", broken)
        patch.setattr(AuditActor, "init", lambda actor, ctx, fresh: broken(actor, ctx, None))
        world.request("audit.note", operation="kill", name="x", by="eve")
        for _ in range(7):
            world.pass_time(6 * SECOND_MS)
    assert world.actor_status(AUDIT) == "quarantined"


def test_what_is_decided_while_the_audit_actor_is_set_aside_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_audit(world, monkeypatch)
    world.observe(CRITICAL)
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    world.restart()
    world.settle()
    assert the(world, "violation.acknowledged")["who"] == "ann"
    assert len(said(world, "violation.opened")) == 1


def test_the_release_of_the_audit_actor_is_an_entry_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_audit(world, monkeypatch)
    world.request("actor.resume", address=AUDIT, by="ann")
    world.settle()
    assert the(world, "actor.released")["subject"] == AUDIT


def test_a_suspended_audit_actor_keeps_all_for_later(world: World) -> None:
    world.request("actor.suspend", address=AUDIT, by="ann")
    world.observe(CRITICAL)
    assert not list(world.executor.waiting)
    world.request("actor.resume", address=AUDIT, by="ann")
    world.settle()
    assert len(said(world, "violation.opened")) == len(said(world, "actor.suspended")) == 1


def test_files_that_cannot_be_written_are_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    before = len(list(lines(world)))
    with monkeypatch.context() as patch:
        patch.setattr("slakeeper.actors.audit_file.AuditFiles.append", full)
        world.observe(CRITICAL)
        world.pass_time(20 * SECOND_MS)
        assert len(list(lines(world))) == before
        [head] = world.request("audit.heads")["heads"]
        assert head["filed_seq"] < head["seq"]
        [line] = status_concerns({"slas": [], "processes": [], "cells": [world.request("status")]})
        assert "audit entries of p000 are in the journal only" in line
        assert "No space left on device" in line
    world.pass_time(MINUTE_MS)
    assert len(said(world, "violation.opened")) == 1
    assert world.request("status")["audit_failing"] == {}


def test_more_entries_than_one_write_takes(world: World) -> None:
    for number in range(1_200):
        world.request("audit.note", operation="kill", name=f"x{number}", by="eve")
    world.settle()
    assert len(said(world, "process.killed")) == 1_200


def test_more_entries_at_a_stop_than_one_write_takes_are_known_again(world: World) -> None:
    world.request("actor.suspend", address=AUDIT, by="ann")
    for number in range(1_200):
        world.request("audit.note", operation="kill", name=f"x{number}", by="eve")
    file_the_rest(world.host)
    world.restart()
    world.request("actor.resume", address=AUDIT, by="ann")
    world.settle()
    assert len(said(world, "process.killed")) == 1_200
    assert said(world, "chain.forked") == []


def test_what_a_stop_has_written_is_known_to_be_in_the_files(world: World) -> None:
    """Else an edit of it, made while nothing runs, would pass for what a crash has left."""
    world.request("actor.suspend", address=AUDIT, by="ann")
    world.request("audit.note", operation="kill", name="x", by="eve")
    file_the_rest(world.host)
    assert world.partition is not None
    chain = recorded_chain(world.partition, "p000", world.host.codec)
    assert (chain.unfiled, chain.filed_seq) == ((), chain.head_seq)
    world.restart()
    assert recorded_chain(world.partition, "p000", world.host.codec).filed_seq == chain.head_seq


def test_a_stop_that_cannot_record_what_it_has_written_is_none_the_worse(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.request("actor.suspend", address=AUDIT, by="ann")
    world.request("audit.note", operation="kill", name="x", by="eve")
    monkeypatch.setattr("slakeeper.otp.partition.Partition.commit", _fails)
    file_the_rest(world.host)
    monkeypatch.undo()
    world.restart()
    world.settle()
    assert len(said(world, "process.killed")) == 1


def _fails(partition: Partition) -> None:
    raise JournalError(f"{partition.directory}: writing the journal failed")


def test_a_chain_that_was_taken_back_says_so_and_goes_on(world: World) -> None:
    """The partition is put back as it was; the files have entries that it never heard of."""
    assert world.partition is not None
    world.partition.close()
    copy = {path: path.read_bytes() for path in world.partition.directory.iterdir()}
    world.restart()
    world.observe(CRITICAL)
    gone = entries(world)[2:]
    assert world.partition is not None
    world.partition.close()
    for path in world.partition.directory.iterdir():
        path.unlink()
    for path, content in copy.items():
        path.write_bytes(content)
    world.restart()
    world.request("audit.note", operation="kill", name="x", by="eve")
    world.settle()
    forked = the(world, "chain.forked")["details"]
    assert (forked["seq"], forked["count"]) == (3, len(gone))
    aside = (world.directory / "audit" / "p000" / forked["file"]).read_text().splitlines()
    assert [json.loads(line) for line in aside] == gone


# --- looked at without a running system ----------------------------------------------------------------------------


def test_a_partition_is_looked_at_without_a_change(world: World) -> None:
    world.observe(CRITICAL)
    assert world.partition is not None
    known = recorded_chain(world.partition, "p000", world.host.codec)
    directory = world.partition.directory
    looking = Partition(directory, make_codec(), Look())
    with pytest.raises(JournalError, match="another writer"):
        looking.open()
    world.partition.close()
    [newest, *_] = sorted(directory.glob("journal-*.log"), reverse=True)
    with newest.open("ab") as file:
        file.write(b"a torn end")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    looking.open()
    assert recorded_chain(looking, "p000", make_codec()) == known
    looking.close()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    Partition(directory, make_codec()).open()


def test_a_directory_from_before_there_was_a_chain_gets_one(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    world.define()
    assert world.partition is not None
    world.host.terminate_child(AUDIT)
    world.host.commit()
    assert AUDIT not in world.partition.records
    world.restart()
    world.observe(CRITICAL)
    world.settle()
    assert AUDIT in world.partition.records
