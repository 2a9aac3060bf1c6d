"""Which monitors take samples of which metric: a table of a cell that monitors enter and leave by themselves."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from slakeeper.actors.address import monitor_address


@dataclass(frozen=True, slots=True)
class Listed:
    """One monitor in the catalog."""

    address: str
    sla_id: str
    labels: tuple[tuple[str, str], ...]


class Catalog:
    """By metric, the monitors that take its samples, and those that will once their contract was introduced.

    A cell that starts again knows of the latter only what is in their names. Their contract is introduced when somebody
    asks for one of its metrics, or for all.
    """

    def __init__(self) -> None:
        self._by_metric: dict[str, dict[str, Listed]] = {}
        self._expected: dict[str, dict[str, None]] = {}
        self._expected_of: dict[str, list[str]] = {}
        self._introduce: Callable[[str], object] = lambda sla_id: None
        self._name = secrets.token_hex(4)
        self._changes = 0
        self.version = f"{self._name}.0"
        """Names what is listed now; it was never the version of anything else, in this or another process."""

    def _changed(self) -> None:
        self._changes += 1
        self.version = f"{self._name}.{self._changes}"

    def enter(self, address: str, sla_id: str, metric_name: str, labels: Mapping[str, str]) -> None:
        """Lists a monitor; one that is listed like this already, or is expected, changes nothing."""
        listed = Listed(address, sla_id, tuple(sorted(labels.items())))
        monitors = self._by_metric.setdefault(metric_name, {})
        if monitors.get(address) != listed:
            monitors[address] = listed
            # Nobody was told the labels of one that is expected: who asks for its metric has it introduced.
            if sla_id not in self._expected.get(metric_name, ()):
                self._changed()

    def leave(self, address: str, metric_name: str) -> None:
        self._changed()
        monitors = self._by_metric.get(metric_name, {})
        monitors.pop(address, None)
        if not monitors:
            self._by_metric.pop(metric_name, None)

    def monitors(self, metric_name: str) -> Mapping[str, Listed]:
        for sla_id in tuple(self._expected.get(metric_name, ())):
            self._introduce(sla_id)
            self.introduced(sla_id)
        return self._by_metric.get(metric_name, {})

    def metrics(self) -> Iterator[tuple[str, list[str]]]:
        """Each metric's name with the ids of the contracts that promise something about it."""
        for name in dict.fromkeys((*self._by_metric, *self._expected)):
            promised = {listed.sla_id for listed in self._by_metric.get(name, {}).values()}
            yield name, sorted(promised | self._expected.get(name, {}).keys())

    # -- those that sleep ---------------------------------------------------------------------------------------

    def expect(self, monitors: Iterable[tuple[str, str]], introduce: Callable[[str], object]) -> None:
        """Contracts that are on record, by the names of their monitors.

        Args:
            monitors: (contract id, metric name) of each; it may be one of a metric that has been removed.
            introduce: has the monitors of a contract enter.
        """
        self._introduce = introduce
        for sla_id, metric_name in monitors:
            self._expected.setdefault(metric_name, {})[sla_id] = None
            self._expected_of.setdefault(sla_id, []).append(metric_name)
        self._changed()

    def introduced(self, sla_id: str) -> None:
        """The monitors of a contract have entered: what was expected of it is there, or is no more."""
        for metric_name in self._expected_of.pop(sla_id, ()):
            waiting = self._expected[metric_name]
            waiting.pop(sla_id, None)
            if not waiting:
                del self._expected[metric_name]
            if monitor_address(sla_id, metric_name) not in self._by_metric.get(metric_name, {}):
                self._changed()

    def introduce_all(self) -> None:
        """Has the monitors of all contracts enter that are still expected."""
        for sla_id in tuple(self._expected_of):
            self._introduce(sla_id)
            self.introduced(sla_id)
