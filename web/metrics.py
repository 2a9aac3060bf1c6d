"""What this system says of itself to a Prometheus server."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slakeeper.web.intake import Door

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STATUSES = ("pending", "healthy", "warning", "critical", "breached", "suspended", "expired")

# (name, key of a row of the status, help)
_GAUGES = (
    (
        "slakeeper_sla_compliance_score",
        "compliance_score",
        "Share of the contract's weight that is met now [%]",
    ),
    (
        "slakeeper_sla_attainment_percent",
        "attainment",
        "Attainment of the running period [%]; absent while unknown",
    ),
    ("slakeeper_sla_service_level_percent", "service_level", "What the contract promises [%]"),
    (
        "slakeeper_sla_error_budget_remaining",
        "error_budget_remaining",
        "Share of the error budget left in the running period: 1 is all of it",
    ),
    (
        "slakeeper_sla_burn_rate",
        "burn_rate",
        "How fast the error budget is spent, 1 lasting the period; absent while unknown",
    ),
    ("slakeeper_sla_burn_alerts", "burn_alerts", "Burn alerts of the contract that go on"),
    ("slakeeper_sla_open_violations", "open_violations", "Violations of the contract that are open"),
    (
        "slakeeper_sla_period_remaining_ms",
        "time_period_remaining_ms",
        "What is left of the running period [ms]",
    ),
    (
        "slakeeper_sla_escalations_failed",
        "escalations_failed",
        "Open violations that nobody answered, though every level was tried",
    ),
    (
        "slakeeper_sla_alerts_failed",
        "alerts_failed",
        "Alerts of the contract that could not be delivered",
    ),
    (
        "slakeeper_sla_billing_failed",
        "billing_failed",
        "Approved ledger entries of the contract that billing has not taken",
    ),
    (
        "slakeeper_sla_metrics_down",
        "metrics_down",
        "Metrics of the contract that nobody watches: their monitor is down",
    ),
)

# Facts of a door that have a metric of their own.
DOOR_FACTS = {
    "datagrams": (CounterMetricFamily, "Datagrams that were read"),
    "datagrams_lost": (
        CounterMetricFamily,
        "Datagrams that the kernel threw away: the door's buffer was full",
    ),
    "waiting": (GaugeMetricFamily, "Samples that wait at the door for a cell"),
}

OUTCOMES = ("sent", "logged", "failed", "uncertain")
"""How an attempt to send a message ends."""

_DISK = {
    "used_bytes": "What the data directory takes of the disk",
    "free_bytes": "What is left of the disk for the data directory",
    "journal_bytes": "What the journals take",
    "snapshot_bytes": "What the snapshots take",
    "audit_bytes": "What the audit chain takes",
    "logs_bytes": "What the logs take",
    "left_over_bytes": "What was put aside and is not used any more",
}


class _Snapshot(Collector):
    """The metrics of one moment; asked once and thrown away."""

    def __init__(
        self,
        status: Mapping[str, Any],
        channels: Sequence[Mapping[str, Any]],
        processes: Sequence[Mapping[str, Any]],
        doors: Sequence[Door],
        in_flight: Mapping[str, int],
        subscribers: int,
        disk: Mapping[str, int],
    ) -> None:
        self._status = status
        self._channels = channels
        self._processes = processes
        self._doors = doors
        self._in_flight = in_flight
        self._subscribers = subscribers
        self._disk = disk

    def collect(self) -> Iterable[Metric]:
        yield from self._slas()
        yield from self._cells()
        yield from self._messages()
        yield from self._own()

    def _slas(self) -> Iterable[Metric]:
        rows = self._status["slas"]
        yield GaugeMetricFamily("slakeeper_slas", "Contracts", value=len(rows))
        silences = self._status.get("silences", 0)
        yield GaugeMetricFamily("slakeeper_silences", "Silences that are in force", value=silences)
        remediation = self._status.get("remediation", {})
        yield GaugeMetricFamily(
            "slakeeper_remediation_on",
            "1 while actions run by themselves, 0 while that is switched off",
            value=float(remediation.get("state", "on") == "on"),
        )
        yield GaugeMetricFamily(
            "slakeeper_actions_left_alone",
            "Actions that are not run because they help again and again",
            value=len(remediation.get("left_alone", ())),
        )
        yield GaugeMetricFamily(
            "slakeeper_breakers_open",
            "Actions that rest because they failed again and again",
            value=len(remediation.get("breakers_open", ())),
        )
        for name, key, text in _GAUGES:
            family = GaugeMetricFamily(name, text, labels=["sla"])
            for row in rows:
                value = row.get(key)
                if value is not None:
                    family.add_metric([row["id"]], float(len(value) if isinstance(value, list) else value))
            yield family
        states = GaugeMetricFamily(
            "slakeeper_sla_status", "1 for the contract's status", labels=["sla", "status"]
        )
        for row in rows:
            for status in STATUSES:
                states.add_metric([row["id"], status], float(row.get("status") == status))
        yield states

    def _cells(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("slakeeper_cell_up", "1 while the cell answers", labels=["cell"])
        actors = GaugeMetricFamily("slakeeper_cell_actors", "Light actors in the cell", labels=["cell"])
        mailbox = GaugeMetricFamily(
            "slakeeper_cell_mailbox", "Messages that wait in the cell", labels=["cell"]
        )
        failing = GaugeMetricFamily(
            "slakeeper_source_failing",
            "1 for a source that did not answer the cell when it was last asked",
            labels=["source", "cell"],
        )
        for cell in self._status["cells"]:
            for source in cell.get("sources_failing") or ():
                failing.add_metric([source, cell["name"]], 1.0)
            up.add_metric([cell["name"]], float(cell["up"]))
            actors.add_metric([cell["name"]], float(cell["actors"]))
            mailbox.add_metric([cell["name"]], float(cell["mailbox"]))
        yield from (up, actors, mailbox, failing)
        in_flight = GaugeMetricFamily(
            "slakeeper_in_flight_samples", "Samples that the cell owes an answer for", labels=["cell"]
        )
        for name, samples in self._in_flight.items():
            in_flight.add_metric([name], samples)
        yield in_flight
        restarts = CounterMetricFamily(
            "slakeeper_process_restarts", "Restarts of a process", labels=["process"]
        )
        for process in self._processes:
            restarts.add_metric([process["name"]], process["restarts"] or 0)
        yield restarts

    def _messages(self) -> Iterable[Metric]:
        attempts = CounterMetricFamily(
            "slakeeper_message_attempts",
            "Attempts to send a message since the cells were started, by how they ended",
            labels=["channel", "outcome"],
        )
        for channel in self._channels:
            for outcome in OUTCOMES:
                attempts.add_metric([channel["name"], outcome], channel[outcome])
        yield attempts

    def _own(self) -> Iterable[Metric]:
        accepted = CounterMetricFamily(
            "slakeeper_samples_accepted", "Samples taken and durable, by door", labels=["door"]
        )
        rejected = CounterMetricFamily(
            "slakeeper_samples_rejected", "Samples not taken, by door and reason", labels=["door", "reason"]
        )
        refused = CounterMetricFamily(
            "slakeeper_batches_refused",
            "Batches that were to be sent again: 503, or kept for later by the door itself",
            labels=["door"],
        )
        slowed = CounterMetricFamily(
            "slakeeper_batches_slowed",
            "Batches that waited because their client had sent more than its share (ingest.rate_limit)",
            labels=["door"],
        )
        facts = [
            make(f"slakeeper_ingest_{name}", text, labels=["door"])
            for name, (make, text) in DOOR_FACTS.items()
        ]
        for door in self._doors:
            accepted.add_metric([door.name], door.accepted)
            refused.add_metric([door.name], door.refused_batches)
            slowed.add_metric([door.name], door.slowed_batches)
            for reason, samples in sorted(door.rejected.items()):
                rejected.add_metric([door.name, reason], samples)
            for family, name in zip(facts, DOOR_FACTS, strict=True):
                if name in door.facts:
                    family.add_metric([door.name], door.facts[name])
        yield from (accepted, rejected, refused, slowed, *facts)
        yield GaugeMetricFamily("slakeeper_event_subscribers", "Open event streams", value=self._subscribers)
        for key, text in _DISK.items():
            if key in self._disk:
                yield GaugeMetricFamily(f"slakeeper_disk_{key}", text, value=self._disk[key])


def exposition(
    status: Mapping[str, Any],
    channels: Sequence[Mapping[str, Any]],
    processes: Sequence[Mapping[str, Any]],
    doors: Sequence[Door],
    in_flight: Mapping[str, int],
    subscribers: int,
    disk: Mapping[str, int] | None = None,
) -> bytes:
    """The text that a scrape gets.

    Args:
        status: of the cluster, with ``slas`` and ``cells``.
        channels: rows of ``channel list``.
        processes: rows of the process table.
        doors: what came through each since this gateway started.
        in_flight: samples that each cell owes an answer for.
        subscribers: open event streams.
        disk: what the data directory takes, by the keys of the status; None while it cannot be told.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(status, channels, processes, doors, in_flight, subscribers, disk or {}))
    return generate_latest(registry)
