"""What a supervisor is told: a spec for each child, flags for itself, and the errors OTP has names for."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from slakeeper.otp.backoff import Backoff


class SpecError(ValueError):
    """A child spec or a supervisor flag that cannot mean anything.

    Attributes:
        reason: OTP's name of the error, such as ``invalid_restart_type`` or ``bad_combination``.
        value: what was given.
        where: ``start_spec`` or ``supervisor_data`` when it was found while a supervisor was made, else ``""``.
    """

    def __init__(self, reason: str, value: object, where: str = "") -> None:
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}{reason}: {value!r}")
        self.reason = reason
        self.value = value
        self.where = where


class Restart(StrEnum):
    """Whether a child that ended comes back."""

    PERMANENT = "permanent"
    """Always, also after a normal end."""
    TRANSIENT = "transient"
    """Only after an abnormal end; after a normal one the spec is kept."""
    TEMPORARY = "temporary"
    """Never; the spec goes with the child."""


class ChildType(StrEnum):
    """What the child is; a supervisor is given unlimited time to stop its own children."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Strategy(StrEnum):
    """Who else is restarted when a child is."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    REST_FOR_ONE = "rest_for_one"
    """The children started after it: stopped in reverse, started again in order."""
    ONE_FOR_ALL = "one_for_all"
    """All the others, in the same way."""
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"
    """Nobody; all children are made of one template, on request, and are known by their pids alone."""


class AutoShutdown(StrEnum):
    """Whether the end of significant children ends the supervisor, with reason ``shutdown``."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class ShutdownMode(StrEnum):
    """How a child is stopped when not by a number of milliseconds."""

    BRUTAL_KILL = "brutal_kill"
    """Killed at once."""
    INFINITY = "infinity"
    """Asked, and waited for without end."""


PERMANENT: Final = Restart.PERMANENT
TRANSIENT: Final = Restart.TRANSIENT
TEMPORARY: Final = Restart.TEMPORARY
WORKER: Final = ChildType.WORKER
SUPERVISOR: Final = ChildType.SUPERVISOR
ONE_FOR_ONE: Final = Strategy.ONE_FOR_ONE
REST_FOR_ONE: Final = Strategy.REST_FOR_ONE
ONE_FOR_ALL: Final = Strategy.ONE_FOR_ALL
SIMPLE_ONE_FOR_ONE: Final = Strategy.SIMPLE_ONE_FOR_ONE
IN_ORDER: Final = (REST_FOR_ONE, ONE_FOR_ALL)
"""Strategies under which children depend on those before them, so that only one at a time is started."""
BRUTAL_KILL: Final = ShutdownMode.BRUTAL_KILL
INFINITY: Final = ShutdownMode.INFINITY

Shutdown: TypeAlias = int | ShutdownMode
"""Milliseconds (>= 0) between asking a child to stop and killing it, or a ShutdownMode."""

DEFAULT_SHUTDOWN_MS: Final = 5_000

FORGOTTEN: Final = "forgotten"
"""In place of the ``start`` of a temporary child that has been started: it is never started again."""


@dataclass(slots=True)
class ChildSpec:
    """One child of a supervisor, as data; never changed once it is made (and not frozen, as that would cost 1 µs).

    Args:
        id: its name among its siblings, not empty.
        start: what the driver needs to start it; opaque here, not None.
        restart: whether it comes back after its end.
        shutdown: ms to wait before a kill, BRUTAL_KILL or INFINITY; by default 5000 for a worker and INFINITY
            for a supervisor.
        type: worker or supervisor.
        significant: its own end may end the supervisor (see AutoShutdown); never of a permanent child.

    Raises:
        SpecError: missing_id, missing_start, invalid_restart_type, invalid_shutdown, invalid_child_type,
            invalid_significant, bad_combination.
    """

    id: str
    start: Any
    restart: Restart = PERMANENT
    # None only between __init__ and __post_init__: the default depends on the type.
    shutdown: Shutdown = field(default=cast("Shutdown", None))
    type: ChildType = WORKER
    significant: bool = False

    def __post_init__(self) -> None:
        given: Any = (
            self  # what callers without a type checker pass is looked at, not what the fields promise
        )
        if not isinstance(given.id, str) or not self.id:
            raise SpecError("missing_id", self.id)
        if self.start is None:
            raise SpecError("missing_start", self.id)
        if not isinstance(given.restart, Restart):
            self.restart = _member(Restart, self.restart, "invalid_restart_type")
        if not isinstance(given.type, ChildType):
            self.type = _member(ChildType, self.type, "invalid_child_type")
        if given.shutdown is None:
            self.shutdown = INFINITY if self.type is SUPERVISOR else DEFAULT_SHUTDOWN_MS
        elif not isinstance(self.shutdown, int):
            self.shutdown = _member(ShutdownMode, self.shutdown, "invalid_shutdown")
        elif type(self.shutdown) is bool or self.shutdown < 0:
            raise SpecError("invalid_shutdown", self.shutdown)
        if not isinstance(given.significant, bool):
            raise SpecError("invalid_significant", self.significant)
        if self.significant and self.restart is PERMANENT:
            raise SpecError("bad_combination", ("significant", "permanent"))

    def named(self, child_id: str) -> Self:
        """The same for another child."""
        return self._with("id", child_id)

    def forgotten(self) -> Self:
        """The same without what the child was started with."""
        return self._with("start", FORGOTTEN)

    def _with(self, changed: str, value: Any) -> Self:
        # What is sound already is not looked at again: there may be very many of these.
        other = copy(self)
        setattr(other, changed, value)
        return other

    @classmethod
    def from_map(cls, given: Mapping[str, Any]) -> Self:
        """Makes a spec of a mapping with the fields' names as keys; unknown keys are ignored, as OTP does.

        Raises:
            SpecError: as the class; missing_id and missing_start also when the key is not there; invalid_child_spec
                when it is no mapping.
        """
        if not isinstance(given, Mapping):
            raise SpecError("invalid_child_spec", given)
        known = {name: given[name] for name in cls.__dataclass_fields__ if name in given}
        return cls(**{"id": "", "start": None, **known})


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Not OTP: each child has an intensity of its own, and past it is set aside instead of ending the supervisor.

    Args:
        intensity: how many restarts of one child are allowed within the period, >= 0.
        period_s: the look-back in whole seconds [s], > 0.
        backoff: the waits between the restarts of one child within the period; the first comes at once.

    Raises:
        SpecError: invalid_intensity, invalid_period, invalid_backoff, or bad_combination when the waits alone
            outlast the period, so that a child that always fails would never be set aside.
    """

    intensity: int
    period_s: int
    backoff: Backoff

    def __post_init__(self) -> None:
        _check_intensity(self.intensity, self.period_s)
        if not isinstance(self.backoff, Backoff):
            raise SpecError("invalid_backoff", self.backoff)
        # The waits before restarts 2..intensity and before the exit too many lie between the first counted
        # exit and the last; the first restart does not wait.
        if self.backoff.longest_ms(self.intensity - 1) > self.period_s * 1_000:
            raise SpecError("bad_combination", ("period_s", self.period_s, self.backoff))


@dataclass(frozen=True, slots=True)
class Flags:
    """How a supervisor treats its children.

    Args:
        strategy: who else is restarted when a child is.
        intensity: how many restarts are allowed within the period, >= 0; one more ends the supervisor.
        period_s: the look-back in whole seconds [s], > 0.
        quarantine: a policy for each child in place of the two above; only under one_for_one.
        auto_shutdown: whether the end of significant children ends the supervisor.

    Raises:
        SpecError: invalid_strategy, invalid_intensity, invalid_period, invalid_quarantine,
            invalid_auto_shutdown, bad_combination (quarantine or auto_shutdown with a strategy that has no use
            for it); all with ``where`` = ``supervisor_data``.
    """

    strategy: Strategy = ONE_FOR_ONE
    intensity: int = 1
    period_s: int = 5
    quarantine: Quarantine | None = None
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    def __post_init__(self) -> None:
        where = "supervisor_data"
        object.__setattr__(self, "strategy", _member(Strategy, self.strategy, "invalid_strategy", where))
        _check_intensity(self.intensity, self.period_s, where)
        auto_shutdown = _member(AutoShutdown, self.auto_shutdown, "invalid_auto_shutdown", where)
        object.__setattr__(self, "auto_shutdown", auto_shutdown)
        if self.quarantine is not None:
            if not isinstance(self.quarantine, Quarantine):
                raise SpecError("invalid_quarantine", self.quarantine, where)
            if self.strategy is not ONE_FOR_ONE:
                raise SpecError("bad_combination", ("quarantine", self.strategy.value), where)
        if self.strategy is SIMPLE_ONE_FOR_ONE and self.auto_shutdown is not AutoShutdown.NEVER:
            raise SpecError("bad_combination", (self.strategy.value, self.auto_shutdown.value), where)

    @classmethod
    def from_map(cls, given: Mapping[str, Any]) -> Self:
        """Makes flags of a mapping with the fields' names as keys; unknown keys are ignored, as OTP does.

        Raises:
            SpecError: as the class, and invalid_type when it is no mapping.
        """
        if not isinstance(given, Mapping):
            raise SpecError("invalid_type", given, "supervisor_data")
        return cls(**{name: given[name] for name in cls.__dataclass_fields__ if name in given})


def check_specs(flags: Flags, specs: Sequence[ChildSpec]) -> None:
    """Refuses what cannot be the initial children of one supervisor.

    Raises:
        SpecError: bad_start_spec when simple_one_for_one has not exactly one spec; with ``where`` = ``start_spec``
            duplicate_child_name, and what ``check_spec`` refuses.
    """
    if not isinstance(flags, Flags):
        raise SpecError("invalid_type", flags, "supervisor_data")
    if flags.strategy is SIMPLE_ONE_FOR_ONE and len(specs) != 1:
        raise SpecError("bad_start_spec", list(specs))
    ids: set[str] = set()
    for spec in specs:
        check_spec(flags, spec, "start_spec")
        if spec.id in ids:
            raise SpecError("duplicate_child_name", spec.id, "start_spec")
        ids.add(spec.id)


def check_spec(flags: Flags, spec: ChildSpec, where: str = "") -> None:
    """Refuses a child that this supervisor cannot have.

    Raises:
        SpecError: invalid_child_spec when it is no spec; bad_combination when it is significant and nobody minds.
    """
    if not isinstance(spec, ChildSpec):
        raise SpecError("invalid_child_spec", spec, where)
    if spec.significant and flags.auto_shutdown is AutoShutdown.NEVER:
        raise SpecError("bad_combination", ("significant", "auto_shutdown", "never"), where)


_Member = TypeVar("_Member", bound=StrEnum)


def _member(kind: type[_Member], value: object, reason: str, where: str = "") -> _Member:
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value in set(kind):
        return kind(value)
    raise SpecError(reason, value, where)


def _check_intensity(intensity: object, period_s: object, where: str = "") -> None:
    if not isinstance(intensity, int) or isinstance(intensity, bool) or intensity < 0:
        raise SpecError("invalid_intensity", intensity, where)
    if not isinstance(period_s, int) or isinstance(period_s, bool) or period_s <= 0:
        raise SpecError("invalid_period", period_s, where)
