"""``slakeeper source …``: how the sources do, and what one says."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from slakeeper.session import BAD_CONFIGURATION, FAILED, Session, command, fail


@click.group()
def source() -> None:
    """Sources: who is asked for samples, and how that goes."""


@command(source, "list")
def list_(session: Session) -> None:
    """Every polled source of the running system: when it was asked, and why it fails."""
    from slakeeper.text import sources_text

    rows = session.ask("sources")["sources"]
    session.show(rows, sources_text)


@command(source, "test")
@click.argument("name")
@click.option("--config", type=click.Path(path_type=Path), help="Folder of the YAML files.")
def test(session: Session, name: str, config: Path | None) -> None:
    """Ask a source now for everything that is bound to it; needs no running system.

    Exit status 1 when a query is an error; no value at the moment is none.
    """
    from slakeeper.config.loader import load
    from slakeeper.config.problem import ConfigError
    from slakeeper.config.reading import suggest
    from slakeeper.reading import config_directory
    from slakeeper.source import ask_now
    from slakeeper.text import readings_text

    folder = config_directory(config, session.data)
    try:
        configuration = load(folder, os.environ)
    except ConfigError as error:
        fail(
            BAD_CONFIGURATION,
            f"{error.errors[0]}; see: slakeeper check",
        )
    sources = configuration.monitoring.sources
    if name not in sources:
        fail(BAD_CONFIGURATION, f"there is no source {name!r} in {folder}{suggest(name, sources)}")
    try:
        rows = ask_now(configuration, name)
    except ValueError as error:
        fail(FAILED, str(error))
    settings = sources[name]
    document: dict[str, Any] = {
        "name": name,
        "type": settings.type,
        "enabled": getattr(settings, "enabled", True),
        "readings": rows,
    }
    session.show(document, readings_text)
    if any(row["error"] is not None and not row["is_silence"] for row in rows):
        sys.exit(FAILED)
