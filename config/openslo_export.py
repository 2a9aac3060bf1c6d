"""OpenSLO v1 out: a contract as SLOs, and the sources its metrics ask.

A contract is a matter of windows that are good or bad, so each of its metrics is an SLO with the budgeting method
Timeslices. Money, maintenance and the like are unknown to OpenSLO: they are in ``unmapped``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from slakeeper.config.openslo import API_VERSION, share_of, write_shorthand
from slakeeper.config.openslo_file import Unmapped
from slakeeper.config.openslo_import import AGGREGATION, ID, INTERVAL, METRIC, UNIT
from slakeeper.config.openslo_query import ratio_query
from slakeeper.config.openslo_source import data_source
from slakeeper.config.openslo_window import time_window
from slakeeper.sla.condition import Condition
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import MINUTE_MS
from slakeeper.sla.metric import Aggregation, Metric, MetricType
from slakeeper.sla.monitoring import PrometheusSource
from slakeeper.sla.severity import GOODNESS_UNITS

MAX_NAME: Final = 63
MAX_DESCRIPTION: Final = 1050

_LABEL: Final = re.compile(r"[a-z0-9A-Z][a-z0-9A-Z._-]{0,62}")
_AT_MOST: Final = frozenset({Condition.LT, Condition.LTE})
_OPERATORS: Final = frozenset({Condition.LT, Condition.LTE, Condition.GT, Condition.GTE})

# Keys of a contract and of a metric that have no equal, with the reason; said when they are not at their default.
_NO_EQUAL: Final = {
    "term": "an SLO has no end",
    "expiry_date": "an SLO has no end",
    "renew": "an SLO has no end",
    "status": "an SLO has no status",
    "approver": "OpenSLO knows no money",
    "fee": "OpenSLO knows no money",
    "currency": "OpenSLO knows no money",
    "penalties": "OpenSLO knows no money",
    "penalty_cap": "OpenSLO knows no money",
    "compensation": "OpenSLO knows no money",
    "isolation": "it is a matter of how slakeeper runs",
    "depends_on": "SLOs do not depend on each other",
    "service_hours": "every hour counts in OpenSLO",
    "maintenance": "every hour counts in OpenSLO",
}
_NO_EQUAL_OF_METRIC: Final = {
    "for_": "an SLO opens no violations",
    "keep_for": "an SLO opens no violations",
    "lateness": "it is a matter of the source",
    "no_data": "OpenSLO does not say what missing data is",
    "deviation": "an SLO has no severity",
    "alert_threshold": "an SLO makes no forecast",
    "labels": "samples are chosen by the query",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made of a contract: objects of OpenSLO v1, none when nothing maps, and what does not map."""

    documents: tuple[dict[str, Any], ...]
    unmapped: tuple[Unmapped, ...]


def export_openslo(contract: Sla, sources: Mapping[str, BaseModel]) -> Exported:
    """A contract as objects of OpenSLO v1.

    Args:
        contract: the contract.
        sources: of ``monitoring.yaml``, by name; empty when they are not known.
    """
    return _Exporter(contract, sources).exported()


class _Exporter:
    def __init__(self, contract: Sla, sources: Mapping[str, BaseModel]) -> None:
        self._contract = contract
        self._sources = sources
        self._unmapped: list[Unmapped] = []
        self._slug = _slug(contract.id)

    def exported(self) -> Exported:
        contract = self._contract
        self._note_defaults(contract, _NO_EQUAL, "")
        if contract.service_level == 100:
            self._note("service_level", "a target of OpenSLO is below 100 percent: nothing is made of it")
            return Exported((), tuple(self._unmapped))
        window, unmapped = time_window(contract)
        for key, reason in unmapped.items():
            self._note(key, reason)
        slos = [slo for index in range(len(contract.metrics)) for slo in self._slo(index, window)]
        if not slos:
            return Exported((), tuple(self._unmapped))
        if len(slos) > 1:
            self._note(
                "metrics", "an SLO has one indicator: each metric is an SLO of the whole service level"
            )
        return Exported((*self._data_sources(), *self._service(), *slos), tuple(self._unmapped))

    def _slo(self, index: int, window: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        contract, metric = self._contract, self._contract.metrics[index]
        path = f"metrics[{index}]"
        indicator = self._indicator(metric, path)
        if indicator is None:
            return
        sli, objective = indicator
        self._note_defaults(metric, _NO_EQUAL_OF_METRIC, f"{path}.")
        if len(contract.metrics) > 1 and metric.weight != 1:
            self._note(f"{path}.weight", "SLOs have no weights")
        slice_, annotations = self._slice(metric, path)
        several = len(contract.metrics) > 1
        name = _slug(f"{contract.id}-{metric.name}") if several else self._slug
        metadata: dict[str, Any] = {"name": name}
        if contract.name:
            metadata["displayName"] = f"{contract.name} · {metric.name}" if several else contract.name
        if not several:
            metadata |= self._annotated({ID: contract.id} if contract.id != name else {}, "id")
        own_name = _slug(metric.name)
        noted = {
            **({METRIC: metric.name} if metric.name != own_name else {}),
            **annotations,
            **({UNIT: metric.unit} if metric.unit != _implied_unit(sli) else {}),
        }
        if metric.type is MetricType.THRESHOLD and "timeSliceTarget" not in objective:
            noted[AGGREGATION] = metric.aggregation.value
            objective["timeSliceTarget"] = 1
            self._note(
                f"{path}.aggregation",
                f"an SLO has none: it is in the annotation {AGGREGATION}, for slakeeper",
            )
        spec: dict[str, Any] = {}
        if contract.description:
            spec["description"] = contract.description[:MAX_DESCRIPTION]
            if len(contract.description) > MAX_DESCRIPTION:
                self._note("description", f"it is cut to {MAX_DESCRIPTION} characters")
        spec["service"] = _slug(contract.owner_team) if contract.owner_team else name
        spec["indicator"] = {"metadata": {"name": own_name, **self._annotated(noted, path)}, "spec": sli}
        if window is not None:
            spec["timeWindow"] = [window]
        spec["budgetingMethod"] = "Timeslices"
        target = {"target": share_of(contract.service_level)}
        spec["objectives"] = [{**objective, **target, "timeSliceWindow": slice_}]
        yield {"apiVersion": API_VERSION, "kind": "SLO", "metadata": metadata, "spec": spec}

    def _indicator(self, metric: Metric, path: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The SLI and what of the objective says when a slice is good."""
        if metric.type is MetricType.TREND:
            self._note(path, "OpenSLO knows no trends: no SLO is made of it")
            return None
        if metric.condition not in _OPERATORS:
            self._note(f"{path}.condition", "OpenSLO has lt, lte, gt, gte: no SLO is made of it")
            return None
        source = self._sources.get(metric.source or "")
        if isinstance(source, PrometheusSource) and _is_goodness(metric):
            objective: dict[str, Any] = {"timeSliceTarget": share_of(metric.value)}
            if metric.condition is Condition.GT:
                objective["op"] = "gt"
            raw = self._metric_source(metric, path, ratio_query)
            return {"ratioMetric": {"rawType": "success", "raw": raw}}, objective
        objective = {"op": metric.condition.value, "value": metric.value}
        share = _share(metric)
        if share is not None:
            objective["timeSliceTarget"] = share
        return {"thresholdMetric": self._metric_source(metric, path, str)}, objective

    def _metric_source(self, metric: Metric, path: str, written: Callable[[str], str]) -> dict[str, Any]:
        """A metric's source with its query as ``written`` writes it."""
        query = metric.name if metric.query is None else metric.query
        spec = {} if metric.source is None and metric.query is None else {"query": written(query)}
        source: dict[str, Any] = {}
        known = None if metric.source is None else self._sources.get(metric.source)
        if metric.source is None:
            source["type"] = "internal"
            self._note(f"{path}.source", "samples are pushed: OpenSLO knows only what is asked")
        else:
            source["metricSourceRef"] = name = _slug(metric.source)
            if name != metric.source:
                self._note(
                    f"{path}.source", f"the source becomes {name}: a name has small letters and dashes"
                )
            if known is None:
                self._note(f"{path}.source", "its address is not known here: there is no DataSource")
        return {"metricSource": {**source, "spec": spec}}

    def _slice(self, metric: Metric, path: str) -> tuple[str | Decimal, dict[str, str]]:
        """The length of a slice, and the annotation that a length without an equal needs."""
        duration = write_shorthand(metric.interval)
        if duration is not None:
            return duration, {}
        minutes = Decimal(metric.interval) / MINUTE_MS
        if minutes * MINUTE_MS == metric.interval and minutes == minutes.quantize(Decimal("0.0001")):
            return minutes.normalize(), {}
        whole = max(1, round(minutes))
        self._note(
            f"{path}.interval", f"a slice is of whole minutes: {INTERVAL} is an annotation, for slakeeper"
        )
        return f"{whole}m", {INTERVAL: f"{metric.interval}ms"}

    def _service(self) -> Iterator[dict[str, Any]]:
        owner = self._contract.owner_team
        if owner:
            name = _slug(owner)
            metadata = {"name": name} if name == owner else {"name": name, "displayName": owner}
            yield {"apiVersion": API_VERSION, "kind": "Service", "metadata": metadata, "spec": {}}

    def _data_sources(self) -> Iterator[dict[str, Any]]:
        for name in dict.fromkeys(metric.source for metric in self._contract.metrics):
            source = None if name is None else self._sources.get(name)
            if name is None or source is None:
                continue
            made, left = data_source(_slug(name), source)
            for key in left:
                self._note(f"sources.{name}.{key}", "secrets are not carried over")
            yield made

    def _annotated(self, wanted: dict[str, str], path: str) -> dict[str, Any]:
        """``annotations`` of those texts that may stand in one."""
        fit = {key: text for key, text in wanted.items() if _LABEL.fullmatch(text)}
        for key in wanted.keys() - fit.keys():
            self._note(path, f"no annotation can hold it as {key}: it becomes another or is left out")
        return {"annotations": fit} if fit else {}

    def _note_defaults(self, value: BaseModel, reasons: Mapping[str, str], path: str) -> None:
        for name, field in type(value).model_fields.items():
            if name in reasons and getattr(value, name) != field.get_default(call_default_factory=True):
                self._note(f"{path}{name.rstrip('_')}", reasons[name])

    def _note(self, path: str, reason: str) -> None:
        self._unmapped.append(Unmapped(f"contract {self._contract.id}", path, reason))


def _is_goodness(metric: Metric) -> bool:
    """Whether a metric is the percentage of what is good, averaged: OpenSLO's ratio, for who can divide by 100."""
    return (
        metric.type is MetricType.THRESHOLD
        and metric.aggregation is Aggregation.AVG
        and metric.unit in GOODNESS_UNITS
        and metric.condition in {Condition.GT, Condition.GTE}
        and metric.value <= 100
    )


def _implied_unit(sli: dict[str, Any]) -> str:
    """The unit that an indicator has without saying so."""
    return "percentage" if "ratioMetric" in sli else ""


def _share(metric: Metric) -> Decimal | None:
    """The share of a slice's samples that has to meet the value; None when another aggregate is judged."""
    at_most = metric.condition in _AT_MOST
    if metric.type is MetricType.PERCENTILE:
        percentile = metric.effective_percentile
        if percentile is None:
            return None
        return share_of(percentile if at_most else 100 - percentile)
    return Decimal(1) if metric.aggregation is (Aggregation.MAX if at_most else Aggregation.MIN) else None


def _slug(name: str) -> str:
    """A name by RFC 1123: small letters, digits and dashes, at most 63."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:MAX_NAME].strip("-") or "unnamed"
