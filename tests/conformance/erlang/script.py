"""What a supervisor is put through, as data: the same script goes to Erlang's supervisor and to ours.

A script has flags, the first children, and steps. A step is one thing that happens, or several that lie in the
supervisor's mailbox before it looks at the first of them. After each step everything comes to rest; only then are
the two compared. That keeps out the one difference there is on purpose, that ours answers while it is busy.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    TEMPORARY,
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

_CHANGING_SHARE = 0.4
"""Of the scripts, those with code_change."""

_IDS = tuple(f"c{number}" for number in range(1, 7))


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

    def erlang(self) -> str:
        significant = str(self.significant).lower()
        return (
            f"#{{id=>{self.id},restart=>{self.restart},significant=>{significant},shutdown=>{self.shutdown},"
            f"type=>{self.type},stop=>{self.stop},starts=>[{','.join(self.starts)}]}}"
        )


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


Happening: TypeAlias = Exit | Start | Ask | Change | Stop


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


# -- by chance -------------------------------------------------------------------------------------------------


def random_script(random: Random, strategy: Strategy) -> Script:
    """One script; the same for the same state of ``random``."""
    return _Author(random).script(strategy)


class _Author:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._spawned = 0
        self._template: Worker | None = None
        self._changes = random.random() < _CHANGING_SHARE

    def script(self, strategy: Strategy) -> Script:
        settings = self._settings(strategy)
        if settings.simple:
            self._template = self._worker(settings, "t", fails=0)
            workers: tuple[Worker, ...] = (self._template,)
        else:
            ids = _IDS[: self._random.randint(0, 4)]
            workers = tuple(self._worker(settings, one, fails=0.05) for one in ids)
        steps = [self._step(settings) for _ in range(self._random.randint(1, 12))]
        return Script(settings, workers, (*steps, (Stop(),)))

    def _settings(self, strategy: Strategy) -> Settings:
        auto_shutdown = AutoShutdown.NEVER
        if strategy is not SIMPLE_ONE_FOR_ONE:
            auto_shutdown = self._random.choice(list(AutoShutdown))
        return Settings(strategy, self._random.randint(0, 5), auto_shutdown)

    def _worker(self, settings: Settings, child_id: str, fails: float, daring: bool = False) -> Worker:
        random = self._random
        restart = random.choice(list(Restart))
        may_count = settings.auto_shutdown is not AutoShutdown.NEVER and restart is not PERMANENT
        if daring:
            may_count = may_count or random.random() < 0.1  # and is refused if it may not
        kind = SUPERVISOR if random.random() < 0.1 else WORKER
        shutdown: Shutdown = random.choice((GRACE_MS, GRACE_MS, INFINITY, BRUTAL_KILL))
        # A change could give it for ever to end in, and whoever never ends would then take that long.
        never = 0 if self._changes or settings.simple else 1
        stop = random.choices(STOPS, (6, 2, 2, never))[0]
        if stop == NEVER and shutdown is not BRUTAL_KILL:
            shutdown = SHORT_GRACE_MS
        first = [self._outcome(fails)]
        later = [self._outcome(0.3) for _ in range(random.randint(0, 4))]
        if settings.simple:
            # OTP 25 crashes over a restart that is ignored there; its later suite has a case for it.
            later = [UP if one == IGNORE else one for one in later]
        starts = (*first, *later)
        return Worker(child_id, restart, may_count and random.random() < 0.5, shutdown, kind, stop, starts)

    def _outcome(self, fails: float) -> str:
        if self._random.random() < fails:
            return self._random.choice((IGNORE, *FAILURES))
        return INFO if self._random.random() < 0.1 else UP

    def _step(self, settings: Settings) -> tuple[Happening, ...]:
        if self._changes and self._random.random() < 0.15:
            return (self._change(settings),)
        count = self._random.choices((1, 2, 3, 4), (8, 3, 2, 1))[0]
        # Without repetition: under simple_one_for_one a second terminate_child would name the pid of a dead one.
        return tuple(dict.fromkeys(self._happening(settings) for _ in range(count)))

    def _happening(self, settings: Settings) -> Happening:
        kinds: list[tuple[int, Callable[[], Happening]]] = [
            (5, lambda: Exit(self._known(settings), self._random.choice(list(EXITS)))),
            (3, lambda: Start(self._newcomer(settings))),
            (2, lambda: Ask("terminate_child", self._known(settings))),
            (1, lambda: Ask("restart_child", self._known(settings))),
            (1, lambda: Ask("delete_child", self._known(settings))),
        ]
        if settings.simple:
            kinds.append((1, lambda: Ask("terminate_id", "t")))
        return self._random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()

    def _newcomer(self, settings: Settings) -> Worker:
        if not settings.simple:
            return self._worker(settings, self._random.choice(_IDS), fails=0.3, daring=True)
        self._spawned += 1
        return self._worker(settings, f"s{self._spawned}", fails=0.3)

    def _known(self, settings: Settings) -> str:
        if not settings.simple:
            return self._random.choice(_IDS)
        return f"s{self._random.randint(1, max(1, self._spawned))}"

    def _change(self, settings: Settings) -> Change:
        if settings.simple:
            new = Settings(settings.strategy, self._random.randint(0, 5))
            template = self._worker(new, "t", fails=0)
            if self._template is not None and TEMPORARY in (template.restart, self._template.restart):
                # OTP keeps temporary children in another way, and loses the arguments of those that were not.
                template = replace(template, restart=self._template.restart)
            return Change(new, (template,))
        strategy = self._random.choice([one for one in Strategy if one is not SIMPLE_ONE_FOR_ONE])
        new = self._settings(strategy)
        ids = self._random.sample(_IDS, self._random.randint(0, 4))
        workers = (self._worker(new, one, fails=0.3) for one in ids)
        return Change(new, tuple(workers))
