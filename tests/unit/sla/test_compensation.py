"""What violations and lost periods are worth."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.compensation import (
    NO_COMPENSATION_RULE,
    CompensationError,
    EntryStatus,
    LedgerEntry,
    book,
    correct,
    cost_line,
    credit_document,
    decide,
    estimate,
    penalty_tier,
    settle,
    settle_penalties,
    why_nothing,
)
from slakeeper.sla.contract import Sla
from slakeeper.sla.penalty import CompensationType
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import resolve, update, violation_id
from tests.unit.sla.acting import MINUTE_MS, NOW_MS, contract, resolved, violation

DAY = (NOW_MS, NOW_MS + 24 * 60 * MINUTE_MS)


def with_rule(**rule: Any) -> Sla:
    return contract(compensation=[{"metric": "uptime", "type": "credit", **rule}])


def only(entries: list[LedgerEntry]) -> LedgerEntry:
    (entry,) = entries
    return entry


# --- violations --------------------------------------------------------------------------------------


def test_uptime_of_99_5_against_99_999_is_worth_4_990_credits_at_once_approved() -> None:
    entry = only(book(contract(), resolved(99.5)))
    assert str(entry.amount) == "4.990"
    assert (entry.compensation_type, entry.status) == (CompensationType.SERVICE_CREDIT, EntryStatus.APPROVED)
    assert entry.arithmetic == "10 * (99.999 - 99.5) = 4.990"
    assert (entry.rule, entry.formula) == ("uptime#1", "credit = 10 * (threshold - actual)")
    assert entry.to_document()["amount"] == "4.990"


def test_the_worst_value_counts() -> None:
    seen = update(update(violation(99.5), 98.0, Severity.CRITICAL, NOW_MS), 99.9, Severity.CRITICAL, NOW_MS)
    assert str(only(book(contract(), resolve(seen, NOW_MS + 1))).amount) == "19.990"


@pytest.mark.parametrize(
    ("kind", "value", "amount"),
    [
        # a deviation of 50 %
        ("credit", 49.9995, "5.00"),
        ("refund", 49.9995, "500"),
        ("service_credit", 49.9995, "500"),
        # a deviation of 0.25 %: Erlang rounds halves away from zero
        ("service_credit", 99.7490025, "3"),
    ],
)
def test_without_a_formula_the_seeds_table_counts(kind: str, value: float, amount: str) -> None:
    entry = only(book(with_rule(type=kind), resolved(value)))
    assert entry.amount == Decimal(amount)


def test_the_seeds_table_for_uptime_99_5() -> None:
    kinds = ("credit", "refund", "service_credit")
    amounts = [str(only(book(with_rule(type=kind), resolved(99.5))).amount) for kind in kinds]
    assert amounts == ["0.049900", "4.990050", "5"]


@pytest.mark.parametrize(
    ("formula", "amount", "equals"),
    [
        ("100 / 3", "33.333333", "100 / 3 ≈ 33.333333"),
        ("0 - 100 / 3", "-33.333333", "0 - 100 / 3 ≈ -33.333333"),
        ("0.0000005 + 2", "2.000000", "0.0000005 + 2 ≈ 2.000000"),
        ("0.0000015 + 2", "2.000002", "0.0000015 + 2 ≈ 2.000002"),
        ("0.123456 * 1", "0.123456", "0.123456 * 1 = 0.123456"),
        ("4.9900000000", "4.990000", "4.9900000000 = 4.990000"),
        ("0 - 0.0000001", "0.000000", "0 - 0.0000001 ≈ 0.000000"),
    ],
)
def test_an_amount_is_booked_with_six_decimal_places_at_most(formula: str, amount: str, equals: str) -> None:
    entry = only(book(with_rule(formula=formula), resolved()))
    assert (str(entry.amount), entry.arithmetic) == (amount, equals)


def test_of_a_long_amount_only_places_are_cut() -> None:
    entry = only(book(with_rule(formula="10 ** 30 + 0.12345678"), resolved()))
    assert str(entry.amount) == "1" + 30 * "0" + ".123457"


def test_a_penalty_is_booked_with_six_decimal_places_at_most() -> None:
    sla = contract(fee="0.01", penalties=[{"threshold": "99.9", "rate": "12.3456789"}])
    entry = only(settle_penalties(sla, Fraction(99), DAY))
    assert str(entry.amount) == "0.001235"
    assert entry.arithmetic.endswith("12.3456789 % of fee 0.01 ≈ 0.001235 EUR")


def test_rate_and_base_amount_come_from_the_contract() -> None:
    assert only(book(with_rule(rate="0.5"), resolved(49.9995))).amount == 25
    assert only(book(with_rule(type="refund", base_amount=200), resolved(49.9995))).amount == 100


def test_the_fee_is_the_base_amount_of_a_rule_without_one() -> None:
    sla = contract(fee="80.00", compensation=[{"metric": "uptime", "type": "refund"}])
    assert only(book(sla, resolved(49.9995))).amount == 40


def test_every_name_has_its_value() -> None:
    names = [
        "threshold",
        "actual",
        "deviation",
        "duration_s",
        "duration_min",
        "base_amount",
        "rate",
        "service_level",
        "attainment",
    ]
    entries = {
        name: only(
            book(with_rule(formula=name), resolved(49.9995, lasted_ms=90_000), attainment=Fraction(199, 2))
        )
        for name in names
    }
    assert {name: str(entry.amount) for name, entry in entries.items()} == {
        "threshold": "99.999",
        "actual": "49.9995",
        "deviation": "50",
        "duration_s": "90",
        "duration_min": "1.5",
        "base_amount": "1000",
        "rate": "0.1",
        "service_level": "99.999",
        "attainment": "99.5",
    }


def test_each_rule_of_the_metric_is_one_entry() -> None:
    named = (("uptime", "1"), ("error_rate", "2"), ("uptime", "3"))
    rules = [{"metric": metric, "formula": formula} for metric, formula in named]
    entries = book(contract(compensation=rules), resolved())
    assert [(entry.rule, entry.amount) for entry in entries] == [
        ("uptime#1", Decimal(1)),
        ("uptime#2", Decimal(3)),
    ]
    assert len({entry.id for entry in entries}) == 2


def test_a_rule_for_the_other_side_of_the_threshold_does_not_apply() -> None:
    sla = with_rule(violation_type="above_threshold", formula="1")
    assert book(sla, resolved(99.5)) == []
    assert why_nothing(sla, resolved(99.5)) is None


def test_a_metric_without_a_rule_is_not_compensated() -> None:
    seen = resolved(0.5, metric="error_rate")
    assert book(contract(), seen) == []
    assert why_nothing(contract(), seen) == NO_COMPENSATION_RULE == "no_compensation_rule"


def test_an_open_violation_is_estimated_and_not_booked() -> None:
    with pytest.raises(CompensationError) as refused:
        book(contract(), violation())
    assert refused.value.reason == "not_resolved"
    assert str(only(estimate(contract(), violation(), NOW_MS)).amount) == "4.990"


def test_what_cannot_be_computed_is_left_to_the_approver() -> None:
    sla = with_rule(formula="10 / (actual - 99.5)", auto_approve=True)
    entry = only(book(sla, resolved(99.5)))
    assert (entry.amount, entry.status) == (Decimal(0), EntryStatus.PENDING)
    assert "division by zero" in entry.error
    with pytest.raises(CompensationError) as refused:
        decide(entry, True, "sla_manager", "fine", sla, now_ms=NOW_MS)
    assert refused.value.reason == "no_amount"
    assert str(refused.value).endswith("; reject it")
    assert decide(entry, False, "sla_manager", "no amount", sla, now_ms=NOW_MS).status is EntryStatus.REJECTED


def test_a_formula_that_needs_an_unknown_attainment_has_no_amount() -> None:
    entry = only(book(with_rule(formula="100 - attainment", auto_approve=True), resolved()))
    assert (entry.status, entry.error != "") == (EntryStatus.PENDING, True)


def test_a_negative_amount_is_never_approved_by_itself() -> None:
    entry = only(book(with_rule(formula="actual - threshold", auto_approve=True), resolved(99.5)))
    assert (str(entry.amount), entry.status) == ("-0.499", EntryStatus.PENDING)


def test_a_trend_against_zero_has_no_relative_deviation() -> None:
    sla = contract(
        metrics=[{"name": "growth", "type": "trend", "value": 0, "condition": "lt"}],
        compensation=[{"metric": "growth", "type": "credit"}],
    )
    assert only(book(sla, resolved(5.0, sla=sla, metric="growth"))).error


def test_money_has_a_currency_and_service_credits_have_none() -> None:
    assert only(book(with_rule(formula="1"), resolved())).currency == "EUR"
    assert only(book(contract(), resolved())).currency is None


def test_the_cost_is_told_in_words() -> None:
    assert cost_line(book(contract(), resolved())) == "service_credit 4.990 (10 * (99.999 - 99.5) = 4.990)"
    assert cost_line([]) == ""


VIOLATIONS = st.builds(
    lambda value, at_ms, lasted_ms: resolved(value, opened_at_ms=NOW_MS + at_ms, lasted_ms=lasted_ms),
    st.floats(0, 99.9),
    st.integers(0, 10**9),
    st.integers(0, 10**8),
)


@given(
    st.lists(VIOLATIONS, max_size=8, unique_by=lambda each: each.opened_at_ms),
    st.lists(st.integers(0, 7), max_size=30),
)
@settings(deadline=None)
def test_a_ledger_booked_in_any_order_and_any_number_of_times_is_the_same(
    violations: list[Any], again: list[int]
) -> None:
    once = {entry.id: entry for each in violations for entry in book(contract(), each)}
    ledger: dict[str, LedgerEntry] = {}
    for index in [*again, *range(len(violations))]:
        if index < len(violations):
            for entry in book(contract(), violations[index]):
                ledger.setdefault(entry.id, entry)
    assert ledger == once
    assert len(once) == len({each.id for each in violations})


# --- periods -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attainment", "rate", "kind"),
    [
        ("99.95", 10, CompensationType.SERVICE_CREDIT),
        ("99.5", 20, CompensationType.REFUND),
        ("99.9", 10, CompensationType.SERVICE_CREDIT),
        ("99.8999999999999999999", 20, CompensationType.REFUND),
        ("0", 20, CompensationType.REFUND),
    ],
)
def test_the_lowest_tier_above_the_attainment_wins(
    attainment: str, rate: int, kind: CompensationType
) -> None:
    entry = only(settle_penalties(contract(), Fraction(attainment), DAY))
    assert (entry.rate_pct, entry.compensation_type) == (Decimal(rate), kind)


@pytest.mark.parametrize("attainment", ["99.99", "99.995", "100"])
def test_at_the_threshold_nothing_is_owed(attainment: str) -> None:
    assert settle_penalties(contract(), Fraction(attainment), DAY) == []


def test_a_period_without_data_costs_nothing() -> None:
    assert settle_penalties(contract(), None, DAY) == []


def test_a_penalty_is_a_share_of_the_fee_and_awaits_approval() -> None:
    entry = only(settle_penalties(contract(fee="1000.00"), Fraction("99.5"), DAY))
    assert (f"{entry.amount}", entry.currency, entry.status) == ("200.00", "EUR", EntryStatus.PENDING)
    assert entry.arithmetic == "attainment 99.5000 % < 99.9 %: 20 % of fee 1000.00 = 200.00 EUR"
    assert (entry.violation_id, entry.period_start_ms, entry.period_end_ms) == (None, *DAY)
    assert credit_document(entry) == {
        "amount": "200.00", "currency": "EUR", "type": "refund", "threshold": 99.9, "rate": 20.0,
    }  # fmt: skip


def test_without_a_fee_the_seeds_base_amount_counts_and_is_named() -> None:
    entry = only(settle_penalties(contract(), Fraction("99.95"), DAY))
    assert entry.amount == 100
    assert "1000, as the contract names no fee" in entry.arithmetic


def test_the_cap_of_a_period_limits_its_penalty() -> None:
    entry = only(settle_penalties(contract(fee=100, penalty_cap=15), Fraction("99.5"), DAY))
    assert (entry.amount, entry.rate_pct) == (Decimal(15), Decimal(15))
    assert "capped from 20 %" in entry.arithmetic


def test_a_period_settled_again_is_the_same_entry_and_another_period_is_not() -> None:
    first = settle_penalties(contract(), Fraction(99), DAY)
    assert settle_penalties(contract(), Fraction(99), DAY) == first
    assert settle_penalties(contract(), Fraction(99), (DAY[1], DAY[1] + 1))[0].id != first[0].id


def test_a_ratio_above_one_hundred_percent_is_an_error() -> None:
    with pytest.raises(ValueError, match="percentage"):
        settle_penalties(contract(), Fraction(101), DAY)


TIERS = st.lists(
    st.tuples(st.integers(1, 10_000), st.integers(0, 100)), max_size=6, unique_by=lambda tier: tier[0]
)


@given(TIERS, st.integers(0, 10_000))
@settings(deadline=None)
def test_tiers_agree_with_a_walk_from_the_lowest_up(tiers: list[tuple[int, int]], hundredths: int) -> None:
    sla = contract(penalties=[{"threshold": str(Decimal(t) / 100), "rate": r} for t, r in tiers])
    expected = None
    for threshold, rate in sorted(tiers):
        if hundredths < threshold:
            expected = rate
            break
    tier = penalty_tier(sla, Fraction(hundredths, 100))
    assert (None if tier is None else tier.rate) == expected


# --- decisions ---------------------------------------------------------------------------------------


def pending(**more: Any) -> LedgerEntry:
    return only(book(with_rule(formula="5"), resolved(**more)))


@pytest.mark.parametrize(("approve", "status"), [(True, EntryStatus.APPROVED), (False, EntryStatus.REJECTED)])
def test_the_approver_decides_with_a_reason(approve: bool, status: EntryStatus) -> None:
    entry = decide(pending(), approve, "sla_manager", "agreed by phone", contract(), now_ms=NOW_MS)
    assert (entry.status, entry.decided_by, entry.decided_at_ms) == (status, "sla_manager", NOW_MS)
    assert entry.reason == "agreed by phone"


@pytest.mark.parametrize(
    ("by", "reason", "refusal"),
    [
        ("ada", "because", "not_the_approver"),
        ("", "because", "nobody"),
        ("sla_manager", "  ", "no_reason"),
    ],
)
def test_others_do_not_decide(by: str, reason: str, refusal: str) -> None:
    with pytest.raises(CompensationError) as refused:
        decide(pending(), True, by, reason, contract(), now_ms=NOW_MS)
    assert refused.value.reason == refusal


def test_who_requested_it_never_decides() -> None:
    entry = pending(by="sla_manager")
    assert entry.requested_by == "sla_manager"
    with pytest.raises(CompensationError) as refused:
        decide(entry, True, "sla_manager", "mine", contract(), now_ms=NOW_MS)
    assert refused.value.reason == "requester_may_not_decide"


def test_what_the_approver_requested_somebody_else_decides() -> None:
    entry = pending(by="sla_manager")
    assert decide(entry, True, "bob", "fine", contract(), now_ms=NOW_MS).decided_by == "bob"


def test_without_an_approver_anyone_else_decides() -> None:
    sla = contract(approver="")
    entry = pending(by="ada")
    assert decide(entry, True, "bob", "fine", sla, now_ms=NOW_MS).status is EntryStatus.APPROVED


def test_a_decision_is_final() -> None:
    entry = decide(pending(), False, "sla_manager", "no", contract(), now_ms=NOW_MS)
    with pytest.raises(CompensationError) as refused:
        decide(entry, True, "sla_manager", "yes", contract(), now_ms=NOW_MS)
    assert refused.value.reason == "not_pending"


def test_only_what_is_approved_is_settled() -> None:
    entry = only(book(contract(), resolved()))
    settled = settle(entry, "ann", "paid", now_ms=NOW_MS)
    assert (settled.status, settled.amount, settled.decided_by) == (
        EntryStatus.SETTLED, entry.amount, entry.decided_by,
    )  # fmt: skip
    assert (settled.settled_by, settled.settled_at_ms, settled.settlement) == ("ann", NOW_MS, "paid")
    with pytest.raises(CompensationError) as refused:
        settle(pending(), "ann", "paid", now_ms=NOW_MS)
    assert refused.value.reason == "not_approved"


def test_a_correction_is_a_new_entry_that_names_the_old_one() -> None:
    entry = only(book(contract(), resolved()))
    correction = correct(entry, Decimal("5.000"), "ada", "wrong threshold", now_ms=NOW_MS)
    assert (correction.corrects, correction.rule, str(correction.amount)) == (entry.id, "correction", "0.010")
    assert correction.arithmetic == "5.000 - 4.990 = 0.010"
    assert correction.id != entry.id
    with pytest.raises(CompensationError) as refused:
        decide(correction, True, "ada", "mine", contract(approver="ada"), now_ms=NOW_MS)
    assert refused.value.reason == "requester_may_not_decide"


def test_a_correction_of_a_rejected_entry_starts_from_nothing() -> None:
    rejected = decide(pending(), False, "sla_manager", "no", contract(), now_ms=NOW_MS)
    assert correct(rejected, Decimal(7), "ada", "yes after all", now_ms=NOW_MS).amount == 7


def test_the_document_is_json_with_the_keys_users_know() -> None:
    document = only(book(contract(), resolved())).to_document()
    assert json.loads(json.dumps(document)) == document
    assert document.keys() >= {
        *("id", "sla_id", "violation_id", "rule", "compensation_type", "amount", "formula", "status")
    }
    assert document["violation_id"] == violation_id("sla_001", "uptime", NOW_MS)
