"""The metric that an objective of OpenSLO asks for: what is promised of which query."""

from dataclasses import dataclass
from typing import Any

from slakeeper.config.openslo import MetricSource, Objective, SliSpec, percentage_of
from slakeeper.config.openslo_file import Entry, Library
from slakeeper.config.openslo_query import bad_query, good_query, increase, percent_query
from slakeeper.config.problem import Place
from slakeeper.sla.duration import MINUTE_MS, format_duration, parse_duration


@dataclass(frozen=True, slots=True)
class Measure:
    """Makes the metric of an objective: ``sli`` stands at ``place`` of ``at``, the objective in ``slo``."""

    library: Library
    slo: Entry
    at: Entry
    place: Place
    sli: SliSpec
    sources: dict[str, Any]

    def metric(self, objective: Objective, index: int, method: str) -> dict[str, Any] | None:
        place: Place = ("spec", "objectives", index)
        interval = self._interval(objective, place, method)
        span_ms = parse_duration(interval.get("interval", MINUTE_MS))
        if self.sli.ratio_metric is not None:
            return {**self._ratio(objective, place, method), **interval, **self._ratio_query(span_ms)}
        assert self.sli.threshold_metric is not None
        promise = self._threshold(objective, place, method)
        if promise is None:
            return None
        where: Place = (*self.place, "spec", "thresholdMetric", "metricSource")
        return {**promise, **interval, **self._asked(self.sli.threshold_metric.metric_source, where)}

    def _interval(self, objective: Objective, place: Place, method: str) -> dict[str, int | str]:
        if method == "Occurrences":
            self._note(
                ("spec", "budgetingMethod"),
                "time is counted and not events: windows of 1m are good or bad as a whole",
            )
            if objective.time_slice_window is not None:
                self._note((*place, "timeSliceWindow"), "it goes with Timeslices")
            return {}
        if method == "RatioTimeslices":
            self._note(
                ("spec", "budgetingMethod"),
                "a slice is good or bad as a whole, by the objective's target; ratios are not averaged",
            )
        length_ms = objective.slice_ms
        if length_ms is None or length_ms < 1 or length_ms != length_ms.to_integral_value():
            self._note((*place, "timeSliceWindow"), "no length that a window can have is given: it is 1m")
            return {}
        text = format_duration(int(length_ms))
        return {"interval": int(length_ms) if " " in text else text}

    def _ratio(self, objective: Objective, place: Place, method: str) -> dict[str, Any]:
        """The promise of a goodness in percent."""
        share = objective.time_slice_target if method == "Timeslices" else None
        if method == "Timeslices" and share is None:
            self._note(
                (*place, "timeSliceTarget"), "it is missing: a slice is good at the objective's target"
            )
        if method != "Timeslices" and objective.time_slice_target is not None:
            self._note((*place, "timeSliceTarget"), "it goes with Timeslices")
        if objective.value is not None:
            self._note((*place, "value"), "a ratio is held against the target")
        op = objective.op or "gte"
        if op in {"lt", "lte"}:
            self._note((*place, "op"), "of a ratio of what is good, more is better: gte is taken")
            op = "gte"
        value = objective.target_pct if share is None else percentage_of(share)
        return {"value": value, "unit": "percentage", "condition": op}

    def _threshold(self, objective: Objective, place: Place, method: str) -> dict[str, Any] | None:
        if objective.op is None or objective.value is None:
            missing = "op" if objective.op is None else "value"
            self._note((*place, missing), "it is missing: no contract is made of this objective")
            return None
        promise = {"value": objective.value, "condition": objective.op}
        share = objective.time_slice_target
        if method != "Timeslices":
            self._note(place, "a window is judged by the average of its samples")
            return promise
        if share is None:
            self._note((*place, "timeSliceTarget"), "it is missing: the average of a slice is judged")
            return promise
        # So large a share of the samples meets the value exactly when this order statistic does.
        less = objective.op in {"lt", "lte"}
        if share == 1:
            return {**promise, "aggregation": "max" if less else "min"}
        percentile = percentage_of(share if less else 1 - share)
        return {**promise, "type": "percentile", "percentile": percentile}

    def _ratio_query(self, span_ms: int) -> dict[str, Any]:
        ratio = self.sli.ratio_metric
        assert ratio is not None
        base: Place = (*self.place, "spec", "ratioMetric")
        if ratio.raw is not None:
            asked = self._asked(ratio.raw.metric_source, (*base, "raw", "metricSource"))
            if "query" not in asked:
                return asked
            failure = ratio.raw_type == "failure"
            return {**asked, "query": percent_query(asked["query"], is_failure=failure)}
        part, key = (ratio.good, "good") if ratio.good is not None else (ratio.bad, "bad")
        assert part is not None
        assert ratio.total is not None
        asked = self._asked(part.metric_source, (*base, key, "metricSource"))
        total = self._asked(ratio.total.metric_source, (*base, "total", "metricSource"))
        if "query" not in asked or "query" not in total:
            return {}
        kinds = {self._kind(each.metric_source) for each in (part, ratio.total)}
        if kinds != {"prometheus"} or asked.get("source") != total.get("source"):
            self.library.note(
                self.at,
                base,
                f"{key} and total are joined in one query of one Prometheus only: push the percentage as samples",
            )
            return {}
        queries = [asked["query"], total["query"]]
        if ratio.counter:
            queries = [increase(query, span_ms) for query in queries]
        join = good_query if key == "good" else bad_query
        return {**asked, "query": join(*queries)}

    def _kind(self, source: MetricSource) -> str:
        known = self.sources.get(source.metric_source_ref or "")
        return str(known["type"]) if known is not None else (source.type or "").lower()

    def _asked(self, source: MetricSource, place: Place) -> dict[str, Any]:
        """The ``source`` and ``query`` of a metric."""
        for key in source.spec:
            if key != "query":
                self.library.note(self.at, (*place, "spec", key), "a metric knows its source's query only")
        query = source.spec.get("query")
        name = source.metric_source_ref
        if name is None and self._kind(source) == "internal":
            return {"query": query} if isinstance(query, str) else {}
        if name is not None and name in self.sources:
            asked = {"source": name}
        else:
            missing = "no DataSource gives its address" if name is None else f"no source is made of {name!r}"
            self.library.note(
                self.at, place, f"{missing}: samples are pushed until 'source' names one of monitoring.yaml"
            )
            asked = {}
        if isinstance(query, str):
            return {**asked, "query": query}
        if "query" in source.spec:
            self.library.note(self.at, (*place, "spec", "query"), "a query is text")
        return asked

    def _note(self, place: Place, reason: str) -> None:
        self.library.note(self.slo, place, reason)
