"""Scripts by chance, within what OTP 25 and ours can be compared in."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    TEMPORARY,
    WORKER,
    AutoShutdown,
    Restart,
    Shutdown,
    Strategy,
)
from tests.conformance.erlang.script import (
    EXITS,
    FAILURES,
    GRACE_MS,
    IGNORE,
    INFO,
    NEVER,
    SHORT_GRACE_MS,
    STOPS,
    UP,
    Ask,
    Branch,
    Change,
    Exit,
    Happening,
    Script,
    Settings,
    Start,
    Stop,
    Under,
    Worker,
)

_CHANGING_SHARE = 0.4
"""Of the scripts, those with code_change."""
_BRANCHED_SHARE = 0.4
"""Of the scripts, those with supervisors below."""

_IDS = tuple(f"c{number}" for number in range(1, 7))
_BRANCHES = ("b1", "b2")
_NAMED = tuple(strategy for strategy in Strategy if strategy is not SIMPLE_ONE_FOR_ONE)
_MODEST = Settings(Strategy.ONE_FOR_ONE, 1)
"""Of what goes below: nobody there is significant, who comes later."""


def random_script(random: Random, strategy: Strategy) -> Script:
    """One script; the same for the same state of ``random``."""
    return _Author(random).script(strategy)


class _Author:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._spawned = 0
        self._template: Worker | None = None
        self._changes = random.random() < _CHANGING_SHARE
        self._branched = random.random() < _BRANCHED_SHARE

    def script(self, strategy: Strategy) -> Script:
        settings = self._settings(strategy)
        if settings.simple:
            self._template = self._worker(settings, "t", fails=0)
            workers: tuple[Worker, ...] = (self._template,)
        else:
            ids = _IDS[: self._random.randint(0, 4)]
            found = [self._worker(settings, one, fails=0.05) for one in ids]
            if self._branched:
                for branch_id in _BRANCHES[: self._random.randint(1, 2)]:
                    found.insert(self._random.randint(0, len(found)), self._branch(settings, branch_id))
            workers = tuple(found)
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

    def _branch(self, settings: Settings, branch_id: str) -> Worker:
        """A supervisor below: stopped in order, as a supervisor has to be, so never killed."""
        worker = self._worker(settings, branch_id, fails=0.05)
        below = self._settings(self._random.choice(_NAMED))
        ids = [f"{branch_id}{letter}" for letter in "xyz"[: self._random.randint(0, 3)]]
        workers = tuple(self._worker(below, one, fails=0.05) for one in ids)
        return replace(worker, type=SUPERVISOR, shutdown=INFINITY, below=Branch(below, workers))

    def _under(self) -> Under:
        branch_id = self._random.choice(_BRANCHES)
        one = f"{branch_id}{self._random.choice('xyz')}"
        kinds: list[tuple[int, Callable[[], Exit | Start | Ask]]] = [
            (6, lambda: Exit(one, self._random.choice(list(EXITS)))),
            (2, lambda: Start(self._worker(_MODEST, one, fails=0.3))),
            (1, lambda: Ask("terminate_child", one)),
            (1, lambda: Ask("restart_child", one)),
            (1, lambda: Ask("delete_child", one)),
        ]
        return Under(
            branch_id, self._random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()
        )

    def _outcome(self, fails: float) -> str:
        if self._random.random() < fails:
            return self._random.choice((IGNORE, *FAILURES))
        return INFO if self._random.random() < 0.1 else UP

    def _step(self, settings: Settings) -> tuple[Happening, ...]:
        if self._changes and self._random.random() < 0.15:
            return (self._change(settings),)
        if self._branched and not settings.simple and self._random.random() < 0.4:
            return (self._under(),)
        count = self._random.choices((1, 2, 3, 4), (8, 3, 2, 1))[0]
        # Without repetition: under simple_one_for_one a second terminate_child would name the pid of a dead one.
        return tuple(dict.fromkeys(self._happening(settings) for _ in range(count)))

    def _happening(self, settings: Settings) -> Happening:
        kinds: list[tuple[int, Callable[[], Happening]]] = [
            (5, lambda: Exit(self._known(settings), self._random.choice(list(EXITS)))),
            (3, lambda: Start(self._newcomer(settings))),
            (2, lambda: Ask("terminate_child", self._known(settings, branches=True))),
            (1, lambda: Ask("restart_child", self._known(settings, branches=True))),
            (1, lambda: Ask("delete_child", self._known(settings, branches=True))),
        ]
        if settings.simple:
            kinds.append((1, lambda: Ask("terminate_id", "t")))
        return self._random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()

    def _newcomer(self, settings: Settings) -> Worker:
        if not settings.simple:
            if self._branched and self._random.random() < 0.2:
                return self._branch(settings, self._random.choice(_BRANCHES))
            return self._worker(settings, self._random.choice(_IDS), fails=0.3, daring=True)
        self._spawned += 1
        return self._worker(settings, f"s{self._spawned}", fails=0.3)

    def _known(self, settings: Settings, *, branches: bool = False) -> str:
        if not settings.simple:
            return self._random.choice((*_IDS, *_BRANCHES) if branches and self._branched else _IDS)
        return f"s{self._random.randint(1, max(1, self._spawned))}"

    def _change(self, settings: Settings) -> Change:
        if settings.simple:
            new = Settings(settings.strategy, self._random.randint(0, 5))
            template = self._worker(new, "t", fails=0)
            if self._template is not None and TEMPORARY in (template.restart, self._template.restart):
                # OTP keeps temporary children in another way, and loses the arguments of those that were not.
                template = replace(template, restart=self._template.restart)
            return Change(new, (template,))
        new = self._settings(self._random.choice(_NAMED))
        ids = self._random.sample(_IDS, self._random.randint(0, 4))
        workers = (self._worker(new, one, fails=0.3) for one in ids)
        return Change(new, tuple(workers))
