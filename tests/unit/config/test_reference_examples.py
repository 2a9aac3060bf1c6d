"""docs/configuration.md is true: its examples load, and no key is left out."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from slakeeper.config.loader import FILES, Configuration, load, load_contracts
from slakeeper.config.schema import keys_of
from slakeeper.config.service import ServiceIngest, ServiceRetention, ServiceSettings
from slakeeper.sla import monitoring, on_call, policy
from slakeeper.sla.contract import Sla
from slakeeper.sla.maintenance import Maintenance
from slakeeper.sla.metric import Metric
from slakeeper.sla.penalty import CompensationRule, Penalty
from slakeeper.sla.service_hours import ServiceHours

REFERENCE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
BLOCKS = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
ENVIRON = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", REFERENCE), "https://example.com/secret")

MODELS: tuple[type[BaseModel], ...] = (
    Sla, Metric, Penalty, CompensationRule, Maintenance, ServiceHours,
    policy.EnforcementPolicy, policy.AutomaticAction, policy.ActionCondition,
    policy.EscalationPolicy, policy.EscalationLevel, policy.RemediationSettings, policy.AlertSettings,
    policy.CommandRemedy, policy.WebhookRemedy, policy.PythonRemedy, policy.DryRunRemedy, policy.EmailChannel,
    policy.SmsChannel, policy.SlackChannel, policy.PagerDutyChannel, policy.WebhookChannel, policy.LogChannel,
    policy.AppriseChannel, policy.MessageTemplate, on_call.Responder, on_call.Rotation, on_call.HandOver,
    on_call.Override, on_call.EveryDays,
    monitoring.MonitoringPolicy, monitoring.Retention, monitoring.InternalSource, monitoring.HostSource,
    monitoring.ProcessSource, monitoring.PrometheusSource, monitoring.CustomSource, monitoring.HttpSource,
    ServiceSettings, ServiceRetention, ServiceIngest,
)  # fmt: skip


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reference")
    for name, text in BLOCKS:
        (directory / name).write_text(text)
    return directory


@pytest.fixture(scope="module")
def loaded(examples: Path) -> Configuration:
    return load(examples, ENVIRON)


def test_every_example_says_which_file_it_is_and_there_is_one_of_each() -> None:
    assert REFERENCE.count("```yaml") == len(BLOCKS)
    assert sorted(name for name, _ in BLOCKS) == sorted(FILES)


def test_the_examples_load_together(loaded: Configuration) -> None:
    assert [sla.id for sla in loaded.slas] == ["api_gold", "network"]
    assert loaded.slas[1].metrics[0].value == 99
    assert {type(channel) for channel in loaded.enforcement.channels.values()} >= {
        policy.EmailChannel, policy.SmsChannel, policy.SlackChannel, policy.PagerDutyChannel, policy.WebhookChannel,
    }  # fmt: skip
    assert {source.type for source in loaded.monitoring.sources.values()} == {
        "internal", "host", "process", "prometheus", "custom", "http", "mcp",
    }  # fmt: skip


def test_the_contracts_of_the_example_can_be_defined_by_themselves(examples: Path) -> None:
    slas, problems = load_contracts(examples / "sla_definitions.yaml")
    assert (len(slas), problems) == (2, ())


def test_the_service_example_shows_the_defaults(loaded: Configuration) -> None:
    assert loaded.service == ServiceSettings()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_stands_in_a_table(model: type[BaseModel]) -> None:
    advised = {field: key for key, field in reversed(keys_of(model).items())}
    missing = [key for key in advised.values() if f"`{key}`" not in REFERENCE]
    assert missing == []
