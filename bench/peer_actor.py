"""The actor of the Thespian figures; importable by name, because Thespian sends classes by their names."""

from typing import Any

from thespian.actors import Actor


class Counting(Actor):
    """Counts, and answers ``count`` with how much."""

    def __init__(self) -> None:
        self.count = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802  Thespian's name
        self.count += 1
        if message == "count":
            self.send(sender, self.count)  # type: ignore[no-untyped-call]  # Thespian has no types
