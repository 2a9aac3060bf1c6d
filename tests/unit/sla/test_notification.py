"""What people are told."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from slakeeper.sla.amount import amount_text
from slakeeper.sla.compensation import cost_line, estimate
from slakeeper.sla.notification import (
    Desk,
    NotificationKind,
    alert,
    escalation,
    escalation_resolved,
    trial,
)
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import (
    ActionRecord,
    ActionStatus,
    ActionType,
    DeliveryStatus,
    EscalationRecord,
    Violation,
    acknowledge,
    record_action,
    record_escalation,
    resolve,
    update,
)
from slakeeper.sla.wording import local_time, number, percent
from tests.unit.sla.acting import MINUTE_MS, NOW_MS, contract, resolved, violation

BERLIN = contract(timezone="Europe/Berlin")


def news(kind: NotificationKind, *violations: Violation, **more: Any) -> str:
    return alert(BERLIN, kind, violations, NOW_MS + 5 * MINUTE_MS, dedup_key="k", **more).body


def test_an_opening_says_what_broke_by_how_much_since_when_what_it_costs_and_how_to_acknowledge() -> None:
    seen = violation(99.5)
    cost = cost_line(estimate(BERLIN, seen, NOW_MS))
    assert news(NotificationKind.OPENED, seen, costs={seen.id: cost}) == (
        "Core Service Availability: uptime does not keep its promise.\n"
        "\n"
        "  promised  > 99.999 %\n"
        "  measured  99.5 % (0.499 % off, 0.499 % of it)\n"
        "  since     2023-11-14 23:13:20 CET, for 5m\n"
        "  severity  critical\n"
        "  tried     nothing automatic\n"
        "  costs     service_credit 4.990 (10 * (99.999 - 99.5) = 4.990)\n"
        "\n"
        "Acknowledge with:\n"
        f"  slakeeper ack {seen.id} --by YOUR-NAME\n"
    )


def test_where_to_acknowledge_names_the_host_and_the_data_directory() -> None:
    desk = Desk("db7", "slakeeper --data '/srv/my sla'")
    wanted = (
        "Acknowledge on db7 with:\n"
        f"  slakeeper --data '/srv/my sla' ack {violation().id} --by YOUR-NAME\n"
    )  # fmt: skip
    assert news(NotificationKind.OPENED, violation(), desk=desk).endswith(wanted)
    walked = escalation(BERLIN, violation(), "k", 0, NOW_MS, desk=desk)
    assert walked.body.endswith(wanted)


def test_an_end_says_until_when_and_asks_for_nothing() -> None:
    body = news(NotificationKind.RESOLVED, resolved(99.5, by="ada"))
    assert "was resolved by hand" in body
    assert "  until     2023-11-14 23:18:20 CET by ada, after 5m\n" in body
    assert "Acknowledge" not in body


def test_what_was_tried_and_who_was_told_is_named() -> None:
    seen = record_action(
        violation(),
        ActionRecord(
            "a.1", ActionType.AUTOMATIC, "scale", "pool", {}, NOW_MS, ActionStatus.FAILED, "no quota"
        ),
    )
    seen = record_escalation(
        seen,
        EscalationRecord(
            "k",
            0,
            Severity.CRITICAL,
            "email",
            ("team@example.com", "x@example.com"),
            NOW_MS,
            DeliveryStatus.SENT,
            unreached=("x@example.com",),
        ),
    )
    body = news(NotificationKind.WORSENED, acknowledge(seen, "ada", "on it", NOW_MS))
    assert "  tried     scale (attempt 1) failed: no quota\n" in body
    assert "  told      email team@example.com\n" in body
    assert "  taken by  ada: on it\n" in body


def test_who_had_taken_it_before_is_named_too() -> None:
    seen = acknowledge(acknowledge(violation(), "ada", "", NOW_MS), "bob", "my shift", NOW_MS + 1)
    assert "  taken by  bob: my shift (before: ada)\n" in news(NotificationKind.WORSENED, seen)


def test_the_worst_value_is_named_when_it_is_not_the_latest() -> None:
    seen = update(update(violation(99.5), 98.0, Severity.CRITICAL, NOW_MS), 99.7, Severity.CRITICAL, NOW_MS)
    assert "  worst     98 %\n" in news(NotificationKind.WORSENED, seen)


def test_a_message_about_several_violations_carries_the_worst_severity() -> None:
    built = alert(
        BERLIN,
        NotificationKind.OPENED,
        [violation(severity=Severity.INFO), violation(0.5, metric="error_rate", severity=Severity.WARNING)],
        NOW_MS,
        dedup_key="k",
    )
    assert built.severity is Severity.WARNING
    assert built.subject == "[warning] Core Service Availability: 2 metrics (uptime, error_rate)"
    assert built.body.count("slakeeper ack") == 2


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (NotificationKind.OPENED, "[critical] Core Service Availability: uptime"),
        (NotificationKind.WORSENED, "[critical] Core Service Availability: uptime, now worse"),
        (NotificationKind.RESOLVED, "[resolved] Core Service Availability: uptime"),
    ],
)
def test_the_subject_tells_the_kind(kind: NotificationKind, subject: str) -> None:
    assert alert(BERLIN, kind, [violation()], NOW_MS, dedup_key="k").subject == subject


def test_the_same_news_has_the_same_id_whenever_it_is_built() -> None:
    first = alert(BERLIN, NotificationKind.OPENED, [violation()], NOW_MS, dedup_key="k")
    assert alert(BERLIN, NotificationKind.OPENED, [violation()], NOW_MS + 1, dedup_key="k").id == first.id
    assert alert(BERLIN, NotificationKind.RESOLVED, [violation()], NOW_MS, dedup_key="k").id != first.id


def test_each_rise_is_news() -> None:
    ids = {
        alert(BERLIN, NotificationKind.WORSENED, [violation(severity=each)], NOW_MS, dedup_key="k").id
        for each in Severity
    }
    assert len(ids) == len(Severity)


def test_an_escalation_is_named_by_its_violation_and_its_key() -> None:
    built = escalation(BERLIN, violation(), "0.critical.0.1", 1, NOW_MS)
    assert (built.id, built.dedup_key) == (f"{violation().id}.0.critical.0.1", violation().id)
    assert built.kind is NotificationKind.ESCALATION
    assert built.details["escalation"] == {"key": "0.critical.0.1", "level": 1, "late_ms": 0}


def test_an_escalation_that_comes_late_says_so_first() -> None:
    late = escalation(BERLIN, violation(), "0.critical.0.1", 1, NOW_MS, late_ms=90_000)
    on_time = escalation(BERLIN, violation(), "0.critical.0.1", 1, NOW_MS)
    assert late.body.endswith(on_time.body)
    assert late.body.startswith("Late by 1m 30s: this was due at ")
    assert late.id == on_time.id


def test_the_end_of_an_escalation_closes_what_it_opened() -> None:
    over = resolve(violation(), NOW_MS)
    assert (
        escalation_resolved(BERLIN, over, NOW_MS).dedup_key
        == escalation(BERLIN, over, "k", 0, NOW_MS).dedup_key
    )
    plain = alert(BERLIN, NotificationKind.RESOLVED, [over], NOW_MS, dedup_key=over.id)
    assert escalation_resolved(BERLIN, over, NOW_MS).id != plain.id


def test_an_escalation_without_an_answer_says_so() -> None:
    built = escalation(
        BERLIN,
        violation(),
        "0.critical.1.failed",
        0,
        NOW_MS,
        kind=NotificationKind.ESCALATION_FAILED,
        cost="5 EUR",
    )
    assert built.subject.endswith("nobody has answered")
    assert built.body.startswith("Every level of the escalation was told and nobody has acknowledged.\n")
    assert "  costs     5 EUR\n" in built.body


def test_details_are_plain_json() -> None:
    built = escalation(BERLIN, violation(), "k", 0, NOW_MS)
    assert json.loads(json.dumps(built.details)) == built.details
    assert built.details["violations"][0]["metric_name"] == "uptime"


def test_a_trial_asks_for_nothing() -> None:
    assert (
        trial(NOW_MS, note="from ada").body == "This is a test of the channel; nothing is wrong.\nfrom ada\n"
    )
    assert trial(NOW_MS).violation_ids == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99.5, "99.5"),
        (100.0, "100"),
        (0.1 + 0.2, "0.3"),
        (10000, "10000"),
        (-5.25, "-5.25"),
        (0.0, "0"),
        (1e-9, "1.000000000e-9"),
        (1e20, "1.000000000e+20"),
        (312.3333333333333, "312.3333333"),
    ],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_a_missed_target_is_never_rounded_up_to_it() -> None:
    assert percent(Fraction("99.99899999")) == "99.9989 %"
    assert percent(None) == "unknown"


@pytest.mark.parametrize(
    ("at_ms", "zone", "text"),
    [
        (NOW_MS, "UTC", "2023-11-14 22:13:20 UTC"),
        (NOW_MS + 7, "Asia/Tokyo", "2023-11-15 07:13:20.007 JST"),
        (1_761_440_400_000, "Europe/Berlin", "2025-10-26 02:00:00 CET"),
        (1_761_436_800_000, "Europe/Berlin", "2025-10-26 02:00:00 CEST"),
    ],
)
def test_times_are_local_and_name_their_zone(at_ms: int, zone: str, text: str) -> None:
    assert local_time(at_ms, zone) == text


def test_a_long_amount_is_marked_as_rounded() -> None:
    assert amount_text(Decimal("4.990"), None) == "4.990"
    assert amount_text(Decimal("0.0499004990"), "EUR") == "≈ 0.049900 EUR"
