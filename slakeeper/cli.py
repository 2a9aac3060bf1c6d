"""The command line: `slakeeper …`."""

import click

from slakeeper import __version__


@click.group()
@click.version_option(__version__, prog_name="slakeeper")
def main() -> None:
    """Keep service level agreements."""
