"""The host of a cell behind the same face as :mod:`tests.conformance.fake_children`, for cases that both can do.

Its starts and stops take no time, so scripts that need some are for the other one alone. What the host knows children
by are addresses; as in OTP each incarnation has a pid of its own here: the number of its birth.
"""

from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, ClassVar, TypeAlias

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Actor, ActorSpec, ActorStopped, SupervisorSpec, child_spec
from slakeeper.otp.child_spec import FORGOTTEN, ChildSpec, Flags
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.seat import Node
from tests.conformance.fake_children import IGNORE, UP, Family, Script, StartError, Supervisor, Tree

_BEGAN_MS = 1_000_000


class Scripted(Actor):
    """Starts as its script says."""

    durable: ClassVar[bool] = False

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.script: Script = arg

    def init(self, ctx: Context, fresh: bool) -> str | None:
        return ctx.environment.born(self.address, self.script)  # type: ignore[no-any-return]

    def terminate(self, ctx: Context, reason: str) -> None:
        ctx.environment.stopped(self.address, reason)


class _NoExecutor:
    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        raise AssertionError("these actors have no outside effects")


class _Reporting(Host):
    def report(self, node: Node, report: core.Report) -> None:
        self.environment.reports.append((node.spec.address, report))
        super().report(node, report)


class HostFamily:
    """As Family: a clock, and every incarnation there ever was."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.exits: dict[int, str] = {}
        self.supervisors = _Supervisors(self)
        self.reports: list[tuple[str, core.Report]] = []
        self.pids = count(1)
        self.number: dict[str, int] = {}
        self.nodes: dict[str, Node] = {}
        self._clock = ManualClock(_BEGAN_MS)

    @property
    def now_ms(self) -> int:
        return self._clock.now_ms() - _BEGAN_MS

    def start(self, flags: Flags, *children: ChildSpec, name: str = "top") -> "HostSupervisor":
        core.initial_state(flags, children)  # refuses what cannot be
        spec = SupervisorSpec(name, flags, tuple(map(translated, children)))
        self.host = _Reporting(spec, {"scripted": Scripted}, self._clock, Codec(), {}, _NoExecutor(), self)
        try:
            self.host.start()
        except ActorStopped as error:
            raise StartError(str(error).partition("did not start: ")[2]) from error
        return self.supervisors[name]

    def later(self, by_ms: int = 0) -> None:
        end_ms = self._clock.now_ms() + by_ms
        while (due_ms := self.host.next_deadline_ms()) is not None and due_ms <= end_ms:
            self._clock.advance(max(0, due_ms - self._clock.now_ms()))
            self._turn()
        self._clock.advance(end_ms - self._clock.now_ms())
        self._turn()

    def _turn(self) -> None:
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    # -- what actors say ------------------------------------------------------------------------------------

    def born(self, address: str, script: Script) -> str | None:
        assert not script.start_ms, "a start here takes no time"
        self.log.append(f"start {address}")
        outcome = next(script.starts, UP)
        if outcome == IGNORE:
            return IGNORE
        if outcome != UP:
            raise _Refusal(outcome)
        self.number[address] = next(self.pids)
        return None

    def stopped(self, address: str, reason: str) -> None:
        self.log.append(f"stop {address}")
        self.exits[self.number[address]] = reason


class _Supervisors(dict[str, "HostSupervisor"]):
    """Any supervisor of the tree by its name."""

    def __init__(self, family: HostFamily) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, name: str) -> "HostSupervisor":
        return HostSupervisor(self._family, name)


class _Refusal(Exception):
    """A start that fails, as its script says."""


class HostSupervisor:
    """As Supervisor: OTP's API, here that of the host."""

    def __init__(self, family: HostFamily, name: str) -> None:
        self.family = family
        self.name = name

    @property
    def state(self) -> core.SupervisorState:
        tree = self.family.host.tree
        node = tree.root if self.name == tree.spec.address else tree.nodes.get(self.name)
        assert node is not None
        return node.state

    @property
    def ended(self) -> str | None:
        if self.name == self.family.host.tree.spec.address:
            return self.family.host.ended
        return None if self.name in self.family.host.tree.nodes else "shutdown"

    # -- OTP's API ------------------------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec) -> core.Ok | core.Error:
        return self._seen(self._api.start_child(self.name, translated(spec)))

    def spawn(self, *extra: Any) -> core.Ok | core.Error:
        return self._seen(self._api.spawn(self.name, *(each for each in extra if isinstance(each, Script))))

    def terminate_child(self, name: Hashable) -> core.Ok | core.Error:
        return self._seen(self._api.terminate_child(self.name, self._address(name)))

    def restart_child(self, child_id: str) -> core.Ok | core.Error:
        return self._seen(self._api.restart_child(self.name, child_id))

    def delete_child(self, child_id: str) -> core.Ok | core.Error:
        return self._seen(self._api.delete_child(self.name, child_id))

    def code_change(self, flags: Flags, *specs: ChildSpec) -> core.Ok | core.Error:
        changed = SupervisorSpec(self.name, flags, tuple(map(translated, specs)))
        return self._seen(self._api.change(changed))

    def which_children(self) -> list[tuple[str, Any]]:
        return [
            (info.id, info.status if info.status == "restarting" else self._number(info.pid))
            for info in core.which_children(self.state)
        ]

    def which_child(self, name: Hashable) -> core.ChildInfo | None:
        return core.which_child(self.state, self._address(name))

    def counts(self) -> tuple[int, int, int, int]:
        found = self._api.count_children(self.name)
        return found.specs, found.active, found.supervisors, found.workers

    def get_childspec(self, name: Hashable) -> ChildSpec | None:
        found = self._api.get_childspec(self.name, self._address(name))
        return None if found is None else _original(found.named(found.id.removeprefix(f"{self.name}/")))

    def stop(self, reason: str = "shutdown") -> None:
        assert reason == "shutdown", "the host gives no other"
        self.family.host.stop()

    # -- what happens to children ---------------------------------------------------------------------------

    def pid(self, child_id: str) -> int:
        found = core.which_child(self.state, child_id)
        assert found is not None
        assert found.pid is not None
        number: int = self._number(found.pid)
        return number

    def exit(self, name: Hashable, reason: str) -> None:
        address = name if isinstance(name, str) else self._born_as(name)
        self.family.exits[self.family.number[address]] = reason
        self.family.host.inspector.kill(address, reason)

    def kinds(self) -> list[str]:
        return [each.kind.value for each in self.reports if each.kind is not core.ReportKind.PROGRESS]

    # -- addresses and numbers --------------------------------------------------------------------------------

    @property
    def _api(self) -> Any:
        return self.family.host.supervisors

    def _address(self, name: Hashable) -> str:
        """What a request calls a child: its id, or under simple_one_for_one its pid."""
        if isinstance(name, str):
            return name if self.state.template is None else f"{self.name}/{name}"
        return "nobody" if self.state.template is None else self._born_as(name)

    def _born_as(self, number: Hashable) -> str:
        """Who has this pid; a former one is nobody's."""
        return next((each for each, born in self.family.number.items() if born == number), "nobody")

    def _number(self, pid: Any) -> Any:
        node = self.family.host.tree.nodes.get(pid)
        if node is None:
            return None if pid is None else self.family.number[pid]
        # A supervisor says nothing of its birth: each of its nodes is another one.
        if self.family.nodes.get(pid) is not node:
            self.family.nodes[pid] = node
            self.family.number[pid] = next(self.family.pids)
        return self.family.number[pid]

    @property
    def reports(self) -> list[core.Report]:
        return [report for name, report in self.family.reports if name == self.name]

    def _seen(self, result: core.Ok | core.Error) -> core.Ok | core.Error:
        if isinstance(result, core.Ok):
            return core.Ok(self._number(result.pid), result.info)
        detail = result.detail.removeprefix("_Refusal: ")
        return core.Error(result.reason, self._number(result.pid), detail)


Kin: TypeAlias = Family | HostFamily
"""What a case is played on."""

KinSupervisor: TypeAlias = Supervisor | HostSupervisor


def translated(spec: ChildSpec) -> ActorSpec | SupervisorSpec:
    """A spec as the host takes it."""
    if isinstance(spec.start, Tree):
        children = tuple(map(translated, spec.start.children))
        return SupervisorSpec(spec.id, spec.start.flags, children, spec.restart, spec.significant)
    assert isinstance(spec.start, Script)
    return ActorSpec(spec.id, "scripted", spec.start, spec.restart, spec.significant)


def _original(spec: ChildSpec) -> ChildSpec:
    """The spec it was translated from."""
    start: Any = spec.start
    if start is not FORGOTTEN:
        start = (
            start.arg
            if isinstance(start, ActorSpec)
            else Tree(start.flags, tuple(_original(child_spec(each)) for each in start.children))
        )
    return ChildSpec(spec.id, start, spec.restart, spec.shutdown, spec.type, spec.significant)
