"""Live status while the service runs in the foreground: contracts, violations, what was done, processes.

On a terminal it is one picture, drawn again each second; into a file or a pipe it is a line for each change.
"""

import contextlib
import json
import os
import select
import shutil
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from slakeeper.change import Changes
from slakeeper.client import Cluster, RequestFailed, connect
from slakeeper.concern import status_concerns
from slakeeper.otp.attach import NotRunning, running
from slakeeper.text import budget, cut, instant, number, percent, table

REFRESH_S = 1.0

# Without a terminal nothing can be redrawn: what has changed is printed, looked for this often; news at once.
PLAIN_REFRESH_S = 5.0

PLAIN_WAIT_S = 0.2

SHOWN_EVENTS = 8

# Without a terminal all are printed; so many may come between two looks, which is more than a cell says in that time.
KEPT_EVENTS = 10_000
MIN_WIDTH = 60
ASK_TIMEOUT_S = 2.0


def show(data: Path, heart: int, ready_fd: int, *, demo: bool) -> int:
    """Shows the system on ``data`` until its heart ends.

    Args:
        heart: the heart's pid, a child of this process.
        ready_fd: readable once the system is up.

    Returns:
        The heart's exit status; 1 when it was killed by a signal.
    """
    is_up = _await_ready(ready_fd, heart)
    os.close(ready_fd)
    view = _View(data, demo=demo)
    waiter = threading.Thread(target=view.run, name="view", daemon=True)
    if is_up:
        waiter.start()
    _, status = os.waitpid(heart, 0)
    view.stop()
    if is_up:
        waiter.join(2 * ASK_TIMEOUT_S)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        click.echo(f"slakeeper: the heart was killed by signal {-code}", err=True)
        return 1
    if is_up and code == 0:
        click.echo("slakeeper stopped")
    return code


def _await_ready(fd: int, heart: int) -> bool:
    """Whether the system is up; False when its heart has ended instead."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not any(event & select.POLLIN for _, event in poll.poll(200)):
        if os.waitid(os.P_PID, heart, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
    return True


class _View:
    def __init__(self, data: Path, *, demo: bool) -> None:
        self._data = data
        self._demo = demo
        self._ended = threading.Event()
        self._events: deque[str] = deque(maxlen=SHOWN_EVENTS if sys.stdout.isatty() else KEPT_EVENTS)
        self._cluster: Cluster | None = None
        self._sockets: Any = None
        self._last_violation = ""
        self._busiest_cell = "cell-0"

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        if sys.stdout.isatty():
            self._run_live()
        else:
            self._run_plain()
        if self._cluster is not None:
            self._cluster.close()

    def _run_live(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console()
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while not self._ended.wait(0 if self._cluster is None else REFRESH_S):
                lines = (cut(line, console.width) for line in self._picture().splitlines())
                live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)

    def _run_plain(self) -> None:
        """One line when it is ready, and then one for each thing that changes."""
        changes, due_s = Changes(), 0.0
        # Whoever read this has seen enough; the service goes on.
        with contextlib.suppress(BrokenPipeError):
            while not self._ended.wait(PLAIN_WAIT_S):
                if time.monotonic() >= due_s:
                    for line in self._changed(changes):
                        click.echo(f"{_clock()} {line}")
                    due_s = time.monotonic() + PLAIN_REFRESH_S
                while self._events:
                    click.echo(self._events.popleft())

    def _changed(self, changes: Changes) -> list[str]:
        run = self._run()
        if run is None:
            return changes.of_lines(["slakeeper stopping"])
        processes = run.get("processes", ())
        lines = [self._headline(run)]
        if self._demo and (demo := _demo_address(run)):
            lines.append(f"to break the demo: curl -X POST http://{demo}/fault/slow")
        if self._cluster is not None:
            try:
                status = self._cluster.status().result(ASK_TIMEOUT_S)
                lines += status_concerns({**status, "processes": processes})
            except (RequestFailed, TimeoutError):
                lines.append("the cells do not answer")
        return [*changes.of_lines(lines), *changes.of_processes(processes)]

    def _run(self) -> dict[str, Any] | None:
        """What is known of the running system; None when nothing of it answers any more."""
        try:
            run = running(self._data)
        except NotRunning:
            return None
        if run.get("state") == "stopping":
            return None
        self._follow(run)
        return run

    def _headline(self, run: Mapping[str, Any]) -> str:
        return (
            f"slakeeper {run.get('state')} · http://{run.get('http')} · data {self._data} · Ctrl-C stops it"
        )

    def _picture(self) -> str:
        run = self._run()
        if run is None:
            return "slakeeper stopping"
        parts = [self._headline(run)]
        if self._cluster is not None:
            parts += self._asked(self._cluster, run.get("processes", ()))
        processes = [row for row in run.get("processes", ()) if row.get("pid")]
        named = (row["name"] + f" {row['pid']}" + _restarts(row) for row in processes)
        parts.append(textwrap.fill("processes: " + "  ".join(named), _width(), subsequent_indent=" " * 11))
        if self._events:
            parts.append("what happened:\n" + "\n".join(f"  {event}" for event in self._events))
        parts.append(self._hints(run))
        return "\n\n".join(parts)

    def _asked(self, cluster: Cluster, processes: Iterable[Mapping[str, Any]]) -> list[str]:
        try:
            status = cluster.status().result(ASK_TIMEOUT_S)
            rows = cluster.violations().result(ASK_TIMEOUT_S)
        except (RequestFailed, TimeoutError) as error:
            return [f"(the cells do not answer: {str(error) or 'no answer in time'})"]
        self._busiest_cell = _busiest(status.get("cells", ())) or self._busiest_cell
        slas = table(
            ("SLA", "STATUS", "SCORE %", "ATTAINED %", "TARGET %", "BUDGET LEFT", "OPEN", "METRICS"),
            (
                (
                    row["id"],
                    row["status"],
                    percent(row["compliance_score"]),
                    percent(row["attainment"]),
                    percent(row["service_level"]),
                    budget(row["error_budget_remaining"]),
                    number(row["open_violations"]),
                    ", ".join(f"{m['name']} {number(m['value'])}" for m in row.get("metrics", ())),
                )
                for row in status["slas"]
            ),
        )
        self._last_violation = rows[0]["id"] if rows else ""
        violations = table(
            ("VIOLATION", "SLA", "METRIC", "SEVERITY", "STATUS", "ACTUAL", "PROMISED", "SINCE"),
            (
                (
                    row["id"], row["sla_id"], row["metric_name"], row["severity"], row["status"],
                    number(row["actual_value"]), number(row["threshold_value"]), instant(row["start_time"]),
                )
                for row in rows[:10]
            ),
        )  # fmt: skip
        noted = "\n".join(status_concerns({**status, "processes": processes}))
        return [slas, *filter(None, [noted]), violations if rows else "No open violations."]

    def _follow(self, run: Mapping[str, Any]) -> None:
        topology = run.get("topology")
        if topology and topology != self._sockets:
            if self._cluster is not None:
                self._cluster.close()
            self._sockets = topology
            self._cluster = connect(topology["cells"], topology["partitions"])
            self._cluster.listen(self._heard)

    def _heard(self, _topic: str, payload: Any) -> None:
        text = _event_text(payload)
        if text:
            self._events.append(f"{_clock()} {text}")

    def _hints(self, run: Mapping[str, Any]) -> str:
        command = _command()
        options = "" if str(self._data) == str(Path("slakeeper-data").absolute()) else f" --data {self._data}"
        lines = ["try, in another terminal:"]
        if self._demo and (demo := _demo_address(run)):
            lines.append(
                f"  curl -X POST http://{demo}/fault/slow     # remedied by itself; or fault/errors, heal"
            )
        lines.append(
            f"  {command}{options} observe throughput 50          # push a sample that breaks sla_002"
        )
        if self._last_violation:
            lines.append(f"  {command}{options} ack {self._last_violation} --by me")
        lines.append(
            f"  {command}{options} actor kill {self._busiest_cell}              # it comes back with its state"
        )
        lines.append(f"  {command}{options} dashboard                      # the same in a browser")
        return "\n".join(lines)


def _demo_address(run: Mapping[str, Any]) -> str:
    """Where the demo is served; empty while it is not."""
    return next((str(row["demo"]) for row in run.get("facts", {}).values() if "demo" in row), "")


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _busiest(cells: Iterable[Mapping[str, Any]]) -> str:
    """The cell with the most actors: to kill one that is empty shows nothing. Empty when there is none."""
    busiest = max(cells, key=lambda cell: cell.get("actors") or 0, default=None)
    return "" if busiest is None else str(busiest["name"])


def _restarts(row: Mapping[str, Any]) -> str:
    return f" (restarts {row['restarts']})" if row.get("restarts") else ""


def _width() -> int:
    return max(MIN_WIDTH, shutil.get_terminal_size().columns - 1)


def _command() -> str:
    """How the command line is called from here: by its name when a shell would find it, else by its path."""
    if shutil.which("slakeeper"):
        return "slakeeper"
    path = Path(sys.executable).with_name("slakeeper")
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _told(event: Mapping[str, Any], about: str) -> str:
    """A message that went to the log only has told nobody."""
    channel, detail = event["channel"], str(event.get("detail", ""))
    if event.get("status") == "logged" or detail.startswith("logged"):
        why = detail.partition(": ")[2]
        return f"nobody told about {about}: {why or f'channel {channel} is the log'}"
    return f"told {channel} about {about}"


def _event_text(event: Mapping[str, Any]) -> str:
    """One line for what people want to see; empty for the rest."""
    violation = event.get("violation") or {}
    about = f"{violation.get('sla_id')} {violation.get('metric_name')}" if violation else ""
    match event.get("topic"):
        case "violation.opened":
            return (
                f"violation opened: {about} at {number(violation['actual_value'])} ({violation['severity']})"
            )
        case "violation.resolved":
            return f"violation resolved: {about}"
        case "violation.acknowledged":
            return f"violation acknowledged: {about} by {violation['acknowledged_by']}"
        case "violation.escalated":
            return f"escalation begun: {about}"
        case "escalation.failed":
            return f"escalation failed, nobody answered: {about}"
        case "escalation.sent":
            return _told(event, event["violation_id"])
        case "alert.sent":
            return _told(event, ", ".join(event["violation_ids"]))
        case "alert.failed":
            return f"alert failed: {event['channel']}: {event['detail']}"
        case "remediation.ended":
            return f"action {event['action']}: {event['outcome']}"
        case "compensation.booked":
            entry = event["entry"]
            amount = f"{entry['amount']} {entry['currency'] or ''}".strip()
            return f"booked: {entry['compensation_type']} {amount} ({entry['arithmetic']})"
        case "actor.crashed" | "actor.quarantined" as topic:
            return f"{topic.replace('.', ' ')}: {event['address']}: {json.dumps(event['reason'])}"
    return ""
