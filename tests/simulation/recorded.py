"""One scenario, the same to the last message, that can be broken off at any of its boundaries.

Two contracts in two partitions of one cell: promises are broken at the same time, also by a single sample; a remedy
is tried, levels of an escalation are told, an operator acknowledges, credits are booked, and a period ends with a
penalty. The other cell is there, and nothing goes wrong with it.
"""

from collections.abc import Callable
from typing import Any

from slakeeper.otp.sim_actor import Doom
from slakeeper.otp.sim_cell import SimCell
from slakeeper.otp.sim_fault import Point
from slakeeper.sla.notification import NotificationKind
from slakeeper.sla.violation import violation_id
from tests.simulation.check import archived, ledger, periods, problems_at_the_end
from tests.simulation.client import HOUR_MS, MINUTE_MS, RESEND_MS, SECOND_MS, Series
from tests.simulation.settings import HOLDING_CHANNEL, WATCHED
from tests.simulation.world import CLIMATES, SlaWorld, outside_of

SEED = 1
CELL = "cell-0"

# What a metric has in each minute, by its place among the values that break its promise; None keeps it.
_BROKEN: dict[str, tuple[int | None, ...]] = {
    "latency": (None, 0, 1, 2, 2, 2, 2, 2, 2, None),
    "errors": (None, None, None, None, 1, 1, 1, None),
    "response_p95": (None, None, 0, None),  # one sample, and never again
    "uptime": (None, None, 1, 2, 2, None),
}

ACKNOWLEDGED_MS, SCENARIO_MS = 6 * MINUTE_MS + 30 * SECOND_MS, 14 * MINUTE_MS

# Over the end of the contract's period of six hours, and not to the end of the other's day.
JUMP_MS = 6 * HOUR_MS

# After it: the period is settled, everybody has been told of the end, whatever was lost has been sent again.
REST_MS = 4 * MINUTE_MS

# After one more start of the cell, and after the last sample.
END_MS = 3 * MINUTE_MS


class _Script(Series):
    def value(self, now_ms: int, *, is_calm: bool) -> float:
        broken = _BROKEN.get(self.watched.name, ())
        # The first sample is taken a minute after the beginning.
        minute = (now_ms - self.bad_from_ms) // MINUTE_MS
        place = broken[minute] if minute < len(broken) else None
        return self.watched.good[1] if place is None else self.watched.bad[place]


class Recorded(SlaWorld):
    """One run of the scenario.

    Args:
        watch: is told of each point of the cell until the scenario is over, and may end the process there.
        doomed: the actor whose handler that is, counted from the beginning of the scenario, fails in it.
    """

    def __init__(
        self, watch: Callable[[SimCell, Point], None] | None = None, doomed: Doom | None = None
    ) -> None:
        super().__init__(SEED, CLIMATES["calm"])
        self.operator.is_stopped = self.outside.is_calm = True
        self.begin_ms = self.system.now_ms
        self.sender.series.update(
            (each.name, _Script(each, self.system.random(each.name), self.begin_ms)) for each in WATCHED
        )
        self.cell = self.system.cells[CELL]
        self._acknowledged = False
        if watch is not None:
            self.cell.watch = lambda point: watch(self.cell, point)
        if doomed is not None:
            self.cell.doom(doomed)

    def play(self) -> list[str]:
        """Runs it to its end; returns what is wrong then."""
        with outside_of(self):
            self.system.run_for(ACKNOWLEDGED_MS)
            self._acknowledge()
            self.system.run_for(SCENARIO_MS - ACKNOWLEDGED_MS)
            self.system.agenda.jump(JUMP_MS)
            self.system.run_for(REST_MS)
            self.cell.watch = None
            self.cell.heal()
            self.cell.restart()
            self.system.run_for(END_MS)
            self.sender.is_stopped = True
            self.system.run_for(END_MS)
            return [*self.problems, *problems_at_the_end(self)]

    def _acknowledge(self) -> None:
        """Somebody takes care of the violation that lasts longest, and asks again as long as nobody answers."""
        if self._acknowledged:
            return

        def replied(ok: bool, result: Any) -> None:
            self._acknowledged = True

        broken_ms = self.begin_ms + _BROKEN["latency"].index(0) * MINUTE_MS
        payload = {"id": violation_id("api", "latency", broken_ms), "by": "ann"}
        self.system.ask("operator", CELL, "violation.ack", payload, replied)
        self.system.agenda.after(RESEND_MS, self._acknowledge)

    def outcome(self) -> dict[str, Any]:
        """What a process that ends must not change."""
        return {
            "violations": {
                (each.id, each.worst_value, each.closed_at_ms, each.resolved_by, each.acknowledged_by)
                for each in archived(self)
            },
            "levels": {(each, key) for each, keys in self.outside.asked.items() for key in keys},
            "told": {
                key
                for key, received in self.outside.received.items()
                if received.notification.kind is NotificationKind.ESCALATION and key[0] != HOLDING_CHANNEL
            },
            "owed": {(each.id, each.amount, each.status) for each in ledger(self)},
            "periods": set(periods(self)),
        }
