"""The drawings of a report in figures: where bars, lines and marks stand. Nothing here is text of a stranger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

WIDTH: Final = 720
LANE: Final = 26

TREND_HEIGHT: Final = 160
_TREND_TOP: Final = 14

# Periods that a trend shows, newest last; more cannot be told apart.
MAX_BARS: Final = 24

# A violation of a second within a month is still seen.
_LEAST_PX: Final = 3.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle [px], and the row of the document it stands for."""

    x: float
    y: float
    width: float
    height: float
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trend:
    """Attainment of periods, a bar each; the newest target runs at ``target_y`` [px], the foot is ``floor`` [%]."""

    bars: tuple[Bar, ...]
    target_y: float
    floor: Decimal


@dataclass(frozen=True, slots=True)
class Timeline:
    """Violations over the period, a lane for each metric."""

    lanes: tuple[tuple[str, float], ...]
    bars: tuple[Bar, ...]
    height: float


def trend(rows: Sequence[Mapping[str, Any]]) -> Trend | None:
    """The chart of a document's ``trend``; None when there is no period with data."""
    shown = list(rows)[-MAX_BARS:]
    reached = [Decimal(row["attainment"]) for row in shown if row["attainment"] is not None]
    if not reached:
        return None
    target = Decimal(shown[-1]["service_level"])
    # Twice as far down as the worst, so that differences near 100 % are seen.
    least = min(*reached, target, Decimal("99.999"))
    floor = max(Decimal(0), 100 - (100 - least) * 2)
    slot = WIDTH / len(shown)
    bars = []
    for index, row in enumerate(shown):
        if row["attainment"] is not None:
            y = _height_of(Decimal(row["attainment"]), floor)
            width = min(slot * 0.7, 60)
            x = index * slot + (slot - width) / 2
            bars.append(Bar(round(x, 2), y, round(width, 2), round(TREND_HEIGHT - y, 2), row))
    return Trend(tuple(bars), _height_of(target, floor), floor)


def _height_of(percentage: Decimal, floor: Decimal) -> float:
    share = float((percentage - floor) / (100 - floor))
    return round(_TREND_TOP + (TREND_HEIGHT - _TREND_TOP) * (1 - share), 2)


def timeline(document: Mapping[str, Any]) -> Timeline | None:
    """The violations of a document; None without any."""
    period, violations = document["period"], document["violations"]
    if not violations:
        return None
    names = list(dict.fromkeys(each["metric_name"] for each in violations))
    span = period["end"] - period["start"]
    bars = []
    for each in violations:
        start = max(each["start_time"], period["start"])
        end = min(each["start_time"] + each["duration_ms"], period["end"])
        x = WIDTH * (start - period["start"]) / span
        width = max(_LEAST_PX, WIDTH * (end - start) / span)
        y = names.index(each["metric_name"]) * LANE + 6
        bars.append(Bar(round(min(x, WIDTH - width), 2), y, round(width, 2), LANE - 12, each))
    lanes = tuple((name, index * LANE + LANE / 2) for index, name in enumerate(names))
    return Timeline(lanes, tuple(bars), len(names) * LANE)


def spent_share(budget: Mapping[str, Any]) -> float:
    """How much of the error budget is spent, 0..1, at most all of it."""
    if budget["spent"] is None:
        return 1.0 if budget["spent_ms"] else 0.0
    return min(1.0, float(budget["spent"]) / 100)
