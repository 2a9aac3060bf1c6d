"""What the actors of a cell share of restraint: written by its keepers (``restraint:PARTITION``), read by everyone."""

from collections.abc import Iterable

from slakeeper.sla import restraint
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.restraint import Helped, Switch


class RestraintTable:
    """One for each cell. Nothing of it is durable."""

    def __init__(self) -> None:
        self._switch: Switch | None = None
        self._helped: dict[str, tuple[Helped, ...]] = {}

    @property
    def switch(self) -> Switch | None:
        """The one in force, None while nobody has touched it."""
        return self._switch

    @property
    def helped(self) -> tuple[Helped, ...]:
        """All that is known, keeper by keeper."""
        return tuple(each for _, helped in sorted(self._helped.items()) for each in helped)

    def keep(self, keeper: str, switch: Switch | None, helped: tuple[Helped, ...]) -> None:
        """What the actor at the address ``keeper`` knows; a switch that was in force later stays."""
        self._switch = restraint.merge(self._switch, switch)
        self._helped[keeper] = helped

    def off(self) -> str:
        """Why no action runs by itself now, for people; empty when they do."""
        return restraint.off(self._switch)

    def refusal(
        self, sla_id: str, metric_name: str, action: str, settings: RemediationSettings, now_ms: int
    ) -> str:
        """Why an action is not begun by itself now, for people; empty when it may be."""
        if off := self.off():
            return off
        found = restraint.recurrence(self._helping(), sla_id, metric_name, action, settings, now_ms)
        return "" if found is None else str(found)

    def _helping(self) -> Iterable[Helped]:
        for helped in self._helped.values():
            yield from helped
