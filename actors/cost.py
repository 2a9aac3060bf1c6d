"""What a violation costs so far, in words for those who are told of it."""

from slakeeper.actors.environment import Environment
from slakeeper.sla import compensation
from slakeeper.sla.violation import Violation


def cost(environment: Environment, violation: Violation, now_ms: int) -> str:
    """What would be booked if the violation ended now, or was when it ended; empty when that is nothing.

    Empty too when it cannot be known here: the contract has a newer version than the one that was broken, and
    only the ledger keeps the older ones.
    """
    known = environment.known(violation.sla_id)
    if known is None or known.version != violation.contract_version:
        return ""
    end_ms = now_ms if violation.closed_at_ms is None else violation.closed_at_ms
    attainment = environment.attainment(violation.sla_id)
    entries = compensation.estimate(known.contract, violation, end_ms, attainment=attainment)
    return compensation.cost_line([entry for entry in entries if not entry.error])
