"""A report's document as CSV: one table, a row for the period, for each metric, each violation and each credit.

Times are ISO 8601 in UTC, amounts and percentages decimal text as in the document. A spreadsheet takes a cell that
begins with a sign for a formula and would run what a stranger wrote into a note: such text gets an apostrophe first.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

from slakeeper.sla.duration import format_instant

Document = Mapping[str, Any]

COLUMNS: Final = (
    "record", "sla_id", "contract_version", "period_start", "period_end", "id", "metric", "severity", "status",
    "start", "end", "duration_ms", "value", "condition", "threshold", "unit", "weight", "attainment", "service_level",
    "known_ms", "good_ms", "bad_ms", "unknown_ms", "excluded_ms", "type", "amount", "currency", "violation_id", "note",
)  # fmt: skip

_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_TIMES: Final = ("known_ms", "good_ms", "bad_ms", "unknown_ms", "excluded_ms")


def to_csv(document: Document) -> str:
    """The whole report; ``document`` is that of ``report.build``. The first line has the names of the columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    sla, period = document["sla"], document["period"]
    common = {
        "sla_id": sla["id"],
        "contract_version": sla["version"],
        "period_start": format_instant(period["start"]),
        "period_end": format_instant(period["end"]),
    }
    for row in _rows(document):
        writer.writerow({key: _cell(value) for key, value in {**common, **row}.items()})
    return out.getvalue()


def _rows(document: Document) -> Iterator[dict[str, Any]]:
    sla, period = document["sla"], document["period"]
    yield {
        "record": "period",
        "status": period["verdict"],
        "attainment": _number(period["attainment"]),
        "service_level": _number(sla["service_level"]),
        **{key: period[key] for key in _TIMES},
    }
    for metric in document["metrics"]:
        yield {
            "record": "metric",
            "metric": metric["name"],
            "condition": metric["condition"],
            "threshold": _number(metric["threshold"]),
            "unit": metric["unit"],
            "weight": _number(metric["weight"]),
            "attainment": _number(metric["attainment"]),
            **{key: metric[key] for key in _TIMES},
        }
    for violation in document["violations"]:
        yield {
            "record": "violation",
            "id": violation["id"],
            "metric": violation["metric_name"],
            "severity": violation["severity"],
            "status": violation["status"],
            "start": format_instant(violation["start_time"]),
            "end": "" if violation["end_time"] is None else format_instant(violation["end_time"]),
            "duration_ms": violation["duration_ms"],
            "value": violation["worst_value"],
            "condition": violation["condition"],
            "threshold": violation["threshold_value"],
            "unit": violation["unit"],
            "note": violation["resolve_note"],
        }
    for entry in document["ledger"]:
        yield {
            "record": "credit",
            "id": entry["id"],
            "status": entry["status"],
            "type": entry["compensation_type"],
            "amount": _number(entry["amount"]),
            "currency": entry["currency"],
            "violation_id": entry["violation_id"],
            "note": entry["arithmetic"],
        }


class _Number(str):
    """Decimal text of ours: no formula, whatever its sign."""

    __slots__ = ()


def _number(text: str | None) -> _Number:
    return _Number(text or "")


def _cell(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, _Number) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value
