"""What people are told of a burn alert: that a contract spends its error budget too fast, and that it has stopped."""

from collections.abc import Sequence
from fractions import Fraction

from slakeeper.sla.burn import Burn, BurnWindow
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import format_duration
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import Severity
from slakeeper.sla.wording import local_time, number


def burn_began(
    burn: Burn,
    windows: Sequence[BurnWindow],
    since_ms: int,
    severity: Severity,
    now_ms: int,
    ends_at_ms: int | None,
) -> Notification:
    """A burn alert has begun, or is more severe than when it was told.

    Args:
        windows: those that hold, at least one.
        since_ms: when the first of them began [Unix ms].
        severity: the highest of them.
        ends_at_ms: when the budget will be gone at this rate [Unix ms]; None when not within the period.
    """
    contract = burn.contract
    name = contract.name or contract.id
    ends = (
        f"at this rate the error budget ends at {local_time(ends_at_ms, contract.timezone)}"
        if ends_at_ms is not None
        else "at this rate the error budget ends after the period, or it is spent already"
    )
    lines = [f"  {_window_line(burn, window)}" for window in windows]
    body = [
        f"{name} spends its error budget too fast: {number(contract.service_level)} % is promised.",
        *("", *lines),
        f"  since {local_time(since_ms, contract.timezone)}",
        f"  {ends}",
    ]
    return Notification(
        id=f"{_key(contract, since_ms)}.{severity.value}",
        kind=NotificationKind.BURN,
        sla_id=contract.id,
        sla_name=name,
        severity=severity,
        subject=f"[{severity.value}] {name}: error budget burns too fast",
        body="\n".join(body) + "\n",
        dedup_key=_key(contract, since_ms),
        violation_ids=(),
        at_ms=now_ms,
        details={
            "sla_id": contract.id,
            "sla_name": name,
            "timezone": contract.timezone,
            "budget_ends_at_ms": ends_at_ms,
            "burn_alerts": [
                {
                    "long_ms": window.long_ms,
                    "short_ms": window.short_ms,
                    "factor": float(window.factor),
                    "burn_rate": _float(burn.rate(window.long_ms)),
                }
                for window in windows
            ],
        },
    )


def burn_ended(contract: Sla, since_ms: int, severity: Severity, now_ms: int) -> Notification:
    """No burn alert holds any more."""
    name = contract.name or contract.id
    zone = contract.timezone
    return Notification(
        id=f"{_key(contract, since_ms)}.ended",
        kind=NotificationKind.BURN_ENDED,
        sla_id=contract.id,
        sla_name=name,
        severity=severity,
        subject=f"[resolved] {name}: error budget burns too fast",
        body=(
            f"{name} spends its error budget no longer too fast.\n\n"
            f"  since {local_time(since_ms, zone)}\n  until {local_time(now_ms, zone)}\n"
        ),
        dedup_key=_key(contract, since_ms),
        violation_ids=(),
        at_ms=now_ms,
        details={"sla_id": contract.id, "sla_name": name, "timezone": zone},
    )


def _key(contract: Sla, since_ms: int) -> str:
    return f"burn-{contract.id}-{since_ms}"


def _window_line(burn: Burn, window: BurnWindow) -> str:
    rates = " and ".join(
        f"{_times(burn.rate(each))} over {format_duration(each)}"
        for each in (window.long_ms, window.short_ms)
    )
    return f"{rates}, where {_times(window.factor)} is an alert"


def _times(rate: Fraction | None) -> str:
    return "unknown" if rate is None else f"{number(round(float(rate), 2))} times what is allowed"


def _float(rate: Fraction | None) -> float | None:
    return None if rate is None else float(rate)
