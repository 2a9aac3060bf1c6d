"""What children do under a naive supervisor: how their starts end, what runs, and what all of them did, in order."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conformance.erlang.script import UP, Worker
from tests.conformance.erlang.trace import Line

if TYPE_CHECKING:
    from tests.conformance.erlang.naive_supervisor import Supervisor


@dataclass(eq=False)
class Process:
    """Something that was started: a worker or, with ``below``, a supervisor."""

    name: str
    worker: Worker
    below: "Supervisor | None"
    tells: bool = False
    """Whether its start gave something beside the pid."""
    reason: str = ""
    """Why it ended; "" while it runs."""

    @property
    def normal(self) -> bool:
        return self.reason in ("normal", "shutdown") or self.reason.startswith("shutdown: ")


class World:
    """All of a script's workers and processes."""

    def __init__(self) -> None:
        self.starts: dict[str, list[str]] = {}
        self.events: list[Line] = []
        self._started: Counter[str] = Counter()

    def behave(self, worker: Worker) -> None:
        """From now on its starts, and those of its children, end as it says."""
        self.starts[worker.id] = list(worker.starts)
        for one in worker.below.workers if worker.below else ():
            self.behave(one)

    def start(self, worker: Worker) -> str:
        """It is to start; how that ends."""
        self.events.append(["start", worker.id])
        left = self.starts.get(worker.id)
        return left.pop(0) if left else UP

    def up(self, worker: Worker, below: "Supervisor | None", *, tells: bool) -> Process:
        """It runs."""
        self._started[worker.id] += 1
        name = f"{worker.id}#{self._started[worker.id]}"
        self.events.append(["up", name])
        return Process(name, worker, below, tells)

    def end(self, process: Process, reason: str) -> None:
        """It runs no more."""
        process.reason = reason
        self.events.append(["down", process.name, reason])
