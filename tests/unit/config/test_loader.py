"""A directory becomes a configuration, or every error in it with file, line, path and reason."""

import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from slakeeper.config.loader import DEFAULT_DIR, load, load_contracts
from slakeeper.config.problem import ConfigError
from slakeeper.sla.condition import Condition
from slakeeper.sla.monitoring import CustomSource, HostSource, HttpSource, InternalSource, PrometheusSource
from slakeeper.sla.policy import DryRunRemedy, PagerDutyChannel, SlackChannel, WebhookChannel

METRIC = "{name: uptime, value: 99.9}"
ONE = f"slas: [{{id: a, metrics: [{METRIC}]}}]\n"

Write = Callable[..., Path]
Found = list[tuple[str, int, str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(definitions: str = ONE, **others: str) -> Path:
        (tmp_path / "sla_definitions.yaml").write_text(definitions)
        for name, text in others.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return _write


def errors(directory: Path, **environ: str) -> Found:
    """(file, line, path, reason) of every error; none when it loads."""
    try:
        load(directory, environ)
    except ConfigError as error:
        return [(Path(p.file).name, p.line, p.path, p.reason) for p in error.errors]
    return []


def definition_errors(directory: Path) -> list[tuple[int, str, str]]:
    return [
        (line, path, reason)
        for file, line, path, reason in errors(directory)
        if file == "sla_definitions.yaml"
    ]


def messages(directory: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, environ)
    return str(caught.value)


def test_every_error_of_every_file_is_reported_at_once(write: Write) -> None:
    directory = write(
        """slas:
  - id: a
    service_level: 50
    time_period: -1
    metricz: []
    metrics:
      - {name: x, value: 0, weight: 1.5, intervall: 5m}
      - {name: x, value: abc, condition: less}
      - {name: y_p95, type: percentile, value: 1, interval: soon}
    compensation:
      - {metric: zz, formula: "import os"}
    renew: true
  - id: b
    metrics: []
""",
        enforcement="automatic_actions:\n  - {name: a}\nescalation_policies: 5\n",
        monitoring="check_interval: never\nretension: {}\n",
        service="cells: none\nhttp: nowhere\n",
    )
    assert errors(directory) == [
        ("sla_definitions.yaml", 3, "slas[0].service_level", "invalid_service_level"),
        ("sla_definitions.yaml", 4, "slas[0].time_period", "invalid_time_period"),
        ("sla_definitions.yaml", 5, "slas[0].metricz", "unknown_key"),
        ("sla_definitions.yaml", 7, "slas[0].metrics[0].intervall", "unknown_key"),
        ("sla_definitions.yaml", 7, "slas[0].metrics[0].value", "invalid_metric_value"),
        ("sla_definitions.yaml", 7, "slas[0].metrics[0].weight", "invalid_metric_weight"),
        ("sla_definitions.yaml", 8, "slas[0].metrics[1].condition", "enum"),
        ("sla_definitions.yaml", 8, "slas[0].metrics[1].name", "duplicate_metric"),
        ("sla_definitions.yaml", 8, "slas[0].metrics[1].value", "decimal_parsing"),
        ("sla_definitions.yaml", 9, "slas[0].metrics[2].interval", "invalid_duration"),
        ("sla_definitions.yaml", 11, "slas[0].compensation[0].formula", "invalid_formula"),
        ("sla_definitions.yaml", 11, "slas[0].compensation[0].metric", "unknown_metric"),
        ("sla_definitions.yaml", 12, "slas[0].renew", "invalid_term"),
        ("sla_definitions.yaml", 14, "slas[1].metrics", "no_metrics_defined"),
        ("enforcement.yaml", 2, "automatic_actions[0].action", "missing"),
        ("enforcement.yaml", 2, "automatic_actions[0].condition", "missing"),
        ("enforcement.yaml", 2, "automatic_actions[0].trigger_metric", "missing"),
        ("enforcement.yaml", 3, "escalation_policies", "tuple_type"),
        ("monitoring.yaml", 1, "check_interval", "invalid_duration"),
        ("monitoring.yaml", 2, "retension", "unknown_key"),
        ("service.yaml", 1, "cells", "int_type"),
        ("service.yaml", 2, "http", "invalid_address"),
    ]


def test_an_error_says_where_and_what_and_survives_pickling(write: Write) -> None:
    directory = write("slas:\n  - id: a\n    service_level: 5\n    metrics: [{name: x, value: 1}]\n")
    with pytest.raises(ConfigError) as caught:
        load(directory, {})
    (problem,) = caught.value.errors
    assert problem.to_document() == {
        "file": str(directory / "sla_definitions.yaml"),
        "line": 3,
        "path": "slas[0].service_level",
        "reason": "invalid_service_level",
        "message": "service_level must be from 90 to 100 percent",
    }
    assert str(caught.value).startswith(f"{directory}/sla_definitions.yaml:3: slas[0].service_level: ")
    assert pickle.loads(pickle.dumps(caught.value)).errors == caught.value.errors


@pytest.mark.parametrize(
    "key, value, reason",
    [
        ("service_level", "89.9", "invalid_service_level"),
        ("service_level", "100.1", "invalid_service_level"),
        ("time_period", "0", "invalid_time_period"),
        ("time_period", "-86400000", "invalid_time_period"),
        ("time_period", "0s", "invalid_time_period"),
        ("time_period", '"-1d"', "invalid_time_period"),
        ("time_period", "1M", "invalid_duration"),
        ("timezone", "Europe/Nowhere", "invalid_timezone"),
        ("effective_date", "someday", "invalid_instant"),
        ("currency", "euro", "invalid_currency"),
        ("id", "'a/b'", "invalid_name"),
        ("depends_on", "[b]", "unknown_sla"),
        ("penalties", "[{threshold: 99, rate: 1}, {threshold: 99.0, rate: 2}]", "duplicate_penalty"),
        ("maintenance", "[{start: soon, duration: 1h}]", "invalid_instant"),
        (
            "maintenance",
            "[{start: 2026-11-01T00:00:00, duration: 1h, rrule: 'FREQ=DAILY;INTERVAL=0'}]",
            "invalid_rrule",
        ),
        (
            "maintenance",
            "[{start: 2026-11-01T00:00:00, duration: 1h, rrule: 'FREQ=SECONDLY'}]",
            "invalid_rrule",
        ),
        (
            "maintenance",
            "[{start: 2026-11-01T00:00:00, duration: 1h, rrule: 'DTSTART:20200101'}]",
            "invalid_rrule",
        ),
        (
            "maintenance",
            "[{start: 2026-11-01T00:00:00, duration: 1h, rrule: 'FREQ=WEEKLY;BYDAY=XX'}]",
            "invalid_rrule",
        ),
        ("service_hours", "{hours: 8-18}", "invalid_service_hours"),
        ("renew", "1", "bool_type"),
        ("renew", '"true"', "bool_type"),
        ("name", "5", "string_type"),
        ("fee", "1e999", "number_out_of_range"),
    ],
)
def test_a_contract_s_keys_are_checked(write: Write, key: str, value: str, reason: str) -> None:
    contract = {"id": "a", "metrics": f"[{METRIC}]", key: value}
    text = "slas:\n-\n" + "".join(f"  {name}: {given}\n" for name, given in contract.items())
    assert [found for _, _, found in definition_errors(write(text))] == [reason]


@pytest.mark.parametrize(
    "metric, reason",
    [
        ("{name: x}", "missing"),
        ("{value: 1}", "missing"),
        ("{name: x, value: 0}", "invalid_metric_value"),
        ("{name: x, value: -1}", "invalid_metric_value"),
        ("{name: x, value: 1, weight: 0}", "invalid_metric_weight"),
        ("{name: x, value: 1, weight: 1.01}", "invalid_metric_weight"),
        ("{name: x, value: 1, interval: 0}", "invalid_interval"),
        ("{name: x, value: 1, type: percentile}", "invalid_percentile"),
        ("{name: x, value: 1, percentile: 95}", "invalid_percentile"),
        ("{name: x, value: 1, type: percentile, percentile: 100}", "invalid_percentile"),
        ("{name: x, value: 1, trend_points: 2.5}", "int_type"),
        ("{name: x, value: true}", "decimal_type"),
        ("{name: x, value: 1, source: nowhere}", "unknown_source"),
        ("5", "model_type"),
    ],
)
def test_a_metric_s_keys_are_checked(write: Write, metric: str, reason: str) -> None:
    assert [found for _, _, found in definition_errors(write(f"slas: [{{id: a, metrics: [{metric}]}}]"))] == [
        reason
    ]


def test_a_trend_s_value_may_be_any_number(write: Write) -> None:
    (sla,) = load(write("slas: [{id: a, metrics: [{name: x, type: trend, value: -0.5}]}]"), {}).slas
    assert sla.metrics[0].value == Decimal("-0.5")


def test_numbers_reach_the_contract_exactly(write: Write) -> None:
    (sla,) = load(
        write("slas: [{id: a, service_level: 99.999, fee: '1000.00', metrics: [{name: x, value: 0.1}]}]"), {}
    ).slas
    assert str(sla.service_level) == "99.999"
    assert str(sla.fee) == "1000.00"
    assert str(sla.metrics[0].value) == "0.1"


def test_an_unknown_key_comes_with_the_key_that_was_meant(write: Write) -> None:
    text = messages(write("slas: [{id: a, metric: [{name: x, value: 1, wieght: 1}]}]"))
    assert "there is no key 'metric' here, did you mean 'metrics'?" in text


def test_two_spellings_of_one_key_are_a_duplicate(write: Write) -> None:
    directory = write(f"slas: [{{id: a, metrics: [{METRIC}], sla_metrics: [{METRIC}]}}]")
    assert definition_errors(directory) == [(1, "slas[0].sla_metrics", "duplicate_key")]
    assert "another spelling of 'metrics'" in messages(directory)


def test_a_key_without_a_value_is_explained(write: Write) -> None:
    assert "nothing stands after 'penalties'" in messages(
        write(ONE.replace("metrics", "penalties: , metrics"))
    )


def test_a_value_wrong_as_yaml_is_reported_once_and_does_not_hide_its_key(write: Write) -> None:
    directory = write(f"slas:\n  - id: a\n    metrics: [{METRIC}]\n    renew: NO\n    renewed: yes\n")
    assert definition_errors(directory) == [
        (4, "slas[0].renew", "ambiguous_value"),
        (5, "slas[0].renewed", "ambiguous_value"),
        (5, "slas[0].renewed", "unknown_key"),
    ]


def test_the_seed_s_nesting_keys_and_spellings_load(write: Write) -> None:
    directory = write(
        f"""erlmcp_sla_definition:
  slas:
    - id: a
      sla_metrics: [{{metric_name: uptime, value: 99.9, measurement_interval: 30000}}]
      penalty_terms: [{{threshold: 99, compensation_type: refund, rate: 5}}]
      compensation_rules: [{{metric_name: uptime, calculation_formula: "1 + 1"}}]
      owner: team
      effective_date: 1700000000
      expiry_date: 1702592000
    - {{id: b, metrics: [{METRIC}]}}
""",
        enforcement="erlmcp_sla_enforcement: {remediation: {auto_remediate: false}}\n",
        monitoring="erlmcp_sla_monitor: {check_interval: 5s}\n",
    )
    loaded = load(directory, {})
    assert loaded.slas[0].effective_date == 1_700_000_000_000
    assert loaded.slas[0].owner_team == "team"
    assert loaded.enforcement.remediation.auto_remediate is False
    assert loaded.monitoring.check_interval == 5_000


def test_beside_a_nesting_key_nothing_else_stands(write: Write) -> None:
    directory = write("erlmcp_sla_definition:\n  slas: []\nslas: []\n")
    assert definition_errors(directory) == [(3, "slas", "unknown_key")]


def test_thresholds_fill_in_for_metrics_without_a_value(write: Write) -> None:
    directory = write(
        "slas: [{id: a, metrics: [{name: error_rate, condition: lt}, {name: uptime, value: 99.5}]}]\n"
        "thresholds: {error_rate: 0.01, uptime: 99.9}\n"
    )
    loaded = load(directory, {})
    assert [metric.value for metric in loaded.slas[0].metrics] == [Decimal("0.01"), Decimal("99.5")]
    assert loaded.thresholds == {"error_rate": Decimal("0.01"), "uptime": Decimal("99.9")}


def test_thresholds_are_checked(write: Write) -> None:
    directory = write("slas: []\nthresholds:\n  a: -1\n  b: high\n  'c d': 1\n")
    assert definition_errors(directory) == [
        (3, "thresholds.a", "greater_than"),
        (4, "thresholds.b", "decimal_parsing"),
        (5, "thresholds.c d", "invalid_name"),
    ]
    assert definition_errors(write("slas: []\nthresholds: 5\n")) == [(2, "thresholds", "dict_type")]


@pytest.mark.parametrize("condition", ["{lt: 10000}", "[lt, 10000]", "{op: lt, value: 10000}"])
def test_a_condition_may_be_spelled_in_three_ways(write: Write, condition: str) -> None:
    action = f"{{name: a, trigger_metric: m, condition: {condition}, action: add_capacity, parameters: {{f: 0.5}}}}"
    (loaded,) = load(write(enforcement=f"automatic_actions: [{action}]"), {}).enforcement.automatic_actions
    assert (loaded.condition.op, loaded.condition.value) == (Condition.LT, Decimal(10000))
    assert loaded.parameters == {"f": 0.5}
    assert isinstance(loaded.parameters["f"], float)


@pytest.mark.parametrize(
    "condition, path",
    [("{le: 1}", "condition.op"), ("{lt: x}", "condition.value"), ("[lt]", "condition"), ("5", "condition")],
)
def test_a_condition_that_is_none_is_refused(write: Write, condition: str, path: str) -> None:
    text = (
        f"automatic_actions:\n- {{name: a, trigger_metric: m, condition: {condition}, action: add_capacity}}"
    )
    assert [(line, at) for _, line, at, _ in errors(write(enforcement=text))] == [
        (2, f"automatic_actions[0].{path}")
    ]


def test_sources_load_in_the_seed_s_spelling_beside_the_map(write: Write) -> None:
    directory = write(
        monitoring="""
metrics_sources:
  - {internal: collector}
  - [prometheus, "http://monitoring:9090"]
  - {custom: "http://custom-metrics:8080", enabled: false}
  - {prometheus: "https://other", name: second, interval: 5s}
  - {type: http, url: "http://site", name: site}
sources:
  host: {metrics: {cpu: cpu_usage}}
"""
    )
    sources = load(directory, {}).monitoring.sources
    assert isinstance(sources["internal"], InternalSource)
    assert isinstance(sources["prometheus"], PrometheusSource)
    assert isinstance(sources["custom"], CustomSource)
    assert isinstance(sources["site"], HttpSource)
    assert isinstance(sources["host"], HostSource)
    second = sources["second"]
    assert isinstance(second, PrometheusSource)
    assert (second.url, second.interval) == ("https://other", 5_000)
    assert sources["custom"].enabled is False
    assert sources["internal"].collector == "collector"


def test_sources_that_are_none_are_refused_where_they_stand(write: Write) -> None:
    directory = write(
        monitoring="""metrics_sources:
  - {prometheus: "monitoring:9090"}
  - graphite
  - {prometheus: "http://a", custom: "http://b"}
  - {custom: "http://b", intervall: 5}
  - [prometheus, "http://a"]
"""
    )
    assert [(line, path, reason) for _, line, path, reason in errors(directory)] == [
        (2, "metrics_sources[0].url", "invalid_url"),
        (3, "metrics_sources[1]", "invalid_source"),
        (4, "metrics_sources[2]", "invalid_source"),
        (5, "metrics_sources[3].intervall", "unknown_key"),
        (6, "metrics_sources[4]", "duplicate_source"),
    ]


def test_times_that_must_pass_are_refused_when_they_are_nothing(write: Write) -> None:
    directory = write(
        enforcement="""channels:
  email: {type: email, timeout: 0}
remedies:
  scale_resources: {type: command, argv: [x], timeout: 0s}
escalation_policies:
  - {severity: info, levels: [{type: email}], timeout: 0}
  - {severity: warning, levels: [{type: email}], ack_timeout: 0}
remediation:
  remediation_timeout: 0
  verify_after: 0
  backoff: 0
  breaker_reset: 0
""",
        monitoring="""check_interval: 0
sources:
  host: {type: host, interval: 0}
  prom: {type: prometheus, url: "http://p", timeout: 0}
retention: {violations: 0}
""",
        service="snapshot_interval: 0\n",
    )
    assert errors(directory) == [
        (file, line, path, "invalid_duration")
        for file, line, path in (
            ("enforcement.yaml", 2, "channels.email.timeout"),
            ("enforcement.yaml", 4, "remedies.scale_resources.timeout"),
            ("enforcement.yaml", 6, "escalation_policies[0].timeout"),
            ("enforcement.yaml", 7, "escalation_policies[1].ack_timeout"),
            ("enforcement.yaml", 9, "remediation.remediation_timeout"),
            ("enforcement.yaml", 10, "remediation.verify_after"),
            ("enforcement.yaml", 11, "remediation.backoff"),
            ("enforcement.yaml", 12, "remediation.breaker_reset"),
            ("monitoring.yaml", 1, "check_interval"),
            ("monitoring.yaml", 3, "sources.host.interval"),
            ("monitoring.yaml", 4, "sources.prom.timeout"),
            ("monitoring.yaml", 5, "retention.violations"),
            ("service.yaml", 1, "snapshot_interval"),
        )
    ]


def test_a_channel_or_source_named_after_its_type_needs_no_type(write: Write) -> None:
    loaded = load(
        write(
            enforcement="channels: {slack: {room: '#x'}}",
            monitoring="sources: {prometheus: {url: 'http://p'}}",
        ),
        {},
    )
    assert isinstance(loaded.enforcement.channels["slack"], SlackChannel)
    assert isinstance(loaded.monitoring.sources["prometheus"], PrometheusSource)


def test_what_is_named_without_settings_gets_the_built_in_ones(write: Write) -> None:
    loaded = load(
        write(
            "slas: [{id: a, metrics: [{name: cpu, value: 80, source: host}]}]",
            enforcement="escalation_policies: [{severity: critical, levels: [{type: pagerduty, service: x}]}]",
            monitoring="alert_channels: [webhook]",
        ),
        {},
    )
    assert isinstance(loaded.enforcement.channels["pagerduty"], PagerDutyChannel)
    assert isinstance(loaded.enforcement.channels["webhook"], WebhookChannel)
    assert isinstance(loaded.enforcement.remedies["add_capacity"], DryRunRemedy)
    assert isinstance(loaded.monitoring.sources["host"], HostSource)


def test_names_that_nothing_bears_are_refused(write: Write) -> None:
    directory = write(
        "slas:\n  - {id: a, metrics: [{name: x, value: 1, source: promm}]}\n"
        f"  - {{id: b, metrics: [{METRIC}], depends_on: [aa]}}\n  - {{id: a, metrics: [{METRIC}]}}\n",
        enforcement="""automatic_actions:
  - {name: n, trigger_metric: m, condition: {lt: 1}, action: scale_resource}
  - {name: n, trigger_metric: m, condition: {lt: 1}, action: add_capacity}
escalation_policies:
  - {severity: info, levels: [{type: emial}], notify_channels: [pager]}
  - {severity: info, levels: [{type: email}]}
""",
        monitoring="alert_channels: [emial]\nsources: {prom: {type: prometheus, url: 'http://p'}}\n",
    )
    assert errors(directory) == [
        ("sla_definitions.yaml", 2, "slas[0].metrics[0].source", "unknown_source"),
        ("sla_definitions.yaml", 3, "slas[1].depends_on[0]", "unknown_sla"),
        ("sla_definitions.yaml", 4, "slas[2].id", "duplicate_sla"),
        ("enforcement.yaml", 2, "automatic_actions[0].action", "unknown_action"),
        ("enforcement.yaml", 3, "automatic_actions[1].name", "duplicate_action"),
        ("enforcement.yaml", 5, "escalation_policies[0].levels[0].type", "unknown_channel"),
        ("enforcement.yaml", 5, "escalation_policies[0].notify_channels[0]", "unknown_channel"),
        ("enforcement.yaml", 6, "escalation_policies[1].severity", "duplicate_policy"),
        ("monitoring.yaml", 1, "alert_channels[0]", "unknown_channel"),
    ]
    text = messages(directory)
    assert "did you mean 'prom'?" in text
    assert "did you mean 'email'?" in text
    assert "did you mean 'scale_resources'?" in text


def test_no_channel_has_the_name_of_the_billing(write: Write) -> None:
    slas = f"slas: [{{id: a, metrics: [{METRIC}]}}]"
    directory = write(slas, enforcement="channels:\n  billing: {type: webhook, url: 'http://b'}\n")
    assert errors(directory) == [("enforcement.yaml", 2, "channels.billing", "reserved_channel")]
    directory = write(
        slas, enforcement="billing: {secret: '${NO}'}\n", monitoring="alert_channels: [billing]\n"
    )
    assert [(line, path, reason) for _, line, path, reason in errors(directory)] == [
        (1, "billing.secret", "missing_environment"),
        (1, "billing.url", "missing"),
        (1, "alert_channels[0]", "unknown_channel"),
    ]


def test_a_broken_file_does_not_make_names_in_others_unknown(write: Write) -> None:
    directory = write(
        "slas: [{id: a, metrics: [{name: x, value: 1, source: prom}]}]",
        monitoring="sources: [",
        enforcement="- 1",
    )
    assert [(file, reason) for file, _, _, reason in errors(directory)] == [
        ("enforcement.yaml", "not_a_mapping"),
        ("monitoring.yaml", "invalid_yaml"),
    ]


def test_contracts_may_not_depend_on_each_other_in_a_circle(write: Write) -> None:
    links = {"a": "b", "b": "c", "c": "a", "d": "d", "e": "a"}
    text = "slas:\n" + "".join(
        f"  - {{id: {k}, metrics: [{METRIC}], depends_on: [{v}]}}\n" for k, v in links.items()
    )
    assert definition_errors(write(text)) == [
        (2, "slas[0].depends_on", "dependency_cycle"),
        (5, "slas[3].depends_on", "dependency_cycle"),
    ]
    assert "a -> b -> c -> a" in messages(write(text))


CHANNELS = """channels:
  pagerduty: {routing_key: '${KEY}'}
  hook: {type: webhook, url: 'http://h', headers: {X: 'a ${KEY}'}}
"""


def test_a_secret_may_come_from_the_environment_and_is_never_shown(write: Write) -> None:
    loaded = load(write(enforcement=CHANNELS), {"KEY": "hunter2"})
    pager, hook = loaded.enforcement.channels["pagerduty"], loaded.enforcement.channels["hook"]
    assert isinstance(pager, PagerDutyChannel)
    assert isinstance(hook, WebhookChannel)
    assert pager.routing_key is not None
    assert pager.routing_key.get_secret_value() == "hunter2"
    assert hook.headers["X"].get_secret_value() == "a hunter2"
    assert "hunter2" not in repr(loaded) + str(loaded)


def test_a_variable_that_is_not_set_is_an_error(write: Write) -> None:
    assert errors(write(enforcement=CHANNELS)) == [
        ("enforcement.yaml", 2, "channels.pagerduty.routing_key", "missing_environment"),
        ("enforcement.yaml", 3, "channels.hook.headers.X", "missing_environment"),
    ]


def test_a_variable_outside_a_secret_is_an_error(write: Write) -> None:
    directory = write(
        "slas: [{id: a, name: '${NAME}', metrics: [{name: x, value: 1}]}]",
        enforcement="channels: {email: {host: '${HOST}'}}\n"
        "remedies: {r: {type: command, argv: [sh, -c, 'echo ${HOME}']}}\n",
    )
    assert errors(directory, NAME="n", HOST="h") == [
        ("sla_definitions.yaml", 1, "slas[0].name", "misplaced_environment"),
        ("enforcement.yaml", 1, "channels.email.host", "misplaced_environment"),
    ]


@pytest.mark.parametrize("value", ["77777", "{a: 77777}", "077777", "!x77777 1", "*x77777", "['77777']"])
def test_no_error_shows_a_secret(write: Write, value: str) -> None:
    secrets = {"pagerduty": "routing_key", "slack": "url", "sms": "auth_token"}
    entries = "".join(f"  {name}: {{{key}: {value}}}\n" for name, key in secrets.items())
    directory = write(enforcement=f"channels:\n{entries}")
    assert "77777" not in messages(directory)


def test_a_secret_address_is_checked_without_being_shown(write: Write) -> None:
    directory = write(enforcement="channels: {slack: {url: '${URL}'}}")
    assert errors(directory, URL="https://hooks.example.com/x") == []
    text = messages(directory, URL="hooks.example.com/hunter2")
    assert "invalid_url" in text
    assert "hunter2" not in text


def test_unknown_types_come_with_a_suggestion(write: Write) -> None:
    directory = write(
        enforcement="channels:\n  a: {type: emial}\n  b: {host: x}\nremedies:\n  r: {type: comand, argv: [x]}\n"
    )
    assert [(line, path, reason) for _, line, path, reason in errors(directory)] == [
        (2, "channels.a.type", "unknown_type"),
        (3, "channels.b.type", "missing"),
        (5, "remedies.r.type", "unknown_type"),
    ]
    assert "did you mean 'email'?" in messages(directory)


def test_an_unknown_key_of_a_channel_is_found_behind_its_type(write: Write) -> None:
    directory = write(enforcement="channels:\n  mail:\n    type: email\n    prot: 25\n    email: x\n")
    assert errors(directory) == [
        ("enforcement.yaml", 4, "channels.mail.prot", "unknown_key"),
        ("enforcement.yaml", 5, "channels.mail.email", "unknown_key"),
    ]
    assert "did you mean 'port'?" in messages(directory)


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for directory, reason in ((tmp_path / "none", "missing_directory"), (file, "not_a_directory")):
        with pytest.raises(ConfigError) as caught:
            load(directory, {})
        assert [problem.reason for problem in caught.value.errors] == [reason]


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty_file"),
        (b"- 1", "not_a_mapping"),
        (b"x", "not_a_mapping"),
        (b"a: \0", "nul_byte"),
        (b"\xff", "not_utf8"),
    ],
)
@pytest.mark.parametrize("name", ["sla_definitions", "enforcement", "monitoring", "service"])
def test_a_file_that_is_none_is_told(write: Write, name: str, data: bytes, reason: str) -> None:
    directory = write()
    (directory / f"{name}.yaml").write_bytes(data)
    assert errors(directory) == [(f"{name}.yaml", 1, "", reason)]


def test_a_misspelled_file_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("sla_definition.yaml", "enforcement.yml", "monitoring-old.yaml", "compose.yaml"):
        (tmp_path / name).write_text("{}")
    assert [(file, reason) for file, _, _, reason in errors(tmp_path)] == [
        ("sla_definition.yaml", "unknown_file"),
        ("enforcement.yml", "unknown_file"),
        ("sla_definitions.yaml", "missing_file"),
    ]


def test_definitions_without_slas_are_refused_and_an_empty_list_is_not(write: Write) -> None:
    assert definition_errors(write("{}")) == [(1, "slas", "missing")]
    assert definition_errors(write("slas: {id: a}")) == [(1, "slas", "list_type")]
    assert definition_errors(write("sla: []")) == [(1, "sla", "unknown_key"), (1, "slas", "missing")]
    assert load(write("slas: []"), {}).slas == ()


def test_the_contracts_of_one_file_load_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(
        f"slas:\n  - {{id: a, metrics: [{METRIC}], depends_on: [running]}}\n  - {{id: b}}\n"
        "  - {id: c, metrics: [{name: x, value: 1, source: prom}]}\n"
    )
    slas, problems = load_contracts(path)
    assert [sla.id for sla in slas] == ["a", "c"]
    assert [(problem.line, problem.reason) for problem in problems] == [(3, "no_metrics_defined")]
    assert [problem.reason for problem in load_contracts(tmp_path / "none.yaml")[1]] == ["missing_file"]


def test_a_file_of_many_errors_ends_the_report_at_a_thousand(write: Write) -> None:
    found = errors(write("slas:\n" + "- 5\n" * 3000))
    assert len(found) == 1000
    assert found[-1][3] == "too_many_problems"


def _many(number: int) -> str:
    shipped = (DEFAULT_DIR / "sla_definitions.yaml").read_text()
    begin, end = shipped.index("  - id: sla_core"), shipped.index("  - id: sla_001")
    return "slas:\n" + "".join(
        shipped[begin:end].replace("sla_core_availability", f"s{i}") for i in range(number)
    )


def test_three_hundred_contracts_load(write: Write) -> None:
    assert len(load(write(_many(300)), {}).slas) == 300


def test_a_missing_directory_is_named_without_a_line(tmp_path: Path) -> None:
    text = messages(tmp_path / "nope")
    assert text == f"{tmp_path / 'nope'}: there is no such directory [missing_directory]"


def test_a_wrong_currency_is_explained_in_words(write: Write) -> None:
    assert "currency is three capital letters, such as EUR" in messages(
        write(f"slas: [{{id: a, currency: euro, metrics: [{METRIC}]}}]\n")
    )


def test_what_a_text_or_a_list_has_to_be_is_said_in_words(write: Write) -> None:
    directory = write(
        enforcement="remedies:\n  a: {type: python, entry: nothing}\n  b: {type: command, argv: []}\n",
        monitoring="sources:\n  p: {type: prometheus, url: 'http://x', token: t, username: u, password: p}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load(directory, {})
    assert [(each.line, each.reason, each.message) for each in caught.value.errors] == [
        (
            2,
            "string_pattern_mismatch",
            "'nothing' is not module:function, such as my_package.remedies:restart",
        ),
        (3, "too_short", "'argv' has at least 1 item"),
        (2, "two_logins", "give a token or a username, not both"),
    ]


def test_a_template_that_cannot_be_used_is_an_error_with_its_line(write: Write) -> None:
    directory = write(
        enforcement="""templates:
  slack:
    subject: "{{ sla_name }}"
    body: |
      fine
      {{ seveity }}
  email: {html: "{% if %}"}
  slak: {subject: x}
  sms: {html: x}
"""
    )
    assert errors(directory) == [
        ("enforcement.yaml", 4, "templates.slack.body", "invalid_template"),
        ("enforcement.yaml", 7, "templates.email.html", "invalid_template"),
        ("enforcement.yaml", 8, "templates.slak", "unknown_channel"),
        ("enforcement.yaml", 9, "templates.sms.html", "misplaced_html"),
    ]
    text = messages(directory)
    assert "there is no variable 'seveity'" in text
    assert "line 1 of it" in text
    assert "did you mean 'slack'?" in text


def test_rotations_and_people_that_nobody_knows_are_errors_with_a_suggestion(write: Write) -> None:
    directory = write(
        enforcement="""responders:
  anna: {addresses: {email: anna@example.com, sms: "+1"}}
  bert: {addresses: {email: bert@example.com}}
on_call:
  platform:
    members: [anna, bret]
    start: 2026-11-02
    rotation: monthly
    fallback: nobody
  web: {members: [anna, bert], start: 2026-11-02, overrides: [{from: 1, until: 2, who: berta}]}
channels: {email: {recipients: ["@oncall:web"]}}
escalation_policies:
  - severity: critical
    levels:
      - {type: email, recipients: ["@oncall:platforn"]}
      - {type: sms, recipients: ["@oncall:web"]}
"""
    )
    assert errors(directory) == [
        ("enforcement.yaml", 6, "on_call.platform.members[1]", "unknown_responder"),
        ("enforcement.yaml", 8, "on_call.platform.rotation", "literal_error"),
        ("enforcement.yaml", 9, "on_call.platform.fallback", "unknown_responder"),
        ("enforcement.yaml", 10, "on_call.web.overrides[0].who", "unknown_responder"),
        ("enforcement.yaml", 11, "channels.email.recipients[0]", "misplaced_rotation"),
        ("enforcement.yaml", 15, "escalation_policies[0].levels[0].recipients[0]", "unknown_rotation"),
        ("enforcement.yaml", 16, "escalation_policies[0].levels[1].recipients[0]", "missing_address"),
    ]
    text = messages(directory)
    assert "did you mean 'bert'?" in text
    assert "did you mean 'platform'?" in text
    assert "bert of rotation 'web' has no address for channel 'sms'" in text


def test_an_address_that_apprise_does_not_know_is_an_error_that_does_not_show_it(write: Write) -> None:
    directory = write(
        enforcement="""channels:
  phone: {type: apprise, url: "json://localhost/x"}
  other: {type: apprise, url: "nothing://kanarienvogel"}
"""
    )
    assert errors(directory) == [("enforcement.yaml", 3, "channels.other.url", "invalid_url")]
    assert "kanarienvogel" not in messages(directory)
