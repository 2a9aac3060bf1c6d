"""OpenSLO v1 in and out: what maps, what is listed, and that a contract survives the way out and back."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.cli import main
from slakeeper.config.loader import load
from slakeeper.config.openslo_export import Exported, export_openslo
from slakeeper.config.openslo_import import Imported, import_openslo
from slakeeper.config.openslo_query import percent_query, ratio_query
from slakeeper.config.problem import ConfigError
from slakeeper.config.writing import plain, write_documents, write_yaml
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitoring import CustomSource, PrometheusSource
from slakeeper.sla.period import period_at
from tests.unit.config.openslo_schema import check_object

PROM = {
    "apiVersion": "openslo/v1",
    "kind": "DataSource",
    "metadata": {"name": "prom"},
    "spec": {"type": "Prometheus", "connectionDetails": {"url": "http://prom:9090", "apiToken": "hunter2"}},
}


def sourced(query: str) -> dict[str, Any]:
    return {"metricSource": {"metricSourceRef": "prom", "spec": {"query": query}}}


RATIO = {"ratioMetric": {"counter": False, "good": sourced("good"), "total": sourced("total")}}
THRESHOLD = {"thresholdMetric": sourced("latency")}
SLICED = {"target": 0.999, "timeSliceTarget": 0.95, "timeSliceWindow": "5m"}


def slo(
    sli: dict[str, Any], *objectives: dict[str, Any], method: str = "Timeslices", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": "web"},
        "spec": {
            "service": "shop",
            "indicator": {"metadata": {"name": "requests"}, "spec": sli},
            "timeWindow": [{"duration": "30d", "isRolling": True}],
            "budgetingMethod": method,
            "objectives": list(objectives),
            **spec,
        },
    }


def imported(tmp_path: Path, *objects: dict[str, Any]) -> Imported:
    file = tmp_path / "slo.yaml"
    file.write_text(write_documents(objects))
    return import_openslo(file)


def only(made: Imported) -> Sla:
    [document] = made.slas
    return Sla.model_validate(document)


def paths(made: Imported | Exported) -> list[str]:
    return [each.path for each in made.unmapped]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


# -- in ---------------------------------------------------------------------------------------------------------


def test_a_ratio_in_slices_is_a_percentage_of_goodness(tmp_path: Path) -> None:
    made = imported(tmp_path, PROM, slo(RATIO, SLICED))
    contract = only(made)
    assert (contract.id, contract.service_level, contract.owner_team) == ("web", Decimal("99.9"), "shop")
    assert contract.time_period_ms == 30 * 86_400_000
    [metric] = contract.metrics
    assert (metric.name, metric.value, metric.unit, metric.condition.value) == (
        "requests", Decimal(95), "percentage", "gte",
    )  # fmt: skip
    assert (metric.interval, metric.source, metric.query) == (300_000, "prom", "100 * (good) / (total)")
    assert made.monitoring == {"sources": {"prom": {"type": "prometheus", "url": "http://prom:9090"}}}
    assert paths(made) == ["spec.connectionDetails.apiToken", "spec.timeWindow[0].isRolling"]
    assert "hunter2" not in str(made)


@pytest.mark.parametrize(
    "ratio, query",
    [
        ({"bad": sourced("bad"), "total": sourced("total")}, "100 * ((total) - (bad)) / (total)"),
        ({"rawType": "success", "raw": sourced("ok")}, "100 * (ok)"),
        ({"rawType": "failure", "raw": sourced("ko")}, "100 * (1 - (ko))"),
        (
            {"counter": True, "good": sourced("good"), "total": sourced("sum(rate(total[1m]))")},
            "100 * (increase((good)[300s:50s])) / (sum(rate(total[1m])))",
        ),
    ],
)
def test_every_form_of_a_ratio_becomes_one_query(tmp_path: Path, ratio: dict[str, Any], query: str) -> None:
    assert only(imported(tmp_path, PROM, slo({"ratioMetric": ratio}, SLICED))).metrics[0].query == query


@pytest.mark.parametrize(
    "op, share, key, wanted",
    [
        ("lt", 1, "aggregation", "max"),
        ("gte", 1, "aggregation", "min"),
        ("lte", 0.95, "percentile", 95),
        ("gt", 0.9, "percentile", 10),
    ],
)
def test_the_share_of_samples_that_must_meet_a_threshold_is_an_order_statistic(
    tmp_path: Path, op: str, share: float, key: str, wanted: object
) -> None:
    objective = {**SLICED, "op": op, "value": 250, "timeSliceTarget": share}
    [metric] = only(imported(tmp_path, PROM, slo(THRESHOLD, objective))).metrics
    assert (metric.condition.value, metric.value) == (op, Decimal(250))
    assert getattr(metric, key) == wanted


@pytest.mark.parametrize("method", ["Occurrences", "RatioTimeslices"])
def test_other_ways_to_count_are_mapped_to_time_and_that_is_said(tmp_path: Path, method: str) -> None:
    made = imported(tmp_path, PROM, slo(RATIO, {"target": 0.99}, method=method))
    assert only(made).metrics[0].value == 99
    assert "spec.budgetingMethod" in paths(made)


def test_each_objective_becomes_a_contract(tmp_path: Path) -> None:
    objectives = [
        {**SLICED, "displayName": "Good"},
        {**SLICED, "target": 0.95, "displayName": "Good enough"},
        {**SLICED, "target": 0.8},
    ]
    made = imported(tmp_path, PROM, slo(RATIO, *objectives))
    assert [each["id"] for each in made.slas] == ["web-good", "web-good-enough"]
    assert "spec.objectives[2].target" in paths(made)  # no service level is below 90


@pytest.mark.parametrize(
    "window, keys",
    [
        ({"duration": "1M", "isRolling": True}, {"calendar": "month"}),
        ({"duration": "2Q", "isRolling": True}, {"time_period": "182d"}),
        ({"duration": "1d", "calendar": ("2026-01-01 00:00:00", "Europe/Berlin")}, {"calendar": "day"}),
        ({"duration": "1w", "calendar": ("2026-01-05 00:00:00", "UTC")}, {"calendar": "week"}),
        ({"duration": "1Q", "calendar": ("2026-04-01 00:00:00", "UTC")}, {"calendar": "quarter"}),
        ({"duration": "1M", "calendar": ("2026-04-15 00:00:00", "UTC")}, {"calendar": "month"}),
        (
            {"duration": "1w", "calendar": ("2026-01-06 12:00:00", "Europe/Berlin")},
            {"time_period": "1w", "effective_date": "2026-01-06T11:00:00.000Z"},
        ),
    ],
)
def test_a_time_window_becomes_periods(tmp_path: Path, window: dict[str, Any], keys: dict[str, Any]) -> None:
    zone = "UTC"
    if "calendar" in window:
        start, zone = window["calendar"]
        window = {**window, "calendar": {"startTime": start, "timeZone": zone}}
    [document] = imported(tmp_path, PROM, slo(RATIO, SLICED, timeWindow=[window])).slas
    assert {key: document.get(key) for key in keys} == keys
    assert document.get("timezone", "UTC") == zone


def test_a_window_at_the_end_of_all_calendars_is_no_crash(tmp_path: Path) -> None:
    window = {"duration": "1h", "calendar": {"startTime": "0001-01-01 00:00:00", "timeZone": "Asia/Tokyo"}}
    made = imported(tmp_path, PROM, slo(RATIO, SLICED, timeWindow=[window]))
    assert only(made).effective_date is None
    assert "spec.timeWindow[0].calendar.startTime" in paths(made)


def test_a_duration_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    window = {"duration": "9" * 5000 + "d", "isRolling": True}
    with pytest.raises(ConfigError):
        imported(tmp_path, PROM, slo(RATIO, SLICED, timeWindow=[window]))


def test_alert_policies_say_whom_to_tell(tmp_path: Path) -> None:
    condition = {"kind": "burnrate", "threshold": 2, "lookbackWindow": "1h", "alertAfter": "5m"}
    policy = {
        "apiVersion": "openslo/v1",
        "kind": "AlertPolicy",
        "metadata": {"name": "page"},
        "spec": {
            "alertWhenBreaching": True,
            "alertWhenResolved": True,
            "alertWhenNoData": True,
            "conditions": [{"conditionRef": "fast"}],
            "notificationTargets": [{"targetRef": "room"}, {"targetRef": "pigeon"}],
        },
    }
    fast = {"kind": "AlertCondition", "metadata": {"name": "fast"}}
    targets = [
        {"kind": "AlertNotificationTarget", "metadata": {"name": name}, "spec": {"target": target}}
        for name, target in (("room", "Slack"), ("pigeon", "carrier pigeon"))
    ]
    made = imported(
        tmp_path,
        PROM,
        slo(RATIO, SLICED, alertPolicies=[{"alertPolicyRef": "page"}, "lost"]),
        policy,
        {"apiVersion": "openslo/v1", **fast, "spec": {"severity": "page", "condition": condition}},
        *({"apiVersion": "openslo/v1", **target} for target in targets),
    )
    assert made.enforcement == {
        "escalation_policies": [{"severity": "critical", "levels": [{"type": "slack"}]}]
    }
    reasons = " ".join(each.reason for each in made.unmapped)
    for said in ("no AlertPolicy 'lost'", "carrier pigeon", "burn rates", "missing data"):
        assert said in reasons


def test_whatever_has_no_equal_is_listed_with_its_place(tmp_path: Path) -> None:
    extra = slo({**RATIO, "description": "about it"}, {**SLICED, "weight": 3}, indicatorRef=None)
    del extra["spec"]["indicatorRef"]
    extra["metadata"] |= {"labels": {"env": ["prod"], "team": "core"}, "annotations": {"a/b": "c"}}
    extra["spec"]["more"] = 1
    unused = {"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": "idle"}, "spec": {}}
    datadog = {**PROM, "metadata": {"name": "dog"}, "spec": {"type": "Datadog"}}
    made = imported(tmp_path, PROM, extra, unused, datadog)
    assert only(made).owner_team == "core"
    listed = {(each.subject, each.path) for each in made.unmapped}
    assert {
        ("SLO web", "metadata.labels.env"),
        ("SLO web", "metadata.annotations.a/b"),
        ("SLO web", "spec.more"),
        ("SLO web", "spec.objectives[0].weight"),
        ("SLO web", "spec.indicator.spec.description"),
        ("Service idle", ""),
        ("DataSource dog", "spec.type"),
    } <= listed
    assert all(each.line > 0 and each.file for each in made.unmapped)


@pytest.mark.parametrize(
    "text, reason, line",
    [
        ("apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: a}\nspec: {}\n", "invalid_indicator", 4),
        ("apiVersion: openslo/v2\nkind: Service\nmetadata: {name: a}\nspec: {}\n", "literal_error", 1),
        ("apiVersion: openslo/v1\nkind: Slo\nmetadata: {name: a}\nspec: {}\n", "unknown_kind", 2),
        ("slas: []\n", "missing", 1),
        ("- 5\n", "not_a_mapping", 1),
        ("---\n---\n", "empty_file", 1),
        ("a: [\n", "invalid_yaml", 2),
        (
            "---\n".join(["apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a}\n"] * 2),
            "duplicate_object",
            7,
        ),
    ],
)
def test_what_is_not_openslo_is_refused_with_its_line(
    tmp_path: Path, text: str, reason: str, line: int
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        import_openslo(file)
    assert (reason, line) in [(error.reason, error.line) for error in caught.value.errors]
    assert run("import", "openslo", file).exit_code == 2


# -- the command line ---------------------------------------------------------------------------------------------


def test_the_imported_folder_passes_check(tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(write_documents([PROM, slo(RATIO, SLICED)]))
    assert run("import", "openslo", file, "-o", tmp_path / "conf").exit_code == 0
    assert load(tmp_path / "conf", {}).slas[0].id == "web"
    assert run("check", "--config", tmp_path / "conf").exit_code == 0
    assert run("import", "openslo", file, "-o", tmp_path / "one.yaml").exit_code == 0
    assert run("check", "--config", tmp_path / "one.yaml").exit_code == 0
    again = run("import", "openslo", file, "-o", tmp_path / "one.yaml")
    assert again.exit_code == 1
    assert "is there already" in again.stderr


def test_without_a_contract_the_import_fails_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(write_yaml(slo(RATIO, {**SLICED, "target": 0.5})))
    result = run("import", "openslo", file, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["slas"] == []
    assert any(each["path"] == "spec.objectives[0].target" for each in document["unmapped"])


def test_export_of_a_folder_is_valid_and_lists_what_does_not_map(tmp_path: Path) -> None:
    result = run("export", "openslo", "sla_001", "--config", "config", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    for each in document["documents"]:
        check_object(each)
    listed = {each["path"] for each in document["unmapped"]}
    assert {"term", "renew", "penalties", "compensation", "metrics"} <= listed
    file = tmp_path / "out.yaml"
    assert run("export", "openslo", "sla_001", "--config", "config", "-o", file).exit_code == 0
    assert run("import", "openslo", file).exit_code == 0
    assert run("export", "openslo", "nobody", "--config", "config").exit_code == 1
    assert run("--data", tmp_path, "export", "openslo", "sla_001").exit_code == 3


# -- out and back -------------------------------------------------------------------------------------------------

SOURCES = {
    "prom": PrometheusSource(type="prometheus", url="http://prom:9090", interval=15_000),
    "stats": CustomSource.model_validate(
        {"type": "custom", "url": "http://shop/stats", "headers": {"X-Key": "hunter2"}}
    ),
}
QUERIES = st.sampled_from(
    [
        "up",
        "100 * (ok)",
        "100 * (a) / (b)",
        "(a) / 100",
        'avg_over_time(up{job=")"}[5m]) * 100',
        "100 * (sum(a) / sum(b{c='('}))",
        "/orders/per_minute",
    ]
)
NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,30}", fullmatch=True)
LEVELS = st.decimals(90, Decimal("99.9999"), places=4)
MINUTES = st.integers(1, 120).map(lambda minutes: minutes * 60_000)


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    source = draw(st.sampled_from([None, *SOURCES]))
    query = draw(st.none() | QUERIES)
    common = {
        "name": draw(NAMES),
        "interval": draw(MINUTES | st.sampled_from([500, 1_000, 10_000, 30_000, 90_000])),
        **({} if source is None else {"source": source}),
        **({} if query is None else {"query": query}),
    }
    value = draw(st.decimals("0.001", "1000", places=3))
    condition = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
    kind = draw(st.sampled_from(["goodness", "threshold", "percentile"]))
    if kind == "goodness":
        good = draw(st.decimals("0.01", "100", places=2))
        return {
            **common,
            "value": good,
            "unit": "percentage",
            "condition": draw(st.sampled_from(["gt", "gte"])),
        }
    threshold = {**common, "value": value, "condition": condition, "unit": draw(st.sampled_from(["", "ms"]))}
    if kind == "percentile":
        percentile = draw(st.decimals("0.1", "99.9", places=1))
        return {**threshold, "type": "percentile", "percentile": percentile}
    return {**threshold, "aggregation": draw(st.sampled_from(["avg", "min", "max", "sum", "last", "rate"]))}


@st.composite
def contracts(draw: st.DrawFn) -> Sla:
    period: dict[str, Any] = draw(
        st.one_of(
            st.fixed_dictionaries({"calendar": st.sampled_from(["day", "week", "month", "quarter"])}),
            st.fixed_dictionaries({"time_period": MINUTES, "effective_date": st.integers(10**9, 2 * 10**9)}),
        )
    )
    return Sla.model_validate(
        {
            "id": draw(NAMES),
            "name": draw(st.sampled_from(["", "Web: the shop", "no", "1:30"])),
            "description": draw(st.sampled_from(["", "two\nlines", "it's #1"])),
            "owner_team": draw(st.sampled_from(["", "platform", "The Team"])),
            "service_level": draw(LEVELS),
            "timezone": draw(st.sampled_from(["UTC", "Europe/Berlin"])),
            **period,
            "metrics": [draw(metrics())],
        }
    )


def measured(metric: Metric) -> tuple[object, ...]:
    """What a metric measures and promises, however it is spelled."""
    query = metric.query or (metric.name if metric.source else None)
    return (
        metric.name, metric.type, metric.value, metric.unit, metric.condition, metric.aggregation,
        metric.effective_percentile, metric.interval, metric.source, query,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(contracts())
def test_what_maps_survives_the_way_out_and_back(tmp_path_factory: pytest.TempPathFactory, sla: Sla) -> None:
    made = export_openslo(sla, SOURCES)
    for document in plain(made.documents):
        check_object(document)
    file = tmp_path_factory.mktemp("openslo") / "slo.yaml"
    file.write_text(write_documents(made.documents))
    back_again = import_openslo(file)
    back = only(back_again)
    assert (back.id, back.name, back.description) == (sla.id, sla.name, sla.description)
    assert (back.owner_team, back.service_level) == (sla.owner_team, sla.service_level)
    assert measured(back.metrics[0]) == measured(sla.metrics[0])
    for at_ms in (1_700_000_000_000, 1_774_746_000_123):
        if sla.effective_date is None or at_ms >= sla.effective_date:
            assert period_at(back, 0, at_ms) == period_at(sla, 0, at_ms)
    if sla.metrics[0].source is not None:
        assert back_again.monitoring["sources"][sla.metrics[0].source]["url"]
    assert "hunter2" not in file.read_text()


def test_several_metrics_become_several_slos() -> None:
    two = [
        {"name": "up", "value": 99, "weight": "0.5"},
        {"name": "p", "type": "trend", "value": 1},
        {"name": "q", "value": 2},
    ]
    made = export_openslo(Sla.model_validate({"id": "a", "fee": 5, "metrics": two}), {})
    assert [each["metadata"]["name"] for each in made.documents] == ["a-up", "a-q"]
    assert {"fee", "metrics", "metrics[0].weight", "metrics[1]"} <= set(paths(made))


def test_what_openslo_cannot_say_at_all_is_not_exported() -> None:
    metric = {"name": "up", "value": 99}
    assert (
        export_openslo(
            Sla.model_validate({"id": "a", "service_level": 100, "metrics": [metric]}), {}
        ).documents
        == ()
    )
    odd = Sla.model_validate({"id": "a", "metrics": [{**metric, "condition": "ne"}]})
    assert export_openslo(odd, {}).documents == ()


@given(
    st.recursive(
        st.sampled_from(["a", '")"', "100 * (b)", "(c) / 100"]), lambda inner: inner.map("f({})".format)
    )
)
def test_a_percentage_written_as_a_ratio_is_read_back(query: str) -> None:
    assert percent_query(ratio_query(query)) in {query, f"100 * ({query})"}
