"""How channels do, over all cells: each cell has its own connection and counts its own messages."""

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

_COUNTS = ("sent", "logged", "failed", "uncertain", "waiting")
_TIMES = ("last_sent_at", "last_failed_at")


def merged_channels(answers: Iterable[Sequence[Row]]) -> list[Row]:
    """Rows of several cells as one for each channel, by name, with their ``state``.

    ``log``: messages go to slakeeper's own log; ``failing``: the last attempt failed; ``working``; ``unused``.
    """
    merged: dict[str, Row] = {}
    for row in (row for rows in answers for row in rows):
        known = merged.get(row["name"])
        if known is None:
            merged[row["name"]] = dict(row)
            continue
        if (row["last_failed_at"] or 0) >= (known["last_failed_at"] or 0):
            known["last_error"] = row["last_error"] or known["last_error"]
        known["template_error"] = known["template_error"] or row["template_error"]
        for key in _COUNTS:
            known[key] += row[key]
        for key in _TIMES:
            known[key] = max(filter(None, (known[key], row[key])), default=None)
    return [{**merged[name], "state": _state(merged[name])} for name in sorted(merged)]


def _state(row: Row) -> str:
    if row["type"] == "log":
        return "log"
    if (row["last_failed_at"] or 0) > (row["last_sent_at"] or 0):
        return "failing"
    return "working" if row["sent"] else "unused"
