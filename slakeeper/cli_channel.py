"""``slakeeper channel …`` and ``slakeeper oncall``: how people are reached, and who."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from slakeeper.session import BAD_CONFIGURATION, FAILED, TIMED_OUT, Session, by_option, command, fail

# A channel's own timeout ends a test sooner, unless its lane is full of messages that hang.
TEST_LIMIT_S = 75.0
LOOK_EVERY_S = 0.1

_group = click.Group("channel")


@click.group()
def channel() -> None:
    """Channels: how they do, and a test message over one."""


@command(channel, "list")
def channel_list(session: Session) -> None:
    """Every channel, and how its messages went since the cells were started."""
    from slakeeper.channel_text import channels_text

    session.show(session.ask("channels")["channels"], channels_text)


@command(channel, "test")
@click.argument("name")
@click.option("--to", "recipient", help="To this address, number or room instead of the channel's own.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Send from here by the channel of this folder's files; no service needs to run.",
)
@by_option
def channel_test(session: Session, name: str, recipient: str | None, config: Path | None, by: str) -> None:
    """Send a marked test message over channel NAME now, and say what the other side answered."""
    outcome = (
        _by_service(session, name, recipient, by)
        if config is None
        else _by_files(config, name, recipient, by)
    )
    session.show(outcome, _outcome_line)
    if outcome["status"] in ("failed", "uncertain"):
        sys.exit(FAILED)


def _outcome_line(row: dict[str, Any]) -> str:
    status, said = row["status"], row["detail"]
    return f"{row['channel']}: {said}" if said.startswith(status) else f"{row['channel']}: {status}: {said}"


def _by_service(session: Session, name: str, recipient: str | None, by: str) -> dict[str, Any]:
    begun = session.ask("channel_test", channel=name, to=recipient, by=by)
    end_s = time.monotonic() + TEST_LIMIT_S
    while True:
        outcome = session.ask("channel_tested", **begun)
        if outcome["status"] != "sending":
            return outcome
        if time.monotonic() >= end_s:
            fail(TIMED_OUT, f"no end of it within {TEST_LIMIT_S:g} s; see: slakeeper channel list")
        time.sleep(LOOK_EVERY_S)


def _by_files(folder: Path, name: str, recipient: str | None, by: str) -> dict[str, Any]:
    from slakeeper.actors.environment import open_messenger
    from slakeeper.actors.trial import send_trial
    from slakeeper.config.loader import load
    from slakeeper.config.problem import ConfigError
    from slakeeper.sla.notification import trial

    try:
        enforcement = load(folder, os.environ).enforcement
    except ConfigError as error:
        for problem in error.errors:
            click.echo(f"slakeeper: {problem}", err=True)
        sys.exit(BAD_CONFIGURATION)
    if name not in enforcement.channels:
        known = ", ".join(sorted(enforcement.channels)) or "there are none"
        fail(FAILED, f"no channel {name}; known here: {known}")
    message = trial(time.time_ns() // 1_000_000, note=f"Sent by {by}.")
    status, detail = send_trial(open_messenger(name, enforcement), message, recipient)
    return {"channel": name, "status": status, "detail": detail}


@command(_group, "oncall")
@click.argument("name", required=False)
@click.option("--at", help="At this time instead of now: Unix milliseconds or ISO 8601.")
def oncall(session: Session, name: str | None, at: str | None) -> None:
    """Who is on call of rotation NAME, or of all, and who is next."""
    from slakeeper.channel_text import on_call_text
    from slakeeper.instant import read_ts

    at_ms = None
    if at is not None:
        try:
            at_ms = read_ts(at)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--at") from error
    session.show(session.ask("on_call", rotation=name, at_ms=at_ms)["on_call"], on_call_text)
