"""A tree of light actors in this process, on a thread of its own, in one call."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp.actor import Actor, SupervisorSpec
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition

SNAPSHOT_EVERY_MS = 60_000
"""How often what happened is folded into a snapshot [ms]."""


def start_local(
    tree: SupervisorSpec,
    kinds: Mapping[str, type[Actor]],
    directory: Path | None = None,
    *,
    records: Iterable[type[Any]] = (),
    environment: Any = None,
    crashed: Callable[[str], None] | None = None,
) -> Loop:
    """Starts a tree and returns when it is up; stop it with :meth:`Loop.stop`.

    Args:
        tree: the root supervisor; its address names the loop.
        kinds: actor classes by the name used in ActorSpec.
        directory: where durable actors are recorded and found again; None records nothing.
        records: dataclasses that events and states are made of, beside plain values.
        environment: handed to every actor's context.
        crashed: told why, from the loop's thread, when the loop cannot go on; logged by default.

    Raises:
        ActorStopped: a static child did not start.
        JournalError: the directory is another process's, or damaged.
    """
    name, clock, executor = tree.address, SystemClock(), ThreadExecutor()

    def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
        codec = Codec(list(records))
        partitions: dict[str, Partition] = {}
        if directory is not None:
            partition = Partition(directory, codec)
            partition.open()
            partitions["local"] = partition
        home = partitions.get("local")
        host = Host(
            tree,
            kinds,
            clock,
            codec,
            partitions,
            executor,
            environment,
            publish,
            executor.commit,
            home,
        )
        try:
            host.start()
        except BaseException:
            if home is not None:
                home.close()  # for whoever tries again within this process
            raise
        return host

    def say(reason: str) -> None:
        logging.getLogger("slakeeper.otp").critical("%s: %s", name, reason)

    loop = Loop(name, build, {}, executor, clock, None, SNAPSHOT_EVERY_MS, crashed or say)
    loop.start()
    return loop
