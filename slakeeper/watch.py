"""What is looked at again and again until Ctrl-C; the tree of the running system among it."""

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import click

from slakeeper.session import Session
from slakeeper.text import tree_text


def until_interrupted(look: Callable[[], None], every_s: float, for_s: float | None = None) -> None:
    """Looks, waits, and looks again until Ctrl-C, or for so long.

    Args:
        look: may take its time; Ctrl-C ends it.
        every_s: from the end of one look to the next.
        for_s: without end if None.
    """
    until_s = None if for_s is None else time.monotonic() + for_s
    is_over = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_over
        is_over = True  # an exception alone is lost when it comes in the middle of a destructor
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, interrupt)
    try:
        while not is_over and (until_s is None or time.monotonic() < until_s):
            look()
            time.sleep(every_s)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, former)


def watch_tree(session: Session, every_s: float) -> None:
    """Shows the tree until Ctrl-C: in place on a terminal, else one picture after the other."""
    if not sys.stdout.isatty():
        until_interrupted(lambda: click.echo(tree_text(session.ask("tree")) + "\n"), every_s)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True, vertical_overflow="crop") as live:

        def look() -> None:
            live.update(Text(tree_text(session.ask("tree")), no_wrap=True, overflow="crop"), refresh=True)

        until_interrupted(look, every_s)
