"""A report's document as one HTML page: charts drawn in it, nothing loaded from anywhere, fit for printing.

Every word goes through the template's own escaping; the page needs no script, and is served where none may run.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from slakeeper.sla import report_chart
from slakeeper.sla.amount import amount_text
from slakeeper.sla.condition import Condition
from slakeeper.sla.report_template import PAGE
from slakeeper.sla.wording import TREND_WORDS, exact_duration, local_time, percent, promise, with_unit

if TYPE_CHECKING:
    from jinja2 import Template

VERDICTS: Final = {
    "met": ("The promise was kept", "good"),
    "breached": ("The promise was broken", "bad"),
    "unknown": ("There is no data to judge by", "unknown"),
    "on target": ("Still running, and on target", "good"),
    "below target": ("Still running, and below target", "bad"),
}

_COLOURS: Final = {"info": "#5d8bc7", "warning": "#c98a12", "critical": "#b3261e", "breach": "#6d1410"}


def to_html(document: Mapping[str, Any]) -> str:
    """The whole report as a page; ``document`` is that of ``report.build``."""
    zone = document["sla"]["timezone"]
    # Enough decimals to tell the attainment from the target.
    places = max(4, len(str(document["sla"]["service_level"]).partition(".")[2]) + 1)

    def ratio(text: str | None, shown: int = places) -> str:
        return percent(None if text is None else Fraction(text), shown)

    return _template().render(
        d=document,
        verdict=VERDICTS[document["period"]["verdict"]],
        time=lambda at_ms: local_time(at_ms, zone),
        duration=lambda duration_ms: exact_duration(round(duration_ms)),
        ratio=ratio,
        promised=_promised,
        measured=with_unit,
        money=lambda entry: amount_text(Decimal(entry["amount"]), entry["currency"] or "credits"),
        colours=_COLOURS,
        width=report_chart.WIDTH,
        trend_height=report_chart.TREND_HEIGHT,
        spent=report_chart.spent_share(document["budget"]),
        timeline=report_chart.timeline(document),
        trend=report_chart.trend(document["trend"]),
        trend_words=TREND_WORDS,
    )


def _promised(metric: Mapping[str, Any]) -> str:
    if metric["condition"] is None:
        return "no longer part of the contract"
    return promise(Condition(metric["condition"]), Decimal(metric["threshold"]), metric["unit"])


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined  # only where a page is wanted

    return Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
