"""What people read on a terminal."""

from pathlib import Path
from typing import Any

import pytest

from slakeeper import text
from slakeeper.concern import status_concerns
from slakeeper.instant import read_ts
from slakeeper.reading import config_directory, problems_of
from slakeeper.source_row import source_rows
from slakeeper.text import cut
from slakeeper.view import _busiest, _event_text
from slakeeper.violation_text import violation_text

ROW: dict[str, Any] = {
    "id": "api", "status": "healthy", "compliance_score": 100, "attainment": 99.9712345, "service_level": 99.9,
    "error_budget_remaining": 0.5, "time_period_remaining_ms": 3_600_000, "open_violations": 0,
}  # fmt: skip
PROCESS = {"name": "cell-0", "pid": 12, "restarts": 0, "actors": 5, "mailbox": 0, "status": "running"}


def test_a_table_aligns_numbers_to_the_right_and_words_to_the_left() -> None:
    assert text.table(("NAME", "N"), [("a", 5), ("long name", 120)]).splitlines() == [
        "NAME         N", "a            5", "long name  120",
    ]  # fmt: skip


def test_a_table_without_rows_is_its_headings() -> None:
    assert text.table(("A", "B"), []) == "A  B"


def test_long_cells_are_cut_and_none_breaks_the_table_or_moves_the_cursor() -> None:
    shown = text.table(("A",), [("x" * 100,), ("two\nlines\x1b[2J\u202e",)])
    assert max(map(len, shown.splitlines())) == text.MAX_CELL_CHARS
    assert len(shown.splitlines()) == 3
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("latency 123.4567", "latency…"),
        ("latency 12 load 3", "latency 12…"),
        ("0123456789012345", "…"),
        ("-1.5e-07 and words", "-1.5e-07 a…"),
        ("alphabetical words", "alphabetic…"),
        ("v01a3185c5000-88afc", "v01a3185c5…"),
        ("just eleven", "just eleven"),
        ("spent 12x, and so", "spent 12x,…"),
        ("99.9999 % ok", "99.9999 %…"),
    ],
)
def test_what_is_cut_ends_within_no_number(text: str, shown: str) -> None:
    assert cut(text, 11) == shown


def test_status_shows_contracts_and_processes() -> None:
    status = {
        "state": "running",
        "uptime_s": 61.5,
        "http": "127.0.0.1:1",
        "slas": [ROW],
        "processes": [PROCESS],
    }
    shown = text.status_text(status)
    assert "running, up 1m 1s" in shown
    assert "99.9712" in shown
    assert "50 %" in shown
    assert "cell-0" in shown


def test_status_says_when_the_budget_ends_and_that_it_burns() -> None:
    burning = {
        **ROW, "budget_ends_at_ms": 1_767_225_600_000, "burn_look_back_ms": 3_600_000,
        "burn_alerts": [{"long_ms": 3_600_000, "short_ms": 300_000, "factor": 14.4, "since": 1_767_222_000_000}],
    }  # fmt: skip
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [burning], "processes": []}
    shown = text.status_text(status)
    assert "api: at the rate of the last 1h the error budget ends at 2026-01-01T00:00:00.000Z" in shown
    assert (
        "api: error budget burns too fast since 2025-12-31T23:00:00.000Z: more than 14.4 times what is allowed over 1h"
        in shown
    )


def test_status_shows_a_contract_of_which_nothing_is_known() -> None:
    unknown = {**ROW, "status": "quarantined", "compliance_score": None, "attainment": None, "service_level": None,
               "error_budget_remaining": None, "time_period_remaining_ms": 0, "stale": True}  # fmt: skip
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [unknown], "processes": []}
    assert "quarantined (stale)" in text.status_text(status)


def test_status_shows_a_dash_for_what_a_contract_that_is_down_does_not_say() -> None:
    down = {**ROW, "status": "unavailable", "actor_status": "suspended", "time_period_remaining_ms": None,
            "open_violations": None}  # fmt: skip
    shown = text.status_text(
        {"state": "running", "uptime_s": 0, "http": None, "slas": [down], "processes": []}
    )
    assert shown.splitlines()[3].split()[-2:] == ["-", "-"]
    assert "api: its actor is suspended" in shown


def test_status_shows_the_doors_that_were_used() -> None:
    idle = {"door": "otlp", "accepted": 0, "rejected": {}, "refused_batches": 0}
    used = {
        "door": "prometheus",
        "accepted": 7,
        "rejected": {"stale": 1, "unknown_metric": 30},
        "refused_batches": 2,
        "slowed_batches": 5,
    }
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [ROW], "processes": []}
    assert "DOOR" not in text.status_text({**status, "ingest": [idle]})
    shown = text.status_text({**status, "ingest": [idle, used]})
    assert "otlp" not in shown
    (line,) = (line.split() for line in shown.splitlines() if line.startswith("prometheus"))
    assert line == ["prometheus", "7", "31", "2", "5", "unknown_metric"]


def test_status_says_below_the_contracts_what_nobody_may_miss() -> None:
    row = {**ROW, "escalations_failed": 1, "alerts_failed": 2, "billing_failed": 1,
           "metrics_down": ["latency", "errors"]}  # fmt: skip
    cells = [{"sources_failing": {"prom": "refused"}}, {"sources_failing": {"prom": "refused"}}, {}]
    status = {"state": "running", "uptime_s": 0, "http": None, "generation": 3, "slas": [row],
              "processes": [PROCESS], "cells": cells}  # fmt: skip
    shown = text.status_text(status)
    assert "HTTP on None, generation 3\n" in shown
    assert shown.split("\n\n")[2].splitlines() == [
        "api: 1 violation nobody answered for, though every level was tried",
        "api: 2 alerts could not be delivered",
        "api: 1 approved entry not taken by billing; see: slakeeper compensation --sla api",
        "api: not watched, the monitor is down: latency, errors",
        "1 source fails: prom: refused",
    ]
    well = text.status_text({**status, "slas": [ROW], "cells": []})
    assert len(well.split("\n\n")) == 3


def test_a_copy_that_is_held_back_says_so_first_and_once() -> None:
    cells = [{"name": f"cell-{number}", "held": "this is a copy"} for number in range(2)]
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [ROW], "processes": [PROCESS]}
    shown = text.status_text(
        {**status, "cells": [*cells, {"name": "cell-2", "sources_failing": {"prom": "x"}}]}
    )
    assert shown.count("nobody is told and no action is run: this is a copy") == 1
    assert shown.index("this is a copy") < shown.index("1 source fails")
    assert "nobody is told" not in text.status_text({**status, "cells": [{"name": "cell-0", "held": ""}]})


def test_the_contract_of_a_demo_that_does_not_run_is_said_to_be_left_over() -> None:
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [{**ROW, "id": "demo_shop"}]}
    assert "sla remove demo_shop" in text.status_text({**status, "processes": [PROCESS]})
    assert "sla remove" not in text.status_text({**status, "processes": [{**PROCESS, "name": "demo"}]})


def test_a_contract_shows_why_a_metric_has_no_value_and_leaves_out_what_it_has_not() -> None:
    metric = {"name": "latency", "state": "source_error", "reason": "refused", "value": None, "condition": "lt",
              "threshold": 250.0, "unit": "ms", "samples_accepted": None, "samples_late": None,
              "samples_duplicate": None, "breach_probability": None}  # fmt: skip
    period = {
        "start": None,
        "end": None,
        "attainment": None,
        "error_budget_ms": None,
        "error_budget_spent_ms": None,
    }
    shown = text.contract_text(
        {"id": "p", "name": "", "version": 1, "status": "expired", "service_level": 99, "period": period,
         "metrics": [metric], "open_violations": []}
    ).splitlines()  # fmt: skip
    assert shown[0] == "p, version 1, expired"
    assert shown[2] == "no period runs"
    assert shown[-1] == "latency: refused"


def test_the_arithmetic_of_a_credit_is_never_cut() -> None:
    how = "credit = 10 * (threshold - actual) with threshold = 99.999 and actual = 99.5 = 4.990"
    row = {"id": "c", "sla_id": "api", "rule": "r", "compensation_type": "credit", "amount": "4.990",
           "status": "approved", "arithmetic": how}  # fmt: skip
    assert text.compensation_text([row]).endswith(how)
    billing = {"status": "sending", "attempts": 3, "due_time": 5, "detail": "answered 502"}
    assert "approved, billing sending: answered 502" in text.compensation_text(
        [{**row, "status": "approved", "billing": billing}]
    )


def test_status_without_contracts_says_so() -> None:
    status = {"state": "running", "uptime_s": 0, "http": None, "slas": [], "processes": []}
    assert "No contracts." in text.status_text(status)
    away = {**status, "cells": [{"name": "cell-0", "up": False}]}
    assert "not every cell answers" in text.status_text(away)


def test_nothing_open_and_nothing_owed_are_said_in_words() -> None:
    assert text.violations_text([]) == "No open violations."
    assert text.compensation_text([]) == "Nothing is owed."


def test_a_violation_is_one_line() -> None:
    row = {
        "id": "v1", "sla_id": "api", "metric_name": "latency", "severity": "info", "status": "resolved",
        "actual_value": 260.0, "worst_value": 300.25, "threshold_value": 250.0, "start_time": 1_800_000_000_999,
        "end_time": None, "acknowledged_by": None,
    }  # fmt: skip
    head, line = text.violations_text([row]).splitlines()
    assert "THRESHOLD" in head
    assert "2027-01-15T08:00:00Z" in line
    assert "300.25" in line


def test_one_violation_shows_what_was_done_said_and_booked() -> None:
    document = {
        "id": "v1", "sla_id": "api", "metric_name": "latency", "severity": "info", "status": "resolved",
        "condition": "lt", "unit": "ms", "actual_value": 200.0, "first_value": 260.0, "worst_value": 300.25,
        "threshold_value": 250.0, "start_time": 1_800_000_000_000, "end_time": 1_800_000_060_000,
        "acknowledged": True, "acknowledged_by": "ann", "acknowledged_time": 1_800_000_030_000,
        "acknowledge_note": "on it", "resolved": True, "resolved_by": None, "resolve_note": "",
        "escalation_failed_time": None,
        "remediation_actions": [
            {"execution_time": 1_800_000_010_000, "name": "restart", "action_type": "automatic", "target": "web",
             "attempt": 1, "status": "completed", "by": "", "result": "x" * 90},
        ],
        "escalations": [
            {"at": 1_800_000_020_000, "severity": "info", "level": 0, "channel": "email", "recipients": ["a@b.c"],
             "status": "logged", "detail": "logged: channel email has no address", "on_call": ["ann"]},
        ],
        "compensation": [
            {"id": "c1", "compensation_type": "credit", "amount": "1.5", "status": "pending", "arithmetic": "1 + 0.5"},
        ],
    }  # fmt: skip
    head, actions, escalations, booked = violation_text(document).split("\n\n")
    assert head.splitlines() == [
        "v1: api latency, info, resolved",
        "promised lt 250 ms; measured 260 at first, 300.25 at worst, 200 last",
        "since 2027-01-15T08:00:00Z until 2027-01-15T08:01:00Z",
        "acknowledged by ann at 2027-01-15T08:00:30Z: on it",
        "resolved by itself",
    ]
    assert actions.endswith("x" * 90)
    assert "nobody told" in escalations
    assert "a@b.c (on call: ann)" in escalations
    assert booked.endswith("1 + 0.5")
    bare = {**document, "remediation_actions": [], "escalations": [], "compensation": []}
    assert violation_text(bare).endswith("No action was run.\n\nNobody was escalated to.")


def test_what_an_attempt_printed_is_shown_below_the_actions_and_its_end_if_it_is_long() -> None:
    row = {
        "execution_time": 1_800_000_010_000,
        "action_type": "automatic",
        "target": "web",
        "status": "failed",
        "by": "",
    }
    document = {
        "id": "v1", "sla_id": "api", "metric_name": "latency", "severity": "info", "status": "open",
        "condition": "lt", "unit": "ms", "actual_value": 260.0, "first_value": 260.0, "worst_value": 260.0,
        "threshold_value": 250.0, "start_time": 1_800_000_000_000, "end_time": None,
        "acknowledged": False, "resolved": False, "escalation_failed_time": None,
        "remediation_actions": [
            {**row, "name": "a", "attempt": 1, "result": "", "output": "one\n\x1b[2Jtwo\n"},
            {**row, "name": "b", "attempt": 1, "result": "", "output": None},
            {**row, "name": "b", "attempt": 2, "result": "", "output": "".join(f"{n}\n" for n in range(50))},
        ],
        "escalations": [], "compensation": [],
    }  # fmt: skip
    _, _, first, second, _ = violation_text(document).split("\n\n")
    assert first.splitlines() == ["a, attempt 1, printed:", "  one", "   [2Jtwo"]
    lines = second.splitlines()
    assert lines[:3] == ["b, attempt 2, printed:", "  … (30 lines before these are in --json)", "  30"]
    assert (len(lines), lines[-1]) == (22, "  49")


def test_the_tree_has_one_node_a_line() -> None:
    leaf = {"address": "contract:api", "status": "quarantined", "restarts": 6, "children": []}
    asleep = {"address": "b", "status": "running", "suspended": True}
    tree = {
        "address": "cell-0", "status": "running", "strategy": "rest_for_one", "pid": 7, "restarts": 0,
        "children": [{"address": "a", "status": "running", "children": [leaf]}, asleep],
    }  # fmt: skip
    assert text.tree_text(tree).splitlines() == [
        "cell-0  (rest_for_one, pid 7)",
        "├─ a",
        "│  └─ contract:api  (quarantined, restarts 6)",
        "└─ b  (suspended)",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (1.0, "1"), (99.97123456, "99.9712"), (12, "12"), ("7.10", "7.10"), (1e-9, "1e-09"),
     (20_000_000.0, "20000000"),
     (123_456_789_012_345.0, "123456789012345"), (15025.33333333, "15025.3333"), (0.000123456789, "0.000123457"),
     (1e20, "1e+20"), (float("inf"), "inf"), (-250.0, "-250"), (0.0, "0"), (999_999_999_999_999.9, "1000000000000000")],
)  # fmt: skip
def test_numbers_are_as_short_as_can_be(value: Any, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (100.0, "100"), (99.99999, "99.9999"), (99.5, "99.5"), (1e-9, "0"), ("99.999", "99.999")],
)
def test_percentages_have_four_decimals_and_are_never_rounded_up(value: Any, shown: str) -> None:
    assert text.percent(value) == shown


def test_who_resolved_a_violation_by_hand_comes_before_who_acknowledged_it() -> None:
    row = {
        "id": "v1", "sla_id": "api", "metric_name": "latency", "severity": "info", "status": "resolved",
        "actual_value": 1.0, "worst_value": 1.0, "threshold_value": 2.0, "start_time": 0, "end_time": 1000,
        "acknowledged_by": "ann", "resolved_by": None,
    }  # fmt: skip
    assert text.violations_text([row]).endswith("ann")
    assert text.violations_text([{**row, "resolved_by": "bob"}]).endswith("bob")


def test_the_cell_to_kill_is_the_one_with_the_most_actors() -> None:
    assert _busiest([{"name": "cell-0", "actors": 1}, {"name": "cell-1", "actors": 29}]) == "cell-1"
    assert _busiest([{"name": "cell-0", "actors": None}]) == "cell-0"
    assert _busiest([]) == ""


def test_an_instant_is_shown_to_the_second_and_a_missing_one_is_empty() -> None:
    assert text.instant(1_800_000_000_123) == "2027-01-15T08:00:00Z"
    assert text.instant(None) == ""
    assert text.duration(None) == text.budget(None) == "-"
    budgets = [text.budget(share) for share in (1.0, 0.12345, -0.5, -7.2, -70_710.0)]
    assert budgets == ["100 %", "12.35 %", "-50 %", "spent 8x", "spent 9999x"]


def test_a_sample_may_be_dated_in_milliseconds_or_iso() -> None:
    assert read_ts("1800000000000") == read_ts("2027-01-15T08:00:00Z") == 1_800_000_000_000
    for wrong in ("", "yesterday", "²", "-5m"):
        with pytest.raises(ValueError):
            read_ts(wrong)


def test_a_number_of_seconds_is_refused_with_its_milliseconds() -> None:
    with pytest.raises(ValueError, match="looks like seconds; in Unix milliseconds it is 1795636454000"):
        read_ts("1795636454")


def test_a_message_that_went_to_the_log_has_told_nobody() -> None:
    escalated = {
        "topic": "escalation.sent",
        "channel": "email",
        "violation_id": "v1",
        "status": "sent",
        "detail": "ok",
    }
    assert _event_text(escalated) == "told email about v1"
    fallen = {**escalated, "status": "logged", "detail": "logged: channel email has no address"}
    assert _event_text(fallen) == "nobody told about v1: channel email has no address"
    alert = {"topic": "alert.sent", "channel": "log", "violation_ids": ["v1"], "detail": "logged"}
    assert _event_text(alert) == "nobody told about v1: channel log is the log"


def test_the_configuration_of_this_folder_comes_before_the_shipped_one(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (config_directory(None) / "sla_definitions.yaml").is_file()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sla_definitions.yaml").write_text("slas: [{id: 5}]\n")
    assert config_directory(None) == tmp_path / "config"
    [first, *_] = problems_of(config_directory(None))
    assert (first.line, str(first.file).endswith("sla_definitions.yaml")) == (1, True)
    assert problems_of(tmp_path / "nothing") != []


def test_a_data_directory_is_started_again_with_the_configuration_it_was_started_with(tmp_path: Any) -> None:
    (tmp_path / "config-folder").write_text(f"{tmp_path / 'mine'}\n")
    assert config_directory(None, tmp_path) == tmp_path / "mine"
    assert config_directory(tmp_path / "other", tmp_path) == tmp_path / "other"
    assert config_directory(Path("other"), tmp_path, tmp_path / "here") == tmp_path / "here" / "other"


VIOLATION = {
    "sla_id": "api",
    "metric_name": "latency",
    "actual_value": 300.0,
    "severity": "info",
    "acknowledged_by": "a",
}


@pytest.mark.parametrize(
    ("event", "part"),
    [
        ({"topic": "violation.opened", "violation": VIOLATION}, "opened: api latency at 300 (info)"),
        ({"topic": "violation.acknowledged", "violation": VIOLATION}, "by a"),
        ({"topic": "violation.resolved", "violation": VIOLATION}, "resolved: api latency"),
        ({"topic": "escalation.failed", "violation": VIOLATION}, "nobody answered"),
        ({"topic": "alert.failed", "channel": "chat", "detail": "no route"}, "alert failed: chat: no route"),
        ({"topic": "remediation.ended", "action": "restart", "outcome": "effective"}, "restart: effective"),
        ({"topic": "actor.crashed", "address": "a", "reason": "x\ny"}, '"x\\ny"'),
        ({"topic": "compensation.booked", "entry": {"amount": "5", "currency": None, "compensation_type": "credit",
                                                   "arithmetic": "2 + 3"}}, "credit 5 (2 + 3)"),
        ({"topic": "metric.changed"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_events_are_told_in_a_line(event: dict[str, Any], part: str) -> None:
    shown = _event_text(event)
    assert part in shown
    assert bool(shown) == bool(part)


CRASH = {
    "at_ms": 1_795_637_996_167,
    "address": "monitor:api:latency",
    "kind": "monitor",
    "reason": "ValueError: no\nway",
    "message": "Observe()",
    "traceback": "Traceback\n  line 7\n",
    "before": ["first", "second"],
}


def test_a_crash_is_a_line_or_all_there_is() -> None:
    assert text.crash_text([], full=False) == "No actor has crashed."
    short = text.crash_text([CRASH], full=False)
    assert len(short.splitlines()) == 2
    assert "ValueError: no way" in short
    lines = text.crash_text([CRASH], full=True).splitlines()
    assert lines[-5:] == ["  on Observe()", "  after second", "  after first", "  Traceback", "    line 7"]


def test_dead_letters_and_traces_cannot_break_the_terminal() -> None:
    letter = {
        "id": "cell-0/3",
        "at_ms": CRASH["at_ms"],
        "address": "x",
        "why": "nobody there",
        "message": "\x1b[2J",
    }
    assert text.letters_text([]) == "No dead letters."
    assert "\x1b" not in text.letters_text([letter])
    line = {"at_ms": CRASH["at_ms"], "what": "in", "detail": "hello\x1b"}
    assert text.trace_text(line) == "20:19:56.167  in     hello "


def test_an_escalation_says_which_level_was_told_and_whom() -> None:
    level = {
        "severity": "critical",
        "level": 1,
        "channel": "pager",
        "recipients": ["lead"],
        "status": "sending",
    }
    assert (
        text.escalated_text({"id": "v1", "told": [level]})
        == "v1: told critical level 2: pager lead (sending)"
    )
    assert "told nobody: no further level is left" in text.escalated_text({"id": "v1", "told": []})


def test_sources_are_shown_with_why_they_fail_and_since_when() -> None:
    row = {
        "name": "prom", "type": "prometheus", "interval_ms": 10_000, "metrics": 3, "polls": 7, "missed": 1, "errors": 2,
        "last_error": "refused", "failing": "refused", "failing_metrics": 2, "failing_since_ms": 1_800_000_000_000,
        "state": "failing", "failures": 3, "polled_at_ms": 1_800_000_010_000, "took_ms": 12, "catching_up": 2,
    }  # fmt: skip
    fine = {
        **row,
        "name": "web",
        "failing": "",
        "failing_metrics": 0,
        "failing_since_ms": None,
        "state": "ok",
    }
    cells = [
        {"sources": [row]},
        {"sources": [{**row, "failing_since_ms": 1_700_000_000_000, "failures": 9}, fine]},
        {},
    ]
    joined, alone = source_rows(cells)
    assert (joined["metrics"], joined["missed"], joined["failing_metrics"]) == (6, 2, 4)
    assert (joined["failing_since_ms"], joined["failures"], joined["state"]) == (
        1_700_000_000_000,
        9,
        "failing",
    )
    assert source_rows([{"sources": [fine]}, {"sources": [{**row, "name": "web"}]}])[0]["state"] == "failing"
    assert alone == fine
    shown = text.sources_text([joined, alone]).splitlines()
    assert shown[1].endswith("failing for 4 of 6 since 2023-11-14T22:13:20Z, 9 polls in a row: refused")
    assert shown[2].endswith("  ok")
    assert text.sources_text([]) == "No source is polled."
    status = {
        "slas": [],
        "processes": [],
        "sources": [row],
        "cells": [{"sources_failing": {"prom": "refused"}}],
    }
    assert status_concerns(status) == [
        "1 source fails: prom: refused (2 of 3 metrics, since 2027-01-15T08:00:00.000Z, 3 polls)"
    ]
