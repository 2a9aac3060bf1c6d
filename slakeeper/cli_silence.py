"""Silences on the command line: added, listed, ended."""

import time
from typing import Any

import click

from slakeeper.session import Session, command, said


@click.group()
def silence() -> None:
    """For a time nobody is told of what matches: add, list, expire."""


@command(silence, "add")
@click.option("--sla", "sla_id", help="Only of this contract.")
@click.option("--metric", "metric_name", help="Only of this metric.")
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="MATCHER",
    help="""Such as severity=~"warning|info", with = != =~ !~; again for more: all have to match.""",
)
@click.option("--for", "length", help="How long: 30m, 2h, 5d.")
@click.option("--until", help="When it ends: Unix milliseconds or ISO 8601; instead of --for.")
@click.option("--from", "start", help="When it begins: Unix milliseconds or ISO 8601 (default: now).")
@click.option("--by", required=True, callback=said, help="Who decides this.")
@click.option("--reason", required=True, callback=said, help="Why.")
def silence_add(
    session: Session,
    sla_id: str | None,
    metric_name: str | None,
    matches: tuple[str, ...],
    length: str | None,
    until: str | None,
    start: str | None,
    by: str,
    reason: str,
) -> None:
    """Tell nobody of violations that match; everything else goes on, and what is still open at the end is told then."""
    matchers: list[Any] = [
        {"name": name, "relation": "=", "value": value}
        for name, value in (("sla", sla_id), ("metric", metric_name))
        if value is not None
    ]
    matchers += matches
    if not matchers:
        raise click.UsageError("say what is silenced, with --sla, --metric or --match")
    if (length is None) == (until is None):
        raise click.UsageError("say how long, with one of --for and --until")
    start_ms = _instant(start, "--from")
    begins_ms = time.time_ns() // 1_000_000 if start_ms is None else start_ms
    end_ms = _instant(until, "--until") if length is None else begins_ms + _length(length)
    answer = session.ask("silence", matchers=matchers, start=start_ms, end=end_ms, by=by, reason=reason)
    for warning in answer["warnings"]:
        click.echo(f"slakeeper: {answer['id']}: {warning}", err=True)
    session.show(answer, _line)


@command(silence, "list")
@click.option(
    "--all", "include_expired", is_flag=True, help="Also those that are over, of the last five days."
)
def silence_list(session: Session, include_expired: bool) -> None:
    """Silences that are or will be in force, the newest first."""
    from slakeeper.text import silences_text

    session.show(session.ask("silences", all=include_expired)["silences"], silences_text)


@command(silence, "expire")
@click.argument("silence_id", metavar="ID")
@click.option("--by", required=True, callback=said, help="Who decides this.")
def silence_expire(session: Session, silence_id: str, by: str) -> None:
    """End a silence now; what it muted and is still open is told within half a minute."""
    session.show(session.ask("expire_silence", id=silence_id, by=by), _line)


def _line(row: dict[str, Any]) -> str:
    from slakeeper.text import instant

    when = f"from {instant(row['start_time'])} until {instant(row['end_time'])}"
    return f"{row['id']}: {row['state']}, {when}"


def _instant(text: str | None, option: str) -> int | None:
    from slakeeper.instant import read_ts

    if text is None:
        return None
    try:
        return read_ts(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _length(text: str) -> int:
    from slakeeper.sla.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from error
