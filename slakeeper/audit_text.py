"""The audit chain for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slakeeper.sla.duration import format_instant
from slakeeper.text import printable

# A chain that somebody wrote anew has a problem in every line; the first say what was done.
SHOWN_PROBLEMS = 5

NO_HEAD = "no head: its last line is not as it was written"

_AGAINST = {"system": "the running system", "journal": "the journals; nothing runs here"}


def tail_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """One line an entry."""
    return "\n".join(map(entry_line, entries)) if entries else "No entries."


def entry_line(entry: Mapping[str, Any]) -> str:
    """When, who, what, about what; then the details."""
    who = str(entry.get("who", ""))
    via = f" ({entry['via']})" if entry.get("via") else ""
    subject, sla_id = str(entry.get("subject", "")), str(entry.get("sla", ""))
    about = subject if not sla_id or sla_id == subject else f"{sla_id} {subject}".rstrip()
    details = _details(entry.get("details") or {})
    words = (
        format_instant(int(entry.get("at_ms", 0))),
        f"{entry.get('partition')}#{entry.get('seq')}",
        str(entry.get("what", "")),
        about,
        f"by {who}{via}",
        details,
    )
    return printable("  ".join(word for word in words if word))


def _details(details: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in details.items() if value not in (None, "", [])}
    if "document" in shown:
        shown["document"] = "…"
    return " ".join(f"{key}={_value(value)}" for key, value in shown.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)


def verdict_text(document: Mapping[str, Any]) -> str:
    """Each partition with its head, to be noted elsewhere; then what is wrong."""
    lines = []
    for each in document["partitions"]:
        waiting = f"  {each['unwritten']} not in the file yet" if each["unwritten"] else ""
        entries = _count(each["entries"], "entry", "entries")
        head = f"head {each['seq']} {each['hash']}" if each["hash"] else NO_HEAD
        lines.append(f"{each['partition']}  {entries}  {head}{waiting}")
        lines += problem_lines(each["problems"])
    lines += [f"unknown head: {each} is in no chain" for each in document["unknown_heads"]]
    entries = _count(sum(each["entries"] for each in document["partitions"]), "entry", "entries")
    chains = _count(len(document["partitions"]), "chain", "chains")
    state = "intact" if document["ok"] else "NOT INTACT"
    lines.append(f"{state}: {entries} in {chains}, compared with {_AGAINST[document['against']]}")
    return "\n".join(map(printable, lines))


def problem_lines(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first few problems of a chain, and how many more there are to which line."""
    lines = [f"{each['kind']}: {each['message']}" for each in problems[:SHOWN_PROBLEMS]]
    if more := problems[SHOWN_PROBLEMS:]:
        last = more[-1]
        lines.append(
            f"… and {_count(len(more), 'more', 'more')}, to {last['file']}:{last['line']}; all with --json"
        )
    return lines


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
