"""What the simulated system has to keep: contracts with different metrics, short walks, a remedy, compensation."""

from dataclasses import dataclass
from typing import Any

from slakeeper.integrations.channel import OnUncertain
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy


@dataclass(frozen=True)
class Watched:
    """A metric and what is measured of it: ``good`` keeps the promise, the values of ``bad`` break it more and more."""

    sla_id: str
    name: str
    good: tuple[float, float]
    bad: tuple[float, ...]


@dataclass(frozen=True)
class Pace:
    """How fast a simulated world goes: a sample of every metric each ``sample_every_ms``, windows of ``interval``.

    An operator does something every ``operate_every_ms`` on average: acknowledges, silences, suspends, looks.

    Cells ask each other as often as samples come, which is more seldom than in earnest, where it is every second: runs
    are hours of virtual time.
    """

    sample_every_ms: int
    interval: str
    operate_every_ms: int

    @property
    def neighbour_fresh_ms(self) -> int:
        """How long what a neighbour said is believed [ms]."""
        return 5 * self.sample_every_ms


# For short runs, in which much is to happen; and for long ones.
QUICK = Pace(60_000, "1m", 300_000)
STEADY = Pace(300_000, "15m", 1_200_000)


@dataclass(frozen=True)
class CellPlan:
    """Which partitions a cell owns and which contracts are in each."""

    name: str
    partitions: dict[str, tuple[str, ...]]


PLANS = (
    CellPlan("cell-0", {"p0": ("api",), "p1": ("web",)}),
    CellPlan("cell-1", {"p2": ("db",)}),
)

WATCHED = (
    Watched("api", "latency", (80.0, 200.0), (260.0, 330.0, 600.0)),
    Watched("api", "errors", (0.0, 3.0), (5.2, 6.5, 20.0)),
    Watched("web", "response_p95", (100.0, 600.0), (850.0, 1_000.0, 2_500.0)),
    Watched("web", "uptime", (99.9, 100.0), (98.6, 97.0, 40.0)),
    Watched("db", "lag", (0.0, 20.0), (31.0, 37.0, 90.0)),
    Watched("db", "queue", (0.0, 80.0), (104.0, 125.0, 400.0)),
)


def _documents(interval: str) -> dict[str, dict[str, Any]]:
    """The contracts, with detection and accounting windows of that length."""

    def metric(name: str, value: float, condition: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "value": value, "condition": condition, "interval": interval, **more}

    return {
        "api": {
            "id": "api",
            "name": "API",
            "service_level": 99,
            "time_period": "6h",
            "metrics": [
                metric("latency", 250, "lt", unit="ms", weight=0.6),
                metric("errors", 5, "lt", unit="per minute", weight=0.4, **{"for": "2m"}),
            ],
            "compensation": [
                {"metric": "latency", "formula": "credit = actual - threshold", "auto_approve": True},
                {"metric": "errors", "type": "refund", "auto_approve": True, "base_amount": 100},
            ],
            "penalties": [
                {"threshold": 99, "type": "service_credit", "rate": 10},
                {"threshold": 95, "type": "refund", "rate": 20},
            ],
        },
        "web": {
            "id": "web",
            "name": "Shop",
            "depends_on": ["db"],  # which is in the other cell
            "service_level": 95,
            "calendar": "day",
            "timezone": "Europe/Berlin",
            "metrics": [
                metric("response_p95", 800, "lt", unit="ms", type="percentile"),
                metric("uptime", 99, "gt", unit="percent", aggregation="min"),
            ],
            "compensation": [
                {"metric": "uptime", "formula": "credit = 10 * (threshold - actual)"},
                {"metric": "uptime", "type": "service_credit", "auto_approve": True},
            ],
        },
        "db": {
            "id": "db",
            "name": "Database",
            "service_level": 99.5,
            "time_period": "1d",
            "metrics": [
                metric("lag", 30, "lte", unit="s", keep_for="3m"),
                metric("queue", 100, "lt", aggregation="max", no_data="bad"),
            ],
            "compensation": [{"metric": "lag", "formula": "duration_min * 0.5", "auto_approve": True}],
        },
    }


# Channels that cannot recognise a message which comes again, and what is to be done when it may have arrived. The pager
# recognises it.
UNRECOGNISING: dict[str, OnUncertain] = {"chat": "resend", "sms": "hold"}
HOLDING_CHANNEL = "sms"

ENFORCEMENT = EnforcementPolicy.model_validate(
    {
        "channels": {"chat": {"type": "log"}, "pager": {"type": "log"}, "sms": {"type": "log"}},
        "alerts": {"group_wait": "10s"},
        "escalation_policies": [
            {
                "severity": "warning",
                "levels": [{"type": "chat", "recipients": ["team"]}, {"type": "pager", "delay": "1m"}],
                "timeout": "3m",
            },
            {
                "severity": "critical",
                "levels": [
                    {"type": "chat", "recipients": ["lead"]},
                    {"type": "sms", "recipients": ["+1"], "delay": "1m"},
                    {"type": "pager", "service": "all", "delay": "2m"},
                ],
                "timeout": "5m",
                "repeat": 1,
                "ack_timeout": "20m",
                "notify_channels": ["chat"],
            },
        ],
        "automatic_actions": [
            {
                "name": "restart_api",
                "trigger_metric": "latency",
                "condition": {"gt": 250},
                "action": "restart",
                "target": "api-1",
            },
            {
                "name": "drain_queue",
                "trigger_metric": "queue",
                "condition": {"gt": 100},
                "action": "restart",
                "target": "db-1",
            },
        ],
        "remedies": {"restart": {"type": "command", "argv": ["restart"]}},
        "remediation": {"verify_after": "2m", "backoff": "30s", "log_remediation": False},
    }
)

MONITORING = MonitoringPolicy.model_validate({"alert_channels": ["chat"]})


def contract_documents(pace: Pace) -> dict[str, dict[str, Any]]:
    """Every contract's document in full by its id, as the configuration hands them to a cell."""
    return {
        sla_id: Sla.from_document(each).to_document() for sla_id, each in _documents(pace.interval).items()
    }


def partition_of(sla_id: str) -> str:
    """The name of the partition that keeps a contract."""
    return next(name for plan in PLANS for name, ids in plan.partitions.items() if sla_id in ids)


def cell_of(sla_id: str) -> str:
    """The name of the cell that keeps a contract."""
    return next(plan.name for plan in PLANS if partition_of(sla_id) in plan.partitions)
