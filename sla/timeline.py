"""The timeline of a metric: its accounting windows, and which of its time counts at all.

Suspensions, service hours and maintenance cut time out; the ends of periods cut windows short.
"""

from typing import Any

from slakeeper.sla import calendar
from slakeeper.sla.calendar import Cuts
from slakeeper.sla.contract import Sla
from slakeeper.sla.period import Period, anchor_ms, period_at, period_from
from slakeeper.sla.span import Span, clip, subtract, union

FOREVER = 1 << 62


class Timeline:
    """Windows of ``interval_ms`` from each period's start, and the cuts in them.

    ``period`` is the one being settled, of a contract not yet effective its first, None after the last.
    ``watched_ms`` is from when on anybody looked.
    """

    __slots__ = ("_contract", "_interval_ms", "_since_ms", "_suspended", "period", "watched_ms")

    def __init__(self, contract: Sla, interval_ms: int, since_ms: int) -> None:
        self._contract = contract
        self._interval_ms = interval_ms
        self._since_ms = since_ms
        self._suspended: list[Span] = []
        self.period = period_from(contract, since_ms, since_ms)
        self.watched_ms = max(since_ms, self.period.start_ms) if self.period else since_ms

    def take(self, contract: Sla, interval_ms: int, at_ms: int) -> None:
        """Another version of the contract from ``at_ms`` on."""
        self._contract = contract
        self._interval_ms = interval_ms
        self.period = period_from(contract, self._since_ms, at_ms)

    def next_period(self, after: Period) -> None:
        """Goes on to the period that begins where one ends."""
        self.period = period_at(self._contract, self._since_ms, after.end_ms)

    @property
    def anchor_ms(self) -> int:
        """When the contract takes effect [Unix ms]."""
        return anchor_ms(self._contract, self._since_ms)

    def period_at(self, at_ms: int) -> Period | None:
        """The period that holds an instant; None outside every term."""
        return period_at(self._contract, self._since_ms, at_ms)

    def window(self, at_ms: int) -> Span | None:
        """The accounting window that holds an instant not before the period; None outside every term."""
        period = self.period
        if period is None:
            return None
        if not period.start_ms <= at_ms < period.end_ms:
            period = period_at(self._contract, self._since_ms, at_ms)
            if period is None:
                return None
        start_ms = period.start_ms + (at_ms - period.start_ms) // self._interval_ms * self._interval_ms
        return start_ms, min(start_ms + self._interval_ms, period.end_ms)

    def whole_windows(self, span: Span) -> Span:
        """A span stretched to the ends of the windows it touches."""
        first = self.window(span[0])
        last = self.window(span[1] - 1) if span[1] < FOREVER else None
        return (first[0] if first else span[0], last[1] if last else span[1])

    # --- cuts ------------------------------------------------------------------------------------------

    def cut(self, start_ms: int, end_ms: int, foreseen_ms: int = FOREVER) -> tuple[Cuts, list[Span]]:
        """What is cut out of ``[start_ms, end_ms)``, and what is left of it.

        Args:
            foreseen_ms: up to when a suspension that goes on is taken to last [Unix ms].
        """
        if end_ms <= start_ms:
            return calendar.NO_CUTS, []
        cuts = calendar.cuts(self._contract, start_ms, end_ms)
        if not self._suspended and cuts is calendar.NO_CUTS:
            return cuts, [(start_ms, end_ms)]
        suspended = clip(self._suspended, start_ms, end_ms)
        if suspended and self.is_suspended and foreseen_ms < FOREVER:
            suspended = clip(suspended, start_ms, foreseen_ms)
        if suspended:
            excluded = union([*cuts.excluded, *suspended])
            cuts = Cuts(tuple(excluded), tuple(subtract(cuts.good, excluded)))
        if cuts is calendar.NO_CUTS:
            return cuts, [(start_ms, end_ms)]
        return cuts, subtract([(start_ms, end_ms)], union([*cuts.excluded, *cuts.good]))

    def is_covered(self, start_ms: int, end_ms: int) -> bool:
        """Whether all of the time was watched and nothing of it is cut."""
        if start_ms < self.watched_ms:
            return False
        cuts, _ = self.cut(start_ms, end_ms)
        return not (cuts.excluded or cuts.good)

    def elapsed_at_ms(self, start_ms: int, amount_ms: int, end_ms: int) -> int | None:
        """When ``amount_ms`` that no cut takes will have passed since ``start_ms``; None if not by ``end_ms``."""
        for a, b in self.cut(start_ms, end_ms)[1]:
            if b - a >= amount_ms:
                return a + amount_ms
            amount_ms -= b - a
        return None

    def suspend(self, now_ms: int) -> None:
        """From now on nothing counts; while suspended already, nothing changes."""
        if not self.is_suspended:
            self._suspended = union([*self._suspended, (now_ms, FOREVER)])

    def resume(self, now_ms: int) -> None:
        """Ends a suspension."""
        if self.is_suspended:
            start_ms, _ = self._suspended.pop()
            self._suspended = union([*self._suspended, (start_ms, now_ms)])

    @property
    def is_suspended(self) -> bool:
        return bool(self._suspended) and self._suspended[-1][1] == FOREVER

    def forget_before(self, settled_ms: int) -> None:
        """Drops suspensions that lie in settled time."""
        if self._suspended:
            self._suspended = [span for span in self._suspended if span[1] > settled_ms]

    def dump(self) -> dict[str, Any]:
        return {
            "since": self._since_ms,
            "watched": self.watched_ms,
            "period": list(self.period) if self.period else None,
            "suspended": [list(span) for span in self._suspended],
        }

    @classmethod
    def restore(cls, contract: Sla, interval_ms: int, dump: dict[str, Any]) -> "Timeline":
        self = cls.__new__(cls)
        self._contract = contract
        self._interval_ms = interval_ms
        self._since_ms = dump["since"]
        self.watched_ms = dump["watched"]
        self.period = Period(*dump["period"]) if dump["period"] else None
        self._suspended = [(a, b) for a, b in dump["suspended"]]
        return self
