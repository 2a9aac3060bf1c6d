"""`slakeeper mcp`: the running system as a server of the Model Context Protocol."""

import click

from slakeeper.session import BAD_CONFIGURATION, Session, command, fail, said

# Commands are made in a group; this one is added to the main one afterwards.
_group = click.Group("mcp")


def _who(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    return None if given is None else said(context, option, given)


@command(_group, "mcp")
@click.option("--allow-acknowledge", is_flag=True, help="Also offer to acknowledge violations, as --by.")
@click.option("--by", callback=_who, help="In whose name violations are acknowledged.")
def mcp(session: Session, allow_acknowledge: bool, by: str | None) -> None:
    """Serve the Model Context Protocol on standard input and output (needs the extra: slakeeper[mcp])."""
    if allow_acknowledge != (by is not None):
        raise click.UsageError("--allow-acknowledge and --by WHO go together")
    try:
        from slakeeper.mcp_server import make_server
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        fail(BAD_CONFIGURATION, "its package is missing: pip install 'slakeeper[mcp]'", "missing_extra")
    # Whoever names the wrong directory learns it now, and not from a tool's answer.
    session.ask("ping")
    make_server(session.ask, by).run("stdio")
