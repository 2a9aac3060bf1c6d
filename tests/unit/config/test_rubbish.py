"""Whatever stands in the files, loading ends in a configuration or in a ConfigError."""

import string
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slakeeper.config.loader import DEFAULT_DIR, FILES, load, load_contracts
from slakeeper.config.problem import ConfigError, Problem
from slakeeper.config.schema import keys_of
from slakeeper.config.service import ServiceSettings
from slakeeper.sla.contract import Sla
from slakeeper.sla.maintenance import Maintenance
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitoring import CustomSource, HttpSource, MonitoringPolicy, PrometheusSource
from slakeeper.sla.penalty import CompensationRule, Penalty
from slakeeper.sla.policy import (
    AutomaticAction,
    EmailChannel,
    EnforcementPolicy,
    EscalationPolicy,
    SlackChannel,
)
from slakeeper.sla.service_hours import ServiceHours

_MODELS = (
    *(Sla, Metric, Penalty, CompensationRule, Maintenance, ServiceHours, EnforcementPolicy, AutomaticAction),
    *(
        EscalationPolicy,
        EmailChannel,
        SlackChannel,
        MonitoringPolicy,
        PrometheusSource,
        CustomSource,
        HttpSource,
    ),
    ServiceSettings,
)
_KEYS = sorted(
    {key for model in _MODELS for key in keys_of(model)} | {"slas", "thresholds", "metrics_sources", "op"}
)
_WORDS = [
    "",
    "a",
    "lt",
    "30s",
    "-1s",
    "month",
    "UTC",
    "slack",
    "prometheus",
    "http://x",
    "${A}",
    "FREQ=DAILY",
    "1e9999",
    "percentile",
]

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(_WORDS)
    | st.text(string.printable, max_size=12)
    | st.dates()
    | st.datetimes()
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
    max_leaves=25,
)
_contracts = st.lists(st.dictionaries(st.sampled_from(sorted(keys_of(Sla))), _values, max_size=8), max_size=3)


def _errors(directory: Path) -> Sequence[Problem]:
    try:
        load(directory, {"A": "x"})
    except ConfigError as error:
        return error.errors or pytest.fail("a ConfigError without errors")
    return ()


def _load(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for file in FILES:
            (Path(directory) / file).write_bytes((DEFAULT_DIR / file).read_bytes())
        (Path(directory) / name).write_bytes(data)
        for problem in _errors(Path(directory)):
            assert problem.file.endswith(".yaml")
            assert problem.line >= 1
            assert problem.reason
            assert "\n" not in str(problem)
        load_contracts(Path(directory) / name)


_quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", FILES)
@_quick
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_rubbish_bytes(name: str, data: bytes) -> None:
    _load(name, data)


@pytest.mark.parametrize("name", FILES)
@_quick
@given(text=st.text("abc:-[]{},&*!|>'\"%@`#?<~.0123456789 \n\t", max_size=120))
def test_text_that_is_nearly_yaml(name: str, text: str) -> None:
    _load(name, text.encode())


@pytest.mark.parametrize("name", FILES)
@_quick
@given(value=st.dictionaries(st.sampled_from(_KEYS), _values, max_size=6))
def test_known_keys_with_any_values(name: str, value: dict[str, Any]) -> None:
    _load(name, yaml.safe_dump(value).encode())


@_quick
@given(contracts=_contracts)
def test_contracts_with_any_values(contracts: list[Any]) -> None:
    _load(FILES[0], yaml.safe_dump({"slas": contracts}).encode())


@pytest.mark.parametrize("name", FILES)
@_quick
@given(at=st.integers(0, 5000), garbage=st.binary(min_size=1, max_size=3), cut=st.integers(0, 3))
def test_shipped_files_with_damage(name: str, at: int, garbage: bytes, cut: int) -> None:
    data = (DEFAULT_DIR / name).read_bytes()
    at %= len(data)
    _load(name, data[:at] + garbage + data[at + cut :])
