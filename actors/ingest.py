"""Samples into a cell, and the IngestActor that knows which batches a partition has taken: each counts once."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from slakeeper.actors import query
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import CountDuplicates, NoteBatch, Observe, ingest_address, monitor_address
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

    A batch is noted in the same commit as its samples, so that the partition has both or neither.
    """

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        # A dict for its order: the oldest goes first.
        self._batches: dict[int, None] = {}

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if not isinstance(request, NoteBatch):
            return super().handle_call(ctx, request)
        if request.key in self._batches:
            return False
        ctx.emit(request.key)
        return True

    def apply(self, event: int) -> None:
        self._batches[event] = None
        if len(self._batches) > REMEMBERED_BATCHES:
            del self._batches[next(iter(self._batches))]

    def dump(self) -> tuple[int, ...]:
        return tuple(self._batches)

    def load(self, state: tuple[int, ...]) -> None:
        self._batches = dict.fromkeys(state)


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
            ``accepted``: indexes; ``rejected``: [index, reason] each.

        Raises:
            RequestError: ``invalid``: the payload is not of this form; nothing of it was taken.
        """
        samples, batch_id = sequence(payload, "samples"), optional_text(payload, "batch_id")
        try:
            reply, for_monitor = self._sort(host, samples)
        except (AttributeError, TypeError, ValueError) as error:
            raise RequestError(
                "invalid", f"samples must be [metric, value, ts, sla, labels]: {error}"
            ) from error
        self._hand_on(host, for_monitor, batch_id)
        host.counts["samples_accepted"] += len(reply["accepted"])
        host.counts["samples_rejected"] += len(reply["rejected"])
        return reply

    def _sort(self, host: Host, samples: Sequence[Any]) -> tuple[dict[str, Any], dict[str, _Share]]:
        environment: Environment = host.environment
        monitors_of, now_ms = environment.catalog.monitors, host.now_ms
        accepted: list[int] = []
        rejected: list[tuple[int, str]] = []
        for_monitor: dict[str, _Share] = {}
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
                    if not host.takes(listed.address):
                        # It would wait in memory only, and what is acknowledged has to be on disk.
                        is_down = True
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
        return {"accepted": accepted, "rejected": rejected}, for_monitor

    def _hand_on(self, host: Host, for_monitor: dict[str, _Share], batch_id: str | None) -> None:
        if batch_id is None:
            for address, (_, samples) in for_monitor.items():
                host.cast(address, Observe(tuple(samples)))
            return
        key = int.from_bytes(blake2b(batch_id.encode(), digest_size=8).digest())
        is_new: dict[Partition, bool] = {}
        for address, (sla_id, samples) in for_monitor.items():
            # A crash between the commits of two partitions leaves a batch that is new to one of them only.
            partition = self._partition_of(sla_id)
            new = is_new.get(partition)
            if new is None:
                keeper = ingest_address(partition.directory.name)
                new = is_new[partition] = query.ask(host, keeper, NoteBatch(key)) is not False
            host.cast(address, Observe(tuple(samples)) if new else CountDuplicates(len(samples)))


def _has_labels(labels: Any, wanted: tuple[tuple[str, str], ...]) -> bool:
    return isinstance(labels, dict) and all(labels.get(name) == value for name, value in wanted)
