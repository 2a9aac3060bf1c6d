"""A report's document as Markdown for the customer: times in the contract's zone, every sum with its arithmetic."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from slakeeper.sla.amount import amount_text
from slakeeper.sla.condition import Condition
from slakeeper.sla.wording import TREND_WORDS, exact_duration, local_time, percent, promise, with_unit

Document = Mapping[str, Any]

_TIME_WORDS = (
    "Unknown time counts neither for nor against the promise; excluded time (maintenance, outside service hours, "
    "suspended) does not count at all."
)

# An "&" that would begin a character reference; any other may stand as it is.
_ENTITY = re.compile(r"&(?=\\?#|[A-Za-z0-9]+;)")

_VERDICTS = {
    "met": "The promise was kept",
    "breached": "The promise was broken",
    "unknown": "There is no data to judge by",
    "on target": "The period is still running, and on target",
    "below target": "The period is still running, and below target",
}


# Of a delivery; the other words of :class:`slakeeper.sla.record.DeliveryStatus` say it themselves.
_DELIVERY_WORDS = {"logged": "logged only"}


def to_markdown(document: Document) -> str:
    """The whole report as Markdown (tables as GitHub writes them); ``document`` is that of ``report.build``."""
    return (
        "\n\n".join(
            [
                *_head(document),
                *_attainment(document),
                *_budget(document),
                *_violations(document),
                *_compensation(document),
                *_trend(document),
                *_foot(document),
            ]
        )
        + "\n"
    )


def _zone(document: Document) -> str:
    return str(document["sla"]["timezone"])


def _time(document: Document, at_ms: int | None) -> str:
    return "" if at_ms is None else local_time(at_ms, _zone(document))


def _duration(duration_ms: float) -> str:
    return exact_duration(round(duration_ms))


def _coverage_words(coverage: str | None) -> str:
    if coverage is None:
        return "None of the time that counts is over yet."
    return f"There was data for {_ratio(coverage, 2)} of the time that counts."


def _ratio(text: str | None, places: int = 4) -> str:
    """Percent as the document writes it, cut to a readable length, never up."""
    return percent(None if text is None else Fraction(text), places)


def _places(document: Document) -> int:
    """Enough decimals to tell the attainment from the target."""
    return max(4, len(str(document["sla"]["service_level"]).partition(".")[2]) + 1)


def _text(value: object) -> str:
    """Words of others inside Markdown: nothing in them may become markup or end a table's cell."""
    plain = " ".join(str(value).split())
    for sign in "\\`*_[]|#~":
        plain = plain.replace(sign, f"\\{sign}")
    safe = _ENTITY.sub("&amp;", plain).replace("<", "&lt;")
    # At a line's beginning it would quote.
    return f"\\{safe}" if safe.startswith(">") else safe


def _code(value: str) -> str:
    """Our own arithmetic, as it is; it holds neither backticks nor the sign that ends a cell."""
    return f"`{value}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a heading that ends in ``>`` sets its column to the right. Cells are Markdown already."""
    names = [name.rstrip(">").rstrip() for name in head]
    rule = ["---:" if name.endswith(">") else "---" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rule, *rows))


def _head(document: Document) -> list[str]:
    sla, period = document["sla"], document["period"]
    until = "until now, " if period["running"] else ""
    lines = [
        f"# Service level report: {_text(sla['name'])}",
        f"**{_time(document, period['start'])} to {_time(document, period['end'])}**",
    ]
    if sla["description"]:
        lines.append(_text(sla["description"]))
    reached = _ratio(period["attainment"], _places(document))
    verdict = _VERDICTS[period["verdict"]]
    if period["attainment"] is None:
        lines.append(f"**{verdict}.** Promised were {sla['service_level']} %.")
    else:
        lines.append(f"**{verdict}:** {until}{reached} reached, {sla['service_level']} % promised.")
    return lines


def _attainment(document: Document) -> list[str]:
    metrics, places = document["metrics"], _places(document)
    if not metrics:
        return ["## Attainment", "Nothing was measured in this period."]
    rows = [
        [
            _text(metric["name"]),
            _promise(metric),
            metric["weight"],
            _duration(metric["good_ms"]),
            _duration(metric["bad_ms"]),
            _duration(metric["unknown_ms"]),
            _duration(metric["excluded_ms"]),
            _ratio(metric["attainment"], places),
        ]
        for metric in metrics
    ]
    head = ["Metric", "Promise", "Weight >", "Good >", "Bad >", "Unknown >", "Excluded >", "Attainment >"]
    period = document["period"]
    return [
        "## Attainment",
        _table(head, rows),
        _arithmetic(document, places),
        f"{_coverage_words(period['coverage'])} {_TIME_WORDS}",
    ]


def _promise(metric: Document) -> str:
    if metric["condition"] is None:
        return "no longer part of the contract"
    return _text(promise(Condition(metric["condition"]), Decimal(metric["threshold"]), metric["unit"]))


def _arithmetic(document: Document, places: int) -> str:
    metrics, attainment = document["metrics"], document["period"]["attainment"]
    chapters = [each for each in document["chapters"] if each["attainment"] is not None]
    if len(chapters) > 1:
        return _arithmetic_of_chapters(chapters, attainment, places)
    judged = [metric for metric in metrics if metric["attainment"] is not None]
    if not judged:
        return "No metric has known time, so the attainment is unknown."
    each = "A metric's attainment is its good time / (good + bad time)."
    if len(judged) == 1:
        return f"{each} The contract's is that of its only metric with data: {_ratio(attainment, places)}."
    above = " + ".join(f"{metric['weight']} × {_ratio(metric['attainment'], places)}" for metric in judged)
    below = " + ".join(metric["weight"] for metric in judged)
    return (
        f"{each} The contract's is their weighted mean: ({above}) / ({below}) = **{_ratio(attainment, places)}** "
        "(computed without rounding, shown rounded down)."
    )


def _arithmetic_of_chapters(chapters: Sequence[Document], attainment: str | None, places: int) -> str:
    """The contract's metrics or weights changed: each version is judged by its own, for the time it was in force."""
    lines = [
        f"- since version {each['version']}: {_ratio(each['attainment'], places)} "
        f"in {_duration(each['counts_ms'])}, from "
        + ", ".join(f"{_text(name)} (weight {weight})" for name, weight in each["weights"].items())
        for each in chapters
    ]
    above = " + ".join(
        f"{_duration(each['counts_ms'])} × {_ratio(each['attainment'], places)}" for each in chapters
    )
    below = " + ".join(_duration(each["counts_ms"]) for each in chapters)
    return (
        "The contract's metrics or their weights changed, so what counts is what was in force at each moment:\n\n"
        + "\n".join(lines)
        + f"\n\nThe contract's attainment is the mean over that time: ({above}) / ({below}) = "
        f"**{_ratio(attainment, places)}** (computed without rounding, shown rounded down)."
    )


def _budget(document: Document) -> list[str]:
    budget, sla = document["budget"], document["sla"]
    allowed = 100 - Decimal(sla["service_level"])
    base = _duration(budget["of_ms"])
    what = "known and remaining" if document["period"]["running"] else "known"
    left = budget["remaining_ms"]
    rest = f"{_duration(left)} are left" if left >= 0 else f"it is overdrawn by {_duration(-left)}"
    share = f" ({_ratio(budget['spent'], 1)})" if budget["spent"] is not None else ""
    whole = f"{allowed:f} % of {base} {what} time = {_duration(budget['total_ms'])}."
    lines = ["## Error budget", f"{whole} Spent: {_duration(budget['spent_ms'])}{share}; {rest}."]
    if budget["ends_at"] is not None:
        lines.append(f"At the present rate it ends at {local_time(budget['ends_at'], sla['timezone'])}.")
    return lines


def _violations(document: Document) -> list[str]:
    violations = document["violations"]
    if not violations:
        return ["## Violations", "None."]
    rows = [
        [
            str(number),
            _text(violation["metric_name"]),
            violation["severity"],
            _time(document, violation["start_time"]),
            _duration(violation["duration_ms"]),
            _measured(violation, "worst_value"),
            violation["status"],
        ]
        for number, violation in enumerate(violations, start=1)
    ]
    head = ["No. >", "Metric", "Severity", "From", "Lasted >", "Worst >", "Status"]
    details = [
        part for number, each in enumerate(violations, start=1) for part in _violation(document, number, each)
    ]
    return ["## Violations", _table(head, rows), *details]


def _measured(violation: Document, key: str) -> str:
    return _text(with_unit(violation[key], violation["unit"]))


def _violation(document: Document, number: int, violation: Document) -> list[str]:
    promised = promise(
        Condition(violation["condition"]), Decimal(repr(violation["threshold_value"])), violation["unit"]
    )
    first, worst = _measured(violation, "first_value"), _measured(violation, "worst_value")
    facts = [f"- promised {_text(promised)}, measured {first} at first, {worst} at worst"]
    for taken in violation["acknowledgements"]:
        note = f": {_text(taken['note'])}" if taken["note"] else ""
        facts.append(f"- acknowledged by {_text(taken['by'])} at {_time(document, taken['time'])}{note}")
    if violation["resolved"]:
        who = f"resolved by {_text(violation['resolved_by'])}" if violation["resolved_by"] else "recovered"
        note = f": {_text(violation['resolve_note'])}" if violation["resolve_note"] else ""
        facts.append(f"- {who} at {_time(document, violation['end_time'])}{note}")
    if violation["escalation_failed_time"] is not None:
        facts.append(f"- nobody had answered by {_time(document, violation['escalation_failed_time'])}")
    facts += [
        f"- its credit was booked at {_time(document, at_ms)} and counts in that period's report"
        for at_ms in violation["credits_booked_elsewhere"]
    ]
    parts = [f"### {number}. {_text(violation['metric_name'])} (`{violation['id']}`)", "\n".join(facts)]
    if violation["remediation_actions"]:
        rows = [
            [
                _time(document, action["execution_time"]),
                f"{_text(action['name'])} on {_text(action['target'])}, attempt {action['attempt']}",
                action["action_type"],
                _done(action) + _late(action),
                _text(action["result"]),
            ]
            for action in violation["remediation_actions"]
        ]
        parts.append(_table(["Done at", "Action", "Kind", "Status", "Result"], rows))
    if violation["escalations"]:
        rows = [
            [
                _time(document, record["at"]),
                f"{record['severity']}, level {record['level'] + 1}",
                # The channel only: the addresses of people are nothing for a customer.
                _text(record["channel"]),
                _DELIVERY_WORDS.get(record["status"], record["status"]) + _late(record),
            ]
            for record in violation["escalations"]
        ]
        parts.append(_table(["Told at", "Escalation", "Channel", "Status"], rows))
    return parts


def _late(done: Document) -> str:
    return f", late by {_duration(done['late_ms'])}" if done.get("late_ms") else ""


def _done(action: Document) -> str:
    """An action's status; a dry run is completed as well, but nothing was done in it."""
    if action["result"].lower().startswith("dry run"):
        return "dry run, nothing done"
    return str(action["status"])


def _compensation(document: Document) -> list[str]:
    ledger = document["ledger"]
    if not ledger:
        return ["## Compensation", "None."]
    numbers = {violation["id"]: str(n) for n, violation in enumerate(document["violations"], start=1)}
    rows = [
        [
            f"`{entry['id']}`",
            _subject(entry, numbers),
            entry["compensation_type"].replace("_", " "),
            _amount(entry),
            _code(entry["arithmetic"]) if entry["threshold"] is None else _text(entry["arithmetic"]),
            _decided(entry),
        ]
        for entry in ledger
    ]
    head = ["Entry", "For", "Kind", "Amount >", "How", "Status"]
    sums = [
        [row["compensation_type"].replace("_", " "), row["status"], _amount(row)] for row in document["owed"]
    ]
    parts = ["## Compensation", _table(head, rows)]
    if sums:
        parts.append(_table(["Kind", "Status", "Sum >"], sums))
    return parts


def _subject(entry: Document, numbers: Mapping[str, str]) -> str:
    if entry["corrects"]:
        return f"correction of `{entry['corrects']}`"
    if entry["violation_id"] is None:
        return f"the period, {_text(entry['rule'])}"
    number = numbers.get(entry["violation_id"])
    return f"violation {number}" if number else f"`{entry['violation_id']}`"


def _amount(entry: Document) -> str:
    return amount_text(Decimal(entry["amount"]), entry["currency"] or "credits")


def _decided(entry: Document) -> str:
    by = f" by {_text(entry['decided_by'])}" if entry["decided_by"] not in (None, "auto_approve") else ""
    reason = f": {_text(entry['reason'])}" if entry["reason"] else ""
    error = f" ({_text(entry['error'])})" if entry["error"] else ""
    return f"{entry['status']}{by}{reason}{error}"


def _trend(document: Document) -> list[str]:
    trend, places = document["trend"], _places(document)
    if len(trend) < 2:
        return []
    rows = [
        [
            _time(document, row["start"]),
            _time(document, row["end"]),
            _ratio(row["attainment"], places),
            f"{row['service_level']} %",
            "" if row["change"] is None else f"{Decimal(row['change']):+.{places}f}",
            str(row["violations"]),
            row["verdict"],
        ]
        for row in trend
    ]
    head = ["From", "To", "Attainment >", "Promised >", "Change (points) >", "Violations >", "Verdict"]
    return ["## Trend", _table(head, rows), TREND_WORDS]


def _foot(document: Document) -> list[str]:
    sla = document["sla"]
    team = f", owner {_text(sla['owner_team'])}" if sla["owner_team"] else ""
    contract = f"Contract `{sla['id']}`, version {sla['version']}{team}."
    made = f"Made at {_time(document, document['generated_at'])} by slakeeper."
    return ["---", f"{contract} All times in {_text(sla['timezone'])}. {made}"]
