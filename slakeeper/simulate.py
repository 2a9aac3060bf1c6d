"""Contracts against a history: what they would have said, and the difference between two drafts of them."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from slakeeper.config.loader import load, load_contracts
from slakeeper.config.problem import ConfigError
from slakeeper.history import Addressee, Block
from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import LedgerEntry, credit_document, decimal_text
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.period import period_at
from slakeeper.sla.replay import Feed, Replay, Settled
from slakeeper.sla.sample import has_labels


@dataclass(frozen=True, slots=True)
class Draft:
    """Contracts to be tried, and the nearness from which a promise of theirs is at risk."""

    contracts: tuple[Sla, ...]
    violation_threshold: Decimal


def read_draft(path: Path) -> Draft:
    """The contracts of a configuration's folder, or of one file as ``sla define`` takes it.

    Raises:
        ConfigError: with every error.
    """
    if not path.is_dir():
        contracts, problems = load_contracts(path)
        if problems:
            raise ConfigError(list(problems))
        return Draft(contracts, MonitoringPolicy().violation_threshold)
    configuration = load(path, os.environ)
    return Draft(configuration.slas, configuration.monitoring.violation_threshold)


class Simulation:
    """The contracts of a draft on their way through a history.

    Args:
        from_ms: where the history begins; None: with its first sample [Unix ms].
        to_ms: where it ends; None: with the accounting period that holds its last sample [Unix ms].

    Attributes:
        unused: by metric, how many samples no contract has asked for.
    """

    def __init__(self, draft: Draft, from_ms: int | None = None, to_ms: int | None = None) -> None:
        self._draft = draft
        self._from_ms, self._to_ms = from_ms, to_ms
        self._last_ms: int | None = None
        self._replays: list[Replay] = []
        self._targets: dict[Addressee, list[tuple[Replay, str]]] = {}
        self.unused: Counter[str] = Counter()
        if from_ms is not None:
            self._begin(from_ms)

    def _begin(self, first_ms: int) -> None:
        self._replays = [
            Replay(
                contract,
                first_ms,
                self._draft.violation_threshold,
                whole_windows=self._from_ms is None,
            )
            for contract in self._draft.contracts
        ]

    def take(self, block: Block) -> None:
        """Takes the next block of the history in."""
        if self._last_ms is None and self._from_ms is None:
            self._begin(block.ts_ms[0])
        self._last_ms = block.clock_ms[-1]
        wanted: dict[Replay, dict[str, list[Sequence[int]]]] = {}
        for addressee, places in _sorted_out(block).items():
            targets = self._targets.get(addressee)
            if targets is None:
                targets = self._targets[addressee] = self._targets_of(addressee)
            if not targets:
                self.unused[addressee.metric] += len(places)
            for replay, name in targets:
                wanted.setdefault(replay, {}).setdefault(name, []).append(places)
        for replay, metrics in wanted.items():
            replay.take({name: _feed(block, parts) for name, parts in metrics.items()})

    def _targets_of(self, addressee: Addressee) -> list[tuple[Replay, str]]:
        """The metrics that samples with this address are for."""
        labels = dict(addressee.labels)
        return [
            (replay, metric.name)
            for replay in self._replays
            if addressee.sla in (None, replay.contract.id)
            for metric in replay.contract.metrics
            if metric.name == addressee.metric
            and (not metric.labels or has_labels(labels, tuple(metric.labels.items())))
        ]

    def finish(self) -> list[Replay]:
        """Lets the history end; gives every contract's part, in the order of the draft."""
        for replay in self._replays:
            to_ms = self._to_ms
            if to_ms is None and self._last_ms is not None:
                period = period_at(replay.contract, self._last_ms, self._last_ms)
                to_ms = self._last_ms if period is None else period.end_ms
            if to_ms is not None:
                replay.finish(to_ms)
        return self._replays


def _sorted_out(block: Block) -> dict[Addressee, Sequence[int]]:
    """The places in a block of each addressee's samples."""
    if isinstance(block.addressees, Addressee):
        return {block.addressees: range(len(block.ts_ms))}
    places: dict[Addressee, list[int]] = {}
    for place, addressee in enumerate(block.addressees):
        places.setdefault(addressee, []).append(place)
    return dict(places)


def _feed(block: Block, parts: Sequence[Sequence[int]]) -> Feed:
    if len(parts) == 1 and len(parts[0]) == len(block.ts_ms):
        return Feed(block.clock_ms, block.ts_ms, block.values)
    places = parts[0] if len(parts) == 1 else sorted(place for part in parts for place in part)
    ts_ms = [block.ts_ms[place] for place in places]
    clock_ms = ts_ms if block.clock_ms is block.ts_ms else [block.clock_ms[place] for place in places]
    return Feed(clock_ms, ts_ms, [block.values[place] for place in places])


# -- documents ----------------------------------------------------------------------------------------------------


def contract_document(replay: Replay) -> dict[str, Any]:
    """What a contract would have said; percentages 0..100, times Unix ms, amounts decimal text."""
    entries = sorted(replay.entries, key=lambda entry: (entry.booked_at_ms, entry.id))
    return {
        "id": replay.contract.id,
        "name": replay.contract.name or replay.contract.id,
        "service_level": float(replay.contract.service_level),
        "periods": [_period_document(each) for each in replay.periods],
        "violations": [each.to_document() for each in replay.violations],
        "compensation": [entry.to_document() for entry in entries],
        "metrics": [
            {
                "name": name,
                "state": monitor.state.value,
                "samples_accepted": monitor.counters.accepted,
                "samples_late": monitor.counters.late,
            }
            for name, monitor in replay.monitors.items()
        ],
    }


def _period_document(period: Settled) -> dict[str, Any]:
    standing = period.standing
    return {
        "start": period.start_ms,
        "end": period.end_ms,
        "complete": period.is_complete,
        "attainment": _number(standing.attainment),
        "met": period.met,
        "known_ms": _number(standing.known_ms),
        "good_ms": _number(standing.good_ms),
        "bad_ms": _number(standing.bad_ms),
        "unknown_ms": _number(standing.unknown_ms),
        "excluded_ms": _number(standing.excluded_ms),
        "credits": [credit_document(entry) for entry in period.credits],
    }


def compared(a: Iterable[Replay], b: Iterable[Replay]) -> list[dict[str, Any]]:
    """Two drafts on the same history, contract by contract and period by period; differences are B less A."""
    left = {replay.contract.id: replay for replay in a}
    right = {replay.contract.id: replay for replay in b}
    return [
        {
            "id": sla_id,
            "periods": _compared_periods(_figures(left.get(sla_id)), _figures(right.get(sla_id))),
            "total": _compared(_total(left.get(sla_id)), _total(right.get(sla_id))),
        }
        for sla_id in {**left, **right}
    ]


def _compared_periods(
    a: Mapping[tuple[int, int], dict[str, Any]], b: Mapping[tuple[int, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {"start": start_ms, "end": end_ms, **_compared(a.get((start_ms, end_ms)), b.get((start_ms, end_ms)))}
        for start_ms, end_ms in sorted({*a, *b})
    ]


def _compared(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
    return {"a": a, "b": b, "difference": None if a is None or b is None else _difference(a, b)}


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {
        key: None if a[key] is None or b[key] is None else _number(Fraction(b[key]) - Fraction(a[key]))
        for key in ("attainment", "violations", "bad_ms")
        if key in a
    }
    credits_ = {
        kind: decimal_text(Decimal(b["credits"].get(kind, 0)) - Decimal(a["credits"].get(kind, 0)))
        for kind in sorted({*a["credits"], *b["credits"]})
    }
    return {**numbers, "credits": credits_}


def _figures(replay: Replay | None) -> dict[tuple[int, int], dict[str, Any]]:
    """By period what is compared of it; violations by their opening, credits by when they were booked."""
    if replay is None:
        return {}
    opened = [each.opened_at_ms for each in replay.violations]
    figures: dict[tuple[int, int], dict[str, Any]] = {}
    for period in replay.periods:
        start_ms, end_ms = period.start_ms, period.end_ms
        booked = [
            entry
            for entry in replay.entries
            if (entry.violation_id is not None and start_ms <= entry.booked_at_ms < end_ms)
            or (entry.period_start_ms, entry.period_end_ms) == (start_ms, end_ms)
        ]
        figures[start_ms, end_ms] = {
            "complete": period.is_complete,
            "attainment": _number(period.standing.attainment),
            "met": period.met,
            "violations": sum(start_ms <= at_ms < end_ms for at_ms in opened),
            "bad_ms": _number(period.standing.bad_ms),
            "credits": _amounts(booked),
        }
    return figures


def _total(replay: Replay | None) -> dict[str, Any] | None:
    if replay is None:
        return None
    bad_ms = sum((period.standing.bad_ms for period in replay.periods), Fraction(0))
    return {
        "periods": len(replay.periods),
        "periods_lost": sum(period.met is False for period in replay.periods),
        "violations": len(replay.violations),
        "bad_ms": _number(bad_ms),
        "credits": _amounts(replay.entries),
    }


def _amounts(entries: Iterable[LedgerEntry]) -> dict[str, str]:
    """What entries come to, by kind: amounts of different kinds do not add up."""
    totals: dict[str, Decimal] = {}
    for entry in entries:
        unit = (
            f"{entry.compensation_type.value} {entry.currency}"
            if entry.currency
            else entry.compensation_type.value
        )
        totals[unit] = totals.get(unit, Decimal(0)) + entry.amount
    return {kind: decimal_text(totals[kind]) for kind in sorted(totals)}


def _number(value: Fraction | None) -> int | float | None:
    """A fraction as JSON's number: whole ones as integers."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)
