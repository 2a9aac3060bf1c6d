"""The tree of the running system, shown again and again."""

import sys
import time

import click

from slakeeper.session import Session
from slakeeper.text import tree_text


def watch_tree(session: Session, every_s: float) -> None:
    """Shows the tree until Ctrl-C: in place on a terminal, else one picture after the other.

    Args:
        every_s: seconds between two looks.
    """
    try:
        if sys.stdout.isatty():
            _in_place(session, every_s)
        while True:
            click.echo(tree_text(session.ask("tree")) + "\n")
            time.sleep(every_s)
    except KeyboardInterrupt:
        return


def _in_place(session: Session, every_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            live.update(Text(tree_text(session.ask("tree")), no_wrap=True, overflow="crop"), refresh=True)
            time.sleep(every_s)
