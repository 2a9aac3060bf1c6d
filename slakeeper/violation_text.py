"""One violation for people: what was measured, who was told, what was tried, what was said and what was booked."""

from collections.abc import Iterator, Mapping
from typing import Any

from slakeeper.text import instant, number, printable, seconds, table

OUTPUT_LINES = 20
"""How much of what an attempt printed is shown here [lines]: its end, where the reasons stand."""


def violation_text(document: Mapping[str, Any]) -> str:
    """Everything about a violation; parts of which there is nothing are left out."""
    unit = f" {document['unit']}" if document.get("unit") else ""
    measured = (
        f"promised {document['condition']} {number(document['threshold_value'])}{unit}; measured "
        f"{number(document['first_value'])} at first, {number(document['worst_value'])} at worst, "
        f"{number(document['actual_value'])} last"
    )
    what = f"{document['sla_id']} {document['metric_name']}, {document['severity']}, {document['status']}"
    head = [
        f"{document['id']}: {what}",
        measured,
        f"since {instant(document['start_time'])}" + _until(document),
    ]
    parts = ["\n".join([*head, *_words(document)]), _actions(document), *_outputs(document)]
    parts += [_escalations(document), _booked(document)]
    return "\n\n".join(part for part in parts if part)


def _until(document: Mapping[str, Any]) -> str:
    return f" until {instant(document['end_time'])}" if document["end_time"] is not None else ""


def _words(document: Mapping[str, Any]) -> list[str]:
    lines = []
    if document["acknowledged"]:
        who, at = document["acknowledged_by"], instant(document["acknowledged_time"])
        lines.append(f"acknowledged by {who} at {at}" + _note(document["acknowledge_note"]))
    if document["resolved"]:
        by = f" by {document['resolved_by']}" if document["resolved_by"] else " by itself"
        lines.append(f"resolved{by}" + _note(document["resolve_note"]))
    if silences := document.get("silenced_by"):
        lines.append(f"nobody is told of it now, silenced by {', '.join(silences)}")
    if parents := document.get("inhibited_by"):
        lines.append(f"nobody is told of it now, broken is also {', '.join(parents)}, on which it depends")
    if document["escalation_failed_time"] is not None:
        lines.append(
            f"every level was told and nobody answered by {instant(document['escalation_failed_time'])}"
        )
    return lines


def _note(note: str) -> str:
    return f": {note}" if note else ""


def _actions(document: Mapping[str, Any]) -> str:
    rows = document["remediation_actions"]
    if not rows:
        return "No action was run."
    return table(
        ("AT", "ACTION", "TYPE", "TARGET", "ATTEMPT", "STATUS", "BY", "RESULT"),
        (
            (instant(row["execution_time"]), row["name"], row["action_type"], row["target"], row["attempt"],
             row["status"], row["by"], _late(row) + row["result"])
            for row in rows
        ),
        whole="RESULT",
    )  # fmt: skip


def _outputs(document: Mapping[str, Any]) -> Iterator[str]:
    for row in document["remediation_actions"]:
        lines = (row.get("output") or "").splitlines()
        if not lines:
            continue
        before = len(lines) - OUTPUT_LINES
        cut = [f"  … ({before} lines before these are in --json)"] if before > 0 else []
        shown = [f"  {printable(line)}" for line in lines[-OUTPUT_LINES:]]
        yield "\n".join([f"{row['name']}, attempt {row['attempt']}, printed:", *cut, *shown])


def _escalations(document: Mapping[str, Any]) -> str:
    rows = document["escalations"]
    if not rows:
        return "Nobody was escalated to."
    return table(
        ("AT", "POLICY", "LEVEL", "CHANNEL", "TO", "STATUS", "DETAIL"),
        (
            (instant(row["at"]), row["severity"], row["level"] + 1, row["channel"], _whom(row),
             # A line in slakeeper's own log has reached nobody.
             "nobody told" if row["status"] == "logged" else row["status"], _late(row) + row["detail"])
            for row in rows
        ),
        whole="DETAIL",
    )  # fmt: skip


def _whom(row: Mapping[str, Any]) -> str:
    addresses = ", ".join(row["recipients"])
    return f"{addresses} (on call: {', '.join(row['on_call'])})" if row.get("on_call") else addresses


def _late(row: Mapping[str, Any]) -> str:
    return f"late by {seconds(row['late_ms'])} " if row.get("late_ms") else ""


def _booked(document: Mapping[str, Any]) -> str:
    rows = document["compensation"]
    if not rows:
        return ""
    return table(
        ("BOOKED", "TYPE", "AMOUNT", "CURRENCY", "STATUS", "HOW"),
        (
            (row["id"], row["compensation_type"], row["amount"], row.get("currency") or "", row["status"],
             row.get("arithmetic", ""))
            for row in rows
        ),
        whole="HOW",
    )  # fmt: skip
