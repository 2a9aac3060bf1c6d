"""``slakeeper import openslo`` and ``slakeeper export openslo``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slakeeper.session import BAD_CONFIGURATION, FAILED, Session, command, fail

if TYPE_CHECKING:
    from slakeeper.config.openslo_import import Imported


@click.group("import")
def import_() -> None:
    """Contracts from other formats."""


@click.group("export")
def export() -> None:
    """Contracts in other formats."""


@command(import_, "openslo")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    help="Write to a file (NAME.yaml), or the configuration to a folder.",
)
def import_openslo(session: Session, file: Path, output: Path | None) -> None:
    """Make contracts of the OpenSLO v1 objects in FILE; what does not map is listed.

    Ends with 1 when no contract can be made, with 2 when FILE is not valid OpenSLO.
    """
    from slakeeper.config.openslo_import import import_openslo as read
    from slakeeper.config.problem import ConfigError
    from slakeeper.config.writing import plain

    try:
        made = read(file)
    except ConfigError as error:
        for problem in error.errors:
            click.echo(f"slakeeper: {problem}", err=True)
        sys.exit(BAD_CONFIGURATION)
    if not session.as_json:
        for each in made.unmapped:
            click.echo(f"slakeeper: {each}", err=True)
    if output is not None and made.slas:
        _write_configuration(output, made)
    if session.as_json:
        document = {
            "slas": plain(made.slas),
            "monitoring": plain(made.monitoring),
            "enforcement": plain(made.enforcement),
            "unmapped": [each.to_document() for each in made.unmapped],
        }
        session.show(document, str)
    elif output is None and made.slas:
        click.echo(_one_file(made), nl=False)
    if not made.slas:
        fail(FAILED, f"no contract can be made of {file}")


def _write_configuration(output: Path, made: "Imported") -> None:
    """To a file of contracts, or to the files of a folder; what is there already is left alone."""
    from slakeeper.config.loader import DEFINITIONS, ENFORCEMENT, MONITORING
    from slakeeper.config.writing import write_yaml

    if output.suffix in {".yaml", ".yml"}:
        files = {output: _one_file(made)}
    else:
        files = {output / DEFINITIONS: write_yaml({"slas": list(made.slas)})}
        if made.monitoring:
            files[output / MONITORING] = write_yaml(made.monitoring)
        if made.enforcement:
            files[output / ENFORCEMENT] = write_yaml(made.enforcement)
    for path in files:
        if path.exists():
            fail(FAILED, f"{path} is there already: name another with -o")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _one_file(made: "Imported") -> str:
    """The contracts, with what belongs into the other files as comments."""
    from slakeeper.config.loader import ENFORCEMENT, MONITORING
    from slakeeper.config.writing import write_yaml

    text = write_yaml({"slas": list(made.slas)})
    for name, part in ((MONITORING, made.monitoring), (ENFORCEMENT, made.enforcement)):
        if part:
            lines = write_yaml(part).splitlines()
            text += "".join(
                f"{line}\n" for line in ("", f"# For {name}:", *(f"#   {each}" for each in lines))
            )
    return text


@command(export, "openslo")
@click.argument("sla_id", metavar="ID")
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True), help="Read it from there, not from what runs."
)
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
def export_openslo(session: Session, sla_id: str, config: Path | None, output: Path | None) -> None:
    """Write a contract as OpenSLO v1; what does not map is listed.

    Without --config it is the running system's contract, whose sources are known by name only.
    """
    from slakeeper.config.openslo_export import export_openslo as write
    from slakeeper.config.writing import plain, write_documents

    made = write(*(_running(session, sla_id) if config is None else _configured(config, sla_id)))
    if session.as_json:
        document = {
            "documents": plain(made.documents),
            "unmapped": [each.to_document() for each in made.unmapped],
        }
        session.show(document, str)
    else:
        for each in made.unmapped:
            click.echo(f"slakeeper: {each}", err=True)
    text = write_documents(made.documents)
    if output is not None and made.documents:
        output.write_text(text)
    elif made.documents and not session.as_json:
        click.echo(text, nl=False)
    if not made.documents:
        fail(FAILED, f"nothing of {sla_id} can be said in OpenSLO")


def _running(session: Session, sla_id: str) -> tuple[Any, dict[str, Any]]:
    from slakeeper.sla.contract import Sla

    return Sla.from_document(session.ask("document", id=sla_id)), {}


def _configured(config: Path, sla_id: str) -> tuple[Any, dict[str, Any]]:
    from slakeeper.config.loader import load
    from slakeeper.config.problem import ConfigError
    from slakeeper.reading import contracts_of

    sources: dict[str, Any] = {}
    if config.is_file():
        contracts, problems = contracts_of(config)
    else:
        try:
            loaded = load(config, os.environ)
        except ConfigError as error:
            contracts, problems = (), list(error.errors)
        else:
            contracts, problems, sources = loaded.slas, [], dict(loaded.monitoring.sources)
    if problems:
        for problem in problems:
            click.echo(f"slakeeper: {problem}", err=True)
        sys.exit(BAD_CONFIGURATION)
    found = next((contract for contract in contracts if contract.id == sla_id), None)
    if found is None:
        known = ", ".join(contract.id for contract in contracts)
        fail(FAILED, f"there is no contract {sla_id!r} in {config}; there is {known or 'none'}")
    return found, sources
