"""The newest interval aggregates of settled windows: what slopes and forecasts are made from."""

from array import array
from collections.abc import Iterable

from slakeeper.sla.forecast import Point


class Series:
    """Aggregates in the order of their windows; the oldest go when there are more than are ever looked at."""

    __slots__ = ("_start_ms", "_values")

    def __init__(self, start_ms: Iterable[int] = (), values: Iterable[float] = ()) -> None:
        self._start_ms, self._values = array("q", start_ms), array("d", values)

    def keep(self, start_ms: int, value: float, most: int) -> None:
        """Adds the aggregate of the window that began then, if it is finite, and keeps the newest ``most``."""
        if value - value != 0:  # not finite
            return
        self._start_ms.append(start_ms)
        self._values.append(value)
        if len(self._values) > most:
            del self._start_ms[0], self._values[0]

    def clear(self) -> None:
        """Forgets all of them."""
        del self._start_ms[:], self._values[:]

    def points(self) -> list[Point]:
        """All of them, the oldest first."""
        return list(zip(self._start_ms, self._values, strict=True))

    def copy(self) -> "Series":
        """One that goes on by itself."""
        return Series(self._start_ms, self._values)

    def dump(self) -> list[list[int] | list[float]]:
        """What ``Series(*dump)`` is made of again."""
        return [list(self._start_ms), list(self._values)]
