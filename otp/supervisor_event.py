"""What a supervisor is told (events) and what it wants done (actions), as values; ``supervisor.step`` joins them.

``incarnation`` is a number a supervisor gives to each try to start a child, never twice. The driver hands it back
with every event about that try, so that what arrives late about an earlier one is known as such.

The driver owes an answer:

- to StartChild: ChildStarted, ChildIgnored or ChildStartFailed;
- to StopChild: ChildExited, once nothing of the child is left. It may ask for a stop while the start is still
  unanswered; then ChildIgnored or ChildStartFailed will do as well, and a ChildStarted only tells the pid.
- to ScheduleRetry: RetryDue after that time. Retries need no cancelling, an outdated one is ignored.

None of these is changed by anybody once it is made. They are not frozen all the same: Python takes four times as long
to make a frozen one, and six of them make a start.

A pid is whatever the driver knows a running child by; None is no pid. Under simple_one_for_one it must be hashable
and never used twice, for requests know a child by it; in actions and in what the driver reports, each child has an id
of its own there too, made up by the supervisor.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from slakeeper.otp.child_spec import ChildSpec, Flags, Shutdown

Ref: TypeAlias = Hashable
"""Whatever the driver finds the asker again by; one Reply with it follows each request."""


# -- events ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Begin:
    """Start the initial children, in order."""


@dataclass(slots=True)
class ChildNews:
    """What is heard of a child; ``incarnation`` says which try to start it this is about."""

    child_id: str
    incarnation: int


@dataclass(slots=True)
class ChildStarted(ChildNews):
    """The child runs and has said so; ``info`` is passed through to who asked for the start."""

    pid: Any
    info: Any = None


@dataclass(slots=True)
class ChildIgnored(ChildNews):
    """The child chose not to run; that is a success without a pid."""


@dataclass(slots=True)
class ChildStartFailed(ChildNews):
    """The child did not come up, and nothing of it is left."""

    reason: str


@dataclass(slots=True)
class ChildExited(ChildNews):
    """The child is gone; ``reason`` is normal by ``is_normal``, or why it broke, or ``killed``."""

    reason: str


@dataclass(slots=True)
class RetryDue(ChildNews):
    """The time given by ScheduleRetry has passed."""


@dataclass(slots=True)
class Asked:
    """What somebody asks of a supervisor; the one Reply to it has the same ``ref``."""

    ref: Ref


@dataclass(slots=True)
class StartRequested(Asked):
    """start_child. Ok(pid, info); Error already_present, already_started (with pid), start_error, bad_combination,
    invalid_child_spec, simple_one_for_one, shutdown. After a start_error the spec is gone."""

    spec: ChildSpec


@dataclass(slots=True)
class SpawnRequested(Asked):
    """start_child of a simple_one_for_one supervisor: one more child of its template, with these arguments on top.

    Ok(pid, info); Error start_error, invalid_child_spec (of any other supervisor), shutdown. After a start_error, or
    a start that was ignored, nothing of it is kept.
    """

    extra: tuple[Any, ...] = ()


@dataclass(slots=True)
class TerminateRequested(Asked):
    """terminate_child, by id, or by pid under simple_one_for_one. Ok once it is stopped, also when it was; Error
    not_found, simple_one_for_one (for an id there), shutdown."""

    child_id: Hashable


@dataclass(slots=True)
class RestartRequested(Asked):
    """restart_child, of a stopped or quarantined one. Ok(pid, info); Error not_found, running, restarting, start_error,
    simple_one_for_one, shutdown. After a start_error it is what it was."""

    child_id: str


@dataclass(slots=True)
class DeleteRequested(Asked):
    """delete_child, of a stopped or quarantined one. Ok; Error not_found, running, restarting, simple_one_for_one,
    shutdown."""

    child_id: str


@dataclass(slots=True)
class ReleaseRequested(Asked):
    """Start a quarantined child again, its count at zero. Ok(pid, info); Error not_found, not_quarantined,
    start_error, shutdown."""

    child_id: str


@dataclass(slots=True)
class ChangeRequested(Asked):
    """code_change: other flags, and other initial children, for a supervisor that runs.

    Ok; Error bad_start_spec, duplicate_child_name, bad_combination, invalid_child_spec, shutdown, and then nothing
    has changed. What runs goes on and keeps its pid; its new spec counts from its next event on. A spec that is new
    is added and not started; a child that is no longer named stays, behind those that are. Under
    simple_one_for_one it is the template that changes, for the children that run as well; to or from there no
    supervisor can change (bad_combination).
    """

    flags: Flags
    specs: tuple[ChildSpec, ...]


@dataclass(slots=True)
class StopRequested:
    """Stop all children and end with this reason; overtakes whatever goes on."""

    reason: str


Request: TypeAlias = (
    StartRequested
    | SpawnRequested
    | TerminateRequested
    | RestartRequested
    | DeleteRequested
    | ReleaseRequested
    | ChangeRequested
)
Heard: TypeAlias = ChildStarted | ChildIgnored | ChildStartFailed | ChildExited | RetryDue
Event: TypeAlias = Begin | Heard | Request | StopRequested


# -- actions --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartChild:
    """Start a child, with ``extra`` arguments; nothing of an earlier incarnation of it is running."""

    spec: ChildSpec
    incarnation: int
    extra: tuple[Any, ...] = ()


@dataclass(slots=True)
class StopChild:
    """Ask a child to stop for ``reason``, kill it after ``shutdown`` [ms] (at once for BRUTAL_KILL).

    Several in one step are to be asked all at once, with one timer for all.
    """

    child_id: str
    incarnation: int
    reason: str
    shutdown: Shutdown


@dataclass(slots=True)
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
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"
    """Not there: its children have no ids and no specs of their own."""
    INVALID_CHILD_SPEC = "invalid_child_spec"
    BAD_COMBINATION = "bad_combination"
    """The spec does not go with the flags (a significant child without auto_shutdown)."""
    BAD_START_SPEC = "bad_start_spec"
    """simple_one_for_one takes exactly one spec."""
    DUPLICATE_CHILD_NAME = "duplicate_child_name"
    SHUTDOWN = "shutdown"
    """The supervisor is stopping or gone."""


@dataclass(slots=True)
class Ok:
    """Done; ``pid`` and ``info`` as the child gave them, None after an ignored start."""

    pid: Any = None
    info: Any = None


@dataclass(slots=True)
class Error:
    """Not done; ``pid`` is the running child's for already_started."""

    reason: Refusal
    pid: Any = None
    detail: str = ""


@dataclass(slots=True)
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


PROGRESS: Final = ReportKind.PROGRESS


@dataclass(slots=True)
class Report:
    """Something to log: an error of a child unless the kind is PROGRESS."""

    kind: ReportKind
    child_id: str
    reason: str
    detail: str = ""


@dataclass(slots=True)
class Ready:
    """All initial children are started; once, and never after a StartFailed."""


@dataclass(slots=True)
class StartFailed:
    """An initial child did not start and the others are stopped again; the last action of all.

    ``reason`` begins with ``shutdown:``, as OTP's does, and names the child and its reason.
    """

    reason: str
    child_id: str


@dataclass(slots=True)
class Terminated:
    """No child is left; the last action of all. ``reason`` is ``shutdown`` or what StopRequested said."""

    reason: str


Action: TypeAlias = StartChild | StopChild | ScheduleRetry | Reply | Report | Ready | StartFailed | Terminated


def is_normal(reason: str) -> bool:
    """Whether an exit is one that a transient child does not come back from."""
    return reason in ("normal", "shutdown") or reason.startswith("shutdown:")
