"""One of our supervisors: a driver of the pure core whose children start and stop in no time.

What answers a start or a stop is heard before anything else that waits, as OTP's supervisor hears nothing else
while it waits for it. A retry is a message to itself, behind those that wait already.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import BRUTAL_KILL, ChildSpec, Flags
from tests.conformance.erlang.script import (
    AS_ASKED,
    FAILURES,
    IGNORE,
    INFO,
    NEVER,
    PERIOD_S,
    UP,
    Settings,
    Worker,
)
from tests.conformance.erlang.trace import Line


class Notary:
    """How workers behave, how often each was up, and what happened in which order."""

    def __init__(self) -> None:
        self.starts: dict[str, list[str]] = {}
        self.events: list[Line] = []
        self._names: Counter[str] = Counter()

    def behave(self, worker: Worker) -> None:
        self.starts[worker.id] = list(worker.starts)
        for one in worker.below.workers if worker.below else ():
            self.behave(one)

    def outcome(self, worker: Worker) -> str:
        self.events.append(["start", worker.id])
        left = self.starts.get(worker.id)
        return left.pop(0) if left else UP

    def up(self, worker: Worker) -> str:
        """Its name, a new one each time."""
        self._names[worker.id] += 1
        name = f"{worker.id}#{self._names[worker.id]}"
        self.events.append(["up", name])
        return name


class Running:
    """A child that runs; ``supervisor`` is itself, if it is one."""

    def __init__(
        self, child_id: str, incarnation: int, worker: Worker, branch: "OurSupervisor | None"
    ) -> None:
        self.child_id = child_id
        self.incarnation = incarnation
        self.worker = worker
        self.branch = branch


class OurSupervisor:
    """A supervisor and its children.

    Args:
        notary: shared by all of a script.
        ended: called with the reason when it ends after it was ready, without having been told to.
    """

    def __init__(
        self, settings: Settings, workers: tuple[Worker, ...], notary: Notary, ended: Callable[[str], None]
    ) -> None:
        self.simple = settings.simple
        self.alive: dict[str, Running] = {}
        self.replies: dict[int, core.Ok | core.Error] = {}
        self.reason = ""
        """Why it ended; "" while it runs."""
        self.culprit: str | None = None
        """The child that failed its start, if that is why."""
        self._notary = notary
        self._tell_of_end = ended
        self._asked = False
        self._inbox: deque[core.Event] = deque([core.Begin()])
        self._answers: list[core.Event] = []
        self._state = core.initial_state(flags_of(settings), [spec_of(one) for one in workers])

    def post(self, event: core.Event) -> None:
        """Puts an event into the mailbox."""
        self._inbox.append(event)

    def run(self) -> None:
        """Does all that there is to do."""
        while self._inbox:
            self._state, actions = core.step(self._state, self._inbox.popleft(), 0)
            for action in actions:
                self._perform(action)
            self._inbox.extendleft(reversed(self._answers))
            self._answers.clear()

    def end(self, name: str, reason: str) -> core.ChildExited:
        """A child ends; what is to be told of it."""
        running = self.alive.pop(name)
        self._notary.events.append(["down", name, reason])
        return core.ChildExited(running.child_id, running.incarnation, reason)

    def branches(self) -> dict[str, "OurSupervisor"]:
        """The supervisors below it that run, by id."""
        return {one.worker.id: one.branch for one in self.alive.values() if one.branch is not None}

    def look(self) -> list[Line]:
        which = [
            ["undefined" if self.simple else info.id, info.pid or "undefined"]
            for info in core.which_children(self._state)
        ]
        count = core.count_children(self._state)
        return [["which", *which], ["count", count.specs, count.active, count.supervisors, count.workers]]

    # -- the driver ----------------------------------------------------------------------------------------

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
                assert ref not in self.replies, "one reply for each request"
                self.replies[ref] = result
            case core.Report(kind, child_id, reason, _) if kind is not core.ReportKind.PROGRESS:
                name = "t" if self.simple else child_id
                self._notary.events.append(["report", kind.value, name, reason])
            case core.StartFailed(reason, child_id):
                self.reason, self.culprit = reason, child_id
            case core.Terminated(reason):
                assert not self.alive
                self.reason = reason
                if not self._asked:
                    self._tell_of_end(reason)

    def _bring_up(self, spec: ChildSpec, incarnation: int, worker: Worker) -> core.Event:
        outcome = self._notary.outcome(worker)
        if outcome == IGNORE:
            return core.ChildIgnored(spec.id, incarnation)
        if outcome in FAILURES:
            return core.ChildStartFailed(spec.id, incarnation, FAILURES[outcome])
        branch = None
        if worker.below is not None:
            outcome = UP
            branch = OurSupervisor(
                worker.below.settings,
                worker.below.workers,
                self._notary,
                lambda reason: self._ended_by_itself(incarnation, reason),
            )
            branch.run()
            if branch.culprit is not None:
                return core.ChildStartFailed(spec.id, incarnation, branch.reason)
        name = self._notary.up(worker)
        self.alive[name] = Running(spec.id, incarnation, worker, branch)
        return core.ChildStarted(spec.id, incarnation, name, "info" if outcome == INFO else None)

    def _ended_by_itself(self, incarnation: int, reason: str) -> None:
        name = next(name for name, one in self.alive.items() if one.incarnation == incarnation)
        self._inbox.append(self.end(name, reason))

    def _put_down(self, child_id: str, incarnation: int, reason: str, shutdown: Any) -> core.Event:
        for name, one in self.alive.items():
            if (one.child_id, one.incarnation) == (child_id, incarnation):
                if one.branch is not None:
                    one.branch.stop(reason)
                elif shutdown is BRUTAL_KILL or one.worker.stop == NEVER:
                    reason = "killed"
                elif one.worker.stop != AS_ASKED:
                    reason = one.worker.stop
                return self.end(name, reason)
        # It has ended already, and the news of it waits.
        for event in self._inbox:
            if isinstance(event, core.ChildExited) and event.incarnation == incarnation:
                self._inbox.remove(event)
                return event
        raise AssertionError(f"{child_id} is asked to stop and never ran")

    def stop(self, reason: str) -> None:
        """Its parent stops it."""
        self._asked = True
        self.post(core.StopRequested(reason))
        self.run()
        assert self.reason == reason


def flags_of(settings: Settings) -> Flags:
    return Flags(settings.strategy, settings.intensity, PERIOD_S, auto_shutdown=settings.auto_shutdown)


def spec_of(worker: Worker) -> ChildSpec:
    return ChildSpec(worker.id, worker, worker.restart, worker.shutdown, worker.type, worker.significant)
