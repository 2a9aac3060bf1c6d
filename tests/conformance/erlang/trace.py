"""What there was to see of a script, and where two of them differ."""

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from tests.conformance.erlang.script import Happening, Script, Settings

Line: TypeAlias = list[Any]
"""A word for what is told, and what it is told of; all who run scripts write the same."""


class Subject(Protocol):
    """A supervisor that a script is tried on; made of its settings and first children."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""

    def begin(self) -> list[Line]:
        """What there is to see of the start."""

    def step(self, step: tuple[Happening, ...]) -> list[Line]:
        """What there is to see once all of it has happened and everything is at rest."""


def trace_of(make: Callable[[Script], Subject], script: Script) -> list[Line]:
    """All there is to see of a script."""
    subject = make(script)
    lines = subject.begin()
    for step in script.steps:
        if subject.ended:
            break
        lines += subject.step(step)
    return lines


def comparable(settings: Settings, trace: list[Line]) -> list[Line]:
    """A trace without what neither side promises.

    Under simple_one_for_one children have no order: what is listed, and those that end together, may come in any.
    OTP reports what its children ended with there as a sum, we one by one.
    """
    lines = [line for line in trace if line != ["nobody"]]
    if not settings.simple:
        return lines
    return [[word, *_without_order(word, rest)] for word, *rest in lines]


def _without_order(word: str, rest: list[Any]) -> list[Any]:
    if word == "which":
        return sorted(rest)
    if word != "events":
        return rest
    events: list[Line] = []
    together: list[Line] = []
    for event in rest:
        if event[0] == "down":
            together.append(event)
        elif event[:2] != ["report", "shutdown_error"]:
            events += [*sorted(together), event]
            together = []
    return [*events, *sorted(together)]


def difference(script: Script, one: tuple[str, list[Line]], other: tuple[str, list[Line]]) -> str | None:
    """The script, and where two traces of it part; None if they do not.

    Args:
        script: what was run.
        one: whose trace, and the trace.
        other: likewise.
    """
    (name, first), (other_name, second) = (
        (whose, comparable(script.settings, trace)) for whose, trace in (one, other)
    )
    if first == second:
        return None
    pairs = zip(first, second, strict=False)
    parted = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
    return (
        f"{script.erlang()}\nboth: {json.dumps(first[:parted])}\n{name}: {json.dumps(first[parted:])}\n"
        f"{other_name}: {json.dumps(second[parted:])}"
    )
