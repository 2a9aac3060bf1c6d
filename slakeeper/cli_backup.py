"""``slakeeper backup`` and ``slakeeper restore``."""

import time
from pathlib import Path

import click

from slakeeper.session import FAILED, Session, by_option, fail, naming

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@_FILE
def backup(session: Session, file: Path) -> None:
    """Write a consistent copy of the data directory to FILE, a tar; the service may run meanwhile."""
    from slakeeper.backup import BackupRefused, back_up
    from slakeeper.otp import run_file
    from slakeeper.text import instant, size_text

    runs = run_file.holder(session.data) is not None
    ask = (lambda: session.ask("backup")["partitions"]) if runs else None
    try:
        with naming(file):
            done = back_up(session.data, file.absolute(), ask, time.time_ns() // 1_000_000)
    except BackupRefused as refusal:
        fail(FAILED, str(refusal))
    session.show(
        done,
        lambda made: (
            f"{made['file']}: {size_text(made['bytes'])}, {len(made['partitions'])} partitions, "
            f"{sum(made['partitions'].values())} commits, as of {instant(made['taken_at_ms'])}"
        ),
    )


@_FILE
@click.option("--live", is_flag=True, help="The original is gone: the copy tells people and acts at once.")
@by_option
def restore(session: Session, file: Path, live: bool, by: str) -> None:
    """Make the data directory (--data) of a backup; it must not be there yet, or be empty.

    A restored copy tells nobody and runs no action until it is started with --live: the original may still run.
    """
    from slakeeper.restore import RestoreRefused
    from slakeeper.restore import restore as restore_backup
    from slakeeper.text import instant

    try:
        with naming(session.data):
            done = restore_backup(file, session.data, time.time_ns() // 1_000_000, live=live, by=by)
    except RestoreRefused as refusal:
        fail(FAILED, str(refusal))
    held = "" if live else "; nobody is told and no action is run until: slakeeper start --live"
    session.show(
        done,
        lambda made: (
            f"{made['data']} is as of {instant(made['taken_at_ms'])}, "
            f"{len(made['partitions'])} partitions, {sum(made['partitions'].values())} commits{held}"
        ),
    )
