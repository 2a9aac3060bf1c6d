"""How sources do in the running system: one row for each, of what all cells say of theirs."""

from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]

_STATES = ("failing", "unanswered", "ok", "unused")


def source_rows(cells: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row for each source, of what all cells say of theirs."""
    rows: dict[str, Row] = {}
    for cell in cells:
        for each in cell.get("sources") or ():
            row = rows.get(each["name"])
            rows[each["name"]] = dict(each) if row is None else _joined(row, each)
    return [rows[name] for name in sorted(rows)]


def _joined(one: Row, other: Mapping[str, Any]) -> Row:
    added = {
        key: one[key] + other[key]
        for key in ("metrics", "polls", "missed", "errors", "failing_metrics", "catching_up")
    }
    since = [each["failing_since_ms"] for each in (one, other) if each["failing_since_ms"] is not None]
    return {
        **one,
        **added,
        # What is worst for whoever relies on it.
        "state": min(one["state"], other["state"], key=_STATES.index),
        "failures": max(one["failures"], other["failures"]),
        "last_error": one["last_error"] or other["last_error"],
        "failing": one["failing"] or other["failing"],
        "failing_since_ms": min(since, default=None),
        "polled_at_ms": max((one["polled_at_ms"] or 0), (other["polled_at_ms"] or 0)) or None,
        "took_ms": max((one["took_ms"] or 0), (other["took_ms"] or 0))
        if one["polled_at_ms"]
        else other["took_ms"],
    }
