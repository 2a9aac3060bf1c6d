"""The metrics of a contract as users see them: how each stands, and of one that nobody watches why."""

from collections.abc import Iterable, Mapping
from typing import Any

from slakeeper.actors.address import alert_address, monitor_address
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import DescribeAlerts
from slakeeper.actors.monitor import MetricView
from slakeeper.otp.actor import ActorStopped, RequestError
from slakeeper.otp.host import Host
from slakeeper.sla import flapping
from slakeeper.sla.account import Account
from slakeeper.sla.alert import Group
from slakeeper.sla.contract import Sla
from slakeeper.sla.flapping import Flap
from slakeeper.sla.metric import Metric
from slakeeper.sla.signal import MonitorState


def metric_rows(
    host: Host, contract: Sla, views: Iterable[MetricView], down: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Every metric in the contract's order; of one whose monitor is down what was promised, and why it is down.

    Args:
        views: of the metrics whose monitor answers.
        down: how the monitors of the others are, by metric.
    """
    described = {each["name"]: each for each in contract.to_document()["metrics"]}
    answered = {each.metric.name: each for each in views}
    group = _alerts(host, contract.id)
    rows: list[dict[str, Any]] = []
    for metric in contract.metrics:
        view = answered.get(metric.name)
        flaps = _flapping(group, metric, host.now_ms)
        if view is None:
            rows.append({**described[metric.name], **_down_row(metric, down[metric.name]), **flaps})
        else:
            line = metric_line(host, contract.id, view)
            rows.append({**described[metric.name], **line, **_detail(view), **flaps})
    return rows


def _alerts(host: Host, sla_id: str) -> Group | None:
    """What the contract's alerts know, None while they are down."""
    try:
        group: Group = host.ask(alert_address(sla_id), DescribeAlerts())
    except (ActorStopped, RequestError):
        return None
    return group


def _flapping(group: Group | None, metric: Metric, now_ms: int) -> dict[str, Any]:
    """Whether it flaps, and by which share of its last intervals [%]; None when nobody knows."""
    if group is None:
        return {"flapping": None, "flapping_percent": None}
    flap = group.flaps.get(metric.name, Flap())
    return {
        "flapping": flap.is_flapping,
        "flapping_percent": float(flapping.percent(flap, metric.interval, now_ms)),
    }


def _down_row(metric: Metric, condition: str) -> dict[str, Any]:
    return {
        "name": metric.name,
        "state": condition,
        "reason": f"nobody watches it: its monitor is {condition}",
        "value": None,
        "threshold": float(metric.value),
        "condition": metric.condition.value,
        "unit": metric.unit,
        "samples_accepted": None,
        "samples_late": None,
        "samples_duplicate": None,
        "breach_probability": None,
        "account": None,
    }


def metric_line(host: Host, sla_id: str, view: MetricView) -> dict[str, Any]:
    """How a metric stands, in short; ``reason`` says why its source has no value for it."""
    environment: Environment = host.environment
    address = monitor_address(sla_id, view.metric.name)
    has_none = MonitorState(view.state) in (MonitorState.SOURCE_ERROR, MonitorState.NO_DATA)
    return {
        "name": view.metric.name,
        "state": view.state,
        "reason": environment.source_errors.get(address) if has_none else None,
        "value": view.value,
        "threshold": float(view.metric.value),
        "condition": view.metric.condition.value,
        "unit": view.metric.unit,
    }


def _detail(view: MetricView) -> dict[str, Any]:
    return {
        "samples_accepted": view.counters.get("accepted", 0),
        "samples_late": view.counters.get("late", 0),
        "samples_duplicate": view.counters.get("duplicate", 0),
        "breach_probability": view.breach_probability,
        "account": account_row(view.account),
    }


def removed_rows(views: Iterable[MetricView], removed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Metrics that have left the contract and still count in the period.

    Args:
        removed: when and by whom, by metric.
    """
    return [
        {"name": each.metric.name, "removed": removed[each.metric.name], "account": account_row(each.account)}
        for each in views
    ]


def account_row(account: Account) -> dict[str, Any]:
    """What a metric's time in a period was [ms]."""
    return {
        "known_ms": account.known_ms,
        "good_ms": account.good_ms,
        "bad_ms": account.bad_ms,
        "unknown_ms": account.unknown_ms,
        "excluded_ms": account.excluded_ms,
    }
