"""How often what the forecast says comes true: simulated processes, and the diagram in ``docs/``.

``python -m tools.calibration`` prints the table and writes ``docs/calibration.svg``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from slakeeper.sla.condition import Condition
from slakeeper.sla.continuation import HORIZON_INTERVALS
from slakeeper.sla.forecast import MIN_POINTS, POINTS, breach_probability

DIAGRAM = Path(__file__).parents[1] / "docs" / "calibration.svg"
INTERVAL_MS = 60_000
COUNT = 60_000

# The promised value lies so many standard deviations of a step away: any distance that leaves something to be said.
NEAREST, FARTHEST = 0.1, 25.0

Process = Callable[[Random, int], list[float]]


@dataclass
class Decile:
    """Forecasts of one tenth of the scale: how many, the sum of what was said, how many came true."""

    count: int = 0
    stated: float = 0.0
    came_true: int = 0

    @property
    def off_points(self) -> float:
        """Observed frequency minus stated probability [percentage points]."""
        return 100 * (self.came_true - self.stated) / self.count if self.count else 0.0


def walk(random: Random, length: int) -> list[float]:
    """A random walk with drift: mostly little of it, at times so much that it is all there is to see."""
    drift = random.gauss(0, 0.3 if random.random() < 0.8 else 5)
    values, x = [], 0.0
    for _ in range(length):
        x += drift + random.gauss(0, 1)
        values.append(x)
    return values


def level(random: Random, length: int) -> list[float]:
    """Noise about a level, each value like the one before by any degree up to 0.95."""
    phi = random.uniform(0, 0.95)
    x = random.gauss(0, 1 / math.sqrt(1 - phi * phi))
    values = []
    for _ in range(length):
        x = phi * x + random.gauss(0, 1)
        values.append(x)
    return values


def either(random: Random, length: int) -> list[float]:
    """A walk or noise about a level, each as likely: the class that the forecast is calibrated for."""
    return walk(random, length) if random.random() < 0.5 else level(random, length)


def momentum(random: Random, length: int) -> list[float]:
    """A walk whose steps resemble the ones before by 0.5, which is not in the class."""
    values, x, step = [], 0.0, random.gauss(0, 1.15)
    for _ in range(length):
        step = 0.5 * step + random.gauss(0, 1)
        x += step
        values.append(x)
    return values


def deciles(process: Process, count: int, seed: int) -> list[Decile]:
    """Forecasts from 5 to 20 aggregates against what the next ten did, sorted by what was said."""
    random = Random(seed)
    found = [Decile() for _ in range(10)]
    for _ in range(count):
        known = random.randint(MIN_POINTS, POINTS)
        values = process(random, known + HORIZON_INTERVALS)
        spread = math.log(FARTHEST / NEAREST)
        value = values[known - 1] + NEAREST * math.exp(random.uniform(0, spread))
        points = [(index * INTERVAL_MS, each) for index, each in enumerate(values[:known])]
        stated = breach_probability(points, Condition.LT, value, INTERVAL_MS)
        assert stated is not None
        decile = found[min(9, int(stated * 10))]
        decile.count += 1
        decile.stated += stated
        decile.came_true += max(values[known:]) >= value
    return found


def table(found: Sequence[Decile]) -> str:
    """The deciles as a Markdown table."""
    lines = [
        "| stated [%] | forecasts | stated, mean [%] | observed [%] | off [points] |",
        "|---|---|---|---|---|",
    ]
    for index, each in enumerate(found):
        if each.count:
            stated, observed = 100 * each.stated / each.count, 100 * each.came_true / each.count
            lines.append(
                f"| {10 * index}..{10 * index + 10} | {each.count} | {stated:.1f} | {observed:.1f} "
                f"| {each.off_points:+.1f} |"
            )
    return "\n".join(lines)


def diagram(series: Sequence[tuple[str, str, Sequence[Decile]]]) -> str:
    """Observed against stated as SVG; a calibrated forecast lies on the diagonal. Series: (name, colour, deciles)."""
    size, margin = 360, 50
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size + 2 * margin} {size + 2 * margin}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{size + 2 * margin}" height="{size + 2 * margin}" fill="white"/>',
        f'<rect x="{margin}" y="{margin}" width="{size}" height="{size}" fill="none" stroke="#999"/>',
        f'<path d="M{margin} {margin + size}L{margin + size} {margin}" stroke="#999" stroke-dasharray="4"/>',
    ]
    for tick in range(0, 101, 20):
        at = size * tick / 100
        parts.append(
            f'<text x="{margin + at:g}" y="{margin + size + 16}" text-anchor="middle">{tick}</text>'
            f'<text x="{margin - 6}" y="{margin + size - at + 4:g}" text-anchor="end">{tick}</text>'
        )
    parts.append(
        f'<text x="{margin + size / 2:g}" y="{margin + size + 36}" text-anchor="middle">stated probability [%]</text>'
        f'<text x="{margin}" y="{margin - 12}">observed frequency [%]</text>'
    )
    for row, (name, colour, found) in enumerate(series):
        dots = [
            (margin + size * each.stated / each.count, margin + size * (1 - each.came_true / each.count))
            for each in found
            if each.count
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in dots]
        parts.append(f'<text x="{margin + 12}" y="{margin + 20 + 16 * row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Prints the tables and writes the diagram."""
    rows = (
        ("either, as calibrated for", "#0b6bcb", either),
        ("walks with drift only", "#c2410c", walk),
        ("noise about a level only", "#15803d", level),
        ("walks with momentum (outside)", "#9333ea", momentum),
    )
    series = [(name, colour, deciles(process, COUNT, 1)) for name, colour, process in rows]
    for name, _, found in series:
        print(f"{name}\n\n{table(found)}\n")
    DIAGRAM.write_text(diagram(series))


if __name__ == "__main__":
    main()
