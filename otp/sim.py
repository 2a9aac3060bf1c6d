"""A whole system in one process on virtual time, whose every accident follows from a seed.

The cells are real: hosts with their trees, partitions and recovery; around them time, network, disk and outside
effects are simulated, and faults are put into each of them. Whatever is decided by chance is drawn from random
numbers that begin with the seed, so a run that fails fails again under its seed, with a trace that is the same byte
for byte. Real are: handlers, supervision, journal, snapshots. Not there are: processes, sockets, threads.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from slakeeper.otp.sim_agenda import Agenda
from slakeeper.otp.sim_boot import Build
from slakeeper.otp.sim_cell import SimCell
from slakeeper.otp.sim_fault import (
    HOUR_MS,
    NO_FAULTS,
    CellKilled,
    EffectLost,
    Faults,
    Link,
    Moment,
    Point,
)
from slakeeper.otp.sim_filesystem import PowerLoss
from slakeeper.otp.sim_observer import Observer
from slakeeper.otp.sim_trace import Trace

# With the kill before them one failure more than a cell's supervisors allow within their period.
STARTS_TO_QUARANTINE = 5

# 2027-01-15 08:00 UTC: any instant does, as long as it is the same in every run.
START_MS = 1_800_000_000_000


class SimSystem:
    """Cells, clients and the world outside, driven by one agenda.

    Args:
        seed: everything by chance follows from it.
        faults: what goes wrong, until :meth:`heal`.
        start_ms: virtual Unix time of the beginning [ms].
        write_trace: gets each line of the trace; None for no trace, which changes nothing else.
        observer: what the run's checks hang on.
        lost: makes the error that an actor gets for an effect of a lane of which nobody knows the end.
        snapshot_interval_ms: how often a cell writes snapshots [ms].
    """

    def __init__(
        self,
        seed: int,
        faults: Faults = NO_FAULTS,
        *,
        start_ms: int = START_MS,
        write_trace: Callable[[str], object] | None = None,
        observer: Observer | None = None,
        lost: Callable[[str], Exception] = EffectLost,
        snapshot_interval_ms: int = HOUR_MS,
    ) -> None:
        self.seed = seed
        self.cells: dict[str, SimCell] = {}
        self.trace = Trace(start_ms, write_trace)
        self.agenda = Agenda(start_ms, self.random("order"))
        self.faults = faults
        self._observer = observer or Observer()
        self._lost = lost
        self._snapshot_interval_ms = snapshot_interval_ms
        self._network = self.random("network")
        self._effects = self.random("effects")
        self._requests = 0
        self._performed = 0
        self._repeat("clock jumps", faults.clock_jump_every_ms, self._jump)

    @property
    def now_ms(self) -> int:
        """Virtual Unix time [ms]."""
        return self.agenda.now_ms()

    def random(self, purpose: str) -> Random:
        """Random numbers of their own for a purpose, so that more draws for one do not shift the others'."""
        return Random(f"{self.seed}/{purpose}")

    # -- what there is --------------------------------------------------------------------------------------------

    def add_cell(self, name: str, build: Build) -> SimCell:
        """Starts a cell; faults may end it any time, also while it starts."""
        cell = self.cells[name] = SimCell(
            name, build, self.agenda, self.trace, self.random(name), self._observer,
            lambda cell: _Executor(self, cell), self.faults.restart_ms, self._snapshot_interval_ms,
        )  # fmt: skip
        cell.start()
        chance = self.random(f"{name} faults")
        self._repeat(f"{name} ends", self.faults.cell_killed_every_ms, lambda: self._doom_cell(cell, chance))
        self._repeat(
            f"{name} kills", self.faults.actor_killed_every_ms, lambda: self._doom_actor(cell, chance)
        )  # fmt: skip
        self._repeat(f"{name} disk", self.faults.disk_failed_every_ms, cell.doom_disk)
        return cell

    def ask(
        self,
        client: str,
        cell: str,
        kind: str,
        payload: Any,
        replied: Callable[[bool, Any], None] = lambda ok, result: None,
    ) -> None:
        """Sends a request over a network that may lose, delay or double it.

        Args:
            client: who sends it, for the trace.
            replied: called with (whether it was done, result or error) as often as a reply arrives: never, once
                or more; also by the reply to a request that arrived twice.
        """
        self._requests += 1
        name = f"{kind} #{self._requests}"
        self._trace(client, f"asks {cell} {name}", payload)

        def reply(ok: bool, result: Any) -> None:
            self._trace(cell, f"replies {name}", "ok" if ok else "refused", result)
            self._deliver(self.faults.reply, client, f"reply {name}", lambda: replied(ok, result))

        self._deliver(
            self.faults.request, cell, f"request {name}", lambda: self.cells[cell].serve(kind, payload, reply)
        )

    # -- time -----------------------------------------------------------------------------------------------------

    def run_until(self, until_ms: int) -> None:
        """Lets everything happen until ``until_ms`` [Unix ms]."""
        self.agenda.run_until(until_ms)

    def run_for(self, by_ms: int) -> None:
        """Lets everything happen of the next ``by_ms`` [ms]."""
        self.run_until(self.now_ms + by_ms)

    def heal(self) -> None:
        """From now on nothing goes wrong; what is down starts again by itself."""
        self.faults = NO_FAULTS
        for cell in self.cells.values():
            cell.heal()
        self._trace("system", "healed")

    # -- inside: deliveries ---------------------------------------------------------------------------------------

    def _deliver(self, link: Link, where: str, what: str, arrive: Callable[[], None]) -> None:
        chance = self._network
        fate = chance.random()
        wait_ms = chance.randint(*link.latency_ms)
        if fate < link.lost_ratio:
            self._trace(where, f"{what} lost")
            return
        fate -= link.lost_ratio
        if fate < link.late_ratio:
            wait_ms += chance.randint(1, link.late_ms)
            self._trace(where, f"{what} late, {wait_ms} ms")
        elif fate < link.late_ratio + link.twice_ratio:
            again_ms = wait_ms + chance.randint(1, link.late_ms)
            self._trace(where, f"{what} twice, again in {again_ms} ms")
            self.agenda.after(again_ms, arrive)
        self.agenda.after(wait_ms, arrive)

    def perform(
        self,
        cell: SimCell,
        lane: str,
        effect: Callable[[], Any],
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Carries an effect out, or not, and brings its result back, or not; all of it only while the cell lives."""
        cell.point(Point.RELEASED)
        self._performed += 1
        name, life = f"effect #{self._performed} on {lane}", cell.life
        chance, faults = self._effects, self.faults
        is_lost = chance.random() < faults.effect_lost_ratio
        wait_ms = chance.randint(*faults.result.latency_ms)
        self._trace(cell.name, name, "which will be lost" if is_lost else "")

        def arrive(value: Any, error: BaseException | None) -> None:
            if cell.life == life:
                cell.take(lambda host: done(value, error))

        def nobody_knows() -> None:
            self.agenda.after(faults.effect_timeout_ms, lambda: arrive(None, self._lost(lane)))

        def carry_out() -> None:
            if cell.life != life or cell.host is None:
                return
            value: Any = None
            failure: BaseException | None = None
            try:
                value = effect()
            except (CellKilled, PowerLoss) as end:  # it was at the cell's own disk
                cell.died(end)
                return
            except Exception as error:  # noqa: BLE001  carried to the actor that asked, which decides
                failure = error
            self._trace(cell.name, f"{name} carried out:", str(value) if failure is None else repr(failure))
            if chance.random() < faults.result.lost_ratio:
                self._trace(cell.name, f"{name}: result lost")
                nobody_knows()
            else:
                link = Link(
                    0.0, faults.result.late_ratio, faults.result.twice_ratio, late_ms=faults.effect_timeout_ms
                )
                self._deliver(link, cell.name, f"{name}: result", lambda: arrive(value, failure))

        if is_lost:
            nobody_knows()
        else:
            self.agenda.after(wait_ms, carry_out)

    # -- inside: faults -------------------------------------------------------------------------------------------

    def _repeat(self, purpose: str, every_ms: int | None, strike: Callable[[], None]) -> None:
        """Has a fault strike again and again, with exponentially distributed waits of mean ``every_ms``."""
        if every_ms is None:
            return
        chance = self.random(purpose)

        def wait() -> None:
            self.agenda.after(1 + int(chance.expovariate(1 / every_ms)), again)

        def again() -> None:
            if self.faults is not NO_FAULTS:
                strike()
                wait()

        wait()

    def _doom_cell(self, cell: SimCell, chance: Random) -> None:
        cell.doom_cell(chance.choice(list(Point)), loses_power=chance.random() < self.faults.power_loss_ratio)

    def _doom_actor(self, cell: SimCell, chance: Random) -> None:
        moment = chance.choice(list(Moment))
        goes_on = chance.random() < self.faults.quarantine_ratio
        cell.doom_actor(moment, STARTS_TO_QUARANTINE if goes_on else 1)

    def _jump(self) -> None:
        by_ms = self._network.randint(*self.faults.clock_jump_ms)
        self._trace("system", f"clock jumps {by_ms} ms forwards")
        self.agenda.jump(by_ms)

    def _trace(self, where: str, what: str, *details: Any) -> None:
        self.trace.line(self.agenda.now_ms(), where, what, *details)


class _Executor:
    """Outside effects of one cell."""

    def __init__(self, system: SimSystem, cell: SimCell) -> None:
        self._system = system
        self._cell = cell

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self._system.perform(self._cell, lane, effect, done)
