"""The ledger as CSV."""

import csv
import io
from decimal import Decimal
from typing import Any

from slakeeper.export import COLUMNS, to_csv
from slakeeper.sla.ledger import EntryStatus, LedgerEntry
from slakeeper.sla.penalty import CompensationType

ENTRY = LedgerEntry(
    id="c1", sla_id="api", violation_id="v1", rule="uptime#1", compensation_type=CompensationType.CREDIT,
    amount=Decimal("-4.990"), formula="credit = 1", arithmetic="1 = 1", status=EntryStatus.APPROVED,
    booked_at_ms=1_700_000_000_000, currency="EUR",
)  # fmt: skip


def exported(**changes: Any) -> dict[str, str]:
    [row] = csv.DictReader(io.StringIO(to_csv([{**ENTRY.to_document(), **changes}])))
    return row


def test_every_field_of_an_entry_has_a_column() -> None:
    assert set(COLUMNS) == set(ENTRY.to_document())


def test_an_amount_is_exact_and_a_time_is_readable() -> None:
    row = exported()
    assert (row["amount"], row["booked_time"], row["decided_time"]) == (
        "-4.990",
        "2023-11-14T22:13:20.000Z",
        "",
    )


def test_a_text_survives_commas_quotes_and_lines() -> None:
    text = 'said "no",\r\nthen yes'
    assert exported(reason=text)["reason"] == text


def test_no_text_is_a_formula_for_a_spreadsheet() -> None:
    for text in ("=HYPERLINK(1)", "+1", "-1", "@x", "\tx"):
        assert exported(reason=text)["reason"] == f"'{text}"
        assert exported(sla_id=text)["sla_id"] == f"'{text}"


def test_without_entries_there_is_a_header() -> None:
    assert to_csv([]) == ",".join(COLUMNS) + "\r\n"
