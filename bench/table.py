"""Tables of measured figures: statistics, limits that must hold, text for people and JSON for comparing."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Raised when the shape of the files changes.
FORMAT = 1

# Of fewer values these percentiles are only other names for the largest; the text leaves them out.
P95_FROM, P99_FROM = 20, 100

Statistic = Literal["p50", "p95", "p99", "max"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``percent`` % of all do not exceed.

    Args:
        ordered: ascending, not empty.
        percent: in (0, 100].
    """
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(ordered: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones; ``ordered`` is ascending and not empty."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True)
class Limit:
    """What must hold, in the row's unit: the row's ``of`` is at most ``at_most``, or at least ``at_least``."""

    of: Statistic
    at_most: float | None = None
    at_least: float | None = None

    def admits(self, value: float) -> bool:
        """Whether a value is within the bounds."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def bounds(self) -> dict[str, float]:
        """Those that are set, by name."""
        both = {"at_most": self.at_most, "at_least": self.at_least}
        return {name: bound for name, bound in both.items() if bound is not None}


@dataclass(frozen=True)
class Ratio:
    """A ratio of two figures with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Beside:
    """A figure beside the same one under other circumstances, which took turns with it.

    Attributes:
        what: the other circumstances, a word or two.
        other_p50: of what was measured then, in the row's unit; ``other_p95`` likewise.
        p50: the figure's through the other's; ``p95`` likewise.
        at_most: what both ratios may be; None for any.
    """

    what: str
    other_p50: float
    other_p95: float
    p50: Ratio
    p95: Ratio
    at_most: float | None = None

    @property
    def holds(self) -> bool | None:
        """False when an interval lies above the limit, True when all of both lie below, None when this cannot tell."""
        if self.at_most is None:
            return None
        if max(self.p50.low, self.p95.low) > self.at_most:
            return False
        return True if max(self.p50.high, self.p95.high) <= self.at_most else None


@dataclass(frozen=True)
class Row:
    """One figure over all its runs."""

    figure: str
    unit: str
    count: int
    min: float
    p50: float
    p95: float
    p99: float
    max: float
    limit: Limit | None = None
    beside: Beside | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the limits hold; None without one, or when what it was measured beside leaves it open."""
        if self.limit is not None:
            value: float = getattr(self, self.limit.of)
            if not self.limit.admits(value) or self.beside is None or self.beside.at_most is None:
                return self.limit.admits(value)
        return None if self.beside is None else self.beside.holds

    def to_document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "figure": self.figure,
            "unit": self.unit,
            "count": self.count,
            **{name: _rounded(getattr(self, name)) for name in ("min", "p50", "p95", "p99", "max")},
        }
        if self.limit is not None:
            document["limit"] = {
                "of": self.limit.of,
                **self.limit.bounds(),
                "holds": self.limit.admits(getattr(self, self.limit.of)),
            }
        if self.beside is not None:
            document["beside"] = dataclasses.asdict(self.beside) | {"holds": self.beside.holds}
        return document


def row(
    figure: str,
    unit: str,
    values: Sequence[float],
    limit: Limit | None = None,
    beside: Beside | None = None,
) -> Row:
    """A row from what was measured.

    Args:
        figure: what was measured; unique in its table.
        unit: of the values.
        values: one for each run.
        limit: what must hold.
        beside: what it is compared with.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{figure}: {len(values)} values, all of which must be finite")
    ordered = sorted(values)
    p95, p99 = percentile(ordered, 95), percentile(ordered, 99)
    return Row(figure, unit, len(ordered), ordered[0], median(ordered), p95, p99, ordered[-1], limit, beside)


@dataclass(frozen=True)
class Table:
    """The rows of one run.

    Attributes:
        name: as on the command line.
        about: one line: what is measured, under which load.
        absent: peers that are not installed and so have no rows.
        notes: what a reader must know of this run, a line each.
    """

    name: str
    about: str
    rows: tuple[Row, ...]
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether every limit holds."""
        return all(each.holds is not False for each in self.rows)


def to_document(table: Table, facts: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """What is written to disk.

    Args:
        facts: of :func:`bench.machine.facts`.
        quick: fewer runs than usual: not to be compared with.
    """
    return {
        "format": FORMAT,
        "table": table.name,
        "about": table.about,
        "quick": quick,
        **facts,
        "rows": [each.to_document() for each in table.rows],
        "absent": list(table.absent),
        "notes": list(table.notes),
    }


def from_document(document: dict[str, Any]) -> Table:
    """The table that :func:`to_document` wrote.

    Raises:
        ValueError: it is of another format.
    """
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']} is not known; this program reads {FORMAT}")
    rows = []
    for found in document["rows"]:
        limit = found.get("limit")
        values = {name: value for name, value in found.items() if name not in ("limit", "beside")}
        bounds = Limit(limit["of"], limit.get("at_most"), limit.get("at_least")) if limit else None
        rows.append(Row(**values, limit=bounds, beside=_beside(found.get("beside"))))
    absent, notes = tuple(document["absent"]), tuple(document["notes"])
    return Table(document["table"], document["about"], tuple(rows), absent, notes)


def _beside(found: dict[str, Any] | None) -> Beside | None:
    if found is None:
        return None
    values = {name: value for name, value in found.items() if name != "holds"}
    return Beside(**values | {name: Ratio(**found[name]) for name in ("p50", "p95")})


def write(document: dict[str, Any], directory: Path) -> Path:
    """Writes ``<table>.json``, in place of an earlier one."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{document['table']}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def to_text(table: Table) -> str:
    """Aligned text; percentiles only of runs enough for them."""
    header = ("figure", "unit", "runs", "min", "p50", "p95", "p99", "max", "must hold")
    lines = [header, *(_cells(each) for each in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [f"{table.name}: {table.about}", ""]
    for line in lines:
        left = (line[0].ljust(widths[0]), line[1].ljust(widths[1]))
        numbers = (cell.rjust(width) for cell, width in zip(line[2:8], widths[2:8], strict=True))
        text.append("  ".join((*left, *numbers, line[8])).rstrip())
    text += [f"  {peer}: absent, not installed" for peer in table.absent]
    text += [f"  {note}" for note in table.notes]
    return "\n".join(text)


_ANSWERS = {True: "yes", False: "NO", None: "open"}


def _compared(beside: Beside) -> str:
    shown = [
        f"{name} x{ratio.value:.2f} [{ratio.low:.2f}-{ratio.high:.2f}]"
        for name, ratio in (("p50", beside.p50), ("p95", beside.p95))
    ]
    text = f"{', '.join(shown)} of {beside.what}"
    return text if beside.at_most is None else f"{text}, <= {beside.at_most:.2f}: {_ANSWERS[beside.holds]}"


def _cells(each: Row) -> tuple[str, ...]:
    numbers = (
        _shown(each.min),
        _shown(each.p50),
        _shown(each.p95) if each.count >= P95_FROM else "",
        _shown(each.p99) if each.count >= P99_FROM else "",
        _shown(each.max),
    )
    verdict = ""
    if each.limit is not None:
        signs = {"at_most": "<=", "at_least": ">="}
        bounds = (f"{signs[name]} {_shown(bound)}" for name, bound in each.limit.bounds().items())
        answer = _ANSWERS[each.limit.admits(getattr(each, each.limit.of))]
        verdict = f"{each.limit.of} {' and '.join(bounds)}: {answer}"
    if each.beside is not None:
        verdict += f"{'; ' * bool(verdict)}{_compared(each.beside)}"
    return (each.figure, each.unit, str(each.count), *numbers, verdict)


def _rounded(value: float) -> float:
    """Four significant digits: more is noise, and makes every run differ in every line."""
    return float(f"{value:.4g}")


def _shown(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{_rounded(value):,.0f}".replace(",", " ")
    return f"{value:.3g}"
