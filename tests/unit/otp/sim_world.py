"""A small system to simulate: a counter that must count each order once and tell an outside world each time.

``python -m tests.unit.otp.sim_world SEED`` prints the trace of a run.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slakeeper.otp.actor import Actor, ActorSpec, Performed, RequestError, SupervisorSpec
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags, Quarantine
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.filesystem import File, FileSystem
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition
from slakeeper.otp.sim import SimSystem
from slakeeper.otp.sim_boot import Boot, Handler
from slakeeper.otp.sim_cell import SimCell
from slakeeper.otp.sim_fault import Faults, Link
from slakeeper.otp.sim_observer import Observer

MINUTE_MS = 60_000
ORDERS = 40
ORDER_EVERY_MS = 5_000
RESEND_MS = 2_000

SUPERVISOR = "counters"
FLAGS = Flags(quarantine=Quarantine(intensity=50, period_s=60, backoff=Backoff(min_ms=100, max_ms=1_000)))
TREE = SupervisorSpec("cell", Flags(), (SupervisorSpec(SUPERVISOR, FLAGS),))

BAD_LINK = Link(lost_ratio=0.1, late_ratio=0.1, twice_ratio=0.1, late_ms=20_000)
FAULTS = Faults(
    request=BAD_LINK, reply=BAD_LINK, result=BAD_LINK, effect_lost_ratio=0.1, actor_killed_every_ms=10_000,
    cell_killed_every_ms=20_000, disk_failed_every_ms=60_000, clock_jump_every_ms=120_000, restart_ms=(100, 1_000),
    clock_jump_ms=(1_000, 10_000),
)  # fmt: skip


class Counter(Actor):
    """Counts orders (name, amount), each name once; tells the world the name of each."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.orders: dict[str, int] = {}
        self.untold: set[str] = set()

    def init(self, ctx: Context, fresh: bool) -> None:
        for name in sorted(self.untold):
            self.tell(ctx, name)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if request == "total":
            return sum(self.orders.values())
        name, amount = request
        if name not in self.orders:
            ctx.emit(("ordered", name, amount))
            self.tell(ctx, name)
        return len(self.orders)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Performed(key, _, None):
                if key in self.untold:
                    ctx.emit(("told", key))
            case Performed(key, _, _):
                ctx.set_timer(key, ctx.now_ms + 1_000, key)
            case str():
                self.tell(ctx, message)

    def tell(self, ctx: Context, name: str) -> None:
        world: World = ctx.environment
        ctx.perform(name, lambda: world.told.append(name), lane="world")

    def apply(self, event: Any) -> None:
        match event:
            case ("ordered", name, amount):
                self.orders[name] = amount
                self.untold.add(name)
            case ("told", name):
                self.untold.discard(name)

    def dump(self) -> Any:
        return [list(self.orders.items()), sorted(self.untold)]

    def load(self, state: Any) -> None:
        self.orders, self.untold = dict(state[0]), set(state[1])


class ForgetfulCounter(Counter):
    """A planted bug: it changes its state without an event."""

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if request != "total" and request[0] not in self.orders:
            self.orders[request[0]] = request[1]
        return super().handle_call(ctx, request)


class QuietCounter(Counter):
    """A planted bug: after a restart it does not go on with what it had to tell."""

    def init(self, ctx: Context, fresh: bool) -> None:
        pass


class UnsyncedFile:
    def __init__(self, file: File) -> None:
        self.write, self.close = file.write, file.close

    def sync(self) -> None:
        pass

    def sync_data(self) -> None:
        pass


class UnsyncedFileSystem:
    """A planted bug: files are never synced."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs

    def create(self, path: Path) -> File:
        return UnsyncedFile(self._fs.create(path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)


class World(Observer):
    """One run: a cell, a client that sends orders until each is acknowledged, and what the outside was told."""

    def __init__(
        self,
        seed: int,
        faults: Faults = FAULTS,
        kind: type[Actor] = Counter,
        disk: Callable[[FileSystem], Any] = lambda fs: fs,
        write_trace: Callable[[str], object] | None = None,
    ) -> None:
        self.kind, self.disk = kind, disk
        self.told: list[str] = []
        self.acknowledged: set[str] = set()
        self.ended: list[str] = []
        self.killed: list[str] = []
        self.system = SimSystem(
            seed, faults, write_trace=write_trace, observer=self, snapshot_interval_ms=MINUTE_MS
        )
        self.cell = self.system.add_cell("cell-0", self.build)
        for number in range(ORDERS):
            self.system.agenda.after(number * ORDER_EVERY_MS, lambda name=f"o{number}": self.order(name))  # type: ignore[misc]

    def build(self, boot: Boot) -> tuple[Host, Mapping[str, Handler]]:
        codec = Codec()
        partition = Partition(Path("/data/p0"), codec, self.disk(boot.fs))
        partition.open()
        kinds = boot.mortal({"counter": self.kind})
        host = Host(
            TREE, kinds, boot.clock, codec, {"p0": partition}, boot.executor, self, boot.publish, boot.commit
        )  # fmt: skip
        host.start()
        if not host.exists("counter"):
            host.start_child(SUPERVISOR, ActorSpec("counter", "counter"), partition)
            host.commit()

        def answer(host: Host, payload: Any) -> Any:
            if not host.is_running("counter"):
                raise RequestError("unavailable", "the counter is down")
            return host.ask("counter", payload)

        return host, {"order": answer, "total": lambda host, payload: host.ask("counter", "total")}

    def order(self, name: str) -> None:
        def replied(ok: bool, result: Any) -> None:
            if ok:
                self.acknowledged.add(name)

        if name not in self.acknowledged:
            self.system.ask("client", "cell-0", "order", [name, 1], replied)
            self.system.agenda.after(RESEND_MS, lambda: self.order(name))

    def cell_ended(self, cell: SimCell, why: str) -> None:
        self.ended.append(why)

    def actor_killed(self, cell: SimCell, address: str, moment: Any, message: Any) -> None:
        self.killed.append(moment.value)

    def run(self) -> list[str]:
        """Runs to the end and on until all is calm; returns what is wrong."""
        self.system.run_for(ORDERS * ORDER_EVERY_MS)
        self.system.heal()
        self.system.run_for(5 * MINUTE_MS)
        names = {f"o{number}" for number in range(ORDERS)}
        totals: list[int] = []
        self.system.ask("client", "cell-0", "total", None, lambda ok, result: totals.append(result))
        self.system.run_for(MINUTE_MS)
        problems = []
        if self.acknowledged != names:
            problems.append(f"not acknowledged: {sorted(names - self.acknowledged)}")
        if totals != [ORDERS]:
            problems.append(f"{ORDERS} orders, counted {totals}")
        if set(self.told) != names:
            problems.append(f"not told: {sorted(names - set(self.told))}")
        return problems


def without(faults: Faults, **kept: Any) -> Faults:
    """No faults but those."""
    return replace(Faults(restart_ms=faults.restart_ms), **kept)


if __name__ == "__main__":
    World(int(sys.argv[1]), write_trace=lambda line: sys.stdout.write(line + "\n")).run()
