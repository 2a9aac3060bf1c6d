"""The audit chains of a run: whole after every crash, and at the end one entry for each decision, none without one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slakeeper.actors.address import contract_address
from slakeeper.actors.audit import recorded_chain
from slakeeper.actors.audit_file import segments
from slakeeper.actors.outbox import MIN_ATTEMPTS
from slakeeper.otp.filesystem import FileSystem
from slakeeper.otp.sim_cell import SimCell
from slakeeper.sla.audit import Head, What, read
from slakeeper.sla.audit_check import Expected, Row, check
from slakeeper.sla.ledger import EntryStatus, LedgerEntry
from slakeeper.sla.record import DeliveryStatus
from slakeeper.sla.violation import Violation
from tests.simulation.settings import HOLDING_CHANNEL, MONITORING

if TYPE_CHECKING:
    from tests.simulation.world import SlaWorld

AUDIT = Path("/data/audit")

_DECIDED = {
    What.COMPENSATION_APPROVED: EntryStatus.APPROVED,
    What.COMPENSATION_REJECTED: EntryStatus.REJECTED,
}
_VERSIONS = {What.CONTRACT_UPDATED, What.CONTRACT_SUSPENDED, What.CONTRACT_RESUMED}


def rows(fs: FileSystem, partition: str) -> Iterator[Row]:
    """The lines of a partition's chain as they lie on a simulated disk."""
    try:
        names = segments(fs.names(AUDIT / partition))
    except KeyError:
        return
    for name in names:
        *whole, rest = fs.read(AUDIT / partition / name).split(b"\n")
        for number, line in enumerate(whole, 1):
            yield Row(name, number, line.decode("latin-1"))
        if rest:
            yield Row(name, len(whole) + 1, rest.decode("latin-1"), is_whole=False)


def chain_entries(cell: SimCell) -> int:
    """How many entries the chains of a cell have by now."""
    assert cell.host is not None
    partitions = cell.host.partitions.items()
    return sum(recorded_chain(partition, name, cell.host.codec).head_seq for name, partition in partitions)


def problems_of_chains(cell: SimCell, *, complete: bool = False) -> list[str]:
    """What is wrong with the chains of a cell; to be asked any time between two turns.

    Args:
        complete: nothing may be left to be written.
    """
    assert cell.host is not None
    found: list[str] = []
    for name, partition in cell.host.partitions.items():
        chain = recorded_chain(partition, name, cell.host.codec)
        expected = Expected(Head(chain.head_seq, chain.head_hash), chain.filed_seq)
        finding = check(name, rows(cell.fs, name), expected)
        found += [f"{cell.name}: audit chain of {name}: {each.message}" for each in finding.problems]
        if complete and (finding.unwritten_count or chain.filed_seq != chain.head_seq):
            found.append(
                f"{cell.name}: audit chain of {name}: {finding.unwritten_count} entries are not written"
            )
    return found


def problems_of_entries(
    world: "SlaWorld",
    archived: Iterable[Violation],
    entries: Iterable[LedgerEntry],
    periods: Iterable[tuple[str, int]],
) -> Iterator[str]:
    """Whether the chains hold what the actors know they decided, each once, and nothing else.

    Args:
        periods: contract and end [Unix ms] of each that is archived.
    """
    documents = [
        entry.document
        for cell in world.system.cells.values()
        if cell.host is not None
        for name in cell.host.partitions
        for row in rows(cell.fs, name)
        if (entry := read(row.text)) is not None
    ]
    by_what: dict[str, list[dict[str, Any]]] = {}
    for each in documents:
        by_what.setdefault(each["what"], []).append(each)

    def said(what: What) -> list[dict[str, Any]]:
        return by_what.get(what.value, [])

    def subjects(what: What) -> Counter[str]:
        return Counter(each["subject"] for each in said(what))

    violations, ledger = list(archived), list(entries)
    ids = Counter(each.id for each in violations)
    opened, resolved = subjects(What.VIOLATION_OPENED), subjects(What.VIOLATION_RESOLVED)
    # What ended so long ago retention has forgotten; the audit chain is for ever.
    before_ms = world.system.now_ms - MONITORING.retention.violations
    ended_ms = {each["subject"]: each["details"]["closed_at_ms"] for each in said(What.VIOLATION_RESOLVED)}
    forgotten = Counter(each for each, at_ms in ended_ms.items() if at_ms < before_ms and each not in ids)
    yield from _differences("violation.opened", ids + forgotten, opened)
    yield from _differences("violation.resolved", opened, resolved)
    acknowledged = Counter((v.id, each.at_ms) for v in violations for each in v.acknowledgements)
    said_so = {(each["subject"], each["at_ms"]) for each in said(What.VIOLATION_ACKNOWLEDGED)}
    yield from _differences(
        "violation.acknowledged", acknowledged, Counter(each for each in said_so if each[0] in ids)
    )
    yield from _differences(
        "compensation.booked", Counter(each.id for each in ledger), subjects(What.COMPENSATION_BOOKED)
    )
    for what, status in _DECIDED.items():
        decided = Counter(
            each.id
            for each in ledger
            if each.status is status and each.decided_by not in (None, "auto_approve")
        )
        yield from _differences(what.value, decided, subjects(what))
    attempts = Counter(each["details"]["key"] for each in said(What.REMEDIATION_ATTEMPTED))
    yield from (f"attempt {key} has {count} entries" for key, count in attempts.items() if count > 1)
    yield from (f"attempt {key} has no entry" for key in world.outside.remedied.keys() - attempts.keys())
    begun, ended = (
        Counter((each["subject"], each["details"]["action"]) for each in said(what))
        for what in (What.REMEDIATION_BEGUN, What.REMEDIATION_ENDED)
    )
    yield from _differences("remediation.ended", begun, ended)
    told = Counter((each["subject"], each["details"]["key"]) for each in said(What.ESCALATION_TOLD))
    yield from (f"level {key} has {count} entries" for key, count in told.items() if count > 1)
    asked = {(each, key.partition("@")[0]) for each, keys in world.outside.asked.items() for key in keys}
    yield from (f"level {key} was told and has no entry" for key in asked - told.keys())
    yield from _deliveries(world, told.keys(), said(What.ESCALATION_DELIVERED))
    settled = Counter((each["sla"], each["details"]["end_ms"]) for each in said(What.PERIOD_SETTLED))
    yield from _differences("period.settled", Counter(periods), settled)
    yield from (f"period {key} has {count} entries" for key, count in settled.items() if count > 1)
    yield from (f"{each['partition']} has forked" for each in said(What.CHAIN_FORKED))
    yield from _versions(world, documents)


def _deliveries(
    world: "SlaWorld", told: Iterable[tuple[str, str]], delivered: list[dict[str, Any]]
) -> Iterator[str]:
    """Each level that was told has one end, over each of its channels; and what was sent has arrived.

    Args:
        told: violation and key of each level.
        delivered: the entries of the ends of messages, also of others than levels.
    """
    received = {
        (channel, recipient.recipients, message_id)
        for channel, recipient, message_id in world.outside.received
    }
    refused = {
        (channel, recipient.recipients, message_id)
        for channel, recipient, message_id in world.outside.refused
    }
    ends = Counter((each["subject"], each["details"]["key"]) for each in delivered)
    yield from (f"level {key} has {ends[key]} ends" for key in told if ends[key] != 1)
    yield from (f"message {key} has {count} ends" for key, count in ends.items() if count > 1)
    levels = set(told)
    for entry in delivered:
        violation_id, end = entry["subject"], entry["details"]
        key, _, _ = end["key"].partition("@")
        if (violation_id, key) not in levels:
            continue
        message = end["channel"], tuple(end["recipients"]), f"{violation_id}.{key}"
        match end["status"]:
            case DeliveryStatus.SENT if message not in received:
                yield f"{message} is said to be sent, and nobody has got it"
            case DeliveryStatus.UNCERTAIN if end["channel"] != HOLDING_CHANNEL:
                yield f"{message} was given up, though its channel would have taken it once more"
            case DeliveryStatus.FAILED if message not in refused and end["attempts"] < MIN_ATTEMPTS:
                yield f"{message} was given up, and nobody had refused it"


def _versions(world: "SlaWorld", documents: list[dict[str, Any]]) -> Iterator[str]:
    changes = Counter(each["sla"] for each in documents if each["what"] in _VERSIONS)
    for cell in world.system.cells.values():
        if cell.host is not None:
            for sla_id in world.contracts:
                if cell.host.is_running(contract_address(sla_id)):
                    version = cell.host.inspector.describe(contract_address(sla_id))["state"].version
                    if version != 1 + changes[sla_id]:
                        yield f"{sla_id} has version {version} and {changes[sla_id]} entries of changes"


def _differences(what: str, decided: Counter[Any], entered: Counter[Any]) -> Iterator[str]:
    for key in sorted(decided.keys() | entered.keys(), key=str):
        if decided[key] != entered[key]:
            yield f"{what} of {key}: decided {decided[key]} times, {entered[key]} entries in the audit chain"
