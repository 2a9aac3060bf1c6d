"""What a cell gives its SLA actors: settings, doors to the outside, and two tables that everyone may read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slakeeper.integrations.channel import Sender, open_channel
from slakeeper.integrations.source import Poller, open_source
from slakeeper.sla.breaker import Breaker
from slakeeper.sla.contract import Metric
from slakeeper.sla.monitoring import InternalSource, MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy


@dataclass(frozen=True, slots=True)
class Listed:
    """One monitor in the catalog."""

    address: str
    sla_id: str
    labels: tuple[tuple[str, str], ...]


class Catalog:
    """Which monitors take samples of which metric; monitors enter and leave by themselves."""

    def __init__(self) -> None:
        self._by_metric: dict[str, dict[str, Listed]] = {}

    def enter(self, address: str, sla_id: str, metric: Metric) -> None:
        listed = Listed(address, sla_id, tuple(sorted(metric.labels.items())))
        self._by_metric.setdefault(metric.name, {})[address] = listed

    def leave(self, address: str, metric_name: str) -> None:
        monitors = self._by_metric.get(metric_name, {})
        monitors.pop(address, None)
        if not monitors:
            self._by_metric.pop(metric_name, None)

    def monitors(self, metric_name: str) -> Mapping[str, Listed]:
        return self._by_metric.get(metric_name, {})

    def metrics(self) -> Iterator[tuple[str, list[str]]]:
        """Each metric's name with the ids of the contracts that promise something about it."""
        for name, monitors in self._by_metric.items():
            yield name, sorted({listed.sla_id for listed in monitors.values()})


@dataclass
class Environment:
    """Everything SLA actors share in a cell.

    Attributes:
        senders: an open channel for each name in ``enforcement.channels``.
        pollers: an open source for each enabled, polled entry of ``monitoring.sources``.
        lock_dir: one file for each remediation target, so that one run at a time acts on it in all cells.
        catalog: metric name to monitors.
        bindings: source name to {monitor address: query}; written by monitors, read by source actors.
        targets: remediation target to the address of the run that acts on it now.
        breakers: action name to its circuit breaker, once it failed; begins closed when the cell starts.
    """

    enforcement: EnforcementPolicy
    monitoring: MonitoringPolicy
    senders: Mapping[str, Sender]
    pollers: Mapping[str, Poller]
    lock_dir: Path
    catalog: Catalog = field(default_factory=Catalog)
    bindings: dict[str, dict[str, str]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)

    def sender(self, channel: str) -> Sender:
        """The channel of that name; one that is not configured goes to the log and says so."""
        sender = self.senders.get(channel)
        return open_channel(channel, None) if sender is None else sender

    def source_of(self, metric: Metric) -> tuple[str, str] | None:
        """The polled source a metric is bound to and the query to ask it, or None when samples are pushed."""
        if metric.source is not None:
            return metric.source, metric.query or metric.name
        for name, source in self.monitoring.sources.items():
            query = getattr(source, "metrics", {}).get(metric.name)
            if query is not None:
                return name, query
        return None


def open_environment(
    enforcement: EnforcementPolicy, monitoring: MonitoringPolicy, lock_dir: Path
) -> Environment:
    """An environment with every channel and every enabled, polled source open."""
    senders = {name: open_channel(name, channel) for name, channel in enforcement.channels.items()}
    pollers: dict[str, Poller] = {}
    for name, source in monitoring.sources.items():
        if not isinstance(source, InternalSource) and getattr(source, "enabled", True):
            pollers[name] = open_source(name, source)
    return Environment(enforcement, monitoring, senders, pollers, lock_dir)
