"""The audit chain for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slakeeper.sla.duration import format_instant
from slakeeper.text import printable

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
        lines.append(f"{each['partition']}  {entries}  head {each['seq']} {each['hash']}{waiting}")
    lines += [f"{each['kind']}: {each['message']}" for each in document["problems"]]
    lines += [f"unknown head: {each} is in no chain" for each in document["unknown_heads"]]
    entries = _count(sum(each["entries"] for each in document["partitions"]), "entry", "entries")
    chains = _count(len(document["partitions"]), "chain", "chains")
    state = "intact" if document["ok"] else "NOT INTACT"
    lines.append(f"{state}: {entries} in {chains}, compared with {_AGAINST[document['against']]}")
    return "\n".join(map(printable, lines))


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
