"""What the doctor says, for people."""

import shlex
from collections.abc import Mapping
from typing import Any

from slakeeper.text import disk_text, instant, printable, size_text

# So many actors are named of those whose events are given up; the report has all of them.
SHOWN_ACTORS = 10


def doctor_text(document: Mapping[str, Any]) -> str:
    """All of it: the state of things first, what to do last."""
    rows = document["partitions"]
    sound = sum(row["state"] == "sound" for row in rows)
    served = sum(row["state"] == "in_use" for row in rows)
    head = f"{document['data']}: {document['state']}, {len(rows)} partitions"
    head += f", {served} in use (checked when they were opened)" if served else ""
    head += f", {sound} sound" if sound else ""
    lines = [head, disk_text(document["disk"])]
    for row in rows:
        if row["state"] == "damaged" or row["remarks"] or row["fallback"]:
            lines += ["", *_partition(row)]
    if kept := document["left_over"]:
        total = size_text(sum(each["bytes"] for each in kept))
        is_sound = all(row["state"] in ("sound", "in_use") for row in rows) and not document["missing"]
        what = "nothing uses them, and they may be removed" if is_sound else "keep them until this is mended"
        count = f"{len(kept)} file{'s' if len(kept) != 1 else ''}"
        lines += ["", f"put aside earlier, {count} of {total}; {what}:"]
        lines += [f"  {each['file']}" for each in kept[:SHOWN_ACTORS]]
        if len(kept) > SHOWN_ACTORS:
            lines.append(f"  … and {len(kept) - SHOWN_ACTORS} more")
    repaired = document["repaired"]
    if repaired is not None:
        names = ", ".join(repaired["partitions"])
        taken_out = f"What was taken out is in {repaired['folder']}"
        lines += ["", f"Repaired: {names}. {taken_out}" if names else taken_out]
    lines += ["", *(f"! {each}" for each in document["problems"])] if document["problems"] else []
    if document["begun_anew"]:
        lines += [
            "",
            f"Given up: {', '.join(document['begun_anew'])}. The next start begins them anew, empty.",
        ]
    if document["missing"]:
        lines += ["", "Restore a backup. A repair begins what is missing anew, empty."]
    if repaired is None and any(row["state"] == "damaged" for row in rows):
        command = f"slakeeper --data {shlex.quote(document['data'])} doctor --repair"
        lines += ["", f"Restore a backup, or give up what is listed above: {command}"]
    elif document["ok"]:
        lines += ["", "All is well."]
    return "\n".join(printable(line) for line in lines)


def _partition(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{row['name']}: {row['state']}"]
    lines += [f"  {_place(each)}" for each in row["damage"]]
    lines += [f"  {_place(each)}; the next start mends that" for each in row["remarks"]]
    lines += [f"  to fall back on: {_place(each)}" for each in row["fallback"]]
    lost = row["gives_up"]
    if lost is None:
        return lines
    keeps = row["keeps"]
    kept = f"everything up to commit {keeps['sequence']}" if keeps["sequence"] else "nothing"
    lines.append(f"  a repair keeps {kept}: {keeps['actors']} actors")
    if not lost["commits"]:
        lines.append(
            f"  and gives up what was from commit {lost['first_sequence']} on; nothing says how much that is"
        )
    else:
        lines.append(
            f"  and gives up {lost['commits']} commits, {lost['first_sequence']} to {lost['last_sequence']}: "
            f"{lost['commits_readable']} of them can be read"
        )
    if lost["events"]:
        when = (
            f", {instant(lost['from_ms'])} to {instant(lost['to_ms'])}" if lost["from_ms"] is not None else ""
        )
        whose = f" of {', '.join(lost['contracts'])}" if lost["contracts"] else ""
        lines.append(f"  {lost['events']} events{whose}{when}")
        actors = list(lost["events_by_actor"].items())
        lines += [f"    {address}: {count}" for address, count in actors[:SHOWN_ACTORS]]
        if len(actors) > SHOWN_ACTORS:
            lines.append(f"    … and {len(actors) - SHOWN_ACTORS} more actors")
    if lost["unreadable_bytes"]:
        lines.append(f"  {lost['unreadable_bytes']} bytes cannot be read")
    return lines


def _place(damage: Mapping[str, Any]) -> str:
    where = "" if damage["sequence"] is None else f", sequence {damage['sequence']}"
    return f"{damage['file']}: byte {damage['byte']}{where}: {damage['what']}"
