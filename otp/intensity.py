"""How often a supervisor may restart: OTP's arithmetic, exactly.

An exit counts at the whole second it falls into, so that what was between one period and one period and a
second ago counts or not depending on where the seconds fall. That is OTP's behaviour, kept because a limit that
differs from the documented one at its edge is worse than a coarse one.
"""

from itertools import takewhile


def add_restart(
    restarts_s: tuple[int, ...], now_ms: int, intensity: int, period_s: int
) -> tuple[bool, tuple[int, ...]]:
    """Counts one restart.

    Args:
        restarts_s: the restarts counted so far, newest first, whole seconds of the same clock as now_ms.
        now_ms: the monotonic time [ms].
        intensity: how many restarts within the period are allowed, >= 0.
        period_s: the look-back [s], > 0.

    Returns:
        Whether this restart is still allowed, and what to pass the next time: at most intensity + 1 entries
        while every answer so far was yes.

    Source: erlang/otp supervisor.erl, add_restart/1.
    """
    now_s = now_ms // 1_000
    counted = (now_s, *takewhile(lambda at_s: at_s >= now_s - period_s, restarts_s))
    return len(counted) <= intensity, counted
