"""The naive supervisor put through a script: what happens to it, and what there is to see of it after each step."""

from tests.conformance.erlang.naive_supervisor import Request, Supervisor
from tests.conformance.erlang.naive_world import World
from tests.conformance.erlang.script import EXITS, Ask, Change, Exit, Happening, Script, Start, Stop, Under
from tests.conformance.erlang.trace import Line


class Naive:
    """One script."""

    def __init__(self, script: Script) -> None:
        self._world = World()
        for worker in script.workers:
            self._world.behave(worker)
        self._top = Supervisor(script.settings, script.workers, self._world)

    @property
    def ended(self) -> bool:
        return bool(self._top.reason)

    def begin(self) -> list[Line]:
        """What there is to see of the start."""
        first = ["error", self._top.culprit, self._top.failure] if self._top.culprit else ["ok"]
        return [first, *self._look()]

    def step(self, step: tuple[Happening, ...]) -> list[Line]:
        """What there is to see once all of it has happened."""
        replies = [reply for one in step if (reply := self._post(one, self._top)) is not None]
        self._top.run()
        return [["step"], *self._look(), *replies]

    def _post(self, happening: Happening, to: Supervisor) -> Line | None:
        """Puts it into the mailbox; returns what its reply will be written into, None when there will be none."""
        match happening:
            case Stop():
                to.end("shutdown")
                return None
            case Exit(worker_id, reason):
                if (process := to.running(worker_id)) is not None:
                    to.ends(process, EXITS[reason])
                return None
            case Under(branch_id, what):
                branch = to.running(branch_id)
                if branch is None or branch.below is None:
                    return None
                reply = self._post(what, branch.below)
                branch.below.run()
                if branch.below.reason:
                    to.ends(branch, branch.below.reason)
                return reply
            case Start(worker):
                self._world.behave(worker)
            case Change(_, workers):
                for worker in workers:
                    self._world.starts.setdefault(worker.id, list(worker.starts))
        process = None
        if isinstance(happening, Ask) and happening.what == "terminate_child" and to.settings.simple:
            process = to.running(happening.id)
            if process is None:
                return None
        request = Request(happening, process)
        to.mailbox.append(request)
        return request.reply

    def _look(self) -> list[Line]:
        events = ["events", *self._world.events]
        self._world.events.clear()
        if self.ended:
            return [events, ["ended", "failed" if self._top.culprit else self._top.reason]]
        processes = sorted(self._top.processes(), key=lambda process: process.name)
        branches = [["branch", one.worker.id, *one.below.look()] for one in processes if one.below]
        return [events, *self._top.look(), *branches]
