"""What ``simulate`` and ``compare`` say to people."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from slakeeper.text import duration, instant, number, percent, printable, table

# Of more, the text shows the first ones and says so; JSON has all.
SHOWN_PERIODS = 60

_MET = {True: "yes", False: "NO", None: "unknown"}


def simulation_text(document: Mapping[str, Any]) -> str:
    """Contracts with their periods, then what it came to."""
    # Without a beginning nothing is in force.
    parts = [_contract_text(sla) for sla in document["slas"]] or ["The history has no sample to begin with."]
    return "\n\n".join([*parts, _speed(document)])


def _contract_text(sla: Mapping[str, Any]) -> str:
    periods, violations = sla["periods"], sla["violations"]
    shown = periods[:SHOWN_PERIODS]
    rows = (
        (
            instant(row["start"]),
            instant(row["end"]),
            percent(row["attainment"]),
            _MET[row["met"]] if row["complete"] or row["met"] is False else "running",
            duration(row["bad_ms"]),
            duration(row["unknown_ms"]),
            duration(row["excluded_ms"]),
            number(_opened_in(violations, row)),
            _credits(row["credits"]),
        )
        for row in shown
    )
    headings = ("FROM", "TO", "ATTAINED %", "MET", "BAD", "UNKNOWN", "EXCLUDED", "VIOLATIONS", "PENALTY")
    named = sla["id"] if sla["name"] == sla["id"] else f"{sla['id']}: {sla['name']}"
    lines = [f"{printable(named)}, promised {number(sla['service_level'])} %"]
    lines.append(table(headings, rows, whole="PENALTY") if periods else "No period within this time.")
    if len(periods) > len(shown):
        lines.append(f"… and {len(periods) - len(shown)} more periods (--json has all)")
    lines.append(_total(sla))
    late = sum(metric["samples_late"] for metric in sla["metrics"])
    if late:
        lines.append(f"{_counted(late, 'sample')} came too late for their window and did not count")
    return "\n".join(lines)


def _total(sla: Mapping[str, Any]) -> str:
    violations = sla["violations"]
    lost = sum(row["met"] is False for row in sla["periods"])
    still_open = sum(not row["resolved"] for row in violations)
    text = f"{_counted(len(sla['periods']), 'period')}, {lost} lost; {_counted(len(violations), 'violation')}"
    if still_open:
        text += f", {still_open} open at the end"
    owed: dict[str, list[Any]] = {}
    for entry in sla["compensation"]:
        owed.setdefault(_kind(entry), []).append(entry)
    amounts = [f"{kind} {_sum(entries)}" for kind, entries in sorted(owed.items())]
    return f"{text}; owed: {', '.join(amounts) or 'nothing'}"


def _kind(entry: Mapping[str, Any]) -> str:
    return f"{entry['compensation_type']} {entry['currency'] or ''}".rstrip()


def _sum(entries: Iterable[Mapping[str, Any]]) -> str:
    return f"{sum((Decimal(entry['amount']) for entry in entries), Decimal(0)):f}"


def _opened_in(violations: Sequence[Mapping[str, Any]], period: Mapping[str, Any]) -> int:
    return sum(period["start"] <= row["start_time"] < period["end"] for row in violations)


def _credits(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{row['type']} {row['currency']} {row['amount']} "
        f"({number(row['rate'])} % below {number(row['threshold'])} %)"
        for row in rows
    )


def comparison_text(document: Mapping[str, Any]) -> str:
    """Two drafts side by side; ``A -> B`` where they differ."""
    parts = [f"A: {printable(document['a'])}\nB: {printable(document['b'])}"]
    for sla in document["slas"]:
        shown = sla["periods"][:SHOWN_PERIODS]
        rows = [(instant(row["start"]), instant(row["end"]), *_sides(row)) for row in shown]
        headings = ("FROM", "TO", "ATTAINED %", "MET", "VIOLATIONS", "BAD", "CREDITS")
        text = [printable(sla["id"])]
        text.append(table(headings, rows, whole="CREDITS") if rows else "No period within this time.")
        if len(sla["periods"]) > len(shown):
            text.append(f"… and {len(sla['periods']) - len(shown)} more periods (--json has all)")
        text.append(_compared_total(sla["total"]))
        parts.append("\n".join(text))
    return "\n\n".join([*parts, _speed(document)])


def _sides(row: Mapping[str, Any]) -> tuple[str, ...]:
    a, b = row["a"], row["b"]

    def both(key: str, text: Any) -> str:
        return _arrow(None if a is None else text(a[key]), None if b is None else text(b[key]))

    return (
        both("attainment", percent),
        both("met", _MET.__getitem__),
        both("violations", number),
        both("bad_ms", duration),
        both("credits", _amounts),
    )


def _compared_total(total: Mapping[str, Any]) -> str:
    a, b = total["a"], total["b"]
    if a is None or b is None:
        return f"only in {'B' if a is None else 'A'}"
    return (
        f"in all: lost {_arrow(number(a['periods_lost']), number(b['periods_lost']))} of "
        f"{_arrow(number(a['periods']), number(b['periods']))} periods; "
        f"violations {_arrow(number(a['violations']), number(b['violations']))}; "
        f"bad {_arrow(duration(a['bad_ms']), duration(b['bad_ms']))}; "
        f"owed {_arrow(_amounts(a['credits']), _amounts(b['credits']))}"
    )


def _arrow(a: str | None, b: str | None) -> str:
    """Both sides where they differ; a side without it as a dash."""
    return a or "-" if a == b else f"{a or '-'} -> {b or '-'}"


def _amounts(amounts: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {amount}" for kind, amount in amounts.items()) or "nothing"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _speed(document: Mapping[str, Any]) -> str:
    count, took_s = document["samples"], document["elapsed_s"]
    rate = f", {count / took_s:.0f} samples/s" if took_s else ""
    text = f"{_counted(count, 'sample')} in {took_s:.3g} s{rate}"
    more = [
        f"{_counted(document[key], noun)} {what}"
        for key, noun, what in (
            ("refused", "line", "refused"),
            ("outside", "sample", "outside --from and --to"),
        )
        if document[key]
    ]
    return "; ".join([text, *more])
