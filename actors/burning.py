"""The burn alert of a contract: when it begins, rises and ends, and who hears of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from slakeeper.actors.address import alert_address
from slakeeper.actors.audit import note
from slakeeper.actors.contract_event import Burning
from slakeeper.actors.environment import Environment
from slakeeper.otp.context import Context
from slakeeper.sla.audit import What
from slakeeper.sla.burn import Burn, BurnWindow, worst
from slakeeper.sla.burn_notice import burn_began, burn_ended
from slakeeper.sla.compliance import status_apart
from slakeeper.sla.contract import Sla
from slakeeper.sla.period import Period, period_at


@dataclass(frozen=True)
class BurnChange:
    """From one burn alert, or none, to another.

    Attributes:
        burn, windows, running: what was looked at, if anything burns: alerts that hold, and the period that goes on.
    """

    before: Burning | None
    after: Burning | None
    burn: Burn | None = None
    windows: Sequence[BurnWindow] = ()
    running: Period | None = None

    @property
    def rises(self) -> bool:
        """Whether it is worse than before."""
        after, before = self.after, self.before
        return after is not None and (before is None or after.severity is not before.severity)


def burn_change(ctx: Context, contract: Sla, since_ms: int, before: Burning | None) -> BurnChange | None:
    """What is to change of the alert ``before`` now; None while nothing is, or news of it is held or muted.

    Args:
        since_ms: since when there is the contract [Unix ms].
    """
    environment: Environment = ctx.environment
    now_ms = ctx.now_ms
    is_in_force = status_apart(contract, since_ms, now_ms) is None
    if not is_in_force or environment.held_until_ms(contract.id, now_ms) is not None:
        return None
    running = period_at(contract, since_ms, now_ms)
    burn = None if running is None else environment.burn(contract, running)
    windows = () if burn is None else burn.alerts()
    after: Burning | None = None
    if windows:
        severity = worst(windows)
        if before is not None:
            severity = max(before.severity, severity, key=lambda each: each.rank)
        began_ms = now_ms if before is None else before.since_ms
        after = Burning(began_ms, tuple(window.long_ms for window in windows), severity)
    change = BurnChange(before, after, burn, windows, running)
    if after == before:
        return None
    if after is not None and change.rises and environment.mutes_burn(contract, after.severity, now_ms):
        return None
    return change


def tell_burn(ctx: Context, contract: Sla, change: BurnChange) -> None:
    """Notes a change, and has people told of one for the worse and of the end."""
    sla_id, before, after = contract.id, change.before, change.after
    if after is not None and change.burn is not None and change.running is not None and change.rises:
        burn = change.burn
        note(
            ctx, What.BURN_BEGUN if before is None else What.BURN_RAISED, sla_id=sla_id, subject=sla_id,
            since_ms=after.since_ms, severity=after.severity, alerts=[
                {"long_ms": each.long_ms, "short_ms": each.short_ms, "factor": each.factor,
                 "burn_rate": burn.rate(each.long_ms)} for each in change.windows
            ],
        )  # fmt: skip
        ends_at_ms = _budget_ends_at_ms(ctx, burn, change.running)
        told = burn_began(burn, change.windows, after.since_ms, after.severity, ctx.now_ms, ends_at_ms)
        ctx.entrust(alert_address(sla_id), told)
    elif after is None and before is not None:
        note(
            ctx, What.BURN_ENDED, sla_id=sla_id, subject=sla_id,
            since_ms=before.since_ms, severity=before.severity,
        )  # fmt: skip
        ctx.entrust(alert_address(sla_id), burn_ended(contract, before.since_ms, before.severity, ctx.now_ms))
    ctx.publish("sla.burn", {"sla_id": sla_id, "burning": after is not None, "at_ms": ctx.now_ms})


def _budget_ends_at_ms(ctx: Context, burn: Burn, running: Period) -> int | None:
    environment: Environment = ctx.environment
    standing = environment.standing(burn.contract.id, ctx.now_ms)
    if standing is None:
        return None
    return burn.budget_ends_at_ms(standing.error_budget_remaining_ms, ctx.now_ms, running.end_ms)
