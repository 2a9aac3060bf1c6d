"""What a simulated cell is made from, in each of its lives anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slakeeper.otp.actor import Actor
from slakeeper.otp.clock import Clock
from slakeeper.otp.effect import Executor
from slakeeper.otp.filesystem import FileSystem
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition

Handler = Callable[[Host, Any], Any]


@dataclass(frozen=True)
class Boot:
    """What a builder makes a host from, in every life of the cell anew.

    Attributes:
        fs: the cell's disk, for its partitions.
        mortal: gives the kinds to hand to the host for those it is given.
        commit, publish, executor, clock: to be handed to the host as they are.
    """

    name: str
    clock: Clock
    fs: FileSystem
    executor: Executor
    publish: Callable[[str, dict[str, Any]], None]
    commit: Callable[[Sequence[Partition]], None]
    mortal: Callable[[Mapping[str, type[Actor]]], dict[str, type[Actor]]]


Build = Callable[[Boot], tuple[Host, Mapping[str, Handler]]]
"""Opens partitions, makes a host and starts it; returns it with what it answers, by the kind of request."""
