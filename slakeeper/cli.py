"""The command line: ``slakeeper …``.

Exit status: 0 done, 1 the operation failed or was refused, 2 bad usage or configuration, 3 no running system,
4 timed out. With ``--json`` standard output holds one JSON document and nothing else, also of what failed:
``{"error": {"reason", "message"}}``.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from slakeeper import __version__
from slakeeper.cli_actor import actor
from slakeeper.cli_audit import audit
from slakeeper.cli_backup import backup, restore
from slakeeper.cli_channel import channel, oncall
from slakeeper.cli_compensation import compensation
from slakeeper.cli_doctor import doctor
from slakeeper.cli_mcp import mcp
from slakeeper.cli_openslo import export, import_
from slakeeper.cli_remediation import remediation
from slakeeper.cli_schema import schema
from slakeeper.cli_silence import silence
from slakeeper.cli_simulate import compare, simulate
from slakeeper.cli_source import source
from slakeeper.cli_violation import ack, escalate, remediate, resolve, violations
from slakeeper.session import (
    BAD_CONFIGURATION,
    DATA_OPTION,
    FAILED,
    TIMED_OUT,
    CommandLine,
    Session,
    by_option,
    command,
    fail,
    output_option,
    write,
)

STOP_TIMEOUT_S = 60.0


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slakeeper")
@DATA_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(data: Path | None, as_json: bool) -> None:
    """Keep service level agreements: watch them, act when one is broken, work out what is owed."""


# -- running ------------------------------------------------------------------------------------------------------


@command(main, "start")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Folder of the YAML files (default: ./config or the shipped one).",
)
@click.option(
    "--http", metavar="HOST:PORT", help="Where HTTP is served; port 0 takes any (default 127.0.0.1:8765)."
)
@click.option("--cells", type=click.IntRange(1, 64), help="Processes that share the contracts.")
@click.option("--detach", is_flag=True, help="Return when it is ready; it runs on in the background.")
@click.option("--demo", is_flag=True, help="Also run a small web service to watch and break.")
@click.option("--view/--no-view", default=True, help="Show live status while it runs in the foreground.")
@click.option("--live", is_flag=True, help="A restored copy takes over: tell people and run actions again.")
@by_option
@click.option("--no-config", is_flag=True, hidden=True, help="Begin without contracts.")
@click.option("--with-parent", type=int, hidden=True, help="Stop when the process of this id ends.")
def start(
    session: Session,
    config: Path | None,
    http: str | None,
    cells: int | None,
    detach: bool,
    demo: bool,
    view: bool,
    live: bool,
    by: str,
    no_config: bool,
    with_parent: int | None,
) -> None:
    """Start the service and serve until it is stopped."""
    # Importing makes a hundred thousand objects and drops none; the collector is on again once they are frozen.
    gc.disable()
    from slakeeper.launch import READY_KEYS, Start, StartError

    wanted = Start(
        session.data,
        config,
        http,
        cells,
        demo=demo,
        without_config=no_config,
        parent=with_parent,
        live=live,
        by=by,
    )
    try:
        if detach:
            click.echo(json.dumps(wanted.detached()))
        elif view and not session.as_json:
            sys.exit(wanted.with_view())
        else:
            sys.exit(
                wanted.plain(
                    lambda facts: session.show(
                        {key: facts.get(key) for key in READY_KEYS},
                        lambda ready: f"ready on http://{ready['http']}",
                    )
                )
            )
    except StartError as error:
        fail(BAD_CONFIGURATION if error.is_configuration else FAILED, str(error))
    finally:
        gc.enable()


@command(main, "stop")
def stop(session: Session) -> None:
    """Stop the service; returns when every process is gone and everything is on disk."""
    from slakeeper.otp.attach import stop_system

    try:
        stop_system(session.data, STOP_TIMEOUT_S)
    except PermissionError:
        fail(FAILED, f"the system on {session.data} belongs to another user")
    session.show({"stopped": True}, lambda _: "stopped")


@command(main, "status")
def status(session: Session) -> None:
    """Contracts with their compliance, and processes."""
    from slakeeper.disk import disk_use
    from slakeeper.otp.attach import running
    from slakeeper.text import status_text

    run = running(session.data)
    answer = session.ask("status", metrics=session.as_json)  # people are shown none of them
    began_at_s = run.get("started_at_ms", 0) / 1000 or time.time()
    document = {
        "state": run.get("state"),
        "uptime_s": round(max(0.0, time.time() - began_at_s), 3),
        "http": run.get("http"),
        "generation": run.get("generation"),
        "disk": disk_use(session.data),
        **answer,
    }
    session.show(document, status_text)


@command(main, "tree")
@click.option("--watch", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option(
    "--every", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks."
)
def tree(session: Session, watch: bool, every: float) -> None:
    """The supervision tree: every process and actor."""
    from slakeeper.text import tree_text

    if not watch:
        session.show(session.ask("tree"), tree_text)
        return
    if session.as_json:
        raise click.UsageError("--watch is for people: it goes without --json")
    from slakeeper.watch import watch_tree

    watch_tree(session, every)


@command(main, "check")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Folder of the YAML files, or one file of contracts."
)
def check(session: Session, config: Path | None) -> None:
    """Validate a configuration without starting; lists every error with file and line."""
    from slakeeper.reading import config_directory, problems_of

    folder = config_directory(config)
    problems = problems_of(folder)
    if session.as_json:
        click.echo(
            json.dumps(
                {
                    "ok": not problems,
                    "folder": str(folder),
                    "errors": [problem.to_document() for problem in problems],
                }
            )
        )
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(
            f"{len(problems)} error{'s' if len(problems) != 1 else ''} in {folder}"
            if problems
            else f"The configuration in {folder} is valid."
        )
    if problems:
        sys.exit(BAD_CONFIGURATION)


@command(main, "dashboard")
def dashboard(session: Session) -> None:
    """Print an address that signs a browser in to the dashboard, once."""
    from slakeeper.client import mint_ticket
    from slakeeper.otp.attach import running

    run = running(session.data)
    if not run.get("http") or not run.get("token"):
        fail(TIMED_OUT, "the service is not ready yet")
    ticket = mint_ticket(run["token"], int(time.time()))
    url = f"http://{run['http']}/login?ticket={ticket}"
    session.show({"url": url}, lambda document: str(document["url"]))


# -- contracts ------------------------------------------------------------------------------------------------------


@main.group()
def sla() -> None:
    """Contracts: list, show, define, suspend, resume, remove."""


@command(sla, "list")
def sla_list(session: Session) -> None:
    """Every contract with its status."""
    from slakeeper.text import number, table

    def listed(rows: list[dict[str, Any]]) -> str:
        keys = ("id", "name", "status", "compliance_score", "service_level", "open_violations")
        cells = ([number(row[key]) for key in keys] for row in rows)
        return (
            table(("ID", "NAME", "STATUS", "SCORE %", "TARGET %", "OPEN"), cells) if rows else "No contracts."
        )

    session.show(session.ask("slas")["slas"], listed)


@command(sla, "show")
@click.argument("sla_id", metavar="ID")
def sla_show(session: Session, sla_id: str) -> None:
    """One contract: what it promises and how it stands."""
    from slakeeper.text import contract_text

    session.show(session.ask("sla", id=sla_id), contract_text)


@command(sla, "define")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@by_option
def sla_define(session: Session, file: Path, by: str) -> None:
    """Define the contracts of FILE, or give them a new version; none is taken when one is wrong."""
    from slakeeper.reading import contracts_of

    contracts, problems = contracts_of(file)
    if problems:
        listed = [problem.to_document() for problem in problems]
        fail(BAD_CONFIGURATION, "\n".join(map(str, problems)), errors=listed)
    defined = [session.ask("define", document=contract.to_document(), by=by) for contract in contracts]
    for row in defined:
        for warning in row.get("warnings", ()):
            click.echo(f"slakeeper: {row['id']}: {warning}", err=True)
    session.show(defined, lambda rows: "\n".join(f"{row['id']}: version {row['version']}" for row in rows))


def _contract_act(name: str, past: str, text: str) -> None:
    def act(session: Session, sla_id: str, by: str) -> None:
        session.show(session.ask(name, id=sla_id, by=by), lambda _: f"{sla_id} {past}")

    act.__doc__ = text
    command(sla, name)(by_option(click.argument("sla_id", metavar="ID")(act)))


_contract_act("suspend", "is suspended", "From now on nothing counts for or against the contract.")
_contract_act("resume", "counts again", "End a suspension.")
_contract_act(
    "remove",
    "is removed; its last period is settled, its ledger is kept",
    "End a contract; refused while it has open violations.",
)


# A value below zero looks like an option that does not exist; one that really does not is then one word too many.
@command(main, "observe", ignore_unknown_options=True)
@click.argument("metric")
@click.argument("value", type=float)
@click.option("--sla", "sla_id", help="Only for this contract.")
@click.option("--ts", help="When it was measured: Unix milliseconds or ISO 8601 (default: now).")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="What it is of; may be repeated."
)
def observe(
    session: Session, metric: str, value: float, sla_id: str | None, ts: str | None, labels: tuple[str, ...]
) -> None:
    """Report one sample of METRIC."""
    from slakeeper.instant import read_ts

    at_ms = None
    if ts is not None:
        try:
            at_ms = read_ts(ts)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--ts") from error
    pairs = [label.partition("=") for label in labels]
    for label, (name, sign, _) in zip(labels, pairs, strict=True):
        if not (name and sign):
            raise click.BadParameter(f"{label!r} is not NAME=VALUE", param_hint="--label")
    # Only if asked for: a running service of an older version knows no labels here.
    more = {"labels": {name: text for name, _, text in pairs}} if pairs else {}
    answer = session.ask("observe", metric=metric, value=value, sla=sla_id, ts=at_ms, **more)
    session.show(answer, lambda _: "accepted")


# -- reports ----------------------------------------------------------------------------------------------------------


@command(main, "report")
@click.option("--sla", "sla_id", help="Which contract (needed when there are several).")
@click.option("--period", default="current", show_default=True, help="current, last or START/END.")
@click.option(
    "--format",
    "report_format",
    type=click.Choice(["md", "html", "csv", "json"]),
    default="md",
    show_default=True,
)
@output_option
def report(
    session: Session, sla_id: str | None, period: str, report_format: str, output: Path | None
) -> None:
    """A report about a contract's period."""
    if sla_id is None:
        ids = [row["id"] for row in session.ask("slas")["slas"]]
        if len(ids) != 1:
            raise click.UsageError(f"say which contract with --sla: {', '.join(ids) or 'there is none'}")
        sla_id = ids[0]
    wanted = "json" if session.as_json else report_format
    answer = session.ask("report", sla=sla_id, period=period, format=wanted)
    text = json.dumps(answer["document"], ensure_ascii=False) + "\n" if wanted == "json" else answer["text"]
    write(output, text)


command(main, "doctor")(doctor)
command(main, "backup")(backup)
command(main, "restore")(restore)
command(main, "schema")(schema)
command(main, "simulate")(simulate)
command(main, "compare")(compare)
main.add_command(actor)
main.add_command(audit)
main.add_command(source)
main.add_command(import_)
main.add_command(export)
main.add_command(channel)
main.add_command(oncall)
main.add_command(compensation)
main.add_command(silence)
main.add_command(remediation)
for each in (mcp, violations, ack, resolve, escalate, remediate):
    main.add_command(each)
