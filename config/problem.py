"""What is wrong with a configuration, and where: every finding of every file, not only the first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Step = str | int
"""A key of a mapping or an index of a list."""

Place = tuple[Step, ...]
"""The steps from a file's top to a value; ``()`` is the whole file."""


ABOUT_DIRECTORY = frozenset({"missing_directory", "not_a_directory", "unreadable_directory"})
"""Reasons of problems whose ``file`` is the configuration's directory."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error.

    Attributes:
        file: the file as it was named to the loader.
        line: counted from 1; that of the nearest enclosing value when the value itself is missing.
        path: such as ``slas[0].metrics[1].weight``; empty for the file as a whole.
        reason: a stable word for programs, such as ``invalid_service_level`` or ``unknown_key``.
        message: one line for people. Values of secret fields never stand in it.
    """

    file: str
    line: int
    path: str
    reason: str
    message: str

    def to_document(self) -> dict[str, str | int]:
        """Plain JSON values under the attributes' names."""
        return {
            "file": self.file,
            "line": self.line,
            "path": self.path,
            "reason": self.reason,
            "message": self.message,
        }

    def __str__(self) -> str:
        # What is about the directory itself has no line to look at.
        line = "" if self.reason in ABOUT_DIRECTORY else f":{self.line}"
        where = f"{self.file}{line}: " + (f"{self.path}: " if self.path else "")
        return f"{where}{self.message} [{self.reason}]"


class ConfigError(Exception):
    """The configuration cannot be used. ``errors`` has every problem found, by file and line."""

    def __init__(self, errors: Iterable[Problem]) -> None:
        self.errors: Sequence[Problem] = tuple(errors)
        super().__init__("\n".join(str(problem) for problem in self.errors))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[Sequence[Problem]]]:
        return (ConfigError, (self.errors,))


MAX_PROBLEMS = 1_000
"""As many are reported of one file."""

_MAX_TEXT = 400


def one_line(text: str) -> str:
    """``text`` on one line, cut to a length that people read."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def show_place(place: Place) -> str:
    """``("slas", 0, "metrics")`` as ``slas[0].metrics``."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return one_line(text)
