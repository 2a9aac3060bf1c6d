"""How samples get from a door to the cells, whichever door they came through: counted, bounded, durable or refused."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slakeeper.client import MAX_IN_FLIGHT_SAMPLES, MONITOR_DOWN, Cluster, Overloaded, Unavailable
from slakeeper.web.bridge import Bridge
from slakeeper.web.ingest import Batch

# What a sender is asked to send again because a monitor is down: one that crashed is back in milliseconds. One that
# stays down holds up whoever sends in order by no more than this, which is less than other metrics' `lateness`:
# afterwards its samples are dropped and counted, and the others' go on.
DOWN_PATIENCE_MS = 10_000

# One door's part of what the cells may owe an answer for: the rest is left to the others, however fast it sends.
DOOR_SHARE = 2


@dataclass
class Door:
    """One way in, since this gateway started.

    Attributes:
        name: ``samples``, ``prometheus``, ``otlp`` or ``statsd``.
        accepted: samples that are durable.
        rejected: what was not taken, by reason.
        refused_batches: batches that the sender was told to send again.
        slowed_batches: batches that had to wait because their client had sent more than its share.
        in_flight: samples under way to the cells.
        facts: what else is to be told about this door, numbers by name.
    """

    name: str
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    refused_batches: int = 0
    slowed_batches: int = 0
    in_flight: int = 0
    facts: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str, count: int = 1) -> None:
        """Counts what was not taken."""
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def row(self) -> dict[str, Any]:
        """This door in the status."""
        return {
            "door": self.name,
            "accepted": self.accepted,
            "rejected": dict(self.rejected),
            "refused_batches": self.refused_batches,
            "slowed_batches": self.slowed_batches,
            "in_flight": self.in_flight,
            **self.facts,
        }


@dataclass(frozen=True)
class Taken:
    """What became of a batch: ``accepted`` samples are durable, ``rejected`` are (place in the body, reason)."""

    accepted: int
    rejected: list[tuple[int, str]]


class Intake:
    """The cells as the doors see them. Every door has its own counts and its own room."""

    def __init__(self, cluster: Cluster, max_in_flight: int = MAX_IN_FLIGHT_SAMPLES) -> None:
        self._cluster = cluster
        self._bridge = Bridge()
        self._room = max(1, max_in_flight // DOOR_SHARE)
        self._doors: dict[str, Door] = {}

    @property
    def doors(self) -> list[Door]:
        """Those that there are."""
        return list(self._doors.values())

    def door(self, name: str) -> Door:
        """The door of that name."""
        return self._doors.setdefault(name, Door(name))

    def admit(self, door: Door) -> None:
        """Refuses before a body is read what would be refused after it.

        Raises:
            Overloaded: the door's room is full.
        """
        if door.in_flight >= self._room:
            door.refused_batches += 1
            raise Overloaded(f"{door.in_flight} samples of {door.name} wait already")

    async def take(self, door: Door, batch: Batch, batch_id: str, *, asks_again: bool = False) -> Taken:
        """Hands a batch on; returns when what was accepted is durable.

        Args:
            door: it came through this one.
            batch: several samples of one place are one thing to the sender, taken if one of them is.
            batch_id: the same when the same is sent again.
            asks_again: a sender that cannot be told of single samples gets to send the batch again while a monitor
                is down.

        Raises:
            Unavailable: it is to be sent again under the same id: nothing of it counts twice.
        """
        size = len(batch.samples)
        if door.in_flight and door.in_flight + size > self._room:
            door.refused_batches += 1
            raise Overloaded(f"{door.in_flight} samples of {door.name} wait already")
        door.in_flight += size
        try:
            result = await self._bridge.answer(self._cluster.samples(batch.samples, batch_id))
            if asks_again:
                _insist(batch, result)
        except Unavailable:
            door.refused_batches += 1
            raise
        finally:
            door.in_flight -= size
        return self._count(door, batch, result)

    @staticmethod
    def _count(door: Door, batch: Batch, result: Mapping[str, Any]) -> Taken:
        accepted = len(result["accepted"])
        if not result["rejected"] and not batch.rejected:  # as nearly always
            door.accepted += accepted
            return Taken(accepted, [])
        places = batch.places
        taken = {places[index] for index in result["accepted"]}
        refused = dict(batch.rejected)
        for index, reason in result["rejected"]:
            if places[index] not in taken or reason == MONITOR_DOWN:
                refused.setdefault(places[index], reason)
        door.accepted += accepted
        for reason in refused.values():
            door.reject(reason)
        return Taken(accepted, sorted(refused.items()))


def _insist(batch: Batch, result: Mapping[str, Any]) -> None:
    since_ms = time.time_ns() // 1_000_000 - DOWN_PATIENCE_MS
    for index, reason in result["rejected"]:
        if reason == MONITOR_DOWN:
            metric, _, ts_ms = batch.samples[index][:3]
            if ts_ms is not None and ts_ms >= since_ms:
                raise Unavailable(f"the monitor of {metric} is down for the moment")
