"""RestraintActor: keeps a partition's off switch, and which actions helped there.

Each partition has a copy of the switch, so that every cell knows it, whatever is down; the latest is in force. What
helped is kept in the partition of its contract alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import DEFINITION, restraint_address
from slakeeper.actors.audit import note
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import Tick
from slakeeper.actors.restraint_message import LearnSwitch, TurnRemediation
from slakeeper.otp.actor import Actor, Entrusted, RequestError
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.partition import Partition, Started
from slakeeper.sla import restraint
from slakeeper.sla.audit import What
from slakeeper.sla.duration import HOUR_MS, SECOND_MS
from slakeeper.sla.restraint import Helped, RestraintError, Switch

LOOK_TIMER = "look"

# How soon after its own start a keeper looks what the others know: it may have died on what it was told.
FIRST_LOOK_MS = SECOND_MS
LOOK_EVERY_MS = HOUR_MS

# Of one partition: a fault that is helped every second must not fill the memory before its action is left alone.
KEPT_HELPED = 10_000


@dataclass(frozen=True, slots=True)
class HelpForgotten:
    """Event: what helped before that [Unix ms] counts no more."""

    before_ms: int


@dataclass(frozen=True, slots=True)
class RestraintState:
    """What a snapshot keeps."""

    switch: Switch | None = None
    helped: tuple[Helped, ...] = ()


class RestraintActor(Actor):
    """One for each partition; it has no argument. Its events are a :class:`Switch` and each :class:`Helped`."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self._switch: Switch | None = None
        self._helped: tuple[Helped, ...] = ()

    def init(self, ctx: Context, fresh: bool) -> None:
        self._show(ctx)
        ctx.set_timer(LOOK_TIMER, ctx.now_ms + FIRST_LOOK_MS, Tick())

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case TurnRemediation(is_on, by, reason):
                environment: Environment = ctx.environment
                known = restraint.merge(self._switch, environment.restraint.switch)
                try:
                    after = restraint.turn(known, is_on, by, reason, ctx.now_ms)
                except RestraintError as error:
                    raise RequestError("invalid", str(error), reason=error.reason) from error
                if after != known:
                    what = What.REMEDIATION_SWITCHED_ON if is_on else What.REMEDIATION_SWITCHED_OFF
                    note(ctx, what, subject="remediation", who=by, reason=reason)
                self._learn(ctx, after)
                return after
            case LearnSwitch(switch):
                self._learn(ctx, switch)
                return self._switch
            case _:
                return super().handle_call(ctx, request)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if not isinstance(message, LearnSwitch):
            super().handle_cast(ctx, message)
            return
        self._learn(ctx, message.switch)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                self._show(ctx)
            case Tick():
                environment: Environment = ctx.environment
                self._learn(ctx, environment.restraint.switch)
                self._forget(ctx, environment)
                ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_EVERY_MS, Tick())
            case _:
                super().handle_info(ctx, message)

    def apply(self, event: Any) -> None:
        match event:
            case Switch():
                self._switch = event
            case Helped():
                self._helped = (*self._helped, event)[-KEPT_HELPED:]
            case HelpForgotten(before_ms):
                self._helped = tuple(each for each in self._helped if each.at_ms >= before_ms)
            case _:
                super().apply(event)

    def dump(self) -> RestraintState:
        return RestraintState(self._switch, self._helped)

    def load(self, state: RestraintState) -> None:
        self._switch, self._helped = state.switch, state.helped

    def _learn(self, ctx: Context, said: Switch | None) -> None:
        merged = restraint.merge(self._switch, said)
        if merged is not None and merged != self._switch:
            ctx.emit(merged)
            self._show(ctx)

    def _forget(self, ctx: Context, environment: Environment) -> None:
        kept = restraint.remembered(self._helped, environment.enforcement.remediation, ctx.now_ms)
        if len(kept) < len(self._helped):
            ctx.emit(HelpForgotten(ctx.now_ms - environment.enforcement.remediation.per + 1))
            self._show(ctx)

    def _show(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        environment.restraint.keep(self.address, self._switch, self._helped)


def begin_restraint(partitions: Mapping[str, Partition], codec: Codec) -> None:
    """Gives each partition that has none its keeper, durable on return; before the host starts."""
    for name, partition in partitions.items():
        address = restraint_address(name)
        if address not in partition.records:
            started = Started(address, DEFINITION, "restraint", codec.encode(None), Restart.PERMANENT.value)
            partition.append((started,))
            partition.commit()


def from_document(document: Any) -> Switch | None:
    """A switch as :meth:`Switch.to_document` wrote it, by another cell; None for None.

    Raises:
        RequestError: ``invalid``.
    """
    match document:
        case None:
            return None
        case {"state": "on" | "off" as state, "by": str(by), "reason": str(reason), "time": int(at_ms)}:
            return Switch(state == "on", by, reason, at_ms)
        case _:
            raise RequestError("invalid", "this is no switch")
