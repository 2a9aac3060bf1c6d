"""Queries between OpenSLO, where a ratio is 0..1, and metrics of goodness in percent (PromQL where they are joined)."""

import re
from typing import Final

from slakeeper.sla.duration import SECOND_MS

# A growth needs two looks within its span; so many there are, whatever the server's own step is.
_STEPS: Final = 6

# A query that already looks over a span gives no counter any more.
_OVER_A_SPAN: Final = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv)\s*\(")

_PERCENT: Final = re.compile(r"100 \* \((?P<inner>.*)\)", re.DOTALL)
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_SHARE: Final = re.compile(r"\((?P<inner>.*)\) / 100", re.DOTALL)


def percent_query(ratio: str, *, is_failure: bool = False) -> str:
    """The goodness in percent, of a query that gives a ratio of successes or of failures."""
    if is_failure:
        return f"100 * (1 - ({ratio}))"
    return _inner(_SHARE, ratio) or f"100 * ({ratio})"


def ratio_query(percent: str) -> str:
    """The ratio of successes, of a query that gives the goodness in percent; :func:`percent_query` undoes it."""
    return _inner(_PERCENT, percent) or f"({percent}) / 100"


def good_query(good: str, total: str) -> str:
    """The goodness in percent of two queries."""
    return f"100 * ({good}) / ({total})"


def bad_query(bad: str, total: str) -> str:
    """As :func:`good_query` with what is bad; the specification's formula."""
    return f"100 * (({total}) - ({bad})) / ({total})"


def increase(counter: str, span_ms: int) -> str:
    """How much a query of a counter has grown in a span; one that looks over a span itself stays as it is."""
    if _OVER_A_SPAN.search(counter):
        return counter
    return f"increase(({counter})[{_promql(span_ms)}:{_promql(max(1, span_ms // _STEPS))}])"


def _promql(span_ms: int) -> str:
    return f"{span_ms // SECOND_MS}s" if span_ms % SECOND_MS == 0 else f"{span_ms}ms"


def _inner(form: re.Pattern[str], query: str) -> str | None:
    """What stands between the outer brackets of a form; None when the brackets are not one pair."""
    match = form.fullmatch(query)
    if match is None:
        return None
    inner, depth = match["inner"], 0
    for character in _QUOTED.sub("", inner):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return None
    return inner if depth == 0 and inner else None
