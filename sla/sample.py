"""A sample: one measured value at one instant, and what makes it fit to be used."""

from collections.abc import Mapping, Sequence
from math import isfinite

from slakeeper.sla.duration import DAY_MS, MINUTE_MS

Sample = tuple[int, float]
"""(ts_ms, value): Unix milliseconds and a finite number."""

FUTURE_ALLOWANCE_MS = MINUTE_MS
"""How far a source's clock may run ahead of ours."""

MAX_AGE_MS = 400 * DAY_MS
"""Older than this is a unit mistake (seconds given as milliseconds), not a late sample."""


def has_labels(labels: object, wanted: Sequence[tuple[str, str]]) -> bool:
    """Whether a sample that carries ``labels`` (None: none) has all that a metric asks for."""
    return isinstance(labels, Mapping) and all(labels.get(name) == value for name, value in wanted)


def check_sample(value: object, ts_ms: object, now_ms: int) -> str | None:
    """Why a sample cannot be used.

    Args:
        value: should be an int or a float, finite; a bool is no number.
        ts_ms: should be Unix milliseconds as an int.
        now_ms: the present [Unix ms].

    Returns:
        None when it is fit, else one of ``not_a_number``, ``not_finite``, ``not_an_instant``,
        ``negative_time``, ``future`` (more than a minute ahead), ``too_old`` (more than 400 days back).
    """
    # The two exact types come first: this runs for every sample that enters.
    if type(value) is not float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return "not_a_number"
        try:
            value = float(value)
        except OverflowError:
            return "not_finite"
    if not isfinite(value):
        return "not_finite"
    if type(ts_ms) is not int:
        return "not_an_instant"
    if ts_ms < 0:
        return "negative_time"
    if ts_ms > now_ms + FUTURE_ALLOWANCE_MS:
        return "future"
    if ts_ms < now_ms - MAX_AGE_MS:
        return "too_old"
    return None
