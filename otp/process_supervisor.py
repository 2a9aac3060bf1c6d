"""The root supervisor: ``supervisor.step`` driven over processes. It never blocks and trusts no single message.

- A child is known by its multiprocessing.Process: that one has its pid from the fork on and its exit status, once.
- A child that is asked to stop is killed by pid when its time is over; one that is silent, at once.
- Two more watch over the root: the heart reads its beat from a pipe, and the kernel ends its children with it.
"""

import faulthandler
import heapq
import logging
import os
import signal
import time
from collections import deque
from datetime import timedelta
from itertools import count
from typing import Any, NoReturn

from slakeeper.otp import log, posix
from slakeeper.otp.child_spec import BRUTAL_KILL, ChildSpec
from slakeeper.otp.control import Beat, BeginProcess, BeginRoot, Exiting, Request, StopProcess
from slakeeper.otp.generation import ROOT, LineWriter, current, hand_down, name_process
from slakeeper.otp.process_actor import ProcessActor
from slakeeper.otp.process_child import ProcessChild
from slakeeper.otp.root_desk import RootDesk
from slakeeper.otp.service import ProcessSpec
from slakeeper.otp.supervisor import (
    Action,
    Begin,
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    Event,
    Ready,
    Reply,
    Report,
    ReportKind,
    RetryDue,
    ScheduleRetry,
    StartChild,
    StartFailed,
    StopChild,
    StopRequested,
    Terminated,
    child_restarts,
    initial_state,
    step,
)
from slakeeper.otp.watchdog import Watchdog

from thespian.actors import Actor, ActorExitRequest, WakeupMessage  # isort: skip

_TICK_MS = 200
_REPEAT_MS = 500
_LATE_MS = 1_000


class _StopSignal:
    """Posted by the SIGTERM handler: stop everything, in order."""


class RootSupervisor(Actor):
    """Starts, watches, restarts and stops the processes of one generation."""

    _myRef: Any  # noqa: N815  Thespian's ActorManager, set once __init__ has returned

    def __init__(self) -> None:
        generation = current()
        _enter_process()
        self.generation = generation
        self.writer = LineWriter(generation.root_fd)
        self.state = initial_state(generation.spec.flags, [one.child() for one in generation.spec.processes])
        self.children: dict[str, ProcessChild] = {}
        self._facts: dict[str, Any] = {}
        self._events: deque[Event] = deque()
        self._stepping = False
        self._retries: list[tuple[int, int, RetryDue]] = []
        self._order = count()
        self._desk = RootDesk(self)
        self._tick_due_ms = 0
        self._told: Any = None
        self.pillars: Watchdog | None = None
        self._logger = logging.getLogger(__name__)
        signal.signal(signal.SIGTERM, lambda *_: self._myRef.transport.post(_StopSignal()))
        self.writer.send(role=ROOT, pid=os.getpid())

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802  Thespian's name
        """Thespian's only way in."""
        try:
            self._receive(message, sender)
        except Exception as error:
            # An invariant is broken: the next generation starts from disk.
            self._logger.critical("the root supervisor failed", exc_info=error)
            self._end(f"{type(error).__name__}: {error}", 1)

    def _receive(self, message: Any, sender: Any) -> None:
        now_ms = _now_ms()
        match message:
            case BeginRoot():
                self._begin(now_ms)
            case WakeupMessage():
                self._tick(now_ms)
                self.wakeupAfter(timedelta(milliseconds=_TICK_MS))
            case Beat():
                self._take_beat(message, sender, now_ms)
            case Exiting():
                child = self.children.get(message.name)
                if child is not None and child.incarnation == message.incarnation:
                    child.last_words = message.reason
            case Request():
                self._desk.serve(message, sender)
            case _StopSignal():
                # Those that were added on request are nothing the heart knows of.
                self.writer.send(stops_within_s=sum(one.spec.stop_limit_s for one in self.children.values()))
                self.feed(StopRequested("shutdown"))
            case ActorExitRequest():
                # Only Thespian's own shutdown would send this, and nobody calls that.
                self._end("shutdown", 0)
        # A ChildActorExited may come twice or not at all: whatever comes is a reason to look.
        self._look(now_ms)

    def _begin(self, now_ms: int) -> None:
        if self._tick_due_ms:
            return
        self._tick_due_ms = now_ms + _TICK_MS
        self.pillars = Watchdog(self._myRef)
        self.wakeupAfter(timedelta(milliseconds=_TICK_MS))
        self.feed(Begin())

    # -- the supervisor ----------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Steps with this event and all that follow from its actions."""
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        while self._events:
            self.state, actions = step(self.state, self._events.popleft(), _now_ms())
            for action in actions:
                self._perform(action)
        self._stepping = False
        self._tell()

    def _perform(self, action: Action) -> None:
        match action:
            case StartChild(spec, incarnation):
                self._start(spec, incarnation)
            case StopChild(child_id, incarnation, reason, shutdown):
                self._stop(child_id, incarnation, reason, shutdown)
            case ScheduleRetry(child_id, incarnation, after_ms):
                due = RetryDue(child_id, incarnation)
                heapq.heappush(self._retries, (_now_ms() + after_ms, next(self._order), due))
            case Reply(ref, result):
                self._desk.settle(str(ref), result)
            case Report():
                self._report(action)
            case Ready():
                self._tell()
                self.writer.send(ready=True, facts=self._facts)
            case StartFailed(reason):
                self._end(reason, 1, start_failed=True)
            case Terminated(reason):
                self._end(reason, 0)

    def _start(self, spec: ChildSpec, incarnation: int) -> None:
        process_spec: ProcessSpec = spec.start
        now_ms = _now_ms()
        # Not by a message: the arguments of a cell are all of its contracts.
        hand_down(process_spec)
        address = self.createActor(ProcessActor)
        # Thespian keeps what it forked last at the end of this list; without an entry the fork failed.
        forked = [
            one.childProc for one in getattr(self._myRef, "_child_procs", []) if one.childAddr is address
        ]
        if not forked:
            self._events.append(ChildStartFailed(spec.id, incarnation, "the process could not be forked"))
            return
        child = ProcessChild(
            process_spec,
            incarnation,
            address,
            forked[0],
            now_ms + process_spec.start_timeout_ms,
            now_ms,
            now_ms,
        )
        self.children[spec.id] = child
        self.send(address, self._first_words(child))

    def _first_words(self, child: ProcessChild) -> BeginProcess:
        name = child.spec.name
        shared = {**self._facts, "run": {**self.generation.spec.facts, **self.generation.facts}}
        restarts = child_restarts(self.state, name)
        return BeginProcess(child.incarnation, restarts, self.generation.number, shared)

    def _stop(self, child_id: str, incarnation: int, reason: str, shutdown: Any) -> None:
        child = self.children.get(child_id)
        if child is None or child.incarnation != incarnation:
            self._events.append(ChildExited(child_id, incarnation, "shutdown"))
            return
        now_ms = _now_ms()
        if child.phase == "starting" or shutdown is BRUTAL_KILL:
            # A child that does not serve yet has nothing to put in order.
            child.kill_at_ms = now_ms
        elif isinstance(shutdown, int):
            child.kill_at_ms = now_ms + shutdown
        child.phase, child.stop_reason = "stopping", reason
        if verdict := child.verdict(now_ms):
            self._kill(child, verdict)
        else:
            self._say_again(child, now_ms)

    def _take_beat(self, beat: Beat, sender: Any, now_ms: int) -> None:
        child = self.children.get(beat.name)
        if child is None or child.incarnation != beat.incarnation or child.pid != beat.pid:
            return
        child.address = sender
        if child.hear(beat, now_ms):
            self._facts[beat.name] = dict(beat.facts)
            self.feed(ChildStarted(beat.name, beat.incarnation, beat.pid, dict(beat.facts)))
        if beat.trouble and child.phase != "stopping":
            self._kill(child, f"hung: {beat.trouble}")

    def _look(self, now_ms: int) -> None:
        """Looks at every child and does what is due."""
        for child in list(self.children.values()):
            if not child.ended() and not child.sentence and (verdict := child.verdict(now_ms)):
                self._kill(child, verdict)
            elif now_ms - child.asked_at_ms >= _REPEAT_MS:
                self._say_again(child, now_ms)
        # What follows from one end may be the stop of another child, and that one may have ended too.
        while ended := [child for child in self.children.values() if child.ended()]:
            child = self.children.pop(ended[0].spec.name)
            self.feed(child.end())
        while self._retries and self._retries[0][0] <= now_ms:
            self.feed(heapq.heappop(self._retries)[2])

    def _say_again(self, child: ProcessChild, now_ms: int) -> None:
        child.asked_at_ms = now_ms
        if child.phase == "stopping":
            left_ms = 3_600_000 if child.kill_at_ms is None else max(0, child.kill_at_ms - now_ms)
            self.send(child.address, StopProcess(child.incarnation, child.stop_reason, left_ms))
        elif not child.beaten:
            self.send(child.address, self._first_words(child))

    def _kill(self, child: ProcessChild, sentence: str) -> None:
        child.sentence = sentence
        self._logger.warning(
            "killing process %s: %s", child.spec.name, sentence, extra={"child_pid": child.pid}
        )
        posix.kill([child.pid])

    def _tick(self, now_ms: int) -> None:
        # A root that was stopped, or starved, has not heard its children: that is not their fault.
        late_ms = now_ms - self._tick_due_ms
        if late_ms > _LATE_MS:
            for child in self.children.values():
                child.heard_at_ms += late_ms
                child.start_due_ms += late_ms
        self._tick_due_ms = now_ms + _TICK_MS
        ages = self.pillars.watch(now_ms, max(0, late_ms)) if self.pillars is not None else {}
        self.writer.send(beat=True, ages=ages)
        self._tell()

    def _tell(self) -> None:
        """Tells the heart which processes there are, when that has changed."""
        table = self._desk.table(with_stats=False)
        if table != self._told:
            self._told = table
            self.writer.send(processes=table)

    def _report(self, report: Report) -> None:
        level = logging.ERROR
        if report.kind is ReportKind.PROGRESS:
            # Who asked for a start knows that it has come to pass.
            level = logging.DEBUG if report.detail == "requested" else logging.INFO
        extra = {"kind": str(report.kind), "child": report.child_id, "detail": report.detail}
        self._logger.log(level, "%s %s: %s", report.kind, report.child_id, report.reason or "up", extra=extra)

    def _end(self, reason: str, status: int, start_failed: bool = False) -> NoReturn:
        """Tells the heart and ends; the kernel ends what children there may be left."""
        try:
            self.writer.send(terminated=reason, start_failed=start_failed)
            log.flush()
        finally:
            os._exit(status)


def _enter_process() -> None:
    generation = current()
    posix.restore_fatal_signals()
    faulthandler.disable()  # enabled already, it would keep the handlers that were just reset
    faulthandler.enable(file=2)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The pipe for reports stays open here: its number, used again, would be mistaken for it in a child.
    name_process(ROOT, generation.data)
    log.to_file(generation.data, ROOT, generation.log_level)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
