"""An amount that is owed: how it is booked, and how people read it."""

from decimal import MAX_PREC, ROUND_HALF_EVEN, Context, Decimal

AMOUNT_PLACES = 6
"""Most decimal places of a booked amount. Exact results of usual size keep all their digits (4.990 stays 4.990); one
without end, such as a third, has to stop somewhere, and here it stops far below the smallest coin."""

# Rounds amounts of any length: only places are cut, never digits before the point.
_ROUNDING = Context(prec=MAX_PREC, rounding=ROUND_HALF_EVEN)


def booked_amount(amount: Decimal) -> Decimal:
    """A finite amount as it is booked: with at most :data:`AMOUNT_PLACES` decimal places, halves to even."""
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -AMOUNT_PLACES:
        return amount
    rounded = amount.quantize(Decimal(1).scaleb(-AMOUNT_PLACES), context=_ROUNDING)
    # Less than nothing that rounds to nothing is no negative amount.
    return rounded or rounded.copy_abs()


def amount_text(value: Decimal, currency: str | None) -> str:
    """An amount for reading: in full up to :data:`AMOUNT_PLACES`, then rounded and marked with ``≈``."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -AMOUNT_PLACES:
        text = f"≈ {value:.{AMOUNT_PLACES}f}"
    else:
        text = f"{value:f}"
    return f"{text} {currency}" if currency else text
