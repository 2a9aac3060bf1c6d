"""What a process of the system does: a service, made by an entry point, hosted by one process actor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    PERMANENT,
    ChildSpec,
    Flags,
    Restart,
    Shutdown,
    ShutdownMode,
)

CONTACT = "admin"
"""The process whose service answers clients from outside (:mod:`slakeeper.otp.attach`)."""


_ENDLESS_S = 3_600.0
"""What a service is told that may take for ever to stop."""


class NotNeeded(Exception):
    """Raised by a factory or by ``Service.start``: there is nothing to do for this process, and that is no failure.

    OTP's ``ignore``: the process ends, its spec is kept (a temporary one's is not), the next one is started.
    """


class RequestRefused(Exception):
    """A request was understood and not done.

    Attributes:
        code: not_found, invalid, conflict, unavailable, forbidden or internal.
        details: further plain values for the caller.
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the system, as data.

    Args:
        name: its name among its siblings.
        entry: ``"module:factory"``; called as ``factory(args, context)`` in the process, returns a Service.
        args: plain values for the factory.
        restart: whether the process comes back after its end.
        shutdown_ms: from asking it to stop until it is killed [ms]; or BRUTAL_KILL (it is not asked), or INFINITY
            (it is never killed).
        heartbeat_ms: how often it shows that it lives [ms].
        hang_after_ms: without a sign of life for this long it is killed [ms], > 2 * heartbeat_ms.
        start_timeout_ms: how long ``Service.start`` may take [ms].
        significant: whether its own end may end the root supervisor, as ``SystemSpec.flags.auto_shutdown`` says.
    """

    name: str
    entry: str
    args: Mapping[str, Any] = field(default_factory=dict)
    restart: Restart = PERMANENT
    shutdown_ms: Shutdown = 5_000
    heartbeat_ms: int = 1_000
    hang_after_ms: int = 10_000
    start_timeout_ms: int = 30_000
    significant: bool = False

    def __post_init__(self) -> None:
        module, colon, factory = self.entry.partition(":")
        if not (module and colon and factory):
            raise ValueError(f"an entry is module:factory, not {self.entry!r}")
        shutdown_ms = self.shutdown_ms if isinstance(self.shutdown_ms, int) else 0
        if min(shutdown_ms, self.start_timeout_ms) < 0 or self.heartbeat_ms <= 0:
            raise ValueError(f"the times of process {self.name!r} must not be negative")
        if self.hang_after_ms <= 2 * self.heartbeat_ms:
            raise ValueError(f"hang_after_ms of process {self.name!r} must be more than two heartbeats")

    def child(self) -> ChildSpec:
        """The same for a supervisor."""
        return ChildSpec(
            id=self.name,
            start=self,
            restart=self.restart,
            shutdown=self.shutdown_ms,
            significant=self.significant,
        )

    @property
    def stop_limit_s(self) -> float:
        """How long its service may take to stop [s]."""
        if isinstance(self.shutdown_ms, int):
            return self.shutdown_ms / 1000
        return 0.0 if ShutdownMode(self.shutdown_ms) is BRUTAL_KILL else _ENDLESS_S

    def make(self, context: "ServiceContext") -> "Service":
        """Calls the factory.

        Raises:
            ImportError, AttributeError: there is no such entry.
        """
        module, _, factory = self.entry.partition(":")
        return cast("Service", getattr(import_module(module), factory)(dict(self.args), context))


@dataclass(frozen=True)
class SystemSpec:
    """All processes of the system.

    Args:
        processes: in the order of their start; their stop is in reverse.
        flags: how the root supervisor treats them. However it ends (too many restarts, auto_shutdown), its heart starts
            the next generation.
        facts: plain values for ``run.json`` and for every service's ``context.shared["run"]``.
    """

    processes: tuple[ProcessSpec, ...]
    flags: Flags = Flags(intensity=5, period_s=30)  # noqa: RUF009  frozen
    facts: Mapping[str, Any] = field(default_factory=dict)


class ServiceContext(Protocol):
    """A service's way to the system around it.

    Attributes:
        name: of the process.
        restarts: how often this process was started again in this generation.
        generation: how often the whole system was started by this heart, from 1.
        shared: facts of the children started before this one, by name; ``shared["run"]`` holds those of the run.
    """

    @property
    def name(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def shared(self) -> Mapping[str, Any]: ...

    def crashed(self, reason: str) -> None:
        """Ends the process with a reason; from any thread. Returns at once."""

    def finished(self, reason: str = "normal") -> None:
        """Stops the service and ends the process as one that has done its work; from any thread. Returns at once.

        A transient process does not come back from it.

        Args:
            reason: ``normal``, ``shutdown``, or ``shutdown: …``.
        """

    def root_request(self, name: str, payload: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """Asks the root supervisor and waits; from a request's thread.

        Raises:
            RequestRefused: not done; code ``unavailable`` when no answer came.
        """


class Service(Protocol):
    """What runs in a process. ``start``, ``request`` and ``stop`` are called on threads that ``beat`` is not."""

    def start(self) -> Mapping[str, Any]:
        """Starts serving and returns plain facts, such as ``{"http": "127.0.0.1:8765"}``; raise to fail.

        Raises:
            NotNeeded: it is no failure that this process does not run.
        """

    def stop(self, deadline_s: float) -> None:
        """Stops within ``deadline_s`` [s]; the process ends after it. Not called if ``start`` never returned."""

    def beat(self) -> Mapping[str, Any]:
        """Shows that it lives, quickly: plain values, ``age_ms`` of its own loop [ms] among them if it has one.

        The process counts as hung and is killed when this raises, does not return, or ``age_ms`` exceeds
        ``hang_after_ms``.
        """

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answers a client; up to four at the same time, each on a thread of its own.

        Raises:
            RequestRefused: for an answer with a code; anything else becomes ``internal``.
        """
