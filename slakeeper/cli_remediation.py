"""The off switch of automatic remediation on the command line."""

from typing import Any

import click

from slakeeper.session import Session, command, said


@click.group()
def remediation() -> None:
    """Whether actions run by themselves: off, on."""


def _switch(name: str, text: str) -> None:
    @click.option("--by", required=True, callback=said, help="Who decides this.")
    @click.option("--reason", required=True, callback=said, help="Why.")
    def run(session: Session, by: str, reason: str) -> None:
        session.show(session.ask("remediation", on=name == "on", by=by, reason=reason), _line)

    run.__doc__ = text
    command(remediation, name)(run)


_switch("off", "No action begins by itself any more, in all cells and for good; an attempt under way ends.")
_switch("on", "Actions run by themselves again; what was held back meanwhile is not made up for.")


def _line(answer: dict[str, Any]) -> str:
    line = f"remediation is {answer['state']} (by {answer['by']}: {answer['reason']})"
    if answer["unreached"]:
        line += (
            f"; not yet confirmed by {', '.join(answer['unreached'])}, which will learn it from the others"
        )
    return line
