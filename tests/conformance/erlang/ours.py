"""Our supervisor put through a script: what happens to it, and what there is to see of it after each step."""

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import SpecError
from tests.conformance.erlang.our_supervisor import Notary, OurSupervisor, flags_of, spec_of
from tests.conformance.erlang.script import (
    EXITS,
    Ask,
    Change,
    Exit,
    Happening,
    Script,
    Start,
    Stop,
    Under,
    Worker,
)
from tests.conformance.erlang.trace import Line

_NOBODY = "nobody"
_NOT_FOUND = ["error", core.Refusal.NOT_FOUND.value]


class Ours:
    """One script."""

    def __init__(self, script: Script) -> None:
        self._notary = Notary()
        for worker in script.workers:
            self._notary.behave(worker)
        self._top = OurSupervisor(script.settings, script.workers, self._notary, lambda reason: None)
        self._top.run()
        self._refs = 0
        self._wants_pid: set[int] = set()
        self._refused: dict[int, str] = {}

    @property
    def ended(self) -> bool:
        return bool(self._top.reason)

    def begin(self) -> list[Line]:
        """What there is to see of the start."""
        first: Line = ["ok"]
        if (culprit := self._top.culprit) is not None:
            prefix = f"shutdown: failed_to_start_child {culprit}: "
            first = ["error", culprit, self._top.reason.removeprefix(prefix)]
        return [first, *self._look()]

    def step(self, step: tuple[Happening, ...]) -> list[Line]:
        """What there is to see once all of it has happened."""
        replies = [reply for one in step if (reply := self._post(one, self._top)) is not None]
        self._top.run()
        return [["step"], *self._look(), *(self._words(*reply) for reply in replies)]

    # -- what happens --------------------------------------------------------------------------------------

    def _post(self, happening: Happening, to: OurSupervisor) -> tuple[OurSupervisor, int] | None:
        """Puts it into the mailbox; returns where its reply will be, None when there will be none."""
        match happening:
            case Stop():
                to.post(core.StopRequested("shutdown"))
            case Exit(worker_id, reason):
                if (name := _running(to, worker_id)) is not None:
                    to.post(to.end(name, EXITS[reason]))
            case Start(worker):
                self._notary.behave(worker)
                return to, self._start(worker, to)
            case Ask():
                ref = self._ask(happening, to)
                return None if ref is None else (to, ref)
            case Change(settings, workers):
                ref = self._ref()
                specs = tuple(spec_of(one) for one in workers)
                to.post(core.ChangeRequested(ref, flags_of(settings), specs))
                starts = {one.id: list(one.starts) for one in workers}
                self._notary.starts = starts | self._notary.starts
                return to, ref
            case Under(branch_id, one):
                # A step of its own, so that nothing else waits meanwhile.
                branch = to.branches().get(branch_id)
                if branch is None:
                    return None
                reply = self._post(one, branch)
                branch.run()
                return reply
        return None

    def _start(self, worker: Worker, to: OurSupervisor) -> int:
        ref = self._ref(wants_pid=True)
        if to.simple:
            to.post(core.SpawnRequested(ref, (worker,)))
            return ref
        try:
            to.post(core.StartRequested(ref, spec_of(worker)))
        except SpecError as error:
            # Refused before it is asked; that it would be asked in time is asked by way of nobody.
            self._refused[ref] = error.reason
            to.post(core.DeleteRequested(ref, _NOBODY))
        return ref

    def _ask(self, ask: Ask, to: OurSupervisor) -> int | None:
        name: str | None = ask.id
        if ask.what == "terminate_child" and to.simple:
            # The pid of nobody's child is a difference on purpose.
            name = _running(to, ask.id)
        if name is None:
            return None
        ref = self._ref(wants_pid=ask.what == "restart_child")
        if ask.what == "restart_child":
            to.post(core.RestartRequested(ref, name))
        elif ask.what == "delete_child":
            to.post(core.DeleteRequested(ref, name))
        else:
            to.post(core.TerminateRequested(ref, name))
        return ref

    def _ref(self, *, wants_pid: bool = False) -> int:
        self._refs += 1
        if wants_pid:
            self._wants_pid.add(self._refs)
        return self._refs

    # -- what there is to see ------------------------------------------------------------------------------

    def _look(self) -> list[Line]:
        events: Line = ["events", *self._notary.events]
        self._notary.events.clear()
        if self._top.reason:
            return [events, ["ended", "failed" if self._top.culprit is not None else self._top.reason]]
        branches = [["branch", name, *branch.look()] for name, branch in sorted(self._top.branches().items())]
        return [events, *self._top.look(), *branches]

    def _words(self, answering: OurSupervisor, ref: int) -> Line:
        words = _words(answering.replies[ref], with_pid=ref in self._wants_pid)
        return ["error", self._refused[ref]] if ref in self._refused and words == _NOT_FOUND else words


def _running(supervisor: OurSupervisor, worker_id: str) -> str | None:
    return next((name for name, one in supervisor.alive.items() if one.worker.id == worker_id), None)


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
