"""``slakeeper compensation …``: what is owed, decided about, exported and settled."""

import json
from pathlib import Path

import click

from slakeeper.session import DATA_OPTION, Session, command, output_option, said, write

# Those of `sla.ledger.EntryStatus`, which comes with all that a contract is: every command would wait for it.
STATUSES = ("pending", "approved", "rejected", "settled")

# Commands are made in a group; this one is invoked by the group of the same name.
_hidden = click.Group("hidden")


@click.group(invoke_without_command=True)
@click.option("--sla", "sla_id", help="Only of this contract.")
@DATA_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def compensation(context: click.Context, sla_id: str | None, data: Path | None, as_json: bool) -> None:
    """What is owed; approve or reject what waits for a decision, export it, settle it."""
    if context.invoked_subcommand is None:
        context.invoke(_compensation_list, sla_id=sla_id, data=data, as_json=as_json)


@command(_hidden, "list")
@click.option("--sla", "sla_id")
def _compensation_list(session: Session, sla_id: str | None) -> None:
    from slakeeper.text import compensation_text

    session.show(session.ask("compensation", sla=sla_id)["compensation"], compensation_text)


def _decision(name: str, past: str, *, approve: bool) -> None:
    def decide(session: Session, entry_id: str, by: str, reason: str) -> None:
        answer = session.ask("decide", id=entry_id, approve=approve, by=by, reason=reason)
        session.show(answer, lambda row: f"{row['id']}: {past}")

    decide.__doc__ = f"{name.capitalize()} a pending entry of the ledger."
    with_reason = click.option("--reason", required=True, callback=said, help="Why.")(decide)
    with_by = click.option("--by", required=True, callback=said, help="The contract's approver.")(with_reason)
    command(compensation, name)(click.argument("entry_id", metavar="ID")(with_by))


_decision("approve", "approved", approve=True)
_decision("reject", "rejected", approve=False)


@command(compensation, "settle")
@click.argument("entry_id", metavar="ID")
@click.option("--by", required=True, callback=said, help="Who says so.")
@click.option("--reason", required=True, callback=said, help="How it was paid: a credit note, a transfer.")
def settle(session: Session, entry_id: str, by: str, reason: str) -> None:
    """Say that an approved entry was paid out by hand; with billing configured, billing does that."""
    answer = session.ask("settle", id=entry_id, by=by, reason=reason)
    session.show(answer, lambda row: f"{row['id']}: settled")


@command(compensation, "export")
@click.option("--sla", "sla_id", help="Only of this contract.")
@click.option("--status", type=click.Choice(STATUSES), help="Only entries that are so now.")
@click.option(
    "--format", "export_format", type=click.Choice(["json", "csv"]), default="json", show_default=True
)
@output_option
def export(
    session: Session, sla_id: str | None, status: str | None, export_format: str, output: Path | None
) -> None:
    """The ledger for accounting, the oldest entry first: every field, amounts as exact decimals."""
    from slakeeper.export import to_csv

    rows = session.ask("compensation", sla=sla_id)["compensation"]
    chosen = [row for row in rows if status in (None, row["status"])]
    wanted = "json" if session.as_json else export_format
    write(output, to_csv(chosen) if wanted == "csv" else f"{json.dumps(chosen, ensure_ascii=False)}\n")
