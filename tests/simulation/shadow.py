"""Monitors that never crash: fed with what was durably handled, they say what the real ones have to know."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from slakeeper.actors.contract_event import AccountGathered, MetricTurned
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    DescribeMetric,
    ForceClose,
    Rebase,
    SetSuspended,
    Tick,
)
from slakeeper.actors.monitor import MetricMonitorActor, MetricView, MonitorOrder
from slakeeper.otp.actor import Actor
from slakeeper.otp.context import Context
from slakeeper.sla.account import Account
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import is_worse
from tests.simulation.outside import SharedTargets
from tests.simulation.settings import ENFORCEMENT, MONITORING


@dataclass
class Spell:
    """A time in which a metric broke its promise.

    Attributes:
        worst: the value that was furthest from the promise.
        end_ms: when it recovered, or was declared over [Unix ms]; None: it goes on.
        is_over_by_word: an operator ended it, the metric did not.
    """

    start_ms: int
    worst: float
    end_ms: int | None = None
    is_over_by_word: bool = False


class _Alone:
    """A context in which events are applied, and whatever a handler says is told to one listener."""

    def __init__(
        self, actor: Actor, now_ms: int, environment: Environment, say: Callable[[str, Any], None]
    ) -> None:
        self.address, self.now_ms, self.environment = actor.address, now_ms, environment
        self.cast = self.entrust = say
        self._actor = actor

    def emit(self, event: Any) -> Any:
        return self._actor.apply(event)

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    set_timer = cancel_timer = publish = _nothing


class Shadow:
    """The shadow of one monitor.

    Attributes:
        spells: in which its metric broke its promise, in order.
        accounts: of periods that have ended, by their end [Unix ms].
    """

    def __init__(self, address: str, order: MonitorOrder) -> None:
        self.spells: list[Spell] = []
        self.accounts: dict[int, Account] = {}
        self._actor = MetricMonitorActor(address, order)
        self._environment = Environment(ENFORCEMENT, MONITORING, {}, {}, Path(), SharedTargets())

    def take(self, message: Any, now_ms: int) -> None:
        self._actor.handle_cast(self._context(now_ms), message)
        spell = self._open
        if isinstance(message, ForceClose) and spell is not None:
            spell.end_ms, spell.is_over_by_word = now_ms, True

    def view(self, now_ms: int) -> MetricView:
        """How the metric stands."""
        self._actor.handle_info(self._context(now_ms), Tick())
        view: MetricView = self._actor.handle_call(self._context(now_ms), DescribeMetric())
        return view

    @property
    def _open(self) -> Spell | None:
        return self.spells[-1] if self.spells and self.spells[-1].end_ms is None else None

    def _said(self, address: str, message: Any) -> None:
        spell = self._open
        match message:
            case AccountGathered(_, account):
                self.accounts[account.end_ms] = account
            case MetricTurned(_, at_ms, value, None) if spell is not None:
                spell.end_ms = at_ms
            case MetricTurned(_, at_ms, value, Severity()) if spell is None:
                self.spells.append(Spell(at_ms, value))
            case MetricTurned(_, _, value, Severity()) if spell is not None:
                metric = vars(self._actor)["_promise"].metric
                if is_worse(metric.condition, metric.value, value, spell.worst):
                    spell.worst = value

    def _context(self, now_ms: int) -> Context:
        return cast(Context, _Alone(self._actor, now_ms, self._environment, self._said))


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
