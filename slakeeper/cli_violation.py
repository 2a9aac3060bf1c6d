"""Violations on the command line: listed, shown, and what an operator does about them."""

from pathlib import Path
from typing import Any

import click

from slakeeper.session import DATA_OPTION, Session, by_option, command, said

# Commands are made in a group; these are added to the main one afterwards.
_group = click.Group("violations")


@click.group(invoke_without_command=True)
@click.option("--sla", "sla_id", help="Only of this contract.")
@click.option("--all", "include_resolved", is_flag=True, help="Resolved ones too.")
@DATA_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def violations(
    context: click.Context, sla_id: str | None, include_resolved: bool, data: Path | None, as_json: bool
) -> None:
    """Open violations; `violations show ID` for all about one."""
    if context.invoked_subcommand is None:
        context.invoke(
            _violation_list, sla_id=sla_id, include_resolved=include_resolved, data=data, as_json=as_json
        )


@command(_group, "violations")
@click.option("--sla", "sla_id")
@click.option("--all", "include_resolved", is_flag=True)
def _violation_list(session: Session, sla_id: str | None, include_resolved: bool) -> None:
    from slakeeper.text import violations_text

    session.show(session.ask("violations", sla=sla_id, all=include_resolved)["violations"], violations_text)


@command(violations, "show")
@click.argument("violation_id", metavar="ID")
def violation_show(session: Session, violation_id: str) -> None:
    """One violation: what was measured, done, said and booked."""
    from slakeeper.violation_text import violation_text

    session.show(session.ask("violation", id=violation_id), violation_text)


def _violation_line(row: dict[str, Any]) -> str:
    return f"{row['id']}: {row['sla_id']} {row['metric_name']} is {row['status']}"


@command(_group, "ack")
@click.argument("violation_id", metavar="ID")
@click.option("--by", required=True, callback=said, help="Who takes care of it.")
@click.option("--note", default="", help="For those who come later.")
def ack(session: Session, violation_id: str, by: str, note: str) -> None:
    """Acknowledge a violation: somebody is on it, its escalation stops."""
    session.show(session.ask("ack", id=violation_id, by=by, note=note), _violation_line)


@command(_group, "resolve")
@click.argument("violation_id", metavar="ID")
@click.option("--by", required=True, callback=said, help="Who decides that it is over.")
@click.option("--note", default="", help="Why.")
def resolve(session: Session, violation_id: str, by: str, note: str) -> None:
    """Resolve a violation by hand."""
    session.show(session.ask("resolve", id=violation_id, by=by, note=note), _violation_line)


@command(_group, "escalate")
@click.argument("violation_id", metavar="ID")
@by_option
def escalate(session: Session, violation_id: str, by: str) -> None:
    """Tell the next level of a violation's escalation now."""
    from slakeeper.text import escalated_text

    session.show(session.ask("escalate", id=violation_id, by=by), escalated_text)


@command(_group, "remediate")
@click.argument("violation_id", metavar="ID")
@click.argument("action")
@click.option("--dry-run", is_flag=True, help="Record what would be done and do nothing.")
@by_option
def remediate(session: Session, violation_id: str, action: str, dry_run: bool, by: str) -> None:
    """Run an action on a violation by hand."""
    answer = session.ask("remediate", id=violation_id, action=action, dry_run=dry_run, by=by)
    session.show(answer, lambda row: f"{row['id']}: {action} started")
