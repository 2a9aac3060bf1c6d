"""Supervisors whose children only follow a script, on virtual time: what OTP's suite does with real processes.

The core decides; this carries out its actions as any driver has to, with starts and stops that may take their time.
Whatever is asked here returns when it is answered, as a call of OTP's API does; the clock moves meanwhile.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import BRUTAL_KILL, SUPERVISOR, ChildSpec, Flags

UP = "up"
IGNORE = "ignore"
# Virtual time after which an answer is not believed to come any more.
PATIENCE_MS = 24 * 3_600_000


class StartError(Exception):
    """A supervisor did not start."""


@dataclass(eq=False)
class Script:
    """What a child does.

    Args:
        starts: how its next starts end: UP (also when there is nothing left), IGNORE, or a reason to fail.
        start_ms: how long a start takes.
        stop_ms: how long it takes to end after it was asked to; None if it never does.
        stop_reason: what it ends with then.
        info: what it has to say when it is up.
    """

    starts: Iterator[str] = field(default_factory=lambda: iter(()))
    start_ms: int = 0
    stop_ms: int | None = 0
    stop_reason: str = "shutdown"
    info: Any = None


@dataclass(frozen=True)
class Tree:
    """A supervisor as a child: its flags and its own children."""

    flags: Flags
    children: tuple[ChildSpec, ...] = ()
    starts: Iterator[str] = field(default_factory=lambda: iter(()))


def worker(
    child_id: str, starts: Iterable[str] = (), script: Script | None = None, **fields: Any
) -> ChildSpec:
    """The spec of a child that follows a script."""
    return ChildSpec(child_id, script or Script(iter(starts)), **fields)


def subtree(child_id: str, flags: Flags, *children: ChildSpec, **fields: Any) -> ChildSpec:
    """The spec of a supervisor below another."""
    return ChildSpec(child_id, Tree(flags, children), type=SUPERVISOR, **fields)


@dataclass
class Process:
    """One incarnation of a child."""

    pid: int
    child_id: str
    incarnation: int
    script: Script
    supervisor: "Supervisor | None" = None
    up: bool = False
    alive: bool = True


class Family:
    """The virtual machine: a clock, timers, and every process there ever was.

    log: "start x" for each try to start a worker, "stop x" for each that is asked to stop.
    exits: why a process ended, by pid.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.log: list[str] = []
        self.exits: dict[int, str] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self.pids = count(1)
        self._order = count()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []

    def start(self, flags: Flags, *children: ChildSpec, name: str = "top") -> "Supervisor":
        """Starts a supervisor and waits until it is up.

        Raises:
            StartError: one of its children did not start.
            SpecError: the flags and specs cannot be.
        """
        supervisor = Supervisor(self, name, Tree(flags, children))
        supervisor.tell(core.Begin())
        self.run_until(lambda: supervisor.ready or supervisor.ended is not None)
        if supervisor.ended is not None:
            raise StartError(supervisor.ended)
        return supervisor

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now_ms + delay_ms, next(self._order), action))

    def later(self, by_ms: int = 0) -> None:
        """Time passes; what is due by then takes place."""
        end_ms = self.now_ms + by_ms
        while self._timers and self._timers[0][0] <= end_ms:
            self._fire()
        self.now_ms = end_ms

    def run_until(self, done: Callable[[], bool]) -> None:
        """Lets no more time pass than is needed."""
        end_ms = self.now_ms + PATIENCE_MS
        while not done():
            assert self._timers, "nothing will happen any more"
            assert self._timers[0][0] <= end_ms, "waited in vain"
            self._fire()

    def _fire(self) -> None:
        self.now_ms, _, action = heapq.heappop(self._timers)
        action()


class Supervisor:
    """One supervisor: OTP's API in front, a driver of the core behind."""

    def __init__(
        self, family: Family, name: str, tree: Tree, parent: Callable[[core.Action], None] | None = None
    ):
        self.state = core.initial_state(tree.flags, tree.children)
        self.family = family
        self.processes: dict[str, Process] = {}
        self.reports: list[core.Report] = []
        self.ready = False
        self.ended: str | None = None
        self._parent = parent
        self._inbox: list[core.Event] = []
        self._stepping = False
        self._refs = count()
        self._replies: dict[Hashable, core.Ok | core.Error] = {}
        family.supervisors[name] = self

    # -- OTP's API ------------------------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec) -> core.Ok | core.Error:
        return self._ask(core.StartRequested(next(self._refs), spec))

    def spawn(self, *extra: Any) -> core.Ok | core.Error:
        """start_child of a simple_one_for_one supervisor; a Script among the arguments replaces the template's."""
        return self._ask(core.SpawnRequested(next(self._refs), extra))

    def terminate_child(self, name: Hashable) -> core.Ok | core.Error:
        return self._ask(core.TerminateRequested(next(self._refs), name))

    def restart_child(self, child_id: str) -> core.Ok | core.Error:
        return self._ask(core.RestartRequested(next(self._refs), child_id))

    def delete_child(self, child_id: str) -> core.Ok | core.Error:
        return self._ask(core.DeleteRequested(next(self._refs), child_id))

    def code_change(self, flags: Flags, *specs: ChildSpec) -> core.Ok | core.Error:
        return self._ask(core.ChangeRequested(next(self._refs), flags, specs))

    def which_children(self) -> list[tuple[str, Any]]:
        """(id, pid) of each child as OTP shows it, ``restarting`` or None in place of a pid."""
        return [
            (info.id, info.status if info.status == "restarting" else info.pid)
            for info in core.which_children(self.state)
        ]

    def which_child(self, name: Hashable) -> core.ChildInfo | None:
        return core.which_child(self.state, name)

    def counts(self) -> tuple[int, int, int, int]:
        """specs, active, supervisors, workers."""
        found = core.count_children(self.state)
        return found.specs, found.active, found.supervisors, found.workers

    def get_childspec(self, name: Hashable) -> ChildSpec | None:
        return core.get_childspec(self.state, name)

    def stop(self, reason: str = "shutdown") -> None:
        """Waits until it has ended."""
        self.tell(core.StopRequested(reason))
        self.family.run_until(lambda: self.ended is not None)

    # -- what happens to children ---------------------------------------------------------------------------

    def pid(self, child_id: str) -> int:
        """The pid of a running child."""
        return self.processes[child_id].pid

    def exit(self, name: Hashable, reason: str) -> None:
        """A child, by id or pid, ends by itself."""
        found = [one for one in self.processes.values() if name in (one.child_id, one.pid) and one.alive]
        self._end(found[0], reason)

    def kinds(self) -> list[str]:
        """The kinds of all reports but progress."""
        return [report.kind.value for report in self.reports if report.kind is not core.ReportKind.PROGRESS]

    # -- the driver -----------------------------------------------------------------------------------------

    def tell(self, event: core.Event) -> None:
        self._inbox.append(event)
        if self._stepping:
            return
        self._stepping = True
        while self._inbox:
            self.state, actions = core.step(self.state, self._inbox.pop(0), self.family.now_ms)
            for action in actions:
                self._perform(action)
        self._stepping = False

    def _ask(self, request: core.Request) -> core.Ok | core.Error:
        self.tell(request)
        self.family.run_until(lambda: request.ref in self._replies)
        return self._replies[request.ref]

    def _perform(self, action: core.Action) -> None:
        match action:
            case core.StartChild(spec, incarnation, extra):
                self._start(spec, incarnation, extra)
            case core.StopChild(child_id, incarnation, reason, shutdown):
                self._stop(child_id, incarnation, reason, shutdown)
            case core.ScheduleRetry(child_id, incarnation, after_ms):
                due = core.RetryDue(child_id, incarnation)
                self.family.after(after_ms, lambda: self.tell(due))
            case core.Reply(ref, result):
                assert ref not in self._replies
                self._replies[ref] = result
            case core.Report():
                self.reports.append(action)
            case core.Ready():
                self.ready = True
            case core.StartFailed(reason) | core.Terminated(reason):
                assert not self.processes
                self.ended = reason
        if self._parent is not None:
            self._parent(action)

    def _start(self, spec: ChildSpec, incarnation: int, extra: tuple[Any, ...]) -> None:
        assert spec.id not in self.processes, f"{spec.id} would run twice"
        scripts = [*(one for one in extra if isinstance(one, Script)), spec.start]
        process = Process(next(self.family.pids), spec.id, incarnation, scripts[0])
        self.processes[spec.id] = process
        if not isinstance(spec.start, Tree):
            self.family.log.append(f"start {spec.id}")
            outcome = next(process.script.starts, UP)
            if process.script.start_ms:
                self.family.after(process.script.start_ms, lambda: self._started(process, outcome))
            else:
                self._started(process, outcome)
        elif (outcome := next(spec.start.starts, UP)) == UP:
            process.supervisor = Supervisor(
                self.family, spec.id, spec.start, lambda action: self._hear(process, action)
            )
            process.supervisor.tell(core.Begin())
        else:
            self._started(process, outcome)

    def _started(self, process: Process, outcome: str) -> None:
        if not process.alive:
            return
        if outcome == UP:
            process.up = True
            info = None if process.supervisor is not None else process.script.info
            self.tell(core.ChildStarted(process.child_id, process.incarnation, process.pid, info))
        elif outcome == IGNORE:
            del self.processes[process.child_id]
            self.tell(core.ChildIgnored(process.child_id, process.incarnation))
        else:
            self._end(process, outcome)

    def _hear(self, process: Process, action: core.Action) -> None:
        """An action of a supervisor below this one."""
        if isinstance(action, core.Ready):
            self._started(process, UP)
        elif isinstance(action, core.StartFailed | core.Terminated):
            self._end(process, action.reason)

    def _stop(self, child_id: str, incarnation: int, reason: str, shutdown: Any) -> None:
        process = self.processes[child_id]
        assert process.incarnation == incarnation
        if process.supervisor is None:
            self.family.log.append(f"stop {child_id}")
        if shutdown is BRUTAL_KILL:
            self._kill(process)
            return
        if process.supervisor is not None:
            process.supervisor.tell(core.StopRequested(reason))
        elif process.script.stop_ms == 0:
            self._end(process, process.script.stop_reason)
        elif process.script.stop_ms is not None:
            self.family.after(process.script.stop_ms, lambda: self._end(process, process.script.stop_reason))
        if process.alive and isinstance(shutdown, int):
            self.family.after(shutdown, lambda: self._kill(process))

    def _kill(self, process: Process) -> None:
        """The process has no say; whoever is linked to it goes as well."""
        if process.supervisor is not None and process.supervisor.ended is None:
            process.supervisor.die()
        self._end(process, "killed")

    def die(self) -> None:
        """Killed, with all its children; nobody is told."""
        self.ended = "killed"
        for process in list(self.processes.values()):
            if process.supervisor is not None:
                process.supervisor.die()
            process.alive = False
            self.family.exits[process.pid] = "killed"
        self.processes.clear()

    def _end(self, process: Process, reason: str) -> None:
        if not process.alive:
            return
        process.alive = False
        self.family.exits[process.pid] = reason
        del self.processes[process.child_id]
        kind = core.ChildExited if process.up else core.ChildStartFailed
        self.tell(kind(process.child_id, process.incarnation, reason))
