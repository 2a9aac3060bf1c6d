"""``slakeeper audit …``: what was decided and done, and whether that record is as it was written."""

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from slakeeper.session import FAILED, TIMED_OUT, Session, command, fail

FOLLOW_EVERY_S = 0.3

_HASH = re.compile(r"[0-9a-f]{64}")


@click.group()
def audit() -> None:
    """The audit chain: every decision and every operator's act."""


@command(audit, "tail")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(0), help="How many entries.")
@click.option("--follow", is_flag=True, help="Go on with what is added until Ctrl-C.")
def tail(session: Session, count: int, follow: bool) -> None:
    """The newest entries of all partitions in the order of time. With --follow and --json one document a line."""
    from slakeeper.audit import Follower, last_entries
    from slakeeper.audit_text import entry_line, tail_text

    _require_chain(session)
    follower = Follower(session.data) if follow else None
    entries = last_entries(session.data, count)
    if follower is None:
        session.show(entries, tail_text)
        return
    from slakeeper.watch import until_interrupted

    def show(added: Iterable[dict[str, Any]]) -> None:
        for entry in added:
            session.show(entry, entry_line)
        sys.stdout.flush()

    show(entries)
    until_interrupted(lambda: show(follower.added()), FOLLOW_EVERY_S)


def _require_chain(session: Session) -> None:
    """Ends the command when there is no chain: as without a running system, which would have one."""
    from slakeeper.audit import partitions
    from slakeeper.otp.attach import running

    if not partitions(session.data):
        running(session.data)
        fail(FAILED, f"there is no audit chain in {session.data} yet")


def _hashes(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for each in given:
        if not _HASH.fullmatch(each):
            raise click.BadParameter(f"{each!r} is not 64 hexadecimal digits", context, option)
    return given


@command(audit, "verify")
@click.option(
    "--head", "heads", multiple=True, callback=_hashes, help="A hash noted earlier: is it still in a chain?"
)
def verify(session: Session, heads: tuple[str, ...]) -> None:
    """Verify every chain: finds what was edited, removed, swapped or cut off, and says where.

    With a running system its own heads are asked for; without one the journals are read.
    """
    from slakeeper.audit import AuditError, Heads, NotSaid
    from slakeeper.audit import verify as verify_chains
    from slakeeper.audit_text import verdict_text
    from slakeeper.layout import LayoutError, lost_partitions
    from slakeeper.otp.attach import NotRunning, running

    _require_chain(session)
    ask: Callable[[], Heads] | None = lambda: session.ask("audit_heads")  # noqa: E731
    try:
        running(session.data)
    except NotRunning:
        ask = None
    try:
        verdict = verify_chains(session.data, ask, heads)
    except AuditError as error:
        fail(TIMED_OUT if isinstance(error, NotSaid) else FAILED, str(error))
    document: dict[str, Any] = verdict.to_document()
    session.show(document, verdict_text)
    try:
        lost = [] if ask is not None else lost_partitions(session.data)
    except LayoutError as error:
        fail(FAILED, str(error))
    if lost:
        fail(FAILED, f"{', '.join(lost)} of {session.data} is missing: nothing says how far its chain went")
    if not verdict.is_intact:
        count = len(document["problems"]) + len(document["unknown_heads"])
        fail(FAILED, f"the audit chain is not intact: {count} problem{'s' if count != 1 else ''}")
