"""The addresses of SLA actors, and of the supervisors that start them, so that a sender and a starter agree.

``contract:ID``, ``monitor:ID:METRIC``, ``violation:VID``, ``remediation:VID:ACTION:N``, ``escalation:VID``,
``alert:ID``, ``ledger:ID``, ``report:ID``, ``ingest:PARTITION``, ``audit:PARTITION``, ``silences:PARTITION``,
``restraint:PARTITION``, ``neighbour:CELL@CELL``.
"""

import re

DEFINITION = "definition_supervisor"
MONITORING = "monitoring_supervisor"
ENFORCEMENT = "enforcement_supervisor"
ALERTING = "alerting_supervisor"
REPORTING = "reporting_supervisor"

_MONITOR = re.compile(r"monitor:((?:[^:]|::)*):(.*)", re.DOTALL)


def contract_address(sla_id: str) -> str:
    return f"contract:{sla_id}"


def monitor_address(sla_id: str, metric_name: str) -> str:
    # Both names may hold colons: those of the first are doubled, so that no two monitors share an address.
    return f"monitor:{sla_id.replace(':', '::')}:{metric_name}"


def monitor_names(address: str) -> tuple[str, str]:
    """The contract's id and the metric's name of a :func:`monitor_address`; a name does not begin with a colon."""
    found = _MONITOR.fullmatch(address)
    if found is None:
        raise ValueError(f"not a monitor's address: {address}")
    return found[1].replace("::", ":"), found[2]


def violation_address(violation_id: str) -> str:
    return f"violation:{violation_id}"


def escalation_address(violation_id: str) -> str:
    return f"escalation:{violation_id}"


def remediation_address(violation_id: str, action_name: str, number: int) -> str:
    return f"remediation:{violation_id}:{action_name}:{number}"


def alert_address(sla_id: str) -> str:
    return f"alert:{sla_id}"


def ledger_address(sla_id: str) -> str:
    return f"ledger:{sla_id}"


def report_address(sla_id: str) -> str:
    return f"report:{sla_id}"


def ingest_address(partition_name: str) -> str:
    return f"ingest:{partition_name}"


def audit_address(partition_name: str) -> str:
    return f"audit:{partition_name}"


def silences_address(partition_name: str) -> str:
    return f"silences:{partition_name}"


def restraint_address(partition_name: str) -> str:
    return f"restraint:{partition_name}"


def neighbour_address(name: str, cell: str) -> str:
    """Of the actor in ``cell`` that asks the cell ``name``."""
    return f"neighbour:{name}@{cell}"
