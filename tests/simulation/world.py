"""The whole SLA tree in a simulated system: two cells, three partitions, samples, an operator, a failing outside."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from slakeeper.actors.audit import begin_chains
from slakeeper.actors.audit_file import AuditFiles
from slakeeper.actors.environment import Environment
from slakeeper.actors.kind import KINDS
from slakeeper.actors.message import Observe
from slakeeper.actors.monitor import MonitorOrder
from slakeeper.actors.muting import Muting
from slakeeper.actors.neighbour import answer
from slakeeper.actors.record import make_codec
from slakeeper.actors.request import define, make_handlers
from slakeeper.actors.restraint import begin_restraint
from slakeeper.actors.silence import begin_silences
from slakeeper.actors.start import start
from slakeeper.otp.actor import RequestError
from slakeeper.otp.host import Host
from slakeeper.otp.neighbour import NeighbourError
from slakeeper.otp.partition import Partition
from slakeeper.otp.sim import SimSystem
from slakeeper.otp.sim_boot import Boot, Handler
from slakeeper.otp.sim_cell import SimCell
from slakeeper.otp.sim_fault import NO_FAULTS, Faults, Link, Moment
from slakeeper.otp.sim_observer import Observer
from slakeeper.supervisors.tree import cell_tree
from tests.simulation.chain import AUDIT, chain_entries, problems_of_chains
from tests.simulation.check import problems_at_the_end, problems_of_violations
from tests.simulation.client import HOUR_MS, MINUTE_MS, SECOND_MS, Operator, Sender, Series
from tests.simulation.outside import Channel, Outside, lost
from tests.simulation.settings import (
    ENFORCEMENT,
    MONITORING,
    PLANS,
    QUICK,
    STEADY,
    UNRECOGNISING,
    WATCHED,
    CellPlan,
    Pace,
    contract_documents,
    partition_of,
)
from tests.simulation.shadow import Shadow, recorded

CODEC = make_codec()

SNAPSHOT_MS = 2 * HOUR_MS

# By then every metric has been bad for the first time.
FIRST_BAD_MS = 20 * MINUTE_MS

# After the last fault: everything open is acknowledged, every walk, remedy and retry has come to its end.
CALM_MS = 30 * MINUTE_MS

# A chain is read from its beginning each time: again when it is so much longer than it was.
CHECKED_AFTER_GROWTH = 1.25

_LINK = Link(lost_ratio=0.02, late_ratio=0.02, twice_ratio=0.02)

# For short runs: something breaks every few minutes.
STORM = Faults(
    request=_LINK, reply=_LINK, result=_LINK, effect_lost_ratio=0.02, actor_killed_every_ms=5 * MINUTE_MS,
    cell_killed_every_ms=15 * MINUTE_MS, disk_failed_every_ms=HOUR_MS, clock_jump_every_ms=4 * HOUR_MS,
    clock_jump_ms=(SECOND_MS, 20 * MINUTE_MS),
)  # fmt: skip

# For long runs: several of everything a day.
WEATHER = Faults(
    request=_LINK, reply=_LINK, result=_LINK, effect_lost_ratio=0.02, actor_killed_every_ms=HOUR_MS,
    cell_killed_every_ms=4 * HOUR_MS, disk_failed_every_ms=24 * HOUR_MS, clock_jump_every_ms=72 * HOUR_MS,
)  # fmt: skip


@dataclass(frozen=True)
class Climate:
    """What goes wrong in a world, and how fast it goes."""

    faults: Faults
    pace: Pace


CLIMATES = {
    "storm": Climate(STORM, QUICK),
    "weather": Climate(WEATHER, STEADY),
    # To measure what the samples cost.
    "minutely": Climate(WEATHER, replace(STEADY, sample_every_ms=MINUTE_MS)),
    "calm": Climate(NO_FAULTS, QUICK),
}


@dataclass
class Beside:
    """A cell as its neighbour asks it; what goes wrong on the way goes wrong with the effect that asks."""

    world: "SlaWorld"
    name: str

    def ask(self, kind: str, payload: dict[str, Any]) -> Any:
        host = self.world.system.cells[self.name].host
        if host is None:
            raise NeighbourError(f"{self.name} is away")
        return answer(host, payload)


@contextmanager
def outside_of(world: "SlaWorld") -> Iterator[None]:
    """Remedies are the world's own while it runs: no process is started and no lock file is made."""
    with (
        patch("slakeeper.actors.remediation.run_remedy", world.outside.run_remedy),
        patch("slakeeper.actors.remediation.acting_on", lambda target, folder: nullcontext()),
    ):
        yield


class SlaWorld(Observer):
    """One run.

    Attributes:
        shadows: by address, what every monitor has to know.
        crashed_on: how many samples each monitor has crashed on: they count when their batch comes again.
        topics: how often each was published.
        problems: what was found wrong while it ran.
        set_aside: addresses of actors that were, for a while.
        seen: violations by id, as was published of them last; also of those whose archive was killed on them.
    """

    def __init__(
        self,
        seed: int,
        climate: Climate = CLIMATES["storm"],
        write_trace: Callable[[str], object] | None = None,
    ) -> None:
        self.problems: list[str] = []
        self.set_aside: set[str] = set()
        self.seen: dict[str, dict[str, Any]] = {}
        self.pace = climate.pace
        self.contracts = contract_documents(climate.pace)
        self.shadows: dict[str, Shadow] = {}
        self.crashed_on: Counter[str] = Counter()
        self.topics: Counter[str] = Counter()
        self._seqs: dict[str, int] = {}
        self._turn: dict[str, list[tuple[str, Callable[[], None]]]] = {plan.name: [] for plan in PLANS}
        self._violations: dict[str, set[str]] = {}
        self._checked_entries: dict[str, int] = {}
        self.system = SimSystem(
            seed,
            climate.faults,
            observer=self,
            lost=lost,
            write_trace=write_trace,
            snapshot_interval_ms=SNAPSHOT_MS,
        )
        random = self.system.random
        self.outside = Outside(random("outside"))
        now_ms = self.system.now_ms
        series = {
            each.name: Series(
                each, random(f"values of {each.name}"), now_ms + random(each.name).randrange(FIRST_BAD_MS)
            )
            for each in WATCHED
        }
        self.sender = Sender(self.system, series, self.outside.helped, climate.pace.sample_every_ms)
        self.operator = Operator(self.system, random("operator"), climate.pace.operate_every_ms)
        for plan in PLANS:
            self.system.add_cell(plan.name, lambda boot, plan=plan: self._build(boot, plan))  # type: ignore[misc]
        self.sender.start()
        self.operator.start()

    def run(self, for_ms: int) -> list[str]:
        """Runs with faults for so long [ms], then without until all is calm; returns what is wrong."""
        with outside_of(self):
            self.system.run_for(for_ms)
            self.calm_down()
            return [*self.problems, *problems_at_the_end(self)]

    def calm_down(self) -> None:
        """No faults and good values; every cell starts once more, and so does whoever was set aside or suspended."""
        self.system.heal()
        self.outside.is_calm = self.sender.is_calm = self.operator.is_stopped = True
        self.system.run_for(MINUTE_MS)
        for cell in self.system.cells.values():
            cell.restart()
        self.system.run_for(MINUTE_MS)
        self.operator.resume_all()
        self.system.run_for(CALM_MS)
        self.sender.is_stopped = True
        self.system.run_for(5 * MINUTE_MS)

    # -- the cells --------------------------------------------------------------------------------------------

    def _build(self, boot: Boot, plan: CellPlan) -> tuple[Host, Mapping[str, Handler]]:
        """As ``supervisors.cell`` does it, with channels and remedies of this world."""
        partitions: dict[str, Partition] = {}
        for name in plan.partitions:
            partitions[name] = Partition(Path("/data") / name, CODEC, boot.fs)
            partitions[name].open()
        self._settle(plan.name, partitions)
        begin_chains(partitions, CODEC, boot.clock.now_ms())
        begin_silences(partitions, CODEC)
        begin_restraint(partitions, CODEC)

        def find_partition(sla_id: str) -> Partition:
            found = partitions.get(partition_of(sla_id))
            if found is None:
                raise RequestError("invalid", f"{sla_id} belongs to another cell")
            return found

        senders = {name: Channel(self.outside, name) for name in ENFORCEMENT.channels}
        for name, on_uncertain in UNRECOGNISING.items():
            senders[name] = Channel(self.outside, name, idempotent=False, on_uncertain=on_uncertain)
        environment = Environment(
            ENFORCEMENT,
            MONITORING,
            senders,
            {},
            Path("/locks"),
            self.outside.targets,
            breakers=self.outside.targets.breakers(),
            audit_files=AuditFiles(AUDIT, boot.fs),
            muting=Muting(self.pace.neighbour_fresh_ms),
            neighbours={each.name: Beside(self, each.name) for each in PLANS if each is not plan},
            partition_names=tuple(partitions),
            neighbour_every_ms=self.pace.sample_every_ms,
        )
        kinds: dict[str, Any] = boot.mortal(KINDS)
        kinds["monitor"] = recorded(
            kinds["monitor"],
            lambda address, order, now_ms, message: self._handled(plan.name, address, order, now_ms, message),
        )
        host = Host(
            cell_tree(plan.name, (), environment.neighbours), kinds, boot.clock, CODEC, partitions, boot.executor,
            environment, boot.publish, boot.commit,
        )  # fmt: skip
        start(host)
        for ids in plan.partitions.values():
            for sla_id in ids:
                define(host, self.contracts[sla_id], find_partition)
        host.commit()
        return host, make_handlers(find_partition)

    # -- what is durable --------------------------------------------------------------------------------------

    def _handled(self, cell: str, address: str, order: MonitorOrder, now_ms: int, message: Any) -> None:
        def take() -> None:
            shadow = self.shadows.get(address)
            if shadow is None:
                shadow = self.shadows[address] = Shadow(address, order)
            shadow.take(message, now_ms)

        self._turn[cell].append((partition_of(address.split(":")[1]), take))

    def actor_killed(self, cell: SimCell, address: str, moment: Moment, message: Any) -> None:
        if isinstance(message, Observe):
            self.crashed_on[address] += len(message.samples)

    def turn_ended(self, cell: SimCell) -> None:
        for _, durable in self._turn[cell.name]:
            durable()
        self._turn[cell.name].clear()
        self._note(cell)

    def _settle(self, cell: str, partitions: Mapping[str, Partition]) -> None:
        """A cell has read its disk: of the turn it died in, that is durable which its partitions hold."""
        advanced = {name for name, partition in partitions.items() if partition.seq > self._seqs.get(name, 0)}
        for partition, durable in self._turn[cell]:
            if partition in advanced:
                durable()
        self._turn[cell].clear()
        self._seqs.update((name, partition.seq) for name, partition in partitions.items())
        there = {
            address
            for each in partitions.values()
            for address in each.records
            if address.startswith("violation:")
        }
        gone = self._violations.get(cell, set()) - there
        if gone and not advanced:  # else that turn may have ended them
            self.problems.append(f"{cell}: after a restart there are no longer {sorted(gone)}")
        self._violations[cell] = there

    def _note(self, cell: SimCell) -> None:
        assert cell.host is not None
        for name, partition in cell.host.partitions.items():
            self._seqs[name] = partition.seq
        self._violations[cell.name] = set(cell.host.addresses("violation"))

    def published(self, cell: SimCell, topic: str, payload: dict[str, Any]) -> None:
        self.topics[topic] += 1
        if topic.startswith("violation."):
            self.seen[payload["violation"]["id"]] = payload["violation"]
        if topic == "actor.quarantined":
            self.set_aside.add(payload["address"])
            self.operator.release(cell.name, payload["address"])

    # -- while it runs ----------------------------------------------------------------------------------------

    def _is_chain_due(self, cell: SimCell) -> bool:
        """Whether a cell's audit chains have grown enough to be checked again, so that the checks stay linear in time.

        What is wrong in a chain stays in it: it is found a little later, and at the end all are checked.
        """
        grown, checked = chain_entries(cell), self._checked_entries.get(cell.name, 0)
        if grown < checked * CHECKED_AFTER_GROWTH:
            return False
        self._checked_entries[cell.name] = grown
        return True

    def cell_started(self, cell: SimCell) -> None:
        assert cell.host is not None
        self.problems.extend(problems_of_violations(cell))
        if self._is_chain_due(cell):
            self.problems.extend(problems_of_chains(cell))
        for _, durable in self._turn[cell.name]:
            durable()
        self._turn[cell.name].clear()
        self._note(cell)
