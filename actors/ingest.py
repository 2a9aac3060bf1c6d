"""Samples into a cell, and the IngestActor that knows which batches a partition has taken: each counts once."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from slakeeper.actors import query
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    BatchNoted,
    CountDuplicates,
    NoteBatch,
    Observe,
    ingest_address,
    monitor_address,
)
from slakeeper.actors.payload import optional_text, sequence
from slakeeper.otp.actor import Actor, RequestError
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition
from slakeeper.sla.sample import Sample, check_sample

# At 100 batches a second a sender that lost its answer has 40 seconds to send again; each costs 9 bytes.
REMEMBERED_BATCHES = 4096


class IngestActor(Actor):
    """One for each partition; without an argument.

    A batch is noted in the same commit as its samples, so that the partition has both or neither. With it stand
    the monitors that were down then and so have not got their share: they get it when the batch comes again.
    """

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        # Who has not got its share, by batch; a dict also for its order: the oldest goes first.
        self._batches: dict[int, tuple[str, ...]] = {}

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if not isinstance(request, NoteBatch):
            return super().handle_call(ctx, request)
        missed = self._batches.get(request.key)
        if missed is None:
            ctx.emit((request.key, request.down) if request.down else request.key)
            return BatchNoted(request.up, ())
        new = tuple(address for address in request.up if address in missed)
        if new:
            ctx.emit((request.key, tuple(address for address in missed if address not in new)))
        return BatchNoted(new, tuple(address for address in request.down if address not in missed))

    def apply(self, event: int | tuple[int, tuple[str, ...]]) -> None:
        self._take(event)
        if len(self._batches) > REMEMBERED_BATCHES:
            del self._batches[next(iter(self._batches))]

    def dump(self) -> tuple[Any, ...]:
        return tuple((key, missed) if missed else key for key, missed in self._batches.items())

    def load(self, state: tuple[Any, ...]) -> None:
        for noted in state:
            self._take(noted)

    def _take(self, noted: int | tuple[int, tuple[str, ...]]) -> None:
        key, missed = (noted, ()) if isinstance(noted, int) else noted
        self._batches[key] = missed


# What a batch holds for one monitor: the contract's id, and the samples.
_Share = tuple[str, list[Sample]]


class Ingest:
    """Takes sample batches. One that is sent again counts once: each partition remembers the batches it has taken."""

    def __init__(self, partition_of: Callable[[str], Partition]) -> None:
        self._partition_of = partition_of

    def take(self, host: Host, payload: Any) -> dict[str, Any]:
        """Hands a batch to the monitors.

        Args:
            payload: ``samples``: a list of [metric, value, ts_ms or None, sla or None, labels or None];
                ``batch_id``: the same for a batch that is sent again, text; without one nothing is remembered.

        Returns:
            ``accepted``: indexes; ``rejected``: [index, reason] each. What is rejected as ``monitor_down`` is taken
            when the same batch is sent again later, and nothing of it twice.

        Raises:
            RequestError: ``invalid``: the payload is not of this form; nothing of it was taken.
        """
        samples, batch_id = sequence(payload, "samples"), optional_text(payload, "batch_id")
        # Whoever is going to crash on what came before has crashed then, and counts as down.
        host.drain()
        try:
            reply, for_monitor, down = self._sort(host, samples, {})
            shares: dict[str, Any] = {
                address: Observe(tuple(share)) for address, (_, share) in for_monitor.items()
            }
            if batch_id is not None:
                settled = self._note(host, for_monitor, down, batch_id, shares)
                if settled:
                    reply, _, _ = self._sort(host, samples, settled)
        except (AttributeError, TypeError, ValueError) as error:
            raise RequestError(
                "invalid", f"samples must be [metric, value, ts, sla, labels]: {error}"
            ) from error
        for address, message in shares.items():
            host.cast(address, message)
        # Before anything else can end a monitor: what waits for one that is down is in memory only.
        host.drain()
        host.counts["samples_accepted"] += len(reply["accepted"])
        host.counts["samples_rejected"] += len(reply["rejected"])
        return reply

    def _sort(
        self, host: Host, samples: Sequence[Any], settled: Mapping[str, bool]
    ) -> tuple[dict[str, Any], dict[str, _Share], dict[str, str]]:
        """Judges every sample.

        Args:
            settled: monitors that get nothing more of this batch: whether they have got their share before.

        Returns:
            The reply; shares by the monitor's address; the contracts' ids by the address of monitors that are down.
        """
        environment: Environment = host.environment
        monitors_of, now_ms = environment.catalog.monitors, host.now_ms
        accepted: list[int] = []
        rejected: list[tuple[int, str]] = []
        for_monitor: dict[str, _Share] = {}
        down: dict[str, str] = {}
        for index, (metric, value, ts_ms, sla_id, labels) in enumerate(samples):
            at_ms = now_ms if ts_ms is None else ts_ms
            refused = check_sample(value, at_ms, now_ms)
            if refused is not None:
                rejected.append((index, refused))
                continue
            taken = False
            known_sla = is_down = False
            monitors = monitors_of(metric)
            # Found by its address: many contracts may have a metric of this name.
            wanted = (
                monitors.values()
                if sla_id is None
                else filter(None, (monitors.get(monitor_address(sla_id, metric)),))
            )
            for listed in wanted:
                known_sla = True
                if listed.labels and not _has_labels(labels, listed.labels):
                    continue
                share = for_monitor.get(listed.address)
                if share is None:
                    if settled.get(listed.address):
                        taken = True
                        continue
                    if listed.address in settled or not host.takes(listed.address):
                        # It would wait in memory only, and what is acknowledged has to be on disk.
                        is_down = True
                        down[listed.address] = listed.sla_id
                        continue
                    share = for_monitor[listed.address] = (listed.sla_id, [])
                taken = True
                share[1].append((at_ms, float(value)))
            if taken:
                accepted.append(index)
            else:
                reason = (
                    "unknown_metric"
                    if not monitors
                    else "monitor_down"
                    if is_down
                    else "labels_do_not_match"
                    if known_sla
                    else "unknown_sla"
                )
                rejected.append((index, reason))
        return {"accepted": accepted, "rejected": rejected}, for_monitor, down

    def _note(
        self,
        host: Host,
        for_monitor: Mapping[str, _Share],
        down: Mapping[str, str],
        batch_id: str,
        shares: dict[str, Any],
    ) -> dict[str, bool]:
        """Has each partition note the batch, and takes out of ``shares`` what is not to be handed on.

        Returns:
            Monitors that stand otherwise than they seemed: True has got its share before though it is down now;
            False is refused, because what keeps its partition's batches is down and the share might count twice.
        """
        key = int.from_bytes(blake2b(batch_id.encode(), digest_size=8).digest())
        # A crash between the commits of two partitions leaves a batch that is new to one of them only.
        by_partition: dict[Partition, tuple[list[str], list[str]]] = {}
        for address, (sla_id, _) in for_monitor.items():
            by_partition.setdefault(self._partition_of(sla_id), ([], []))[0].append(address)
        for address, sla_id in down.items():
            by_partition.setdefault(self._partition_of(sla_id), ([], []))[1].append(address)
        settled: dict[str, bool] = {}
        for partition, (up, missing) in by_partition.items():
            keeper = ingest_address(partition.directory.name)
            noted: BatchNoted | None = query.ask(host, keeper, NoteBatch(key, tuple(up), tuple(missing)))
            for address in up:
                if noted is None:
                    settled[address] = False
                    del shares[address]
                elif address not in noted.new:
                    shares[address] = CountDuplicates(len(for_monitor[address][1]))
            if noted is not None:
                settled.update(dict.fromkeys(noted.had, True))
        return settled


def _has_labels(labels: Any, wanted: tuple[tuple[str, str], ...]) -> bool:
    return isinstance(labels, dict) and all(labels.get(name) == value for name, value in wanted)
