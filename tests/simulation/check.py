"""What has to hold of a run, whatever went wrong in it."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slakeeper.actors.address import (
    alert_address,
    audit_address,
    contract_address,
    ingest_address,
    ledger_address,
    monitor_address,
    report_address,
    silences_address,
)
from slakeeper.actors.message import DescribeMetric
from slakeeper.otp.host import Host
from slakeeper.otp.sim_cell import SimCell
from slakeeper.sla import compensation
from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.notification import NotificationKind
from slakeeper.sla.violation import Violation
from tests.simulation.chain import problems_of_chains, problems_of_entries
from tests.simulation.client import MINUTE_MS
from tests.simulation.crash_free import problems_of_openings, problems_of_penalties, problems_of_values
from tests.simulation.settings import ENFORCEMENT, HOLDING_CHANNEL, PLANS, WATCHED, partition_of

if TYPE_CHECKING:
    from tests.simulation.world import SlaWorld

# Muted news is looked at every half a minute; a cell that is killed, and its clock when it jumps, take their time.
LONGEST_LOOK_MS = 5 * MINUTE_MS

# A metric flaps after six changes, which are three violations.
LEAST_FLAPPING = 3

# What is said twice may come a second time to one that has ended: an effect's end, a recovery, an end. A contract that
# was set aside closes what has ended meanwhile a second after it is back. An escalation may not have started.
_AGAIN = ("Performed(", "SayAgain(", "ViolationResolved(", "ViolationChanged(", "CloseViolation(")
_REPEATED = {"nobody there": _AGAIN, "the actor has ended": (*_AGAIN, "Tick(")}


def problems_of_violations(cell: SimCell) -> list[str]:
    """At most one violation is open for a metric; to be asked any time."""
    assert cell.host is not None
    violations = [
        cell.host.inspector.describe(address)["state"].violation
        for address in cell.host.addresses("violation")
        if cell.host.is_running(address)
    ]
    count = Counter((each.sla_id, each.metric_name) for each in violations if each.is_open)
    return [
        f"{cell.name}: {number} open violations of {which}" for which, number in count.items() if number > 1
    ]


def problems_at_the_end(world: "SlaWorld") -> list[str]:
    """Everything that has to hold once all is calm."""
    return [
        *_tree(world),
        *(
            problem
            for cell in world.system.cells.values()
            if cell.host
            for problem in problems_of_violations(cell)
        ),
        *_samples(world),
        *_violations(world),
        *_escalations(world),
        *_messages(world),
        *_alerts(world),
        *_remedies(world),
        *_ledgers(world),
        *problems_of_openings(world, archived(world)),
        *problems_of_values(world, archived(world)),
        *problems_of_penalties(world, ledger(world)),
        *_dead_letters(world),
        *_audit(world),
    ]


def _tree(world: "SlaWorld") -> Iterator[str]:
    for plan in PLANS:
        host = world.system.cells[plan.name].host
        if host is None:
            yield f"{plan.name} is down"
            continue
        yield from (f"{plan.name}: {line}" for line in _not_running(host.tree.describe()))
        addresses = set(host.addresses())
        for partition, ids in plan.partitions.items():
            wanted = {ingest_address(partition), audit_address(partition)}
            for sla_id in ids:
                wanted |= {
                    make(sla_id) for make in (contract_address, alert_address, ledger_address, report_address)
                }
                wanted |= {
                    monitor_address(sla_id, each["name"]) for each in world.contracts[sla_id]["metrics"]
                }
            yield from (f"{plan.name}: {address} is not there" for address in sorted(wanted - addresses))


def _not_running(node: dict[str, Any]) -> Iterator[str]:
    if node["status"] != "running":
        yield f"{node['address']} is {node['status']}"
    for child in node["children"]:
        yield from _not_running(child)


def _samples(world: "SlaWorld") -> Iterator[str]:
    """Each sample that was acknowledged counts once, and the account is that of a monitor that never crashed."""
    if world.sender.open:
        yield f"never acknowledged: {sorted(world.sender.open)[:5]}"
    for (sla_id, name), sent in world.sender.sent.items():
        host, address = _host(world, sla_id), monitor_address(sla_id, name)
        if host is None or not host.is_running(address):
            continue
        view = host.ask(address, DescribeMetric())
        counted = view.counters["accepted"] + view.counters["late"]
        if counted != sent:
            yield f"{address}: {sent} samples acknowledged, but {counted} counted"
        shadow = world.shadows[address].view(host.now_ms)
        if (view.account, view.state) != (shadow.account, shadow.state):
            yield f"{address}: {view.state} {view.account}, without crashes {shadow.state} {shadow.account}"


def _violations(world: "SlaWorld") -> Iterator[str]:
    """All metrics are well: nothing is open, nobody is still at work."""
    for cell in world.system.cells.values():
        if cell.host is None:
            continue
        for kind in ("violation", "remediation", "escalation"):
            yield from (f"{cell.name}: {address} is still there" for address in cell.host.addresses(kind))
        for address in cell.host.addresses("contract"):
            left = cell.host.inspector.describe(address)["state"].open_violations
            if left:
                yield f"{cell.name}: {address} takes for open: {left}"
    for violation in archived(world):
        if violation.is_open:
            yield f"{violation.id} is archived but open"


def _escalations(world: "SlaWorld") -> Iterator[str]:
    """No level of a walk is skipped. A channel that holds back what it is not sure of may leave one out."""
    for violation_id, keys in world.outside.asked.items():
        walks: dict[tuple[str, str, str], set[int]] = {}
        for key in keys:
            number, severity, round_, index = key.partition("@")[0].split(".")
            walks.setdefault((number, severity, round_), set()).add(int(index))
        for (number, severity, round_), levels in walks.items():
            policy = next(each for each in ENFORCEMENT.escalation_policies if each.severity == severity)
            for level in range(max(levels)):
                if level not in levels and policy.levels[level].channel != HOLDING_CHANNEL:
                    yield f"{violation_id}: walk {number}.{severity}.{round_} skipped level {level} of {sorted(levels)}"


def _messages(world: "SlaWorld") -> Iterator[str]:
    """A channel that cannot recognise a repetition and is to hold back never gets a message twice."""
    for (channel, recipient, message_id), received in world.outside.received.items():
        if channel == HOLDING_CHANNEL and received.count > 1:
            yield f"{message_id} came {received.count} times over {channel} to {recipient}"


def _alerts(world: "SlaWorld") -> Iterator[str]:
    """Nothing is kept back for ever, no opening is told twice, none while it is silenced, and none is left out."""
    for plan in PLANS:
        host = world.system.cells[plan.name].host
        if host is None:
            continue
        for address in filter(host.is_running, host.addresses("alert")):
            group = host.inspector.describe(address)["state"].group
            # What flaps still is told when it has stopped, which may take longer than the calm at the end.
            flapping = {name for name, flap in group.flaps.items() if flap.is_flapping}
            kept = [each for each in group.muted if each.violation.metric_name not in flapping]
            if kept or group.pending:
                yield f"{address} has told nobody yet of {kept or group.pending}"
    for violation_id, messages in world.outside.alerted.items():
        openings = [each for each in messages.values() if each.kind is NotificationKind.OPENED]
        if len(openings) > 1:
            yield f"the opening of {violation_id} was told {len(openings)} times"
    keepers = {silences_address(name) for plan in PLANS for name in plan.partitions}
    for silenced in world.operator.silences:
        for messages in world.outside.alerted.values():
            for each in messages.values():
                is_muted = silenced.from_ms is not None and silenced.from_ms < each.at_ms < silenced.until_ms
                if each.sla_id == silenced.sla_id and is_muted and not keepers & world.set_aside:
                    yield f"{each.id} was told at {each.at_ms} in spite of {silenced}"
    for violation in archived(world):
        if violation.id not in world.outside.alerted and not _may_be_untold(world, violation):
            yield f"nobody was told of {violation.id} of {violation.sla_id}, and nothing muted it"


def _may_be_untold(world: "SlaWorld", violation: Violation) -> bool:
    """Whether something muted it at some time: a silence, what it depends on, that its metric flaps.

    Or whoever had to tell it was set aside for a while.
    """

    def muted_it(start_ms: int, end_ms: int) -> bool:
        """Whether it could have been looked at for the last time while this was in force."""
        until_ms = violation.closed_at_ms or 0
        return start_ms <= until_ms and max(violation.opened_at_ms, until_ms - LONGEST_LOOK_MS) <= end_ms

    parents = world.contracts[violation.sla_id]["depends_on"]
    beside = [each for each in world.seen.values() if each["metric_name"] == violation.metric_name]
    silences = [each for each in world.operator.silences if each.sla_id == violation.sla_id]
    # What a neighbour said is believed for a while.
    broken = [
        (each["start_time"], (each["end_time"] or world.system.now_ms) + world.pace.neighbour_fresh_ms)
        for each in world.seen.values()
        if each["sla_id"] in parents
    ]
    return (
        any(muted_it(each.asked_ms, each.ends_ms) for each in silences)
        or any(muted_it(*span_ms) for span_ms in broken)
        or len(beside) >= LEAST_FLAPPING
        or alert_address(violation.sla_id) in world.set_aside
    )


def _remedies(world: "SlaWorld") -> Iterator[str]:
    """An attempt is carried out once; there are not more than are allowed."""
    for key in world.outside.unclaimed:
        yield f"remedy {key} was carried out on a target that another run acts on"
    for key, count in world.outside.remedied.items():
        if count > 1:
            yield f"remedy {key} was carried out {count} times"
    most = ENFORCEMENT.remediation.max_remediation_attempts
    attempts = Counter(key.rpartition(".")[0] for key in world.outside.remedied)
    yield from (f"{count} attempts of {run}" for run, count in attempts.items() if count > most)


def _ledgers(world: "SlaWorld") -> Iterator[str]:
    """One entry for a violation and rule, of the amount that follows from the violation; one settlement a period."""
    entries = ledger(world)
    booked = Counter((each.violation_id, each.rule) for each in entries if each.violation_id is not None)
    yield from (f"{which} is booked {count} times" for which, count in booked.items() if count > 1)
    settled = Counter((each.sla_id, each.period_start_ms) for each in entries if each.violation_id is None)
    yield from (f"period {which} is settled {count} times" for which, count in settled.items() if count > 1)
    amounts = {each.id: each.amount for each in entries}
    for violation in archived(world):
        contract = Sla.from_document(world.contracts[violation.sla_id])
        for due in compensation.book(contract, violation):
            if due.id not in amounts:
                yield f"{violation.id}: nothing is booked under {due.rule}"
            elif amounts[due.id] != due.amount:
                yield f"{violation.id}: {amounts[due.id]} is booked under {due.rule}, {due.amount} is due"


def _audit(world: "SlaWorld") -> Iterator[str]:
    """Every chain is whole and in its files; every decision has its entry, and every entry its decision."""
    for cell in world.system.cells.values():
        if cell.host is not None:
            yield from problems_of_chains(cell, complete=True)
    yield from problems_of_entries(world, archived(world), ledger(world), periods(world))


def _dead_letters(world: "SlaWorld") -> Iterator[str]:
    """Nothing is lost but by who was killed on it or set aside, and what is said once more to one that has ended."""
    for cell in world.system.cells.values():
        for life, letter in cell.dead_letters:
            is_repeated = any(letter.message.startswith(said) for said in _REPEATED.get(letter.why, ()))
            if not (is_repeated or "ActorKilled" in letter.why or letter.why == "the actor is quarantined"):
                yield f"{cell.name}, life {life}: dead letter to {letter.address}: {letter.why}: {letter.message[:200]}"


def _host(world: "SlaWorld", sla_id: str) -> Host | None:
    name = next(plan.name for plan in PLANS if partition_of(sla_id) in plan.partitions)
    return world.system.cells[name].host


def archived(world: "SlaWorld") -> Iterator[Violation]:
    """Every violation that has ended."""
    for sla_id in dict.fromkeys(each.sla_id for each in WATCHED):
        host = _host(world, sla_id)
        if host is not None and host.is_running(report_address(sla_id)):
            yield from host.inspector.describe(report_address(sla_id))["state"].violations


def periods(world: "SlaWorld") -> Iterator[tuple[str, int]]:
    """Contract and end [Unix ms] of each period that is archived."""
    for sla_id in world.contracts:
        host = _host(world, sla_id)
        if host is not None and host.is_running(report_address(sla_id)):
            state = host.inspector.describe(report_address(sla_id))["state"]
            yield from ((sla_id, each.end_ms) for each in state.periods)


def ledger(world: "SlaWorld") -> list[LedgerEntry]:
    """What is booked for anybody."""
    found: list[LedgerEntry] = []
    for sla_id in world.contracts:
        host = _host(world, sla_id)
        if host is not None and host.is_running(ledger_address(sla_id)):
            found.extend(host.inspector.describe(ledger_address(sla_id))["state"].entries)
    return found
