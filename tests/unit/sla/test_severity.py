"""How bad a failed promise is."""

from math import inf
from typing import Any

import pytest

from slakeeper.sla.metric import Metric
from slakeeper.sla.policy import Severity
from slakeeper.sla.severity import deviation, is_worse, severity_of


def metric(**keys: Any) -> Metric:
    return Metric.model_validate({"name": "m", "value": 100, "condition": "lt", **keys})


@pytest.mark.parametrize(
    ("actual", "severity"),
    [
        (101, Severity.INFO),
        (110, Severity.INFO),
        (120, Severity.INFO),
        (121, Severity.WARNING),
        (150, Severity.WARNING),
        (151, Severity.CRITICAL),
        (1000, Severity.CRITICAL),
    ],
)
def test_severity_rises_with_the_deviation(actual: float, severity: Severity) -> None:
    assert severity_of(metric(), actual) is severity


def test_uptime_of_99_against_99_999_is_critical() -> None:
    uptime = metric(value=99.999, unit="percentage", condition="gt")
    assert deviation(uptime, 99.0) == pytest.approx(999)
    assert severity_of(uptime, 99.0) is Severity.CRITICAL
    assert severity_of(uptime, 99.9989) is Severity.INFO


def test_the_relative_deviation_can_be_asked_for() -> None:
    uptime = metric(value=99.999, unit="percentage", condition="gt", deviation="relative")
    assert severity_of(uptime, 99.0) is Severity.INFO


@pytest.mark.parametrize("keys", [{"unit": "ms"}, {"value": 80}, {"condition": "lt", "value": 95}])
def test_only_a_percentage_of_goodness_is_measured_against_what_is_left_to_100(keys: dict[str, Any]) -> None:
    promised = metric(**{"value": 95, "unit": "percent", "condition": "gt", **keys})
    assert deviation(promised, 50.0) == abs(50.0 - float(promised.value)) / float(promised.value)


def test_less_than_all_of_100_is_infinitely_far() -> None:
    assert deviation(metric(value=100, unit="percent", condition="gte"), 99.9) == inf


def test_a_slope_against_nothing_is_infinitely_far() -> None:
    assert deviation(metric(type="trend", value=0), 0.1) == inf
    assert deviation(metric(type="trend", value=0), 0.0) == 0


def test_worse_is_further_out_on_the_failing_side() -> None:
    assert is_worse(metric(condition="lt"), 120, 110)
    assert is_worse(metric(condition="gte"), 80, 90)
    assert is_worse(metric(condition="eq"), 80, 110)
    assert not is_worse(metric(condition="ne"), 100, 100)
