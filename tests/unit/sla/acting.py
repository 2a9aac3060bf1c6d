"""Contracts, policies and violations that the tests about acting share."""

from typing import Any

from slakeeper.sla.contract import Sla
from slakeeper.sla.policy import EnforcementPolicy, Severity
from slakeeper.sla.violation import Violation, open_violation, resolve

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def contract(**changes: Any) -> Sla:
    """The seed's availability contract, with its penalties and its compensation."""
    document: dict[str, Any] = {
        "id": "sla_001",
        "name": "Core Service Availability",
        "service_level": "99.999",
        "time_period": "24h",
        "approver": "sla_manager",
        "metrics": [
            {"name": "uptime", "value": "99.999", "unit": "percentage", "condition": "gt", "weight": "0.8"},
            {
                "name": "error_rate",
                "value": "0.001",
                "unit": "percentage",
                "condition": "lt",
                "weight": "0.2",
            },
        ],
        "penalties": [
            {"threshold": "99.99", "type": "service_credit", "rate": 10},
            {"threshold": "99.9", "type": "refund", "rate": 20},
        ],
        "compensation": [
            {
                "metric": "uptime",
                "violation_type": "below_threshold",
                "type": "service_credit",
                "formula": "credit = 10 * (threshold - actual)",
                "auto_approve": True,
            }
        ],
    }
    return Sla.from_document({**document, **changes})


def policy(**changes: Any) -> EnforcementPolicy:
    """The seed's escalation policies and automatic actions."""
    document: dict[str, Any] = {
        "automatic_actions": [
            {
                "name": "scale_nodes",
                "trigger_metric": "throughput",
                "condition": {"op": "lt", "value": 10000},
                "action": "scale_resources",
                "parameters": {"nodes": 2},
            }
        ],
        "remedies": {"scale_resources": {"type": "dry_run"}},
        "channels": {name: {"type": name} for name in ("email", "sms", "slack", "pagerduty")},
        "escalation_policies": [
            {
                "severity": "info",
                "levels": [
                    {"type": "email", "recipients": ["team@example.com"], "delay": 30000},
                    {"type": "slack", "channel": "#alerts", "delay": 60000},
                ],
                "timeout": 300000,
            },
            {
                "severity": "warning",
                "levels": [
                    {"type": "email", "recipients": ["team@example.com"], "delay": 0},
                    {"type": "sms", "recipients": ["+1234567890"], "delay": 30000},
                    {"type": "slack", "channel": "#alerts", "delay": 30000},
                ],
                "timeout": 1800000,
            },
            {
                "severity": "critical",
                "levels": [
                    {"type": "email", "recipients": ["team@example.com", "manager@example.com"], "delay": 0},
                    {"type": "sms", "recipients": ["+1234567890", "+1234567891"], "delay": 0},
                    {"type": "slack", "channel": "#alerts", "delay": 0},
                    {"type": "pagerduty", "service": "sla_violations", "delay": 60000},
                ],
                "timeout": 900000,
            },
        ],
    }
    return EnforcementPolicy.model_validate({**document, **changes})


def violation(
    value: float = 99.5,
    *,
    sla: Sla | None = None,
    metric: str = "uptime",
    severity: Severity = Severity.CRITICAL,
    opened_at_ms: int = NOW_MS,
) -> Violation:
    of = sla or contract()
    return open_violation(of, of.metric(metric), value, severity, opened_at_ms)


def resolved(
    value: float = 99.5, *, lasted_ms: int = 5 * MINUTE_MS, by: str | None = None, **more: Any
) -> Violation:
    opened = violation(value, **more)
    return resolve(opened, opened.opened_at_ms + lasted_ms, by=by)
