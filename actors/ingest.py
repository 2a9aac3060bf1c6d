"""Samples into a cell, and the IngestActor that knows which batches a partition has taken: each counts once."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from slakeeper.actors import query
from slakeeper.actors.address import ingest_address, monitor_address
from slakeeper.actors.catalog import Listed
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import BatchNoted, CountDuplicates, MissBatches, NoteBatch, NoteBatches, Observe
from slakeeper.actors.payload import optional_text, sequence
from slakeeper.otp.actor import Actor, RequestError
from slakeeper.otp.context import Context
from slakeeper.otp.host import HalfDone, Host
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.sla.sample import Sample, check_sample, has_labels

# At 500 batches a second a sender that lost its answer has a minute to send again; each costs 9 bytes on disk, and 84
# in memory.
REMEMBERED_BATCHES = 32_768


class IngestActor(Actor):
    """One for each partition; without an argument.

    A batch is noted in the same commit as its samples, so that the partition has both or neither. With it stand
    the monitors that were down then, or crashed on it, and so have not got their share: they get it when the batch
    comes again.
    """

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        # Who has not got its share, by batch; and the batches in their order, the oldest first: the dict has that too,
        # but walks over all that have gone to find its first.
        self._batches: dict[int, tuple[str, ...]] = {}
        self._order: deque[int] = deque()

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case NoteBatches(batches):
                return tuple(self._note(ctx, batch) for batch in batches)
            case MissBatches(missed):
                for key, addresses in missed.items():
                    ctx.emit((key, (*self._batches.get(key, ()), *addresses)))
                return True
            case _:
                return super().handle_call(ctx, request)

    def _note(self, ctx: Context, batch: NoteBatch) -> BatchNoted:
        missed = self._batches.get(batch.key)
        if missed is None:
            ctx.emit((batch.key, batch.down) if batch.down else batch.key)
            return BatchNoted(batch.up, ())
        new = tuple(address for address in batch.up if address in missed)
        if new:
            ctx.emit((batch.key, tuple(address for address in missed if address not in new)))
        return BatchNoted(new, tuple(address for address in batch.down if address not in missed))

    def apply(self, event: int | tuple[int, tuple[str, ...]]) -> None:
        self._take(event)
        if len(self._order) > REMEMBERED_BATCHES:
            del self._batches[self._order.popleft()]

    def dump(self) -> tuple[Any, ...]:
        return tuple((key, missed) if missed else key for key, missed in self._batches.items())

    def load(self, state: tuple[Any, ...]) -> None:
        # As nearly always, and a cell that starts waits for it.
        if all(type(noted) is int for noted in state):
            self._batches, self._order = dict.fromkeys(state, ()), deque(state)
            return
        for noted in state:
            self._take(noted)

    def _take(self, noted: int | tuple[int, tuple[str, ...]]) -> None:
        key, missed = (noted, ()) if isinstance(noted, int) else noted
        if key not in self._batches:
            self._order.append(key)
        self._batches[key] = missed


class _Monitor:
    """A monitor of the catalog; whether it takes samples in a turn, and what the turn's batches have for it."""

    __slots__ = ("address", "duplicates", "keeper", "labels", "samples", "takes", "turn")

    def __init__(self, listed: Listed, keeper: str) -> None:
        self.address = listed.address
        self.labels = listed.labels
        self.keeper = keeper
        self.turn = 0

    def begin_turn(self, turn: int, takes: bool) -> None:
        """Nothing of an earlier turn is left, however that ended."""
        self.turn = turn
        self.takes = takes
        self.samples: list[Sample] = []
        self.duplicates = 0


class _Batch:
    """A batch, and what each monitor gets of it.

    Attributes:
        key: 64 bits of its id; None: it is not remembered.
        reply: as :meth:`Ingest.take` returns it.
        shares: the samples for each monitor that takes them; empty: none were for it, or it has got them before.
        down: those that would have got some, for their order as keys.
        settled: monitors that stand otherwise than they seemed: True has got its share before though it is down now;
            False is refused, because what keeps its partition's batches is down and the share might count twice, or
            because the monitor has crashed on it.
    """

    __slots__ = ("down", "key", "reply", "samples", "settled", "shares")

    def __init__(self, payload: Any) -> None:
        self.samples: Sequence[Any] = sequence(payload, "samples")
        batch_id = optional_text(payload, "batch_id")
        self.key = (
            None if batch_id is None else int.from_bytes(blake2b(batch_id.encode(), digest_size=8).digest())
        )
        self.reply: dict[str, Any] = {}
        self.shares: dict[_Monitor, list[Sample]] = {}
        self.down: dict[_Monitor, None] = {}
        self.settled: dict[_Monitor, bool] = {}


class Ingest:
    """Takes sample batches. One that is sent again counts once: each partition remembers the batches it has taken."""

    def __init__(self, partition_of: Callable[[str], Partition]) -> None:
        self._partition_of = partition_of
        self._keepers: dict[str, str] = {}
        self._listed: dict[str, dict[str, _Monitor]] = {}
        self._listed_version = ""

    def keeper_of(self, sla_id: str) -> str:
        """The address of what keeps the batches of a contract's partition, which is always the same."""
        keeper = self._keepers.get(sla_id)
        if keeper is None:
            keeper = self._keepers[sla_id] = ingest_address(self._partition_of(sla_id).directory.name)
        return keeper

    def take(self, host: Host, payload: Any) -> dict[str, Any]:
        """Hands a batch to the monitors.

        Args:
            payload: ``samples``: a list of [metric, value, ts_ms or None, sla or None, labels or None];
                ``batch_id``: the same for a batch that is sent again, text; without one nothing is remembered.

        Returns:
            ``accepted``: indexes; ``rejected``: [index, reason] each. A sample is accepted when every monitor that it
            is for has it. What is rejected as ``monitor_down`` some may have: who has not gets it when the same batch
            is sent again later, and nobody twice.

        Raises:
            RequestError: ``invalid``: the payload is not of this form; nothing of it was taken.
        """
        (answer,) = self.take_all(host, [payload])
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def take_all(self, host: Host, payloads: Sequence[Any]) -> list[dict[str, Any] | RequestError]:
        """Hands the batches that came in one turn to the monitors, each of which gets all that is for it at once.

        Returns:
            For each what :meth:`take` returns or raises.

        Raises:
            JournalError, HalfDone: the host has to end.
        """
        # Whoever is going to crash on what came before has crashed then, and counts as down.
        host.drain()
        turn = self._begin_turn(host)
        answers: list[_Batch | RequestError] = []
        for payload in payloads:
            try:
                batch = _Batch(payload)
                turn.sort(batch)
            except RequestError as error:
                answers.append(error)
            except (AttributeError, TypeError, ValueError) as error:
                form = "samples must be [metric, value, ts, sla, labels]"
                answers.append(RequestError("invalid", f"{form}: {error}"))
            else:
                answers.append(batch)
        batches = [each for each in answers if isinstance(each, _Batch)]
        try:
            turn.note(batches)
            turn.hand_on(batches)
        except JournalError:
            raise
        except Exception as error:
            # Durable as noted, its samples would be duplicates when it comes again.
            raise HalfDone("batches are noted, and their samples are not handed on") from error
        return [each.reply if isinstance(each, _Batch) else each for each in answers]

    def _begin_turn(self, host: Host) -> "_Turn":
        environment: Environment = host.environment
        catalog = environment.catalog
        if catalog.version != self._listed_version:
            self._listed_version = catalog.version
            self._listed.clear()
        return _Turn(host, self._listed, self._list)

    def _list(self, host: Host, metric: str) -> dict[str, _Monitor]:
        """The monitors that the catalog has for a metric, by address; kept until a turn finds it changed."""
        environment: Environment = host.environment
        found = {
            address: _Monitor(listed, self.keeper_of(listed.sla_id))
            for address, listed in environment.catalog.monitors(metric).items()
        }
        if found:  # anybody may send any name
            self._listed[metric] = found
        return found


_turn_numbers = itertools.count(1)


class _Turn:
    """The batches of one turn on their way to the monitors.

    Args:
        listed: the monitors of a metric, by address, as far as they are known.
        to_list: finds those of another metric.
    """

    def __init__(
        self,
        host: Host,
        listed: Mapping[str, dict[str, _Monitor]],
        to_list: Callable[[Host, str], dict[str, _Monitor]],
    ) -> None:
        self._host = host
        self._listed = listed
        self._to_list = to_list
        self._asked: list[_Monitor] = []
        self._number = next(_turn_numbers)

    def _ask(self, monitor: _Monitor) -> None:
        """Asks whether a monitor takes samples, which wakes it: only one that a sample is for."""
        # One that does not take would have its samples in memory only, and what is acknowledged has to be on disk.
        monitor.begin_turn(self._number, self._host.takes(monitor.address))
        self._asked.append(monitor)

    def sort(self, batch: _Batch) -> None:
        """Judges every sample: sets the reply, the shares, and who is down. Again once it is known who is settled."""
        now_ms, known, settled = self._host.now_ms, self._listed, batch.settled
        accepted: list[int] = []
        rejected: list[tuple[int, str]] = []
        shares: dict[_Monitor, list[Sample]] = {}
        down: dict[_Monitor, None] = {}
        batch.shares, batch.down = shares, down
        for index, (metric, value, ts_ms, sla_id, labels) in enumerate(batch.samples):
            at_ms = now_ms if ts_ms is None else ts_ms
            refused = check_sample(value, at_ms, now_ms)
            if refused is not None:
                rejected.append((index, refused))
                continue
            monitors = known.get(metric)
            if monitors is None:
                monitors = self._to_list(self._host, metric)
            taken = known_sla = is_down = False
            sample = (at_ms, float(value))
            # Found by its address: many contracts may have a metric of this name.
            for monitor in monitors.values() if sla_id is None else _one(monitors, sla_id, metric):
                known_sla = True
                if monitor.labels and not has_labels(labels, monitor.labels):
                    continue
                if monitor.turn != self._number:
                    self._ask(monitor)
                if settled and monitor in settled:
                    taken, is_down = taken or settled[monitor], is_down or not settled[monitor]
                elif not monitor.takes:
                    is_down = True
                    down[monitor] = None
                else:
                    taken = True
                    if monitor in shares:
                        shares[monitor].append(sample)
                    else:
                        shares[monitor] = [sample]
            if is_down:  # also when others have got it: whoever hears "accepted" does not send it again
                rejected.append((index, "monitor_down"))
            elif taken:
                accepted.append(index)
            else:
                reason = (
                    "unknown_metric"
                    if not monitors
                    else "labels_do_not_match"
                    if known_sla
                    else "unknown_sla"
                )
                rejected.append((index, reason))
        batch.reply = {"accepted": accepted, "rejected": rejected}

    def note(self, batches: Sequence[_Batch]) -> None:
        """Has each partition note the batches, and takes out of them what is not to be handed on."""
        # A crash between the commits of two partitions leaves a batch that is new to one of them only.
        by_keeper: dict[str, list[tuple[_Batch, dict[str, _Monitor], dict[str, _Monitor]]]] = {}
        for batch in batches:
            if batch.key is None:
                continue
            parts: dict[str, tuple[dict[str, _Monitor], dict[str, _Monitor]]] = {}
            sides: tuple[Iterable[_Monitor], ...] = (batch.shares, batch.down)
            for place, monitors in enumerate(sides):
                for monitor in monitors:
                    part = parts.get(monitor.keeper)
                    if part is None:
                        part = parts[monitor.keeper] = ({}, {})
                    part[place][monitor.address] = monitor
            for keeper, (up, down) in parts.items():
                by_keeper.setdefault(keeper, []).append((batch, up, down))
        for keeper, noting in by_keeper.items():
            request = NoteBatches(
                tuple(NoteBatch(batch.key or 0, tuple(up), tuple(down)) for batch, up, down in noting)
            )
            answer: tuple[BatchNoted, ...] | None = query.ask(self._host, keeper, request)
            for number, (batch, up, down) in enumerate(noting):
                self._settle(batch, up, down, None if answer is None else answer[number])
        for batch in batches:
            if batch.settled:
                shares = batch.shares
                self.sort(batch)
                batch.shares = shares

    @staticmethod
    def _settle(
        batch: _Batch, up: Mapping[str, _Monitor], down: Mapping[str, _Monitor], noted: BatchNoted | None
    ) -> None:
        if noted is None:
            for monitor in up.values():
                batch.settled[monitor] = False
                del batch.shares[monitor]
            return
        if len(noted.new) < len(up):
            for address, monitor in up.items():
                if address not in noted.new:
                    monitor.duplicates += len(batch.shares.pop(monitor))
        for address in noted.had:
            batch.settled[down[address]] = True

    def hand_on(self, batches: Sequence[_Batch]) -> None:
        """Gives every monitor what all of the batches have for it."""
        host, counts = self._host, self._host.counts
        for batch in batches:
            for monitor, share in batch.shares.items():
                monitor.samples += share
        crashed: dict[_Monitor, None] = {}
        for monitor in self._asked:
            if monitor.samples and not host.hand(monitor.address, Observe(tuple(monitor.samples))):
                crashed[monitor] = None
            if monitor.duplicates:
                host.cast(monitor.address, CountDuplicates(monitor.duplicates))
        # Before anything else can end a monitor: how much was repeated waits for it in memory only.
        host.drain()
        if crashed:
            self._take_back(batches, crashed)
        for batch in batches:
            counts["samples_accepted"] += len(batch.reply["accepted"])
            counts["samples_rejected"] += len(batch.reply["rejected"])

    def _take_back(self, batches: Sequence[_Batch], crashed: Mapping[_Monitor, None]) -> None:
        """Refuses what monitors have crashed on, and has it noted: they get it when its batch comes again.

        Raises:
            ActorStopped: it cannot be noted.
        """
        by_keeper: dict[str, dict[int, tuple[str, ...]]] = {}
        missed: dict[int | None, list[_Monitor]] = {}
        for batch in batches:
            lost = [monitor for monitor in batch.shares if monitor in crashed]
            batch.settled.update(dict.fromkeys(lost, False))
            if batch.key is None:
                continue
            missed.setdefault(batch.key, []).extend(lost)
            for monitor in lost:
                of_batch = by_keeper.setdefault(monitor.keeper, {})
                of_batch[batch.key] = (*of_batch.get(batch.key, ()), monitor.address)
        for keeper, of_batches in by_keeper.items():
            self._host.ask(keeper, MissBatches(of_batches))
        for batch in batches:
            # The same batch again in this turn was none of theirs, and is no more than the first.
            batch.settled.update(dict.fromkeys(missed.get(batch.key, ()), False))
            if batch.settled:
                self.sort(batch)


def _one(monitors: Mapping[str, _Monitor], sla_id: str, metric: str) -> tuple[_Monitor, ...]:
    monitor = monitors.get(monitor_address(sla_id, metric))
    return () if monitor is None else (monitor,)
