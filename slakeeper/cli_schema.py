"""``slakeeper schema``: JSON Schemas of the configuration's files, for editors."""

import json
from typing import Final

import click

from slakeeper.session import Session

NAMES: Final = ("sla_definitions", "enforcement", "monitoring", "service")


@click.argument("name", type=click.Choice(NAMES), required=False)
def schema(session: Session, name: str | None) -> None:
    """Print the JSON Schema of a configuration file, or of all four by the file's name."""
    from slakeeper.config.json_schema import file_schemas

    schemas = file_schemas()
    document = schemas if name is None else schemas[f"{name}.yaml"]
    session.show(document, lambda shown: json.dumps(shown, indent=2, ensure_ascii=False))
