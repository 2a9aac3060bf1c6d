"""Our supervisor put through a script: a driver of the pure core whose children start and stop in no time.

What answers a start or a stop is heard before anything else that waits, as OTP's supervisor hears nothing else
while it waits for it. A retry is a message to itself, behind those that wait already.
"""

from collections import Counter, deque
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import BRUTAL_KILL, ChildSpec, Flags, SpecError
from tests.conformance.erlang.script import (
    AS_ASKED,
    EXITS,
    FAILURES,
    IGNORE,
    INFO,
    NEVER,
    PERIOD_S,
    UP,
    Ask,
    Change,
    Exit,
    Happening,
    Script,
    Settings,
    Start,
    Stop,
    Worker,
)

_NOBODY = "nobody"
_NOT_FOUND = ["error", core.Refusal.NOT_FOUND.value]

Line = list[Any]
"""A word for what is told, and what it is told of; the oracle writes the same."""


class Ours:
    """One supervisor and its children."""

    def __init__(self, script: Script) -> None:
        self._simple = script.settings.simple
        self._starts: dict[str, list[str]] = {one.id: list(one.starts) for one in script.workers}
        self._names: Counter[str] = Counter()
        self._alive: dict[str, tuple[str, int, Worker]] = {}
        """What runs: its name -> the id and incarnation the core knows it by, and what it is."""
        self._inbox: deque[core.Event] = deque()
        self._answers: list[core.Event] = []
        self._events: list[Line] = []
        self._replies: dict[int, Line] = {}
        self._refs = 0
        self._wants_pid: set[int] = set()
        self._refused: dict[int, str] = {}
        self.ended = ""
        self._failed: Line = []
        self._specs = [_spec(one) for one in script.workers]
        self._state = core.initial_state(_flags(script.settings), self._specs)

    def run(self, script: Script) -> list[Line]:
        """The trace."""
        self._inbox.append(core.Begin())
        self._drain()
        lines = [self._failed or ["ok"], *self._look()]
        for step in script.steps:
            if self.ended:
                break
            refs = [ref for one in step if (ref := self._post(one)) is not None]
            self._drain()
            lines += [["step"], *self._look(), *(self._replies.pop(ref) for ref in refs)]
        return lines

    # -- what happens --------------------------------------------------------------------------------------

    def _post(self, happening: Happening) -> int | None:
        """Puts it into the mailbox; returns what its reply is found by, None when there will be none."""
        match happening:
            case Stop():
                self._inbox.append(core.StopRequested("shutdown"))
            case Exit(worker_id, reason):
                if (name := self._running(worker_id)) is not None:
                    child_id, incarnation, _ = self._alive[name]
                    self._inbox.append(
                        core.ChildExited(child_id, incarnation, self._end(name, EXITS[reason]))
                    )
            case Start(worker):
                self._starts[worker.id] = list(worker.starts)
                return self._start(worker)
            case Ask():
                return self._ask(happening)
            case Change(settings, workers):
                ref = self._ref()
                specs = tuple(_spec(one) for one in workers)
                self._inbox.append(core.ChangeRequested(ref, _flags(settings), specs))
                self._starts = {one.id: list(one.starts) for one in workers} | self._starts
                return ref
        return None

    def _start(self, worker: Worker) -> int:
        ref = self._ref(wants_pid=True)
        if self._simple:
            self._inbox.append(core.SpawnRequested(ref, (worker,)))
            return ref
        try:
            self._inbox.append(core.StartRequested(ref, _spec(worker)))
        except SpecError as error:
            # Refused before it is asked; that it would be asked in time is asked by way of nobody.
            self._refused[ref] = error.reason
            self._inbox.append(core.DeleteRequested(ref, _NOBODY))
        return ref

    def _ask(self, ask: Ask) -> int | None:
        name: str | None = ask.id
        if ask.what == "terminate_child" and self._simple:
            # The pid of nobody's child is a difference on purpose.
            name = self._running(ask.id)
        if ask.what == "terminate_child" and name is None:
            return None
        ref = self._ref(wants_pid=ask.what == "restart_child")
        if ask.what == "restart_child":
            self._inbox.append(core.RestartRequested(ref, ask.id))
        elif ask.what == "delete_child":
            self._inbox.append(core.DeleteRequested(ref, ask.id))
        else:
            self._inbox.append(core.TerminateRequested(ref, name))
        return ref

    def _ref(self, *, wants_pid: bool = False) -> int:
        self._refs += 1
        if wants_pid:
            self._wants_pid.add(self._refs)
        return self._refs

    def _running(self, worker_id: str) -> str | None:
        return next((name for name, (_, _, worker) in self._alive.items() if worker.id == worker_id), None)

    def _end(self, name: str, reason: str) -> str:
        del self._alive[name]
        self._events.append(["down", name, reason])
        return reason

    # -- the driver ----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._inbox:
            self._state, actions = core.step(self._state, self._inbox.popleft(), 0)
            for action in actions:
                self._perform(action)
            self._inbox.extendleft(reversed(self._answers))
            self._answers.clear()

    def _perform(self, action: core.Action) -> None:
        match action:
            case core.StartChild(spec, incarnation, extra):
                self._answers.append(self._bring_up(spec, incarnation, extra[0] if extra else spec.start))
            case core.StopChild(child_id, incarnation, reason, shutdown):
                self._answers.append(self._put_down(child_id, incarnation, reason, shutdown))
            case core.ScheduleRetry(child_id, incarnation, 0):
                self._inbox.append(core.RetryDue(child_id, incarnation))
            case core.Reply(ref, result):
                assert isinstance(ref, int)
                assert ref not in self._replies, "one reply for each request"
                words = _words(result, with_pid=ref in self._wants_pid)
                self._replies[ref] = (
                    ["error", self._refused[ref]] if ref in self._refused and words == _NOT_FOUND else words
                )
            case core.Report(kind, child_id, reason, _) if kind is not core.ReportKind.PROGRESS:
                self._events.append(["report", kind.value, "t" if self._simple else child_id, reason])
            case core.StartFailed(reason, child_id):
                self.ended = "failed"
                self._failed = ["error", child_id, reason.rpartition(": ")[2]]
            case core.Terminated(reason):
                self.ended = reason

    def _bring_up(self, spec: ChildSpec, incarnation: int, worker: Worker) -> core.Event:
        self._events.append(["start", worker.id])
        left = self._starts.get(worker.id)
        outcome = left.pop(0) if left else UP
        if outcome == IGNORE:
            return core.ChildIgnored(spec.id, incarnation)
        if outcome in FAILURES:
            return core.ChildStartFailed(spec.id, incarnation, FAILURES[outcome])
        self._names[worker.id] += 1
        name = f"{worker.id}#{self._names[worker.id]}"
        self._events.append(["up", name])
        self._alive[name] = (spec.id, incarnation, worker)
        return core.ChildStarted(spec.id, incarnation, name, "info" if outcome == INFO else None)

    def _put_down(self, child_id: str, incarnation: int, reason: str, shutdown: Any) -> core.Event:
        for name, (known_id, known_incarnation, worker) in self._alive.items():
            if (known_id, known_incarnation) == (child_id, incarnation):
                if shutdown is BRUTAL_KILL or worker.stop == NEVER:
                    reason = "killed"
                elif worker.stop != AS_ASKED:
                    reason = worker.stop
                return core.ChildExited(child_id, incarnation, self._end(name, reason))
        # It has ended already, and the news of it waits.
        for event in self._inbox:
            if isinstance(event, core.ChildExited) and event.incarnation == incarnation:
                self._inbox.remove(event)
                return event
        raise AssertionError(f"{child_id} is asked to stop and never ran")

    # -- what there is to see ------------------------------------------------------------------------------

    def _look(self) -> list[Line]:
        events: Line = ["events", *self._events]
        self._events = []
        if self.ended:
            assert not self._alive
            return [events, ["ended", self.ended]]
        which = [
            ["undefined" if self._simple else info.id, info.pid or "undefined"]
            for info in core.which_children(self._state)
        ]
        count = core.count_children(self._state)
        return [
            events,
            ["which", *which],
            ["count", count.specs, count.active, count.supervisors, count.workers],
        ]


def _flags(settings: Settings) -> Flags:
    return Flags(settings.strategy, settings.intensity, PERIOD_S, auto_shutdown=settings.auto_shutdown)


def _spec(worker: Worker) -> ChildSpec:
    return ChildSpec(worker.id, worker, worker.restart, worker.shutdown, worker.type, worker.significant)


def _words(result: core.Ok | core.Error, *, with_pid: bool) -> Line:
    if isinstance(result, core.Ok):
        if not with_pid:
            return ["ok"]
        return ["ok", result.pid or "undefined", *([result.info] if result.info else [])]
    if result.reason is core.Refusal.ALREADY_STARTED:
        return ["error", "already_started", result.pid]
    if result.reason is core.Refusal.START_ERROR:
        return ["error", "start_error", result.detail]
    return ["error", result.reason.value]
