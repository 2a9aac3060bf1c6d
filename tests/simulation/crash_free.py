"""What the same samples come to without a crash: every breach opened, every amount as it would be."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from slakeeper.sla import compensation
from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.settlement import settled_attainment
from slakeeper.sla.violation import Violation, violation_id
from tests.simulation.shadow import Shadow

if TYPE_CHECKING:
    from tests.simulation.world import SlaWorld


def problems_of_openings(world: "SlaWorld", archived: Iterable[Violation]) -> Iterator[str]:
    """Each spell that a monitor saw is a violation, from its beginning on."""
    opened = {each.id for each in archived} | world.seen.keys()
    for (sla_id, name), shadow in _shadows(world):
        for spell in shadow.spells:
            if violation_id(sla_id, name, spell.start_ms) not in opened:
                yield f"{sla_id}'s {name} broke its promise, and no violation was opened: {spell}"


def problems_of_values(world: "SlaWorld", archived: Iterable[Violation]) -> Iterator[str]:
    """A violation began when its spell did, and has its worst value and its end: that is what it costs."""
    spells = {
        violation_id(sla_id, name, spell.start_ms): spell
        for (sla_id, name), shadow in _shadows(world)
        for spell in shadow.spells
    }
    for violation in archived:
        spell = spells.get(violation.id)
        if spell is None:
            continue
        is_same_end = spell.is_over_by_word or violation.resolved_by is not None
        if violation.worst_value != spell.worst or not (
            is_same_end or violation.closed_at_ms == spell.end_ms
        ):
            yield f"{violation.id} is {violation}, without crashes {spell}"


def problems_of_penalties(world: "SlaWorld", entries: Iterable[LedgerEntry]) -> Iterator[str]:
    """The penalty of each period is that of the accounts that monitors without crashes had at its end."""
    booked = {each.id: each for each in entries if each.violation_id is None}
    due: dict[str, LedgerEntry] = {}
    for sla_id, document in world.contracts.items():
        contract = Sla.from_document(document)
        shadows = {name: shadow for (each, name), shadow in _shadows(world) if each == sla_id}
        for end_ms in {end_ms for shadow in shadows.values() for end_ms in shadow.accounts}:
            accounts = {name: shadow.accounts[end_ms] for name, shadow in shadows.items()}
            start_ms = min(account.start_ms for account in accounts.values())
            attainment = settled_attainment(contract, accounts)
            due.update(
                (each.id, each)
                for each in compensation.settle_penalties(contract, attainment, (start_ms, end_ms))
            )
    for key in sorted(due.keys() | booked.keys()):
        has, wants = booked.get(key), due.get(key)
        if has is None or wants is None or (has.amount, has.compensation_type) != (
            wants.amount, wants.compensation_type
        ):  # fmt: skip
            yield f"the penalty {key} is {has}, without crashes {wants}"


def _shadows(world: "SlaWorld") -> Iterator[tuple[tuple[str, str], Shadow]]:
    for address, shadow in world.shadows.items():
        _, sla_id, name = address.split(":")
        yield (sla_id, name), shadow
