"""SourceActor: asks one source at its interval and hands what it says to the monitors bound to it."""

import logging
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from slakeeper.actors.environment import Environment
from slakeeper.actors.message import Observe, ReportSourceError, Tick
from slakeeper.integrations.source import Reading
from slakeeper.otp.actor import Actor, Performed
from slakeeper.otp.context import Context
from slakeeper.sla.monitoring import InternalSource
from slakeeper.sla.sample import check_sample

POLL_TIMER = "poll"


@dataclass(frozen=True, slots=True)
class SourceView:
    """What ``actor state`` shows of a source; ``failing`` says why it fails now."""

    name: str
    polls: int
    errors: int
    last_error: str
    failing: str


class SourceActor(Actor):
    """One for each polled source in each cell, asking for the metrics of that cell's contracts.

    It keeps nothing: which monitor asks what stands in the environment's bindings. Its argument is the
    source's name.
    """

    durable: ClassVar[bool] = False

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._name = arg
        self._polls = 0
        self._errors = 0
        self._last_error = ""
        self._failing = ""
        self._asking = False

    def init(self, ctx: Context, fresh: bool) -> None:
        ctx.set_timer(POLL_TIMER, ctx.now_ms, Tick())

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._poll(ctx)
            case Performed(_, readings, error):
                self._asking = False
                self._take(ctx, readings, error)
            case _:
                super().handle_info(ctx, message)

    def dump(self) -> SourceView:
        return SourceView(self._name, self._polls, self._errors, self._last_error, self._failing)

    def _poll(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        source = environment.monitoring.sources[self._name]
        if isinstance(source, InternalSource):
            raise LookupError(f"source {self._name} is not polled")
        interval_ms = environment.monitoring.check_interval if source.interval is None else source.interval
        queries = dict(environment.bindings.get(self._name, {}))
        if queries and not self._asking:
            # A source that answers more slowly than its interval is asked again only when it has answered.
            self._asking = True
            self._polls += 1
            poller = environment.pollers[self._name]
            ctx.perform(f"poll-{self._polls}", lambda: poller.poll(queries), lane=f"source-{self._name}")
        # Spread by name and count: not all cells ask at the same moment, and a replay asks at the same ones.
        spread = zlib.crc32(f"{self.address}{self._polls}".encode()) % (source.jitter + 1)
        ctx.set_timer(POLL_TIMER, ctx.now_ms + interval_ms + spread, Tick())

    def _take(self, ctx: Context, readings: Any, error: BaseException | None) -> None:
        environment: Environment = ctx.environment
        if error is not None:
            errors = dict.fromkeys(
                environment.bindings.get(self._name, {}), str(error) or type(error).__name__
            )
        else:
            errors = self._hand_on(ctx, readings)
            for reading in readings:
                if reading.metric not in errors:
                    environment.source_errors.pop(reading.metric, None)
        for address, text in errors.items():
            environment.source_errors[address] = text
            ctx.cast(address, ReportSourceError(text))
        if errors or error is not None:
            self._errors += 1 if error is not None else len(errors)
            self._last_error = next(iter(errors.values()), str(error))
        self._tell(ctx, self._last_error if errors else "")

    def _hand_on(self, ctx: Context, readings: Iterable[Reading]) -> dict[str, str]:
        """Gives each monitor its reading; returns what was wrong with the others, by monitor."""
        errors: dict[str, str] = {}
        for reading in readings:
            if reading.error is not None or reading.value is None:
                errors[reading.metric] = reading.error or "no value"
                continue
            ts_ms = ctx.now_ms if reading.ts_ms is None else reading.ts_ms
            refused = check_sample(reading.value, ts_ms, ctx.now_ms)
            if refused is not None:
                errors[reading.metric] = f"the source said {reading.value!r}: {refused}"
            else:
                ctx.cast(reading.metric, Observe(((ts_ms, reading.value),)))
        return errors

    def _tell(self, ctx: Context, failing: str) -> None:
        """Logs a failure when it begins and when it ends: in between every poll would say the same."""
        environment: Environment = ctx.environment
        logger = logging.getLogger("slakeeper.source")
        if failing and not self._failing:
            logger.warning("%s fails: %s", self.address, failing)
        elif self._failing and not failing:
            logger.info("%s answers again", self.address)
        self._failing = failing
        if failing:
            environment.sources_failing[self._name] = failing
        else:
            environment.sources_failing.pop(self._name, None)

    def terminate(self, ctx: Context, reason: str) -> None:
        environment: Environment = ctx.environment
        environment.sources_failing.pop(self._name, None)
