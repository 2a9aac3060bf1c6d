"""Monitors that never crash: fed with what was durably handled, they say what the real ones have to know."""

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from slakeeper.actors.environment import Environment
from slakeeper.actors.message import DescribeMetric, Rebase, SetSuspended, Tick
from slakeeper.actors.monitor import MetricMonitorActor, MetricView, MonitorOrder
from slakeeper.otp.actor import Actor
from slakeeper.otp.context import Context
from tests.simulation.outside import SharedTargets
from tests.simulation.settings import ENFORCEMENT, MONITORING


class _Alone:
    """A context in which events are applied and nothing else comes of a handler."""

    def __init__(self, actor: Actor, now_ms: int, environment: Environment) -> None:
        self.address, self.now_ms, self.environment = actor.address, now_ms, environment
        self._actor = actor

    def emit(self, event: Any) -> Any:
        return self._actor.apply(event)

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    cast = entrust = set_timer = cancel_timer = publish = _nothing


class Shadow:
    """The shadow of one monitor."""

    def __init__(self, address: str, order: MonitorOrder) -> None:
        self._actor = MetricMonitorActor(address, order)
        self._environment = Environment(ENFORCEMENT, MONITORING, {}, {}, Path(), SharedTargets())

    def take(self, message: Any, now_ms: int) -> None:
        self._actor.handle_cast(self._context(now_ms), message)

    def view(self, now_ms: int) -> MetricView:
        """How the metric stands."""
        self._actor.handle_info(self._context(now_ms), Tick())
        view: MetricView = self._actor.handle_call(self._context(now_ms), DescribeMetric())
        return view

    def _context(self, now_ms: int) -> Context:
        return cast(Context, _Alone(self._actor, now_ms, self._environment))


def recorded(
    kind: type[Actor], record: Callable[[str, MonitorOrder, int, Any], None]
) -> Callable[[str, Any], Actor]:
    """A monitor's kind that tells of every message it has handled: address, order, time, message.

    What it catches up with when it starts again is told as the messages that it had missed.
    """

    def handle_cast(actor: Actor, ctx: Context, message: Any) -> None:
        kind.handle_cast(actor, ctx, message)
        record(actor.address, vars(actor)["order"], ctx.now_ms, message)

    def make(actor: Actor, address: str, order: MonitorOrder) -> None:
        kind.__init__(actor, address, order)
        vars(actor)["order"] = order

    def init(actor: Actor, ctx: Context, fresh: bool) -> None:
        was = _standing(actor)
        kind.init(actor, ctx, fresh)
        document, is_suspended = _standing(actor)
        missed: list[Any] = []
        if document != was[0]:
            missed.append(Rebase(document, 0))
        if is_suspended != was[1]:
            missed.append(SetSuspended(is_suspended))
        for message in missed:
            record(actor.address, vars(actor)["order"], ctx.now_ms, message)

    return type(kind.__name__, (kind,), {"__init__": make, "init": init, "handle_cast": handle_cast})


def _standing(actor: Actor) -> tuple[dict[str, Any], bool]:
    monitor = attrgetter("_monitor")(actor)  # where nothing is recorded yet, it begins here
    return vars(actor)["_promise"].document, monitor.is_suspended
