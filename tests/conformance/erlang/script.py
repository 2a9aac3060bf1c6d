"""What a supervisor is put through, as data: the same script goes to Erlang's supervisor and to ours.

A script has flags, the first children, and steps. A step is one thing that happens, or several that lie in the
supervisor's mailbox before it looks at the first of them. After each step everything comes to rest; only then are
the two compared. That keeps out the one difference there is on purpose, that ours answers while it is busy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from slakeeper.otp.child_spec import (
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    WORKER,
    AutoShutdown,
    ChildType,
    Restart,
    Shutdown,
    Strategy,
)

# Nothing takes that long, so that every restart of a script counts, whatever the clock says.
PERIOD_S = 3_600
GRACE_MS = 5_000
# For a child that ignores its stop: it is killed after this, and really waited for.
SHORT_GRACE_MS = 2

UP, INFO, IGNORE = "up", "info", "ignore"
FAILURES = {"error": "no_luck", "crash": "crashed", "raise": "raised"}
"""How a start fails, and with what: it returns an error, its process crashes in init, or the function raises."""

EXITS = {
    "normal": "normal",
    "shutdown": "shutdown",
    "{shutdown,x}": "shutdown: x",
    "boom": "boom",
    "kill": "killed",
}
"""How a worker ends by itself, as Erlang writes it and as we do."""

AS_ASKED, NEVER = "as_asked", "never"
STOPS = (AS_ASKED, "normal", "odd", NEVER)
"""What a worker does that is asked to stop: ends with that reason, another one, or does not."""


@dataclass(frozen=True)
class Worker:
    """A child: its spec, what it does about a stop, and how its next starts end; those after them are UP."""

    id: str
    restart: Restart = PERMANENT
    significant: bool = False
    shutdown: Shutdown = GRACE_MS
    type: ChildType = WORKER
    stop: str = AS_ASKED
    starts: tuple[str, ...] = ()
    below: "Branch | None" = None
    """If it is a supervisor itself: of what."""

    def erlang(self) -> str:
        significant = str(self.significant).lower()
        below = "none" if self.below is None else self.below.erlang()
        return (
            f"#{{id=>{self.id},restart=>{self.restart},significant=>{significant},shutdown=>{self.shutdown},"
            f"type=>{self.type},stop=>{self.stop},starts=>[{','.join(self.starts)}],below=>{below}}}"
        )


@dataclass(frozen=True)
class Branch:
    """A supervisor below the one of the script: its flags and first children."""

    settings: "Settings"
    workers: tuple[Worker, ...]

    def erlang(self) -> str:
        return f"{{{self.settings.erlang()},{_list(self.workers)}}}"


@dataclass(frozen=True)
class Settings:
    """The flags."""

    strategy: Strategy
    intensity: int
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    @property
    def simple(self) -> bool:
        return self.strategy is SIMPLE_ONE_FOR_ONE

    def erlang(self) -> str:
        return (
            f"#{{strategy=>{self.strategy},intensity=>{self.intensity},period=>{PERIOD_S},"
            f"auto_shutdown=>{self.auto_shutdown}}}"
        )


@dataclass(frozen=True)
class Exit:
    """A worker, if it runs, ends by itself; ``reason`` is a key of EXITS."""

    id: str
    reason: str

    def erlang(self) -> str:
        return f"{{exit,{self.id},{self.reason}}}"


@dataclass(frozen=True)
class Start:
    """start_child."""

    worker: Worker

    def erlang(self) -> str:
        return f"{{start_child,{self.worker.erlang()}}}"


@dataclass(frozen=True)
class Ask:
    """terminate_child (under simple_one_for_one by its pid, if it runs), terminate_id, restart_child, delete_child."""

    what: str
    id: str

    def erlang(self) -> str:
        return f"{{{self.what},{self.id}}}"


@dataclass(frozen=True)
class Change:
    """code_change, always a step of its own."""

    settings: Settings
    workers: tuple[Worker, ...]

    def erlang(self) -> str:
        return f"{{change,{self.settings.erlang()},{_list(self.workers)}}}"


@dataclass(frozen=True)
class Stop:
    """The supervisor's parent stops it, always in a step of its own."""

    def erlang(self) -> str:
        return "stop"


@dataclass(frozen=True)
class Under:
    """What happens to a supervisor below, if it runs, or to one of its children; always a step of its own."""

    branch: str
    what: Exit | Start | Ask

    def erlang(self) -> str:
        return f"{{under,{self.branch},{self.what.erlang()}}}"


Happening: TypeAlias = Exit | Start | Ask | Change | Stop | Under


@dataclass(frozen=True)
class Script:
    """All of it; under simple_one_for_one ``workers`` is the template alone."""

    settings: Settings
    workers: tuple[Worker, ...]
    steps: tuple[tuple[Happening, ...], ...]

    def erlang(self) -> str:
        """As one line that file:consult reads."""
        steps = ",".join(_list(step) for step in self.steps)
        return f"{{{self.settings.erlang()},{_list(self.workers)},[{steps}]}}."


def _list(things: Iterable[Worker | Happening]) -> str:
    return f"[{','.join(one.erlang() for one in things)}]"
