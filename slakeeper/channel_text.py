"""Channels and rotations as people read them."""

from typing import Any

from slakeeper.sla.wording import local_time
from slakeeper.text import table

_WORDS = {"working": "works", "failing": "FAILS", "unused": "not used yet", "log": "log only"}
_REASONS = {"turn": "", "override": "stands in for", "out_of_hours": "outside the hours of"}


def channels_text(rows: list[dict[str, Any]]) -> str:
    """One line a channel; what it said last below it."""
    if not rows:
        return "No channels."
    keys = ("name", "type", "sent", "logged", "failed", "uncertain", "waiting")
    text = table(
        ("CHANNEL", "TYPE", "SENT", "LOGGED", "FAILED", "UNCERTAIN", "WAITING", "STATE"),
        ([*(row[key] for key in keys), _WORDS[row["state"]]] for row in rows),
    )
    notes = []
    for row in rows:
        if row["last_error"]:
            at = local_time(row["last_failed_at"], "UTC") if row["last_failed_at"] else ""
            notes.append(f"{row['name']}: last error, {at}: {row['last_error']}")
        if row["template_error"]:
            notes.append(
                f"{row['name']}: its template fails, the default text is sent: {row['template_error']}"
            )
        if row["why"]:
            notes.append(f"{row['name']}: {row['why']}")
    return "\n".join([text, *notes])


def on_call_text(rows: list[dict[str, Any]]) -> str:
    """One rotation a line."""
    if not rows:
        return "No rotations; see on_call in enforcement.yaml."

    def line(row: dict[str, Any]) -> list[str]:
        why = f"{_REASONS[row['reason']]} {row['instead_of']}".strip() if row["instead_of"] else ""
        following = row["next"]
        coming = (
            f"{following['person']} from {local_time(following['at'], row['timezone'])}" if following else "-"
        )
        addresses = ", ".join(f"{channel} {address}" for channel, address in row["addresses"].items())
        return [row["name"], row["person"], why, coming, addresses]

    return table(
        ("ROTATION", "ON CALL", "WHY", "NEXT", "ADDRESSES"), (line(row) for row in rows), whole="ADDRESSES"
    )
