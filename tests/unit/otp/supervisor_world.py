"""A fake driver for the supervisor core: virtual time, children that are only names, and rules it never lets break."""

from collections import Counter, defaultdict, deque
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import SIMPLE_ONE_FOR_ONE, ChildSpec, Flags, Strategy

HANG = "hang"
IGNORE = "ignore"
UP = "up"
NAMED = [strategy for strategy in Strategy if strategy is not SIMPLE_ONE_FOR_ONE]
"""The strategies under which children have names."""


def spec(child_id: str, **fields: Any) -> ChildSpec:
    return ChildSpec(child_id, f"start {child_id}", **fields)


class World:
    """Drives a supervisor. Starts and stops are answered at once unless the test says otherwise.

    starts: what the next starts of a child lead to: UP (also when nothing is left), IGNORE, HANG, or a reason to fail.
    slow_stops: children that do not stop until ``finish_stop``.
    log: what was done, as words: "start a", "up a", "stop a", "gone a", "ready", "terminated shutdown", …
    """

    def __init__(
        self, flags: Flags | None = None, *specs: ChildSpec, begin: bool = True, there: tuple[str, ...] = ()
    ) -> None:
        self.state = core.initial_state(flags or Flags(), specs, there)
        self.now_ms = 0
        self.starts: dict[str, deque[str]] = defaultdict(deque)
        self.slow_stops: set[str] = set()
        self.log: list[str] = []
        self.live: dict[str, int] = {}
        self.starting: dict[str, int] = {}
        self.asked_to_stop: dict[str, core.StopChild] = {}
        self.retries: list[tuple[int, core.RetryDue]] = []
        self.replies: dict[Any, core.Ok | core.Error] = {}
        self.reports: list[core.Report] = []
        self.ended: str | None = None
        self.was_ready = False
        places = {child.id: place for place, child in enumerate(specs, 1)}
        self.live.update((child_id, places[child_id]) for child_id in there)
        self._last_incarnation = len(specs) if there else 0
        self._refs = 0
        self._queue: deque[core.Event] = deque()
        if begin:
            self.tell(core.Begin())

    # -- what a test does -----------------------------------------------------------------------------------

    def tell(self, event: core.Event) -> None:
        self._queue.append(event)
        while self._queue:
            self.state, actions = core.step(self.state, self._queue.popleft(), self.now_ms)
            for action in actions:
                self._perform(action)

    def crash(self, child_id: str, reason: str = "boom") -> None:
        """The running child ends by itself."""
        self.tell(self.exit_of(child_id, reason))

    def exit_of(self, child_id: str, reason: str = "boom") -> core.ChildExited:
        incarnation = self.live.pop(child_id)
        self.starting.pop(child_id, None)
        self.asked_to_stop.pop(child_id, None)
        return core.ChildExited(child_id, incarnation, reason)

    def finish_start(self, child_id: str, outcome: str = UP) -> None:
        self.tell(self._start_answer(child_id, self.starting.pop(child_id), outcome))

    def finish_stop(self, child_id: str, reason: str = "shutdown") -> None:
        self.log.append(f"gone {child_id}")
        self.tell(self.exit_of(child_id, reason))

    def later(self, after_ms: int = 0) -> None:
        """Time passes; the retries that are due by then come in."""
        self.now_ms += after_ms
        due = [retry for at_ms, retry in self.retries if at_ms <= self.now_ms]
        self.retries = [(at_ms, retry) for at_ms, retry in self.retries if at_ms > self.now_ms]
        for retry in due:
            self.tell(retry)

    def send(self, kind: Any, argument: Any) -> int:
        """Sends a request; returns its ref."""
        self._refs += 1
        self.tell(kind(self._refs, argument))
        return self._refs

    def ask(self, kind: Any, argument: Any) -> core.Ok | core.Error:
        """Sends a request that is answered at once."""
        return self.replies[self.send(kind, argument)]

    def refusal(self, kind: Any, argument: Any) -> str:
        result = self.ask(kind, argument)
        assert isinstance(result, core.Error), result
        return result.reason

    def since(self, mark: int = 0) -> list[str]:
        return self.log[mark:]

    @property
    def mark(self) -> int:
        return len(self.log)

    @property
    def running(self) -> list[str]:
        return [child.id for child in reversed(core.which_children(self.state)) if child.status == "running"]

    def status(self, child_id: str) -> str:
        return core.child_status(self.state, child_id)

    def kinds(self) -> Counter[str]:
        return Counter(report.kind.value for report in self.reports)

    # -- what a driver does ---------------------------------------------------------------------------------

    def _perform(self, action: core.Action) -> None:
        assert self.ended is None or isinstance(action, core.Reply), f"{action} after the end"
        match action:
            case core.StartChild(child, incarnation):
                assert child.id not in self.live, f"{child.id} would run twice"
                assert incarnation > self._last_incarnation
                self._last_incarnation = self.live[child.id] = incarnation
                self.log.append(f"start {child.id}")
                outcome = self.starts[child.id].popleft() if self.starts[child.id] else UP
                if outcome == HANG:
                    self.starting[child.id] = incarnation
                else:
                    self._queue.append(self._start_answer(child.id, incarnation, outcome))
            case core.StopChild(child_id, incarnation, reason, shutdown):
                assert child_id not in self.live or self.live[child_id] == incarnation
                wanted = self.state.children.get(child_id)
                assert wanted is not None
                assert (reason, shutdown) == ("shutdown", wanted.spec.shutdown)
                self.log.append(f"stop {child_id}")
                if self.live.get(child_id) == incarnation:
                    self.asked_to_stop[child_id] = action
                    if child_id not in self.slow_stops:
                        self.log.append(f"gone {child_id}")
                        self._queue.append(self.exit_of(child_id, "shutdown"))
            case core.ScheduleRetry(child_id, incarnation, after_ms):
                assert after_ms >= 0
                self.retries.append((self.now_ms + after_ms, core.RetryDue(child_id, incarnation)))
            case core.Reply(ref, result):
                assert ref not in self.replies, f"two replies to {ref}"
                self.replies[ref] = result
            case core.Report():
                self.reports.append(action)
            case core.Ready():
                assert not self.was_ready
                self.was_ready = True
                self.log.append("ready")
            case core.StartFailed(reason, child_id):
                self._end(reason, f"start failed {child_id}")
            case core.Terminated(reason):
                self._end(reason, f"terminated {reason}")

    def _end(self, reason: str, word: str) -> None:
        assert not self.live, f"ended with {sorted(self.live)} still there"
        self.ended = reason
        self.log.append(word)

    def _start_answer(self, child_id: str, incarnation: int, outcome: str) -> core.Event:
        if outcome == UP:
            self.log.append(f"up {child_id}")
            return core.ChildStarted(child_id, incarnation, f"pid-{incarnation}", "info")
        del self.live[child_id]
        self.asked_to_stop.pop(child_id, None)
        if outcome == IGNORE:
            return core.ChildIgnored(child_id, incarnation)
        return core.ChildStartFailed(child_id, incarnation, outcome)
