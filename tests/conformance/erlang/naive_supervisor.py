"""Erlang/OTP's supervisor told a second time, as plainly as it can be: an oracle for where there is no Erlang.

Written from the contract alone; all it shares with ours are the names of strategies and types. A supervisor is a list
of children and a list of messages; a child starts and stops within the call that asks for it, one after the other.
What is slow, what is answered meanwhile and what is late are no questions here, so that it can be seen to be right.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    ONE_FOR_ALL,
    PERMANENT,
    REST_FOR_ONE,
    SUPERVISOR,
    TEMPORARY,
    TRANSIENT,
    AutoShutdown,
)
from tests.conformance.erlang.naive_world import Process, World
from tests.conformance.erlang.script import (
    AS_ASKED,
    FAILURES,
    IGNORE,
    INFO,
    NEVER,
    Ask,
    Change,
    Happening,
    Settings,
    Start,
    Worker,
)
from tests.conformance.erlang.trace import Line


@dataclass(eq=False)
class Child:
    """A spec, what its start is given (only a template's children are given their own), and its process."""

    spec: Worker
    given: Worker
    pid: Process | Literal["restarting"] | None = None
    forgotten: bool = False

    @property
    def process(self) -> Process | None:
        return self.pid if isinstance(self.pid, Process) else None

    @property
    def pid_name(self) -> str:
        return self.process.name if self.process else str(self.pid or "undefined")


@dataclass(frozen=True)
class Ended:
    """The message that a linked process has ended."""

    process: Process


@dataclass(frozen=True)
class TryAgain:
    """What a supervisor tells itself when a restart failed."""

    child_id: str


@dataclass(frozen=True)
class Request:
    """A call of a supervisor, with the process that it is about if it names one; the reply is written into it."""

    what: Happening
    process: Process | None
    reply: Line = field(default_factory=list)


Message: TypeAlias = Ended | TryAgain | Request


class Supervisor:
    """A supervisor: started by making it; if that failed there is a ``reason`` at once."""

    def __init__(self, settings: Settings, workers: tuple[Worker, ...], world: World) -> None:
        self.settings = settings
        self.workers = workers
        self.world = world
        self.mailbox: list[Message] = []
        self.restarts = 0
        self.reason = ""
        self.culprit, self.failure = "", ""
        """The child whose start failed when this was started, and why."""
        # In the order of their starts.
        self.children = [] if settings.simple else [Child(one, one) for one in workers]
        failed, reason = self._start_in_order(self.children)
        if failed is not None:
            self.culprit, self.failure = failed.spec.id, reason
            self.end(f"shutdown: failed_to_start_child {self.culprit}: {reason}")

    def processes(self) -> list[Process]:
        """Those that run."""
        return [one.process for one in self.children if one.process and not one.process.reason]

    def running(self, worker_id: str) -> Process | None:
        """The process of that worker, if it runs."""
        return next((one for one in self.processes() if one.worker.id == worker_id), None)

    def ends(self, process: Process, reason: str) -> None:
        """One of its processes ends by itself."""
        self.world.end(process, reason)
        self.mailbox.append(Ended(process))

    def run(self) -> None:
        """Looks at its messages until there are no more."""
        while self.mailbox and not self.reason:
            self._handle(self.mailbox.pop(0))

    def _handle(self, message: Message) -> None:
        match message:
            case Ended(process):
                for child in list(self.children):
                    if child.pid is process:
                        self._child_ended(child, process)
            case TryAgain(child_id):
                for child in list(self.children):
                    if child.given.id == child_id and child.pid == "restarting":
                        self._restart(child)
            case Request(what, process, reply):
                reply += self._answer(what, process)

    # -- a child ends by itself --------------------------------------------------------------------------------

    def _child_ended(self, child: Child, process: Process) -> None:
        restart = child.spec.restart
        if restart is PERMANENT or not process.normal:
            self._report("child_terminated", child, process.reason)
        if restart is PERMANENT or (restart is TRANSIENT and not process.normal):
            self._restart(child)
            return
        self._gone(child)
        significant = [one for one in self.children if one.spec.significant and one.pid is not None]
        auto_shutdown = self.settings.auto_shutdown
        if child.spec.significant and (
            auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
            or (auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and not significant)
        ):
            self.end("shutdown")

    def _restart(self, child: Child) -> None:
        self.restarts += 1
        if self.restarts > self.settings.intensity:
            self._report("shutdown", child, "reached_max_restart_intensity")
            self._gone(child)
            self.end("shutdown")
            return
        together = [child]
        if self.settings.strategy is ONE_FOR_ALL:
            together = list(self.children)
        elif self.settings.strategy is REST_FOR_ONE:
            together = self.children[self.children.index(child) :]
        child.pid = None
        others = [one for one in together if one is not child]
        for one in reversed(others):
            self._stop(one)
        failed, _ = self._start_in_order([one for one in together if one in self.children])
        if failed is not None:
            failed.pid = "restarting"
            self.mailbox.append(TryAgain(failed.given.id))

    # -- starts and stops --------------------------------------------------------------------------------------

    def _start_in_order(self, children: list[Child]) -> tuple[Child | None, str]:
        """Starts them until one fails; returns that one, and why."""
        for child in list(children):
            child.pid, reason = self._start(child.given)
            if reason:
                self._report("start_error", child, reason)
                return child, reason
            if child.pid is None:
                self._gone(child)
        return None, ""

    def _start(self, worker: Worker) -> tuple[Process | None, str]:
        """Its process, None if it has none; and why the start failed, "" if it did not."""
        outcome = self.world.start(worker)
        if outcome == IGNORE:
            return None, ""
        if outcome in FAILURES:
            return None, FAILURES[outcome]
        below = None
        if worker.below is not None:
            below = Supervisor(worker.below.settings, worker.below.workers, self.world)
            if below.reason:
                return None, below.reason
        return self.world.up(worker, below, tells=outcome == INFO and below is None), ""

    def _stop(self, child: Child) -> None:
        """Stops it if it runs, and forgets it if it is not to be kept."""
        process, spec = child.process, child.spec
        self._gone(child)
        if process is None:
            return
        if not process.reason:
            reason = "shutdown" if process.worker.stop == AS_ASKED else process.worker.stop
            if process.below is not None:
                process.below.end(reason := "shutdown")
            elif spec.shutdown is BRUTAL_KILL or reason == NEVER:
                reason = "killed"
            self.world.end(process, reason)
        # If it had ended already, its message is still there, and is taken as the answer.
        self.mailbox = [one for one in self.mailbox if one != Ended(process)]
        expected = process.reason == ("killed" if spec.shutdown is BRUTAL_KILL else "shutdown")
        if not expected and not (process.normal and spec.restart is not PERMANENT):
            self._report("shutdown_error", child, process.reason)

    def _gone(self, child: Child) -> None:
        """It does not run: a temporary child and one of a template's are forgotten with that."""
        child.pid = None
        if child.spec.restart is TEMPORARY or self.settings.simple:
            self.children.remove(child)

    def end(self, reason: str) -> None:
        """It ends: its children are stopped, and who waits for an answer gets none."""
        for child in reversed(list(self.children)):
            self._stop(child)
        self.reason = reason
        for message in self.mailbox:
            if isinstance(message, Request):
                message.reply[:] = ["error", "shutdown"]

    # -- what is asked -----------------------------------------------------------------------------------------

    def _answer(self, what: Happening, process: Process | None) -> Line:
        match what:
            case Change(settings, workers):
                return self._change(settings, workers)
            case Start(worker):
                return self._start_child(worker)
            case Ask("terminate_child", _) if self.settings.simple:
                return self._do("terminate_child", [one for one in self.children if one.pid is process])
            case Ask() if self.settings.simple:
                return ["error", "simple_one_for_one"]
            case Ask(do, child_id):
                return self._do(do, [one for one in self.children if one.spec.id == child_id])
        raise AssertionError(f"{what} is no request")

    def _do(self, what: str, found: list[Child]) -> Line:
        if not found:
            return ["error", "not_found"]
        (child,) = found
        if what == "terminate_child":
            self._stop(child)
            return ["ok"]
        if child.pid is not None:
            return ["error", "restarting" if child.pid == "restarting" else "running"]
        if what == "restart_child":
            return self._start_one(child)
        self.children.remove(child)
        return ["ok"]

    def _start_child(self, worker: Worker) -> Line:
        if self.settings.simple:
            template = self.workers[0]
            # Nobody keeps what a temporary child was started with, so it can never be anything else.
            return self._add(Child(template, worker, forgotten=template.restart is TEMPORARY))
        nobody_counts = self.settings.auto_shutdown is AutoShutdown.NEVER
        if worker.significant and (worker.restart is PERMANENT or nobody_counts):
            return ["error", "bad_combination"]
        for child in self.children:
            if child.spec.id == worker.id:
                if child.process is None:
                    return ["error", "already_present"]
                return ["error", "already_started", child.process.name]
        return self._add(Child(worker, worker))

    def _add(self, child: Child) -> Line:
        self.children.append(child)
        reply = self._start_one(child)
        if reply[0] == "error":
            self.children.remove(child)
        elif child.pid is None:
            self._gone(child)
        return reply

    def _start_one(self, child: Child) -> Line:
        """A start that was asked for: uncounted, and its failure is no report but the answer."""
        child.pid, reason = self._start(child.given)
        if reason:
            return ["error", "start_error", reason]
        return ["ok", child.pid_name, *(["info"] if child.pid and child.pid.tells else [])]

    def _change(self, settings: Settings, workers: tuple[Worker, ...]) -> Line:
        """The new specs in their order, none of them started; then those that are in them no more."""
        self.settings, self.workers = settings, workers
        if settings.simple:
            for child in self.children:
                child.spec = replace(workers[0], restart=TEMPORARY) if child.forgotten else workers[0]
            return ["ok"]
        old = {child.spec.id: child for child in self.children}
        new = [Child(one, one, old.pop(one.id).pid if one.id in old else None) for one in workers]
        self.children = new + list(old.values())
        return ["ok"]

    # -- what there is to see ----------------------------------------------------------------------------------

    def _report(self, kind: str, child: Child, reason: str) -> None:
        self.world.events.append(["report", kind, child.spec.id, reason])

    def look(self) -> list[Line]:
        which = [
            ["undefined" if self.settings.simple else child.spec.id, child.pid_name]
            for child in reversed(self.children)
        ]
        specs = 1 if self.settings.simple else len(self.children)
        active = sum(child.process is not None for child in self.children)
        supervisors = sum(child.spec.type is SUPERVISOR for child in self.children)
        count = ["count", specs, active, supervisors, len(self.children) - supervisors]
        return [["which", *which], count]
