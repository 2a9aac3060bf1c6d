"""The ledger as CSV, for people who keep accounts: one line an entry, one column a field."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from slakeeper.sla.duration import format_instant

# Times are Unix ms in JSON; here they are what a spreadsheet understands.
_TIMES = ("booked_time", "decided_time", "settled_time", "period_start", "period_end")

COLUMNS = (
    "id", "sla_id", "violation_id", "rule", "compensation_type", "amount", "currency", "status", "booked_time",
    "period_start", "period_end", "threshold", "rate", "formula", "arithmetic", "contract_version", "requested_by",
    "decided_by", "decided_time", "reason", "settled_by", "settled_time", "settlement", "corrects", "error",
)  # fmt: skip

_NUMBERS = frozenset({"amount", "threshold", "rate", "contract_version", *_TIMES})

# What a spreadsheet takes for a formula when a text begins with it.
_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Entries, as ``compensation`` lists them, as RFC 4180 with a header; times are ISO 8601 in UTC.

    A text that a spreadsheet would compute is given an apostrophe first: whoever writes a reason writes no formula.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(column, row.get(column)) for column in COLUMNS] for row in rows)
    return out.getvalue()


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in _TIMES:
        return format_instant(int(value))
    text = str(value)
    return f"'{text}" if column not in _NUMBERS and text.startswith(_FORMULA_MARKS) else text
