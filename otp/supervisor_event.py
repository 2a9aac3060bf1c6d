"""What a supervisor is told (events) and what it wants done (actions), as values; ``supervisor.step`` joins them.

``incarnation`` is a number a supervisor gives to each try to start a child, never twice. The driver hands it back
with every event about that try, so that what arrives late about an earlier one is known as such.

The driver owes an answer:

- to StartChild: ChildStarted, ChildIgnored or ChildStartFailed;
- to StopChild: ChildExited, once nothing of the child is left. It may ask for a stop while the start is still
  unanswered; then ChildIgnored or ChildStartFailed will do as well, and a ChildStarted only tells the pid.
- to ScheduleRetry: RetryDue after that time. Retries need no cancelling, an outdated one is ignored.

A pid is whatever the driver knows a running child by; None is no pid.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from slakeeper.otp.child_spec import ChildSpec, Shutdown

Ref: TypeAlias = Hashable
"""Whatever the driver finds the asker again by; one Reply with it follows each request."""


# -- events ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the initial children, in order."""


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child runs and has said so; ``info`` is passed through to who asked for the start."""

    child_id: str
    incarnation: int
    pid: Any
    info: Any = None


@dataclass(frozen=True, slots=True)
class ChildIgnored:
    """The child chose not to run; that is a success without a pid."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChildStartFailed:
    """The child did not come up, and nothing of it is left."""

    child_id: str
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChildExited:
    """The child is gone; ``reason`` is normal by ``is_normal``, or why it broke, or ``killed``."""

    child_id: str
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The time given by ScheduleRetry has passed."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class StartRequested:
    """start_child. Ok(pid, info); Error already_present, already_started (with pid), start_error, bad_combination,
    shutdown. After a start_error the spec is gone."""

    ref: Ref
    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class TerminateRequested:
    """terminate_child. Ok once it is stopped, also when it was; Error not_found, shutdown."""

    ref: Ref
    child_id: str


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """restart_child, of a stopped or quarantined one. Ok(pid, info); Error not_found, running, restarting, start_error,
    shutdown. After a start_error it is what it was."""

    ref: Ref
    child_id: str


@dataclass(frozen=True, slots=True)
class DeleteRequested:
    """delete_child, of a stopped or quarantined one. Ok; Error not_found, running, restarting, shutdown."""

    ref: Ref
    child_id: str


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """Start a quarantined child again, its count at zero. Ok(pid, info); Error not_found, not_quarantined,
    start_error, shutdown."""

    ref: Ref
    child_id: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Stop all children and end with this reason; overtakes whatever goes on."""

    reason: str


Request: TypeAlias = (
    StartRequested | TerminateRequested | RestartRequested | DeleteRequested | ReleaseRequested
)
Event: TypeAlias = (
    Begin | ChildStarted | ChildIgnored | ChildStartFailed | ChildExited | RetryDue | Request | StopRequested
)


# -- actions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a child; nothing of an earlier incarnation of it is running."""

    spec: ChildSpec
    incarnation: int


@dataclass(frozen=True, slots=True)
class StopChild:
    """Ask a child to stop for ``reason``, kill it after ``shutdown`` [ms] (at once for BRUTAL_KILL)."""

    child_id: str
    incarnation: int
    reason: str
    shutdown: Shutdown


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Send RetryDue after ``after_ms``; with 0 as a message to oneself, behind those that wait already."""

    child_id: str
    incarnation: int
    after_ms: int


class Refusal(StrEnum):
    """Why a request was refused; OTP's words where OTP has one."""

    ALREADY_PRESENT = "already_present"
    ALREADY_STARTED = "already_started"
    NOT_FOUND = "not_found"
    RUNNING = "running"
    RESTARTING = "restarting"
    START_ERROR = "start_error"
    """The child did not start; ``detail`` has its reason."""
    NOT_QUARANTINED = "not_quarantined"
    BAD_COMBINATION = "bad_combination"
    """The spec does not go with the flags (a significant child without auto_shutdown)."""
    SHUTDOWN = "shutdown"
    """The supervisor is stopping or gone."""


@dataclass(frozen=True, slots=True)
class Ok:
    """Done; ``pid`` and ``info`` as the child gave them, None after an ignored start."""

    pid: Any = None
    info: Any = None


@dataclass(frozen=True, slots=True)
class Error:
    """Not done; ``pid`` is the running child's for already_started."""

    reason: Refusal
    pid: Any = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request with this ref; exactly one for each."""

    ref: Ref
    result: Ok | Error


class ReportKind(StrEnum):
    """What happened: OTP's error contexts, progress, and quarantine."""

    START_ERROR = "start_error"
    CHILD_TERMINATED = "child_terminated"
    SHUTDOWN = "shutdown"
    """The intensity is exceeded and the supervisor ends; child_id is the last straw."""
    SHUTDOWN_ERROR = "shutdown_error"
    """A child that was asked to stop ended with something else."""
    PROGRESS = "progress"
    """A child runs; ``detail`` is ``supervised``, or ``requested`` when somebody asked for the start."""
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Report:
    """Something to log: an error of a child unless the kind is PROGRESS."""

    kind: ReportKind
    child_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """All initial children are started; once, and never after a StartFailed."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """An initial child did not start and the others are stopped again; the last action of all.

    ``reason`` begins with ``shutdown:``, as OTP's does, and names the child and its reason.
    """

    reason: str
    child_id: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """No child is left; the last action of all. ``reason`` is ``shutdown`` or what StopRequested said."""

    reason: str


Action: TypeAlias = StartChild | StopChild | ScheduleRetry | Reply | Report | Ready | StartFailed | Terminated


def is_normal(reason: str) -> bool:
    """Whether an exit is one that a transient child does not come back from."""
    return reason in ("normal", "shutdown") or reason.startswith("shutdown:")
