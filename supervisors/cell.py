"""A cell: its partitions recovered, its tree started, its contracts defined, its socket open."""

import gc
import logging
import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from slakeeper.actors.audit import begin_chains, file_the_rest
from slakeeper.actors.environment import open_environment
from slakeeper.actors.kind import KINDS
from slakeeper.actors.outbox import is_channel, lane_of
from slakeeper.actors.record import make_codec
from slakeeper.actors.request import define, is_light, make_groups, make_handlers
from slakeeper.actors.restraint import begin_restraint
from slakeeper.actors.silence import begin_silences
from slakeeper.actors.start import start
from slakeeper.actors.trial import Trials
from slakeeper.otp.actor import RequestError
from slakeeper.otp.clock import Clock, SystemClock
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.journal import Damaged, JournalError
from slakeeper.otp.loop import Loop
from slakeeper.otp.neighbour import Neighbour, SocketNeighbour
from slakeeper.otp.partition import Partition
from slakeeper.otp.placement import partition_of
from slakeeper.otp.room import Room
from slakeeper.otp.service import RequestRefused, ServiceContext
from slakeeper.sla.ack_link import Links
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy
from slakeeper.supervisors.tree import cell_tree


@dataclass(frozen=True)
class CellSettings:
    """Everything a cell is made of.

    Attributes:
        name: ``cell-0``; shown in the tree.
        data: the data directory.
        partitions: the names of its own partitions by number, or for an isolated contract {0: its own}.
        partition_count: how many partitions there are in all; 1 for an isolated contract's cell.
        contracts: documents of the contracts the configuration defines here, each time the cell is made anew.
        socket_path: where it listens; None when it serves its own process only.
        held: why no message and no action may leave; empty when they may.
        links: how people acknowledge by a link in a message; None when they cannot.
        neighbours: sockets of the other cells, by name.
    """

    name: str
    data: Path
    partitions: Mapping[int, str]
    partition_count: int
    contracts: tuple[dict[str, Any], ...]
    enforcement: EnforcementPolicy
    monitoring: MonitoringPolicy
    socket_path: Path | None
    snapshot_interval_ms: int
    min_free_bytes: int = 0
    held: str = ""
    links: Links | None = None
    neighbours: Mapping[str, Path] = field(default_factory=dict)


# New containers before the collector looks through the youngest, in a process that is a cell. A turn's batches are
# thousands of them, gone by its end: at Python's own 700, looking for garbage among them is a tenth of the work.
GC_THRESHOLD = 20_000


def make_loop(
    settings: CellSettings,
    crashed: Callable[[str], None],
    clock: Clock | None = None,
    neighbours: Mapping[str, Neighbour] | None = None,
    *,
    recovered: Callable[[], None] = lambda: None,
    begins_again: bool = False,
) -> Loop:
    """The cell's loop, not started yet.

    Args:
        crashed: told why when the cell cannot go on.
        clock: the system's by default.
        neighbours: the other cells by name, looked at when it starts; those of the settings by default.
        recovered: called when all that was recorded has been made, or has to wait for room on the disk.
        begins_again: whether a cell that finds no room waits here, because nobody would start another.
    """
    read = clock or SystemClock()
    executor = ThreadExecutor()
    partitions: dict[int, Partition] = {}
    room = Room(settings.data, settings.min_free_bytes, background=partial(executor.submit, "room"))

    def find_partition(sla_id: str) -> Partition:
        found = partitions.get(partition_of(sla_id, settings.partition_count))
        if found is None:
            raise RequestError("invalid", f"{sla_id} belongs to another cell than {settings.name}")
        return found

    def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
        try:
            return recover(publish)
        except Exception as error:
            for partition in partitions.values():  # for whoever tries again within this process
                partition.close()
            if isinstance(error, Damaged):
                raise JournalError(f"{error}: {_repair_command(settings.data)}") from error
            raise

    def recover(publish: Callable[[str, dict[str, Any]], None]) -> Host:
        codec = make_codec()
        for number, name in settings.partitions.items():
            partitions[number] = Partition(settings.data / "partitions" / name, codec)
        # An opening mostly waits for the disk. What is to be durable of it may be so while the actors are made.
        threads = ThreadPoolExecutor(len(partitions), thread_name_prefix="open")
        try:
            openings = [threads.submit(partition.open, threads) for partition in partitions.values()]
            wait(openings)
            for opening in openings:
                opening.result()
        finally:
            threads.shutdown(wait=False)
        environment = open_environment(
            settings.enforcement, settings.monitoring, settings.data, settings.held, settings.links
        )
        environment.room = room
        environment.trials = Trials(executor.submit)
        environment.waiting = lambda channel: executor.in_lane(lane_of(channel))
        environment.neighbours = (
            {name: SocketNeighbour(path) for name, path in settings.neighbours.items()}
            if neighbours is None
            else {name: each for name, each in neighbours.items() if name != settings.name}
        )
        tree = cell_tree(settings.name, environment.pollers, environment.neighbours)
        named = {settings.partitions[number]: partition for number, partition in partitions.items()}
        environment.partition_names = tuple(named)
        begin_chains(named, codec, read.now_ms())
        begin_silences(named, codec)
        begin_restraint(named, codec)
        host = Host(tree, KINDS, read, codec, named, executor, environment, publish, executor.commit)
        start(host)
        for document in settings.contracts:
            try:
                define(host, document, find_partition)
            except RequestError as error:
                logging.getLogger("slakeeper").error("%s: %s", document.get("id"), error)
        host.commit()
        for partition in partitions.values():
            partition.ready()
        return host

    return Loop(
        settings.name,
        build,
        make_handlers(find_partition),
        executor,
        read,
        settings.socket_path,
        settings.snapshot_interval_ms,
        crashed,
        room,
        frozenset({"samples"}),
        make_groups(find_partition),
        is_light,
        stopped=file_the_rest,
        recovered=recovered,
        begins_again=begins_again,
        # So that a start knows of them what became of them: else some would be sent twice, others be left in doubt.
        sees_out=is_channel,
    )


def _repair_command(data: Path) -> str:
    return f"slakeeper --data {shlex.quote(str(data))} doctor --repair (without --repair it shows what that would be)"


def cell(args: Mapping[str, Any], context: ServiceContext) -> "CellService":
    """The entry point of a cell's process; ``args`` holds ``settings``, a :class:`CellSettings`."""
    return CellService(args["settings"], context)


def _collect_from_here_on() -> None:
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()


class CellService:
    """A cell as the service of a process."""

    def __init__(self, settings: CellSettings, context: ServiceContext) -> None:
        if context.restarts:
            # The configuration was brought in when the system was started; what was removed since stays removed.
            settings = replace(settings, contracts=())
        self._loop = make_loop(settings, context.crashed, recovered=_collect_from_here_on)

    def start(self) -> Mapping[str, Any]:
        # What a recovery makes stays. To look through all of it for garbage, again and again while it grows, would
        # take longer than the recovery, and afterwards be a pause in which nothing is acknowledged. Monitors
        # are made behind open doors, so this is not over when they are open.
        gc.disable()
        self._loop.start()
        return {}

    def stop(self, deadline_s: float) -> None:
        if not self._loop.stop(deadline_s):
            logging.getLogger("slakeeper").error("%s did not stop within %g s", self._loop.name, deadline_s)

    def beat(self) -> Mapping[str, Any]:
        return {"age_ms": self._loop.age_ms(), **self._loop.stats}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RequestRefused("invalid", "cells are asked over their sockets")
