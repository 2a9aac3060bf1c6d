"""``slakeeper doctor``: what is the matter with the data directory, and its repair."""

import sys
import time
from typing import Any

import click

from slakeeper.session import FAILED, Session, by_option, fail, naming


@click.option(
    "--repair",
    "repairing",
    is_flag=True,
    help="Keep what holds together, and set the rest aside; when stopped.",
)
@by_option
def doctor(session: Session, repairing: bool, by: str) -> None:
    """Look at the data directory: damage, audit chain, disk, configuration; with --repair mend it.

    Ends with 1 when something is the matter.
    """
    from slakeeper.doctor import Refused, examine, mend
    from slakeeper.doctor_text import doctor_text
    from slakeeper.otp.journal import JournalError

    now_ms = time.time_ns() // 1_000_000
    try:
        with naming(session.data):
            document = (
                mend(session.data, now_ms, by)
                if repairing
                else examine(session.data, now_ms, lambda: _heads(session))
            )
    except (Refused, JournalError) as refusal:
        fail(FAILED, str(refusal))
    session.show(document, doctor_text)
    if not document["ok"]:
        sys.exit(FAILED)


def _heads(session: Session) -> dict[str, Any]:
    """How far the audit chains of the running system are; a doctor of a system that does not answer says so."""
    from slakeeper.audit import NotSaid
    from slakeeper.otp.attach import NotRunning, RequestFailed, TimedOut

    try:
        return session.ask("audit_heads")
    except (NotRunning, RequestFailed, TimedOut) as error:
        raise NotSaid(str(error)) from error
