"""What a table of contracts does not say and nobody may miss: who was not told, what is not watched."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slakeeper.sla.duration import format_duration, format_instant

# The contract of `start --demo`, and what to say of it where nothing measures it any more.
DEMO_SLA = "demo_shop"
LEFT_OVER = (
    f"the contract {DEMO_SLA} is left from a start with --demo and nothing measures it; resolve what is open about it "
    f"and end it with: slakeeper sla remove {DEMO_SLA}"
)


def concerns(row: Mapping[str, Any]) -> list[str]:
    """Lines about one contract of the status, for people; none when all is well."""
    found = []
    if row.get("actor_status"):
        found.append(
            f"its actor is {row['actor_status']}: nobody decides about it; "
            f"see: slakeeper actor state contract:{row['id']}"
        )
    if failed := row.get("escalations_failed"):
        found.append(f"{_count(failed, 'violation')} nobody answered for, though every level was tried")
    if failed := row.get("alerts_failed"):
        found.append(f"{_count(failed, 'alert')} could not be delivered")
    if failed := row.get("billing_failed"):
        entries = "1 approved entry" if failed == 1 else f"{failed} approved entries"
        found.append(f"{entries} not taken by billing; see: slakeeper compensation --sla {row['id']}")
    found += burn_lines(row)
    if down := row.get("metrics_down"):
        found.append(f"not watched, the monitor is down: {', '.join(down)}")
    return [f"{row['id']}: {each}" for each in found]


def burn_lines(row: Mapping[str, Any]) -> list[str]:
    """How fast an error budget is spent, where that is something to be told."""
    lines = []
    if alerts := row.get("burn_alerts"):
        lines.append(_burning(alerts))
    if (ends_at_ms := row.get("budget_ends_at_ms")) is not None:
        ends, look_back = format_instant(ends_at_ms), format_duration(row["burn_look_back_ms"])
        lines.append(f"at the rate of the last {look_back} the error budget ends at {ends}")
    return lines


def _burning(alerts: Sequence[Mapping[str, Any]]) -> str:
    windows = ", ".join(
        f"more than {each['factor']:g} times what is allowed over {format_duration(each['long_ms'])}"
        for each in alerts
    )
    return f"error budget burns too fast since {format_instant(alerts[0]['since'])}: {windows}"


def nearly_full(room: str) -> str:
    """What follows from too little ``room``, which says how much there is."""
    return f"the disk is nearly full, samples are refused: {room}"


def failing_sources(cells: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Why each source fails that fails now, by name; of several cells' reasons the first."""
    return _failing(cells, "sources_failing")


def _failing(cells: Iterable[Mapping[str, Any]], key: str) -> dict[str, str]:
    failing: dict[str, str] = {}
    for cell in cells:
        for name, reason in (cell.get(key) or {}).items():
            failing.setdefault(name, reason)
    return failing


def status_concerns(status: Mapping[str, Any]) -> list[str]:
    """All lines about a status: its contracts', then its sources'; ``processes`` of it tells whether the demo runs."""
    lines = [line for row in status["slas"] for line in concerns(row)]
    if any(row["id"] == DEMO_SLA for row in status["slas"]) and not any(
        row["name"] == "demo" for row in status["processes"]
    ):
        lines.append(LEFT_OVER)
    if silences := status.get("silences"):
        verb = "silences are" if silences > 1 else "silence is"
        lines.append(
            f"{silences} {verb} in force, so of some violations nobody is told; see: slakeeper silence list"
        )
    remediation = status.get("remediation", {})
    lines.extend(
        f"{row['sla_id']} {row['metric_name']}: {row['message']}" for row in remediation.get("left_alone", ())
    )
    lines.extend(row["message"] for row in remediation.get("breakers_open", ()))
    if remediation.get("state") == "off":
        lines.insert(
            0,
            f"no action runs by itself: switched off by {remediation['by']}: {remediation['reason']}; "
            "see: slakeeper remediation on",
        )
    held = next((cell["held"] for cell in status.get("cells", ()) if cell.get("held")), "")
    if held:
        lines.insert(0, f"nobody is told and no action is run: {held}")
    full = next((cell["low_on_room"] for cell in status.get("cells", ()) if cell.get("low_on_room")), "")
    if full:
        lines.insert(0, nearly_full(full))
    for cell in status.get("cells", ()):
        for partition, reason in (cell.get("audit_failing") or {}).items():
            lines.append(
                f"audit entries of {partition} are in the journal only, their file cannot be written: {reason}"
            )
    for key, noun in (("sources_failing", "source"), ("channels_failing", "channel")):
        if failing := _failing(status.get("cells", ()), key):
            verb = "fail" if len(failing) > 1 else "fails"
            rows = status.get("sources", ()) if noun == "source" else ()
            reasons = "; ".join(f"{name}: {why}{_since(rows, name)}" for name, why in failing.items())
            lines.append(f"{_count(len(failing), noun)} {verb}: {reasons}")
    return lines


def _since(rows: Iterable[Mapping[str, Any]], name: str) -> str:
    """For how many metrics a source fails, and since when; empty when nothing is known of that."""
    row = next((row for row in rows if row["name"] == name), None)
    if row is None or row["failing_since_ms"] is None:
        return ""
    since = format_instant(row["failing_since_ms"])
    polls = f"{row['failures']} poll{'s' if row['failures'] != 1 else ''}"
    return f" ({row['failing_metrics']} of {row['metrics']} metrics, since {since}, {polls})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
