"""SourceActor: asks one source at its interval and hands what it says to the monitors bound to it.

A monitor that may have missed something (its source failed or was too slow, or nobody asked it while the cell was
down) stands in the environment's gaps. It is given what it missed first, oldest first, and the present only then.
"""

import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, ClassVar

from slakeeper.actors.environment import Asked, Environment
from slakeeper.actors.message import Observe, Tick
from slakeeper.actors.source_message import HandOn, ObservePresent, ReportSourceError, SourceAnswered
from slakeeper.integrations.source import Catching, Filling, Gap, Reading
from slakeeper.otp.actor import Actor, Performed
from slakeeper.otp.context import Context
from slakeeper.sla.duration import format_instant
from slakeeper.sla.monitoring import InternalSource
from slakeeper.sla.sample import Sample, check_sample

POLL_TIMER, SHARE_TIMER = "poll", "share"
POLL, CATCH_UP = "poll", "catch-up"

SAMPLES_A_GAP = 2_000
"""So many samples of one metric are fetched at once at most; Prometheus gives no more than 11 000 in an answer."""
SAMPLES_A_ROUND = 20_000
"""So many of all metrics together: a cell takes them in within a tenth of a second, and live samples get through."""
METRICS_A_ROUND = 500
"""Monitors that are given what they missed in one round: more would keep whoever asks the cell waiting."""
READINGS_A_TURN = 500
"""So many readings are handed on in one turn: after a start each wakes a monitor, and 5 000 would keep the cell from
its other actors, and from whoever asks it, for seconds. So they take some tenths of a second at worst."""
TRIES = 3
"""A gap that cannot be fetched this often, while the source answers otherwise, is given up."""
INTERVALS_TO_ANSWER = 2
"""A source that has not answered so many intervals after its ``timeout`` hangs: one that keeps to it has ended by then,
and a cell that was busy has taken that in."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """How a source does.

    Attributes:
        state: ``failing`` for some or all of its metrics, ``ok``, ``unanswered`` before its first answer, or ``unused``
            while nobody asks it.
        metrics: how many monitors ask it.
        polls, missed: how often it was asked, and intervals in which it was not: it had not answered yet, or the cell
            had come to a halt.
        errors: readings that were none, so far.
        failures: polls in a row, up to the last, in which something failed; one that hangs counts again each interval.
        failing, failing_metrics, failing_since_ms: why it fails now and for how many monitors; empty, 0 and None
            when it answers.
        polled_at_ms, took_ms: the last poll that ended, and how long it took.
        catching_up: how many monitors wait for what they have missed.
    """

    name: str
    type: str = ""
    state: str = "unused"
    interval_ms: int = 0
    metrics: int = 0
    polls: int = 0
    missed: int = 0
    errors: int = 0
    failures: int = 0
    last_error: str = ""
    failing: str = ""
    failing_metrics: int = 0
    failing_since_ms: int | None = None
    polled_at_ms: int | None = None
    took_ms: int | None = None
    catching_up: int = 0


class SourceActor(Actor):
    """One for each polled source in each cell, asking for the metrics of that cell's contracts.

    It keeps nothing: which monitor asks what stands in the environment's bindings. Its argument is the
    source's name.
    """

    durable: ClassVar[bool] = False

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._name = arg
        self._view = SourceView(arg)
        self._due_ms = 0
        self._asked_ms: int | None = None
        self._is_hanging = False
        self._polled_ms = 0
        self._left: Iterator[Reading] | None = None
        self._errors: dict[str, str] = {}
        self._fetching: dict[str, Gap] = {}
        self._fetched_ms: dict[str, int] = {}
        self._presents: dict[str, Sample] = {}
        self._tries: dict[str, int] = {}
        self._given_up: set[str] = set()
        self._put_off: set[str] = set()
        self._has_more = False
        self._rounds = 0

    def init(self, ctx: Context, fresh: bool) -> None:
        environment: Environment = ctx.environment
        source = environment.monitoring.sources[self._name]
        if isinstance(source, InternalSource):
            raise LookupError(f"source {self._name} is not polled")
        interval_ms = environment.monitoring.check_interval if source.interval is None else source.interval
        self._jitter_ms = source.jitter
        self._patience_ms = source.timeout + INTERVALS_TO_ANSWER * interval_ms
        self._show(ctx, type=source.type, interval_ms=interval_ms)
        self._due_ms = ctx.now_ms
        if self._name not in environment.asked:  # made anew it goes on from what the one before was answered
            self._note_asked(ctx, ctx.now_ms)
        ctx.set_timer(POLL_TIMER, self._due_ms, Tick())

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._poll(ctx)
            case HandOn():
                self._hand_on_share(ctx)
            case Performed(key, readings, error) if key.startswith(POLL):
                self._take(ctx, readings, error)
            case Performed(_, fillings, error):
                self._fill(ctx, fillings, error)
            case _:
                super().handle_info(ctx, message)

    def dump(self) -> SourceView:
        return self._view

    # -- the present --------------------------------------------------------------------------------------------

    def _poll(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        queries = dict(environment.bound(self._name))
        view = self._view
        passed = max(0, ctx.now_ms - self._due_ms) // view.interval_ms
        missed = passed if self._asked_ms is None else passed + 1
        self._show(ctx, missed=view.missed + (missed if queries else 0), metrics=len(queries))
        if self._asked_ms is not None:
            # A source that answers more slowly than its interval is asked again only when it has answered.
            if queries and self._left is None and ctx.now_ms - self._asked_ms >= self._patience_ms:
                self._is_hanging = True
                self._fail(ctx, f"asked at {format_instant(self._asked_ms)}, it has not answered yet")
        elif queries:
            self._ask(ctx, queries)
        else:
            self._note_asked(ctx, ctx.now_ms)  # nobody misses anything
        # Spread by name and count: not all cells ask at the same moment, and a replay asks at the same ones. The
        # next is reckoned from when this was due, so that the time a turn takes adds to no interval.
        spread = zlib.crc32(f"{self.address}{self._view.polls}".encode()) % (self._jitter_ms + 1)
        self._due_ms += (passed + 1) * view.interval_ms + spread
        ctx.set_timer(POLL_TIMER, self._due_ms, Tick())

    def _ask(self, ctx: Context, queries: dict[str, str]) -> None:
        self._asked_ms = ctx.now_ms
        polls = self._view.polls
        self._show(ctx, polls=polls + 1)
        poller = ctx.environment.pollers[self._name]
        ctx.perform(f"{POLL}-{polls}", lambda: poller.poll(queries), lane=f"source-{self._name}")

    def _note_asked(self, ctx: Context, at_ms: int) -> None:
        environment: Environment = ctx.environment
        if isinstance(environment.pollers[self._name], Catching):
            environment.asked[self._name] = Asked(at_ms, self._view.interval_ms)

    def _take(self, ctx: Context, readings: Any, error: BaseException | None) -> None:
        environment: Environment = ctx.environment
        for kept in (self._fetched_ms, self._presents):
            for address in [each for each in kept if each not in environment.gaps]:
                del kept[address]
        self._given_up.intersection_update(environment.bindings.get(self._name, {}))
        self._is_hanging = False
        took_ms = None
        if self._asked_ms is not None:
            self._polled_ms, took_ms = self._asked_ms, ctx.now_ms - self._asked_ms
        self._show(ctx, polled_at_ms=ctx.now_ms, took_ms=took_ms)
        if error is not None:
            self._fail(ctx, str(error) or type(error).__name__)
        else:
            self._left, self._errors = iter(readings), {}
            self._hand_on_share(ctx)

    def _fail(self, ctx: Context, text: str) -> None:
        """Everything that was asked came to nothing."""
        bound = ctx.environment.bindings.get(self._name, {})
        self._left, self._errors = iter([Reading(address, None, None, text) for address in bound]), {}
        self._hand_on_share(ctx)

    def _hand_on_share(self, ctx: Context) -> None:
        """Hands the next readings on; the next share is a turn's, after what came from outside meanwhile.

        The poll ends a turn after the last, when the monitors have taken them and stand in the gaps if they must.
        """
        if self._left is None:
            return
        bound = ctx.environment.bindings.get(self._name, {})
        share = list(islice(self._left, READINGS_A_TURN))
        errors = self._hand_on(ctx, (each for each in share if each.metric in bound))
        for address, text in errors.items():
            ctx.environment.source_errors[address] = text
            ctx.cast(address, ReportSourceError(text))
        self._errors.update(errors)
        if share:
            ctx.set_timer(SHARE_TIMER, ctx.now_ms, HandOn())
        else:
            self._end_poll(ctx)

    def _end_poll(self, ctx: Context) -> None:
        """Everything that the source said is handed on."""
        environment: Environment = ctx.environment
        errors, self._left, self._errors = self._errors, None, {}
        self._hand_on_presents(ctx)
        if not self._is_hanging and self._asked_ms is not None:
            self._note_asked(ctx, self._asked_ms)
            self._asked_ms = None
        bound = environment.bindings.get(self._name, {})
        text = next(iter(errors.values()), "")
        self._tell(ctx, text, len(errors))
        self._show(
            ctx,
            errors=self._view.errors + len(errors),
            failures=self._view.failures + 1 if errors else 0,
            last_error=text or self._view.last_error,
            catching_up=sum(address in environment.gaps for address in bound),
        )
        self._put_off = set(errors)
        self._catch_up(ctx)

    def _hand_on(self, ctx: Context, readings: Iterable[Reading]) -> dict[str, str]:
        """Gives each monitor its reading; returns what was wrong with the others, by monitor."""
        environment: Environment = ctx.environment
        errors: dict[str, str] = {}
        before = environment.asked.get(self._name)
        answered = SourceAnswered() if before is None else SourceAnswered(before.step_ms, before.at_ms)
        for reading in readings:
            address = reading.metric
            if reading.is_silence:
                environment.source_errors[address] = reading.error or "no value"
                if not self._misses(ctx, address):
                    ctx.cast(address, answered)
                continue
            if reading.error is not None or reading.value is None:
                errors[address] = reading.error or "no value"
                continue
            ts_ms = ctx.now_ms if reading.ts_ms is None else reading.ts_ms
            refused = check_sample(reading.value, ts_ms, ctx.now_ms)
            if refused is not None:
                errors[address] = f"the source said {reading.value!r}: {refused}"
                continue
            environment.source_errors.pop(address, None)
            sample = ts_ms, reading.value
            if before is None:
                ctx.cast(address, Observe((sample,)))
            elif address not in environment.gaps:
                ctx.cast(address, ObservePresent(sample, before.step_ms, before.at_ms))
            elif self._misses(ctx, address):
                self._presents[address] = sample
            else:
                ctx.cast(address, Observe((sample,)))
                ctx.cast(address, SourceAnswered())
        return errors

    def _hand_on_presents(self, ctx: Context) -> None:
        """What was kept from monitors that had just been given what they missed."""
        environment: Environment = ctx.environment
        before = environment.asked.get(self._name)
        if before is not None:
            for address in [each for each in self._presents if each not in environment.gaps]:
                ctx.cast(address, ObservePresent(self._presents.pop(address), before.step_ms, before.at_ms))

    # -- the past -----------------------------------------------------------------------------------------------

    def _gap(self, ctx: Context, address: str) -> Gap | None:
        """What is to be fetched next for a monitor; None when nothing is missing."""
        environment: Environment = ctx.environment
        since = environment.gaps.get(address)
        query = environment.bindings.get(self._name, {}).get(address)
        if since is None or query is None:
            return None
        step_ms = self._view.interval_ms
        # What was asked for already may have had no samples.
        from_ms = max(since(ctx.now_ms), self._fetched_ms.get(address, 0) + 1)
        # At the times at which it would have been asked: so far apart, and also from the next that is asked in time.
        from_ms += (self._polled_ms - from_ms) % step_ms
        steps = min((ctx.now_ms - from_ms) // step_ms, SAMPLES_A_GAP - 1)
        return Gap(query, from_ms, from_ms + steps * step_ms) if steps >= 0 else None

    def _misses(self, ctx: Context, address: str) -> bool:
        return address in self._fetching or self._gap(ctx, address) is not None

    def _catch_up(self, ctx: Context) -> None:
        """Fetches what the monitors miss whose queries are answered, a round at a time."""
        environment: Environment = ctx.environment
        poller = environment.pollers[self._name]
        if self._fetching or not isinstance(poller, Catching):
            return
        step_ms, room = self._view.interval_ms, SAMPLES_A_ROUND
        gaps: dict[str, Gap] = {}
        self._has_more = False
        # Those that could not be fetched the last time come last: they hold up no other.
        for address in sorted(environment.bindings.get(self._name, {}), key=self._tries.__contains__):
            if address not in environment.gaps or address in self._put_off:
                continue
            gap = self._gap(ctx, address)
            if gap is None:
                continue
            gaps[address] = gap
            self._presents.pop(address, None)  # it lies within the gap
            room -= (gap.to_ms - gap.from_ms) // step_ms + 1
            self._has_more |= gap.to_ms + step_ms <= ctx.now_ms
            if room <= 0 or len(gaps) == METRICS_A_ROUND:
                self._has_more = True
                break
        if gaps:
            self._fetching = gaps
            self._rounds += 1
            ctx.perform(
                f"{CATCH_UP}-{self._rounds}",
                lambda: poller.fetch(gaps, step_ms),
                lane=f"{CATCH_UP}-{self._name}",
            )

    def _fill(self, ctx: Context, fillings: Any, error: BaseException | None) -> None:
        environment: Environment = ctx.environment
        gaps, self._fetching = self._fetching, {}
        if error is not None:
            fillings = [Filling(address, (), str(error) or type(error).__name__) for address in gaps]
        bound = environment.bindings.get(self._name, {})
        has_filled = False
        for filling in fillings:
            address = filling.metric
            if address not in bound or address not in environment.gaps:
                continue  # it has another source now, or another version of its contract
            if filling.error is not None:
                self._put_off.add(address)
                self._count_try(ctx, address, filling.error)
                continue
            has_filled = True
            self._tries.pop(address, None)
            self._given_up.discard(address)
            samples = tuple(_fit(filling.samples, ctx.now_ms))
            to_ms, step_ms = gaps[address].to_ms, self._view.interval_ms
            is_all = to_ms + step_ms > ctx.now_ms
            present = self._presents.pop(address, None)
            if present is not None and to_ms < present[0] <= to_ms + step_ms:
                samples += (present,)  # of a poll that was answered meanwhile, with nothing missing between
            if samples:
                ctx.cast(address, Observe(samples))
            self._fetched_ms[address] = to_ms
            answered = SourceAnswered() if is_all else SourceAnswered(step_ms, self._polled_ms)
            ctx.cast(address, answered)
        self._show(ctx, catching_up=sum(address in environment.gaps for address in bound))
        # What was missed meanwhile, or when nothing can be fetched, has time until the next answer: a server that is
        # slow or in trouble is asked no more than it must.
        if self._has_more and has_filled:
            self._catch_up(ctx)

    def _count_try(self, ctx: Context, address: str, text: str) -> None:
        tries = self._tries.pop(address, 0) + 1
        if tries < TRIES:
            self._tries[address] = tries
            return
        if address not in self._given_up:  # said once, until a range of it has been fetched
            self._given_up.add(address)
            logging.getLogger("slakeeper.source").warning(
                "source %s: what %s has missed is given up: %s", self._name, address, text
            )
        ctx.cast(address, SourceAnswered())

    # -- how it does --------------------------------------------------------------------------------------------

    def _show(self, ctx: Context, **changes: Any) -> None:
        environment: Environment = ctx.environment
        self._view = replace(self._view, **changes)
        self._view = replace(self._view, state=_state_of(self._view))
        environment.sources[self._name] = asdict(self._view)

    def _tell(self, ctx: Context, failing: str, count: int) -> None:
        """Logs a failure when it begins and when it ends: in between every poll would say the same."""
        environment: Environment = ctx.environment
        logger = logging.getLogger("slakeeper.source")
        before = self._view.failing
        if failing and not before:
            logger.warning("%s fails: %s", self.address, failing)
        elif before and not failing:
            logger.info("%s answers again", self.address)
        since_ms = self._view.failing_since_ms if before else ctx.now_ms
        self._show(
            ctx, failing=failing, failing_metrics=count, failing_since_ms=since_ms if failing else None
        )
        if failing:
            environment.sources_failing[self._name] = failing
        else:
            environment.sources_failing.pop(self._name, None)

    def terminate(self, ctx: Context, reason: str) -> None:
        environment: Environment = ctx.environment
        environment.sources_failing.pop(self._name, None)
        environment.sources.pop(self._name, None)


def _state_of(view: SourceView) -> str:
    if view.failing:
        return "failing"
    if not view.metrics:
        return "unused"
    return "unanswered" if view.polled_at_ms is None else "ok"


def _fit(samples: Iterable[Sample], now_ms: int) -> Iterator[Sample]:
    return (sample for sample in samples if check_sample(sample[1], sample[0], now_ms) is None)
