"""The report of a period: the numbers, the arithmetic, and a text a customer can read."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.account import Account
from slakeeper.sla.compensation import book, settle_penalties
from slakeeper.sla.contract import Sla
from slakeeper.sla.policy import Severity
from slakeeper.sla.report import EarlierPeriod, MetricAccount, build, to_markdown, totals
from slakeeper.sla.report_html import to_html
from slakeeper.sla.violation import (
    ActionRecord,
    ActionStatus,
    ActionType,
    DeliveryStatus,
    EscalationRecord,
    acknowledge,
    record_action,
    record_escalation,
    resolve,
)
from slakeeper.sla.wording import TREND_WORDS
from tests.unit.sla.acting import contract, violation

DAY_MS = 86_400_000
START_MS = 1_761_955_200_000  # 2025-11-01T00:00:00Z
END_MS = START_MS + DAY_MS


def account(good_ms: int, bad_ms: int = 0, unknown_ms: int = 0, excluded_ms: int = 0) -> Account:
    return Account(START_MS, END_MS, good_ms + bad_ms, good_ms, bad_ms, unknown_ms, excluded_ms)


def worked_example() -> list[MetricAccount]:
    """24 h with one bad 30 s window of uptime."""
    return [
        MetricAccount("uptime", Decimal("0.8"), account(DAY_MS - 30_000, 30_000)),
        MetricAccount("error_rate", Decimal("0.2"), account(DAY_MS)),
    ]


def document(sla: Sla | None = None, **more: Any) -> dict[str, Any]:
    given = {
        "contract": sla or contract(),
        "version": 2,
        "start_ms": START_MS,
        "end_ms": END_MS,
        "now_ms": END_MS + 1000,
        "accounts": worked_example(),
    }
    return build(**{**given, **more})


def full() -> dict[str, Any]:
    sla = contract(
        timezone="Europe/Berlin", fee="1000.00", owner_team="operations", description="Uptime & errors"
    )
    seen = violation(99.5, sla=sla, opened_at_ms=START_MS + 36_000_000)
    seen = record_action(
        seen,
        ActionRecord(
            "a.1",
            ActionType.AUTOMATIC,
            "restart",
            "pool|a",
            {},
            seen.opened_at_ms + 1,
            ActionStatus.COMPLETED,
            "effective",
        ),
    )
    seen = record_escalation(
        seen,
        EscalationRecord(
            "k", 0, Severity.CRITICAL, "email", ("team@example.com",), seen.opened_at_ms, DeliveryStatus.SENT
        ),
    )
    seen = acknowledge(seen, "ada", "looking | now", seen.opened_at_ms + 10_000)
    seen = resolve(seen, seen.opened_at_ms + 30_000)
    entries = [
        *book(sla, seen),
        *settle_penalties(sla, totals(worked_example()).attainment, (START_MS, END_MS)),
    ]
    earlier = [
        EarlierPeriod(START_MS - DAY_MS, START_MS, Fraction(100), Decimal("99.999")),
        EarlierPeriod(START_MS - 2 * DAY_MS, START_MS - DAY_MS, None, Decimal("99.999")),
    ]
    return document(sla, violations=[seen], entries=entries, earlier=earlier)


def test_the_worked_example_of_a_lost_window() -> None:
    built = document()
    assert built["period"]["attainment"].startswith("99.97222222")
    assert built["budget"] == {
        "total_ms": 864,
        "of_ms": DAY_MS,
        "spent_ms": 24_000,
        "remaining_ms": 864 - 24_000,
        "spent": "2777.777777777777777777777778",
        "ends_at": None,
    }
    assert (built["period"]["met"], built["period"]["verdict"]) == (False, "breached")
    assert [metric["bad_ms"] for metric in built["metrics"]] == [30_000, 0]


def test_exactly_on_target_is_met() -> None:
    level = contract(service_level=99, metrics=[{"name": "uptime", "value": 1}], compensation=[])
    accounts = [MetricAccount("uptime", Decimal(1), account(99_000, 1000))]
    assert document(level, accounts=accounts)["period"]["met"] is True
    accounts = [MetricAccount("uptime", Decimal(1), account(98_999, 1001))]
    assert document(level, accounts=accounts)["period"]["met"] is False


def test_a_period_without_data_is_unknown_and_neither_met_nor_breached() -> None:
    accounts = [MetricAccount("uptime", Decimal(1), account(0, 0, unknown_ms=DAY_MS))]
    period = document(accounts=accounts)["period"]
    assert (period["attainment"], period["met"], period["verdict"], period["coverage"]) == (
        None,
        None,
        "unknown",
        "0",
    )


def test_nothing_measured_is_a_report_too() -> None:
    text = to_markdown(document(accounts=[]))
    assert "Nothing was measured in this period." in text
    assert "There is no data to judge by" in text


def test_a_running_period_has_the_budget_of_known_and_remaining_time() -> None:
    built = document(now_ms=START_MS + 1, remaining_ms=DAY_MS, accounts=[])
    assert built["period"]["running"] is True
    assert built["budget"]["total_ms"] == 864
    assert "known and remaining time" in to_markdown(built)


def test_coverage_is_known_against_what_counts() -> None:
    accounts = [MetricAccount("uptime", Decimal(1), account(3000, 0, unknown_ms=1000, excluded_ms=50_000))]
    assert document(accounts=accounts)["period"]["coverage"] == "75"


def test_a_metric_whose_weight_changed_counts_with_each_weight_for_its_time() -> None:
    accounts = [
        MetricAccount("a", Decimal(1), account(1000)),
        MetricAccount("a", Decimal("0.5"), account(0, 1000)),
        MetricAccount("b", Decimal("0.25"), account(1000)),
    ]
    # a: half good, at a weight of 0.75 on average
    assert totals(accounts).attainment == 100 * (Fraction(3, 8) + Fraction(1, 4))


def test_the_document_is_plain_json() -> None:
    built = full()
    assert json.loads(json.dumps(built)) == built


def test_sums_are_by_kind_currency_and_status() -> None:
    assert full()["owed"] == [
        {"compensation_type": "service_credit", "currency": "", "status": "approved", "amount": "4.990"},
        {"compensation_type": "service_credit", "currency": "EUR", "status": "pending", "amount": "100.00"},
    ]


def test_each_violation_carries_its_credits() -> None:
    (seen,) = full()["violations"]
    assert [credit["amount"] for credit in seen["credits"]] == ["4.990"]
    assert seen["duration_ms"] == 30_000


def test_a_credit_counts_in_the_report_of_the_period_it_was_booked_in() -> None:
    spanning = resolve(violation(99.5, opened_at_ms=END_MS - 1000), END_MS + 1000)
    at_the_end = resolve(violation(98.0, opened_at_ms=END_MS - 2000), END_MS)
    entries = [
        *book(contract(), spanning),
        *book(contract(), at_the_end),
        *settle_penalties(contract(), Fraction("99.5"), (START_MS, END_MS)),
    ]
    seen = [spanning, at_the_end]
    first = document(violations=seen, entries=entries)
    second = document(violations=seen, entries=entries, start_ms=END_MS, end_ms=END_MS + DAY_MS)
    assert [entry["violation_id"] for entry in first["ledger"]] == [None]
    assert [entry["violation_id"] for entry in second["ledger"]] == [at_the_end.id, spanning.id]
    assert [row["amount"] for row in first["owed"] + second["owed"]] == ["200", "24.980"]
    assert [each["credits"] for each in first["violations"]] == [[], []]
    assert [len(each["credits"]) for each in second["violations"]] == [1, 1]
    said = "its credit was booked at 2025-11-02 00:00:01 UTC and counts in that period's report"
    assert said in to_markdown(first)
    assert "its credit was booked" not in to_markdown(second)


def test_the_trend_counts_a_violation_in_the_period_it_opened() -> None:
    seen = [
        resolve(violation(opened_at_ms=START_MS - 1000), START_MS + 1000),
        violation(opened_at_ms=START_MS),
    ]
    built = document(violations=seen)
    assert (len(built["violations"]), built["trend"][-1]["violations"]) == (2, 1)


def test_the_text_names_channels_and_no_addresses() -> None:
    built = full()
    assert built["violations"][0]["escalations"][0]["recipients"] == ["team@example.com"]
    assert "| critical, level 1 | email | sent |" in to_markdown(built)
    assert "example.com" not in to_markdown(built)


def test_a_message_that_only_reached_the_log_reads_as_that() -> None:
    built = full()
    built["violations"][0]["escalations"][0]["status"] = "logged"
    assert "| email | logged only |" in to_markdown(built)


def test_a_dry_run_reads_as_one() -> None:
    record = ActionRecord(
        "a.1",
        ActionType.MANUAL,
        "restart",
        "pool",
        {},
        START_MS,
        ActionStatus.COMPLETED,
        "dry run: would restart",
    )
    text = to_markdown(document(violations=[record_action(violation(opened_at_ms=START_MS), record)]))
    assert "| manual | dry run, nothing done | dry run: would restart |" in text


def test_the_trend_compares_with_the_last_known_period() -> None:
    trend = full()["trend"]
    assert [row["verdict"] for row in trend] == ["unknown", "met", "breached"]
    assert [row["change"] is None for row in trend] == [True, True, False]
    assert trend[2]["change"].startswith("-0.0277")


def test_the_text_shows_the_arithmetic_of_the_attainment() -> None:
    assert "(0.8 × 99.9652 % + 0.2 × 100.0000 %) / (0.8 + 0.2) = **99.9722 %**" in to_markdown(full())


def test_the_text_shows_the_arithmetic_of_every_credit() -> None:
    text = to_markdown(full())
    assert "`10 * (99.999 - 99.5) = 4.990`" in text
    assert "10 % of fee 1000.00 = 100.00 EUR" in text


def test_times_are_in_the_contracts_zone() -> None:
    text = to_markdown(full())
    assert "**2025-11-01 01:00:00 CET to 2025-11-02 01:00:00 CET**" in text
    assert "2025-11-01 11:00:00 CET" in text
    assert "All times in Europe/Berlin." in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    tables = [part.splitlines() for part in to_markdown(full()).split("\n\n") if part.startswith("| ")]
    assert len(tables) == 7
    for lines in tables:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_words_of_others_do_not_become_markup() -> None:
    sla = contract(name="A *bold* <script> [link](x) | &lt; name")
    text = to_markdown(document(sla))
    assert "# Service level report: A \\*bold\\* &lt;script> \\[link\\](x) \\| &amp;lt; name" in text


def test_the_trend_says_what_it_counts_and_the_list_does_not() -> None:
    assert f"\n\n{TREND_WORDS}\n" in to_markdown(full())
    assert TREND_WORDS in to_html(full())


def test_without_earlier_periods_there_is_no_trend_section() -> None:
    assert "## Trend" not in to_markdown(document())


@pytest.mark.parametrize(("section", "none"), [("## Violations", "None."), ("## Compensation", "None.")])
def test_nothing_to_tell_is_said(section: str, none: str) -> None:
    assert f"{section}\n\n{none}" in to_markdown(document())


PARTS = st.lists(
    st.tuples(st.integers(1, 100), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)),
    max_size=6,
)


@given(PARTS)
@settings(deadline=None)
def test_totals_agree_with_a_plain_weighted_mean(parts: list[tuple[int, int, int, int]]) -> None:
    accounts = [
        MetricAccount(f"m{n}", Decimal(weight) / 100, account(good, bad, unknown))
        for n, (weight, good, bad, unknown) in enumerate(parts)
    ]
    judged = [(w, g, b) for w, g, b, _ in parts if g + b]
    expected = (
        sum(Fraction(100 * w * g, g + b) for w, g, b in judged) / sum(w for w, _, _ in judged)
        if judged
        else None
    )
    total = totals(accounts)
    assert total.attainment == expected
    assert total.known_ms == total.good_ms + total.bad_ms
