"""The schemas for editors: what ships is valid by them, what `check` refuses for its shape is not."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from slakeeper.cli import main
from slakeeper.config.document import parse_document, read_document
from slakeeper.config.json_schema import file_schemas
from slakeeper.config.loader import DEFAULT_DIR, DEFINITIONS, FILES
from slakeeper.config.writing import plain
from slakeeper.sla.contract import Sla
from tests.unit.config.test_reference_examples import BLOCKS

SCHEMAS = file_schemas()
EXAMPLES = sorted((DEFAULT_DIR / "examples").glob("*.yaml"))


def errors(name: str, value: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    return [error.message for error in validator.iter_errors(plain(value))]


def value_of(text: str) -> Any:
    document = parse_document(text.encode(), "a.yaml")
    assert not document.problems
    return document.value


@pytest.mark.parametrize("name", FILES)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_configuration_is_valid(name: str) -> None:
    assert errors(name, read_document(DEFAULT_DIR / name).value) == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_is_valid(file: Path) -> None:
    assert errors(DEFINITIONS, read_document(file).value) == []


@pytest.mark.parametrize("name, text", BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_reference_is_valid(name: str, text: str) -> None:
    assert errors(name, value_of(text)) == []


def test_a_contract_as_it_is_kept_is_valid() -> None:
    sla = Sla.model_validate({"id": "a", "metrics": [{"name": "m", "value": 1}]})
    assert errors(DEFINITIONS, {"slas": [sla.to_document()]}) == []


METRIC = "{name: m, value: 1}"


@pytest.mark.parametrize(
    "name, text",
    [
        ("sla_definitions.yaml", "slas: {}"),
        ("sla_definitions.yaml", "slas: [{metrics: [{name: m, value: 1}]}]"),
        ("sla_definitions.yaml", "slas: [{id: a, metrics: [{value: 1}]}]"),
        ("sla_definitions.yaml", f"slas: [{{id: a, service_level: 0.999, metrics: [{METRIC}]}}]"),
        ("sla_definitions.yaml", f"slas: [{{id: a, time_period: 1 month, metrics: [{METRIC}]}}]"),
        ("sla_definitions.yaml", f"slas: [{{id: a, kalendar: month, metrics: [{METRIC}]}}]"),
        ("sla_definitions.yaml", f"slas: [{{id: a, calendar: year, metrics: [{METRIC}]}}]"),
        ("sla_definitions.yaml", f"slas: [{{id: a, renew: 1, metrics: [{METRIC}]}}]"),
        ("sla_definitions.yaml", "slas: [{id: a, metrics: [{name: m, value: 1, condition: below}]}]"),
        ("sla_definitions.yaml", "slas: [{id: a, metrics: [{name: m, value: 1, weight: 2}]}]"),
        ("sla_definitions.yaml", "erlmcp_sla_definition: {slas: []}\nslas: []"),
        ("enforcement.yaml", "automatic_actions: [{name: a, trigger_metric: m, action: b, condition: {above: 1}}]"),
        ("enforcement.yaml", "escalation_policies: [{severity: breach, levels: [{type: email}]}]"),
        ("enforcement.yaml", "channels: {pigeon: {type: pigeon}}"),
        ("enforcement.yaml", "channels: {email: {hots: a}}"),
        ("monitoring.yaml", "sources: {prom: {type: prometheus}}"),
        ("monitoring.yaml", "check_interval: soon"),
        ("monitoring.yaml", "metrics_sources: [{url: a}]"),
        ("service.yaml", "cells: 0"),
        ("service.yaml", "log_level: loud"),
    ],
)  # fmt: skip
def test_a_planted_error_is_found(name: str, text: str) -> None:
    assert errors(name, value_of(text))


@pytest.mark.parametrize(
    "name, text",
    [
        ("sla_definitions.yaml", "slas: [{id: a, owner: me, sla_metrics: [{metric_name: m, value: '1'}]}]"),
        ("sla_definitions.yaml", "slas: [{id: a, metrics: [{name: m, for: 5m, measurement_interval: 30000}]}]"),
        ("enforcement.yaml", "automatic_actions: [{name: a, trigger_metric: m, action: b, condition: [gt, 5]}]"),
        ("enforcement.yaml", "channels: {email: {from: a, host: b}, slack: {type: log}}"),
        ("enforcement.yaml", "escalation_policies: [{severity: info, levels: [{channel_name: slack, room: a}]}]"),
        ("monitoring.yaml", "metrics_sources: [{prometheus: 'http://a'}, [custom, 'http://b'], host]"),
    ],
)  # fmt: skip
def test_every_spelling_is_valid(name: str, text: str) -> None:
    assert errors(name, value_of(text)) == []


def test_the_command_prints_one_schema_or_all() -> None:
    everything = json.loads(CliRunner().invoke(main, ["schema"]).stdout)
    assert list(everything) == list(FILES)
    for name in FILES:
        one = CliRunner().invoke(main, ["schema", re.sub(r"\.yaml$", "", name)])
        assert json.loads(one.stdout) == everything[name]
    assert CliRunner().invoke(main, ["schema", "nothing"]).exit_code == 2


def test_keys_are_described() -> None:
    contract = SCHEMAS[DEFINITIONS]["$defs"]["Sla"]["properties"]
    assert contract["service_level"]["description"].startswith("the promised attainment")
    assert contract["sla_metrics"]["description"] == "another spelling of metrics"
