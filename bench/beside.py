"""Two circumstances that take turns, compared: the ratio of their percentiles, and how sure that is.

The machine drifts, since others use it; what took turns with each other has drifted together. How far a ratio can be
off is found by a bootstrap of two stages: turns drawn from the turns, then values from each one's values, a thousand
times. So it holds what differs from turn to turn as well as what differs within one.
"""

import random
from collections.abc import Sequence

from bench.table import Beside, Ratio, percentile

REPLICATES = 1_000
INTERVAL_PCT = 95

Turn = tuple[Sequence[float], Sequence[float]]
"""What was measured in one turn under the circumstances in question, and in the turn beside it under the others."""


def beside(what: str, turns: Sequence[Turn], at_most: float | None = None) -> Beside:
    """Compares.

    Args:
        what: the other circumstances.
        turns: some; each side needs a value somewhere.
        at_most: what the ratios may be.

    Raises:
        ValueError: there is nothing on one of the sides.
    """
    mine, others = ([value for turn in turns for value in turn[side]] for side in (0, 1))
    if not mine or not others:
        raise ValueError(f"nothing to compare with {what}")
    drawing = random.Random(1)
    found: list[tuple[float, float]] = []
    while len(found) < REPLICATES:
        drawn = drawing.choices(turns, k=len(turns))
        again = [_drawn(drawing, [turn[side] for turn in drawn]) for side in (0, 1)]
        if all(again):
            found.append((_ratio(again[0], again[1], 50), _ratio(again[0], again[1], 95)))
    mine.sort()
    others.sort()
    p50, p95 = (
        Ratio(_ratio(mine, others, percent), *_interval(sorted(each[place] for each in found)))
        for place, percent in enumerate((50, 95))
    )
    return Beside(what, percentile(others, 50), percentile(others, 95), p50, p95, at_most)


def _drawn(drawing: random.Random, parts: Sequence[Sequence[float]]) -> list[float]:
    """As many of each part as there are, in order."""
    return sorted(value for part in parts if part for value in drawing.choices(part, k=len(part)))


def _ratio(mine: Sequence[float], others: Sequence[float], percent: float) -> float:
    return percentile(mine, percent) / percentile(others, percent)


def _interval(ordered: Sequence[float]) -> tuple[float, float]:
    tail_pct = (100 - INTERVAL_PCT) / 2
    return percentile(ordered, tail_pct), percentile(ordered, 100 - tail_pct)
