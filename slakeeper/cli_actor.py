"""``slakeeper actor …``: single actors and processes, looked into and steered, as OTP's ``sys`` does."""

import json
from typing import Any

import click

from slakeeper.session import Session, by_option, command

# How often a trace is fetched: soon enough to feel live, seldom enough not to be seen in what is measured.
TRACE_EVERY_S = 0.3


@click.group()
def actor() -> None:
    """Look at and steer single actors and processes, by the address that `tree` shows."""


def _operation(name: str, past: str, text: str) -> None:
    def operate(session: Session, address: str, by: str) -> None:
        answer = session.ask("actor", operation=name, address=address, by=by)
        session.show(answer, lambda document: f"{address}: {document.get('status', past)}")

    operate.__doc__ = text
    command(actor, name)(by_option(click.argument("address")(operate)))


@command(actor, "state")
@click.argument("address")
def state(session: Session, address: str) -> None:
    """Show state and counters of an actor, a supervisor or a process."""
    answer = session.ask("actor", operation="state", address=address)
    session.show(answer, lambda document: json.dumps(document, indent=2, ensure_ascii=False))


_operation("suspend", "suspended", "Let an actor handle nothing; its messages wait.")
_operation("resume", "resumed", "End a suspension, or release an actor from quarantine.")
_operation("restart", "restarted", "Restart an actor or a process from what is recorded of it.")
_operation("kill", "killed", "Kill an actor or a process; its supervisor does what it does after a crash.")


@command(actor, "trace")
@click.argument("address")
@click.option("--for", "for_s", type=click.FloatRange(0.0), help="Seconds to watch; until Ctrl-C by default.")
def trace(session: Session, address: str, for_s: float | None) -> None:
    """Show live what an actor does: messages in and out, crashes, restarts. With --json one document a line."""
    from slakeeper.text import trace_text
    from slakeeper.watch import until_interrupted

    last = session.ask("trace", address=address, since=None)["last"]

    def look() -> None:
        nonlocal last
        answer = session.ask("trace", address=address, since=last)
        if answer["last"] < last:  # its cell is another process now, and counts anew
            answer = session.ask("trace", address=address, since=0)
        last = answer["last"]
        for line in answer["lines"]:
            session.show(line, trace_text)

    until_interrupted(look, TRACE_EVERY_S, for_s)


@command(actor, "crashes")
@click.option("--full", is_flag=True, help="With the messages before and the traceback.")
def crashes(session: Session, full: bool) -> None:
    """The last crashes of actors, the newest at the end: why, on what, after what."""
    from slakeeper.text import crash_text

    session.show(session.ask("crashes")["crashes"], lambda rows: crash_text(rows, full=full))


@command(actor, "dead-letters")
def dead_letters(session: Session) -> None:
    """Messages that nobody took, the newest at the end."""
    from slakeeper.text import letters_text

    session.show(session.ask("dead_letters")["dead_letters"], letters_text)


@command(actor, "redeliver")
@click.argument("letter_id", metavar="ID")
@by_option
def redeliver(session: Session, letter_id: str, by: str) -> None:
    """Deliver a dead letter after all; if nobody takes it, it is a dead letter again."""

    def said(letter: dict[str, Any]) -> str:
        return f"{letter['id']}: delivered to {letter['address']}"

    session.show(session.ask("redeliver", id=letter_id, by=by), said)
