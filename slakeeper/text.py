"""What people read on a terminal: plain tables and short lines."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any

from slakeeper.concern import burn_lines, status_concerns
from slakeeper.sla.duration import format_duration, format_instant

# Longer cells are cut: a table that wraps is no table.
MAX_CELL_CHARS = 60

# As many decimal digits as a float always holds.
EXACT_DIGITS = 15

# Signs at the end of a text that may go on as a number.
_HALF_NUMBER = re.compile(r"(?<!\S)[-+]?\d[\d.,:eE+-]*$")

# As often as anybody wants to know that a budget was spent.
_MANY_TIMES = 9_999


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: str = "") -> str:
    """Columns as wide as they need to be; numbers to the right.

    Args:
        whole: the heading of a column that is never cut, by rights the last.
    """
    listed = [
        [
            printable(str(value)) if heading == whole else _cell(value)
            for heading, value in zip(headings, row, strict=True)
        ]
        for row in rows
    ]
    widths = [max(len(line[index]) for line in [list(headings), *listed]) for index in range(len(headings))]
    numeric = [
        bool(listed) and all(_is_number(line[index]) for line in listed) for index in range(len(headings))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(headings)), *(line(each) for each in listed)])


def status_text(status: Mapping[str, Any]) -> str:
    """``status`` for people: contracts, then processes."""
    slas = table(
        ("SLA", "STATUS", "SCORE %", "ATTAINED %", "TARGET %", "BUDGET LEFT", "PERIOD LEFT", "OPEN"),
        (
            (
                row["id"],
                row["status"] + (" (stale)" if row.get("stale") else ""),
                percent(row["compliance_score"]),
                percent(row["attainment"]),
                percent(row["service_level"]),
                budget(row["error_budget_remaining"]),
                seconds(row["time_period_remaining_ms"]),
                number(row["open_violations"]),
            )
            for row in status["slas"]
        ),
    )
    processes = table(
        ("PROCESS", "PID", "STATUS", "RESTARTS", "ACTORS", "MAILBOX"),
        (
            (row["name"], row["pid"], row.get("status", ""), row["restarts"], row["actors"], row["mailbox"])
            for row in status["processes"]
        ),
    )
    head = f"{status['state']}, up {format_duration(int(status['uptime_s']) * 1000)}, HTTP on {status.get('http')}"
    if (status.get("generation") or 1) > 1:
        head += f", generation {status['generation']}"
    noted = [printable(line) for line in status_concerns(status)]
    if status.get("disk"):
        head += f"\n{disk_text(status['disk'])}"
    is_whole = all(cell.get("up", True) for cell in status.get("cells", ()))
    nothing = "No contracts." if is_whole else "No contract is known now: not every cell answers."
    parts = [head, slas if status["slas"] else nothing, "\n".join(noted), _doors(status), processes]
    return "\n\n".join(part for part in parts if part)


def _doors(status: Mapping[str, Any]) -> str:
    """What came through the gateway's doors since it started; those that nobody used are left out."""
    used = [
        row
        for row in status.get("ingest", ())
        if row["accepted"] or row["rejected"] or row["refused_batches"]
    ]
    if not used:
        return ""
    return table(
        ("DOOR", "ACCEPTED", "REJECTED", "REFUSED BATCHES", "SLOWED BATCHES", "MOSTLY"),
        (
            (
                row["door"],
                row["accepted"],
                sum(row["rejected"].values()),
                row["refused_batches"],
                row.get("slowed_batches", 0),
                max(row["rejected"], key=row["rejected"].__getitem__, default=""),
            )
            for row in used
        ),
    )


def sources_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """``source list`` for people."""
    if not rows:
        return "No source is polled."
    return table(
        ("SOURCE", "TYPE", "EVERY", "METRICS", "POLLS", "MISSED", "LAST", "TOOK", "CATCHING UP", "STATE"),
        (
            (
                row["name"],
                row["type"],
                duration(row["interval_ms"]),
                row["metrics"],
                row["polls"],
                row["missed"],
                instant(row["polled_at_ms"]),
                duration(row["took_ms"]),
                row["catching_up"],
                _source_state(row),
            )
            for row in rows
        ),
        whole="STATE",
    )


def _source_state(row: Mapping[str, Any]) -> str:
    if row["failing"]:
        count, since = row["failing_metrics"], instant(row["failing_since_ms"])
        polls = "1 poll" if row["failures"] == 1 else f"{row['failures']} polls in a row"
        return f"failing for {count} of {row['metrics']} since {since}, {polls}: {row['failing']}"
    state = str(row["state"])
    return {"unused": "nobody asks it", "unanswered": "not answered yet"}.get(state, state)


def readings_text(document: Mapping[str, Any]) -> str:
    """``source test`` for people."""
    rows = document["readings"]
    head = f"{document['name']} ({document['type']})" + ("" if document["enabled"] else ", not enabled")
    if not rows:
        return f"{head}: no metric of a contract asks it, and it binds none itself."
    return f"{head}\n" + table(
        ("SLA", "METRIC", "QUERY", "VALUE", "AT", "TOOK", "SAYS"),
        (
            (
                row["sla_id"] or "-",
                row["metric"],
                row["query"],
                number(row["value"]),
                instant(row["ts_ms"]),
                duration(row["took_ms"]),
                row["error"] or "ok",
            )
            for row in rows
        ),
        whole="SAYS",
    )


def violations_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Violations for people, one a line."""
    if not rows:
        return "No open violations."
    return table(
        ("ID", "SLA", "METRIC", "SEVERITY", "STATUS", "ACTUAL", "WORST", "THRESHOLD", "SINCE", "UNTIL", "BY"),
        (
            (
                row["id"],
                row["sla_id"],
                row["metric_name"],
                row["severity"],
                row["status"],
                number(row["actual_value"]),
                number(row["worst_value"]),
                number(row["threshold_value"]),
                instant(row["start_time"]),
                instant(row["end_time"]),
                row.get("resolved_by") or row["acknowledged_by"] or "",
            )
            for row in rows
        ),
    )


def escalated_text(row: Mapping[str, Any]) -> str:
    """What came of an operator's escalation: which level, and who is told."""
    told = [
        f"{each['severity']} level {each['level'] + 1}: "
        + " ".join([each["channel"], *each["recipients"]])
        + f" ({each['status']})"
        for each in row.get("told", ())
    ]
    return f"{row['id']}: told " + (
        "; ".join(told) if told else "nobody: no further level is left, or no escalation policy is configured"
    )


def _entry_status(row: Mapping[str, Any]) -> str:
    """An entry's status, and of one that billing has not taken yet how that stands."""
    billing = row.get("billing")
    if not billing:
        return str(row["status"])
    detail = f": {billing['detail']}" if billing["detail"] else ""
    return f"{row['status']}, billing {billing['status']}{detail}"


def silences_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Silences for people, one a line."""
    if not rows:
        return "No silences."
    return table(
        ("ID", "STATE", "FROM", "UNTIL", "BY", "REASON", "MATCHES"),
        (
            (
                row["id"],
                row["state"],
                instant(row["start_time"]),
                instant(row["end_time"]),
                row["created_by"],
                row["reason"],
                " ".join(f'{each["name"]}{each["relation"]}"{each["value"]}"' for each in row["matchers"]),
            )
            for row in rows
        ),
        whole="MATCHES",
    )


def compensation_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ledger for people."""
    if not rows:
        return "Nothing is owed."
    return table(
        ("ID", "SLA", "RULE", "TYPE", "AMOUNT", "CURRENCY", "STATUS", "HOW"),
        (
            (
                row["id"],
                row["sla_id"],
                row["rule"],
                row["compensation_type"],
                row["amount"],
                row.get("currency") or "",
                _entry_status(row),
                row.get("arithmetic", ""),
            )
            for row in rows
        ),
        whole="HOW",
    )


def tree_text(node: Mapping[str, Any], indent: str = "", mark: str = "") -> str:
    """The tree with one node a line."""
    notes = [node["status"]] if node["status"] != "running" else []
    if node.get("suspended"):
        notes.append("suspended")
    if node.get("strategy"):
        notes.append(node["strategy"])
    if node.get("pid"):
        notes.append(f"pid {node['pid']}")
    if node.get("restarts"):
        notes.append(f"restarts {node['restarts']}")
    lines = [f"{mark}{node['address']}" + (f"  ({', '.join(notes)})" if notes else "")]
    children = node.get("children", [])
    for index, child in enumerate(children):
        last = index == len(children) - 1
        below = indent + ("   " if last else "│  ")
        lines.append(tree_text(child, below, indent + ("└─ " if last else "├─ ")))
    return "\n".join(lines)


def trace_text(line: Mapping[str, Any]) -> str:
    """One line of a trace."""
    return f"{clock_time(line['at_ms'])}  {line['what']:<5}  {printable(line['detail'])}"


def crash_text(rows: Sequence[Mapping[str, Any]], *, full: bool) -> str:
    """Crashes for people: a line each, or all that is known."""
    if not rows:
        return "No actor has crashed."
    if not full:
        return table(
            ("AT", "ADDRESS", "REASON", "MESSAGE"),
            ((instant(row["at_ms"]), row["address"], row["reason"], row["message"]) for row in rows),
        )
    return "\n\n".join(
        "\n".join(
            [
                f"{instant(row['at_ms'])}  {row['address']} ({row['kind']}): {row['reason']}",
                f"  on {printable(row['message'])}",
                *(f"  after {printable(before)}" for before in reversed(row["before"])),
                *(f"  {line}" for line in row["traceback"].rstrip().splitlines()),
            ]
        )
        for row in rows
    )


def letters_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Dead letters for people, one a line."""
    if not rows:
        return "No dead letters."
    return table(
        ("ID", "AT", "ADDRESS", "WHY", "MESSAGE"),
        ((row["id"], instant(row["at_ms"]), row["address"], row["why"], row["message"]) for row in rows),
    )


def contract_text(document: Mapping[str, Any]) -> str:
    """One contract for people: what was promised and how it stands."""
    period = document["period"]
    named = f"{document['id']}: {document['name']}" if document["name"] else document["id"]
    has_period = period["start"] is not None
    lines = [
        f"{named}, version {document['version']}, {document['status']}",
        f"promised {document['service_level']} %, attained {percent(period['attainment'])} %",
        f"period {instant(period['start'])} to {instant(period['end'])}" if has_period else "no period runs",
        f"error budget {duration(period['error_budget_ms'])}, spent {duration(period['error_budget_spent_ms'])}",
        *burn_lines(period),
        "",
        table(
            ("METRIC", "STATE", "VALUE", "PROMISE", "UNIT", "SAMPLES", "LATE", "REPEATED", "P(BREACH)"),
            (
                (
                    row["name"],
                    row["state"] + (", flapping" if row.get("flapping") else ""),
                    number(row["value"]),
                    f"{row['condition']} {number(row['threshold'])}",
                    row["unit"],
                    number(row["samples_accepted"]),
                    number(row["samples_late"]),
                    number(row["samples_duplicate"]),
                    number(row["breach_probability"]),
                )
                for row in document["metrics"]
            ),
        ),
    ]
    reasons = [f"{row['name']}: {row['reason']}" for row in document["metrics"] if row.get("reason")]
    if reasons:
        lines += ["", *map(printable, reasons)]
    if document["open_violations"]:
        lines += ["", "open violations: " + ", ".join(document["open_violations"])]
    return "\n".join(lines)


def number(value: float | str | None) -> str:
    """A number as short as it can be shown: at most 4 decimals, below 1 six digits; a dash for none.

    Only what no longer fits into 15 digits, or is very near to 0, is written with an exponent.
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    if not 1 <= size < 10**EXACT_DIGITS:
        return f"{value:.6g}"
    shown = f"{round(value, 4):.{EXACT_DIGITS}g}"
    return f"{value:.0f}" if "e" in shown else shown


def percent(value: float | str | None) -> str:
    """Percent with at most 4 decimals, never rounded up: 99.99999 is not 100. A dash for none."""
    if not isinstance(value, float) or not math.isfinite(value):
        return number(value)
    cut = Decimal(repr(value)).quantize(Decimal("0.0001"), ROUND_DOWN)
    return f"{cut:f}".rstrip("0").rstrip(".")


def budget(share: float | None) -> str:
    """What is left of an error budget, in percent of it; of one spent more than twice, how many times."""
    if share is None:
        return "-"
    if share < -1:
        return f"spent {min(1 - share, _MANY_TIMES):.0f}x"
    return f"{100 * share:.4g} %"


def instant(at_ms: int | None) -> str:
    """An instant to the second, UTC; empty for none."""
    return "" if at_ms is None else format_instant(at_ms // 1000 * 1000).replace(".000Z", "Z")


def clock_time(at_ms: int) -> str:
    """The time of day to the millisecond, UTC."""
    return format_instant(at_ms).partition("T")[2].removesuffix("Z")


def duration(duration_ms: float | None) -> str:
    """A duration; a dash for none."""
    return "-" if duration_ms is None else format_duration(round(duration_ms))


def seconds(duration_ms: float | None) -> str:
    """A duration in whole seconds; a dash for none."""
    return "-" if duration_ms is None else format_duration(int(duration_ms) // 1000 * 1000)


def size_text(count_bytes: float) -> str:
    """A number of bytes with the unit that fits it."""
    size, units = float(count_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.4g} {units[0]}"


def disk_text(disk: Mapping[str, int]) -> str:
    """What the data directory takes, and what is left."""
    parts = " ".join(
        f"{name} {size_text(disk[f'{name}_bytes'])}," for name in ("journal", "snapshot", "audit", "logs")
    )
    used, free = size_text(disk["used_bytes"]), size_text(disk["free_bytes"])
    left = f", left over {size_text(disk['left_over_bytes'])}" if disk.get("left_over_bytes") else ""
    return f"disk: {used} used ({parts.rstrip(',')}{left}), {free} free"


def _cell(value: Any) -> str:
    # Names and notes come from outside: none may break the table or give the terminal orders.
    return cut(printable(str(value)), MAX_CELL_CHARS)


def cut(text: str, width: int) -> str:
    """At most ``width`` signs of a line. A number is there as a whole or not at all: half of one is another."""
    if len(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    if not text[len(kept)].isspace() and (half := _HALF_NUMBER.search(kept)):
        kept = kept[: half.start()]
    return kept.rstrip() + "…"


def printable(text: str) -> str:
    """Without the signs that give a terminal orders, or begin a line."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _is_number(text: str) -> bool:
    try:
        float(text.removesuffix(" %"))
    except ValueError:
        return text in ("-", "")
    return True
