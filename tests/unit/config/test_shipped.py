"""The shipped files say what the seed says, key for key and value for value."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from slakeeper.config.loader import DEFAULT_DIR, FILES, Configuration, load
from slakeeper.sla.condition import Condition
from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.duration import DAY_MS
from slakeeper.sla.metric import Aggregation
from slakeeper.sla.penalty import CompensationType
from slakeeper.sla.policy import Severity


@pytest.fixture(scope="module")
def shipped() -> Configuration:
    return load(DEFAULT_DIR, {})


def raw(name: str) -> Any:
    return yaml.safe_load((DEFAULT_DIR / name).read_text())


UPTIME = {
    "name": "uptime",
    "type": "threshold",
    "value": 99.999,
    "unit": "percentage",
    "condition": "gt",
    "weight": 0.8,
    "aggregation": "min",
}
ERROR_RATE = {
    "name": "error_rate",
    "type": "threshold",
    "value": 0.001,
    "unit": "percentage",
    "condition": "lt",
    "weight": 0.2,
    "aggregation": "avg",
}
TERM = {"term": "30d", "renew": True}


def test_the_definitions_are_the_seed_s() -> None:
    document = raw("sla_definitions.yaml")
    core, first, second = document["slas"]
    assert core == {
        "id": "sla_core_availability",
        "name": "Core Service Availability",
        "description": "Core service uptime and availability",
        "service_level": 99.999,
        "time_period": 86400000,
        **TERM,
        "metrics": [{**UPTIME, "interval": 30000}, {**ERROR_RATE, "interval": 30000}],
        "penalties": [
            {"threshold": 99.99, "type": "service_credit", "rate": 10},
            {"threshold": 99.9, "type": "refund", "rate": 20},
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
        "owner": "operations_team",
        "approver": "sla_manager",
        "status": "active",
    }
    assert first == {
        "id": "sla_001",
        "name": "Core Service Availability",
        "description": "System uptime and availability",
        "service_level": 99.999,
        "time_period": 86400000,
        **TERM,
        "sla_metrics": [
            {**UPTIME, "measurement_interval": 30000},
            {**ERROR_RATE, "measurement_interval": 30000},
        ],
        "penalty_terms": [
            {"threshold": 99.99, "compensation_type": "service_credit", "rate": 10},
            {"threshold": 99.9, "compensation_type": "refund", "rate": 20},
        ],
        "compensation_rules": [
            {
                "metric_name": "uptime",
                "violation_type": "below_threshold",
                "compensation_type": "service_credit",
                "calculation_formula": "credit = 10 * (threshold - actual)",
                "auto_approve": True,
            }
        ],
        "owner_team": "operations",
        "approver": "sla_manager",
        "status": "active",
    }
    common = {"type": "threshold", "measurement_interval": 60000}
    p95 = {
        "name": "response_time_p95",
        "value": 100,
        "unit": "ms",
        "condition": "lt",
        "weight": 0.6,
        "aggregation": "max",
    }
    rate = {
        "name": "throughput",
        "value": 10000,
        "unit": "req/sec",
        "condition": "gt",
        "weight": 0.4,
        "aggregation": "avg",
    }
    assert second == {
        "id": "sla_002",
        "name": "Performance Guarantee",
        "description": "Response time and throughput performance",
        "service_level": 99.9,
        "time_period": 86400000,
        **TERM,
        "sla_metrics": [{**common, **p95}, {**common, **rate}],
        "penalty_terms": [],
        "compensation_rules": [],
        "owner_team": "platform",
        "approver": "sla_manager",
        "status": "active",
    }
    assert document["thresholds"] == {
        "uptime": 99.999,
        "response_time_p95": 100,
        "throughput": 10000,
        "error_rate": 0.01,
    }
    assert set(document) == {"slas", "thresholds"}


def test_the_enforcement_is_the_seed_s() -> None:
    document = raw("enforcement.yaml")
    team, manager = "team@example.com", "manager@example.com"
    action = ("name", "trigger_metric", "condition", "action", "parameters", "enabled")
    actions = [
        ("scale_nodes", "throughput", {"lt": 10000}, "scale_resources", {"nodes": 2}, True),
        ("optimize_queries", "response_time_p95", {"gt": 100}, "optimize_database", {}, True),
        ("add_capacity", "cpu_usage", {"gt": 80}, "add_capacity", {"type": "cpu", "amount": 20}, True),
    ]
    assert document["automatic_actions"] == [dict(zip(action, values, strict=True)) for values in actions]
    assert document["escalation_policies"] == [
        {
            "severity": "info",
            "levels": [
                {"type": "email", "recipients": [team], "delay": 30000},
                {"type": "slack", "channel": "#alerts", "delay": 60000},
            ],
            "timeout": 300000,
        },
        {
            "severity": "warning",
            "levels": [
                {"type": "email", "recipients": [team], "delay": 0},
                {"type": "sms", "recipients": ["+1234567890"], "delay": 30000},
                {"type": "slack", "channel": "#alerts", "delay": 30000},
            ],
            "timeout": 1800000,
        },
        {
            "severity": "critical",
            "levels": [
                {"type": "email", "recipients": [team, manager], "delay": 0},
                {"type": "sms", "recipients": ["+1234567890", "+1234567891"], "delay": 0},
                {"type": "slack", "channel": "#alerts", "delay": 0},
                {"type": "pagerduty", "service": "sla_violations", "delay": 60000},
            ],
            "timeout": 900000,
        },
    ]
    assert document["remediation"] == {
        "auto_remediate": True,
        "max_remediation_attempts": 3,
        "remediation_timeout": 300000,
        "log_remediation": True,
    }


def test_the_monitoring_is_the_seed_s() -> None:
    assert raw("monitoring.yaml") == {
        "check_interval": 30000,
        "violation_threshold": 0.95,
        "alert_channels": ["email", "sms", "slack"],
        "metrics_sources": [
            {"internal": "erlmcp_metrics_collector"},
            {"prometheus": "http://monitoring:9090", "enabled": False},
            {"custom": "http://custom-metrics:8080", "enabled": False},
        ],
        "retention": {"violations": 864000000, "status": 259200000, "reports": 2592000000},
    }


def test_the_shipped_configuration_loads_into_values(shipped: Configuration) -> None:
    assert [sla.id for sla in shipped.slas] == ["sla_core_availability", "sla_001", "sla_002"]
    core, first, second = shipped.slas
    for sla in shipped.slas:
        assert (sla.term, sla.renew, sla.status) == (30 * DAY_MS, True, ContractStatus.ACTIVE)
        assert (sla.effective_date, sla.expiry_date) == (None, None)
        assert Sla.from_document(sla.to_document()) == sla
    assert core.metrics == first.metrics
    assert core.penalties == first.penalties
    assert core.compensation == first.compensation
    uptime = core.metric("uptime")
    assert (uptime.value, uptime.weight, uptime.interval) == (Decimal("99.999"), Decimal("0.8"), 30_000)
    assert (uptime.condition, uptime.aggregation) == (Condition.GT, Aggregation.MIN)
    assert core.compensation[0].type is CompensationType.SERVICE_CREDIT
    assert second.metric("throughput").interval == 60_000
    assert (second.penalties, second.compensation) == ((), ())


def test_the_policies_load_into_values(shipped: Configuration) -> None:
    policy = shipped.enforcement
    assert [action.condition.op for action in policy.automatic_actions] == [
        Condition.LT,
        Condition.GT,
        Condition.GT,
    ]
    critical = policy.policy(Severity.BREACH)
    assert critical is not None
    assert [level.channel for level in critical.levels] == ["email", "sms", "slack", "pagerduty"]
    assert critical.levels[2].room == "#alerts"
    assert critical.levels[3].service == "sla_violations"
    assert {remedy.type for remedy in policy.remedies.values()} == {"dry_run"}
    assert set(policy.channels) == {"email", "sms", "slack", "pagerduty", "webhook", "log"}


def test_nothing_that_is_shipped_is_polled_or_asked_for(shipped: Configuration) -> None:
    sources = shipped.monitoring.sources
    assert set(sources) == {"internal", "prometheus", "custom"}
    assert [sources[name].model_dump()["enabled"] for name in ("prometheus", "custom")] == [False, False]
    assert shipped.monitoring.retention.status == 3 * DAY_MS


def test_every_file_is_shipped_beside_the_loader() -> None:
    assert {path.name for path in DEFAULT_DIR.glob("*.yaml")} >= set(FILES)


def test_the_files_without_the_optional_three_load_too(tmp_path: Path, shipped: Configuration) -> None:
    (tmp_path / FILES[0]).write_bytes((DEFAULT_DIR / FILES[0]).read_bytes())
    alone = load(tmp_path, {})
    assert alone.slas == shipped.slas
    assert alone.service == shipped.service
    assert alone.enforcement.automatic_actions == ()
