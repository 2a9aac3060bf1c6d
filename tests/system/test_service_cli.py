"""What the command line and the HTTP interface show, and how commands end."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slakeeper import cli, session
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import COMMAND, ROOT, MakeService, Rows, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

STATUS = {"state", "uptime_s", "slas", "processes"}
STATUS_SLA = {"id", "name", "status", "compliance_score", "attainment", "service_level", "error_budget_remaining",
              "time_period_remaining_ms", "open_violations"}  # fmt: skip
STATUS_PROCESS = {"name", "pid", "restarts", "actors", "mailbox"}
NODE = {"address", "kind", "type", "strategy", "restart", "pid", "status", "restarts", "children"}
VIOLATION = {"id", "sla_id", "metric_name", "severity", "status", "actual_value", "worst_value", "threshold_value",
             "start_time", "end_time", "acknowledged", "acknowledged_by", "resolved", "remediation_actions",
             "escalations"}  # fmt: skip
PERIOD = {"start", "end", "attainment", "known_ms", "good_ms", "bad_ms", "unknown_ms", "excluded_ms",
          "error_budget_ms", "error_budget_spent_ms"}  # fmt: skip
METRIC = {"name", "state", "value", "threshold", "samples_accepted", "samples_late", "samples_duplicate",
          "breach_probability"}  # fmt: skip
ENTRY = {"id", "sla_id", "violation_id", "rule", "compensation_type", "amount", "formula", "status"}

EVERY_PROCESS = {
    "heart",
    "launcher",
    "thespian-admin",
    "thespian-logger",
    "root",
    "cell-0",
    "cell-1",
    "gateway",
    "admin",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rule = {"metric": "latency", "type": "refund", "formula": "refund = actual - threshold"}
    return write_config(
        tmp_path_factory.mktemp("config"),
        [
            contract("shop", [metric("latency"), metric("errors")], compensation=[rule], approver="chief"),
            contract("mail", [metric("delay")]),
        ],
        {
            "automatic_actions": [{"name": "scale", "trigger_metric": "delay", "condition": {"gt": 1e6},
                                   "action": "scale_resources"}],
            "escalation_policies": [{"severity": "critical", "levels": [{"type": "log"}], "timeout": "10m"}],
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def service(module_services: MakeService, config: Path) -> Service:
    """Two contracts; one violation is resolved, one is open."""
    one = module_services(config)
    one.start()
    one.observe("latency", 500)
    one.observe("latency", 1)
    until(lambda: one.get("/v1/compensation"), what="the ledger")
    one.observe("errors", 500)
    return one


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from nodes(child)


def assert_keys(rows: Rows, keys: set[str]) -> None:
    assert rows
    for row in rows:
        assert keys <= row.keys(), keys - row.keys()


def assert_status(document: dict[str, Any]) -> None:
    assert document.keys() >= STATUS
    assert document["state"] == "running"
    assert 0 < document["uptime_s"] < 100
    assert [row["id"] for row in document["slas"]] == ["mail", "shop"]
    assert_keys(document["slas"], STATUS_SLA)
    assert {row["id"]: row["open_violations"] for row in document["slas"]} == {"mail": 0, "shop": 1}
    assert {row["name"] for row in document["processes"]} == EVERY_PROCESS
    assert_keys(document["processes"], STATUS_PROCESS)
    assert all(isinstance(row["pid"], int) for row in document["processes"])
    assert sum(row["actors"] for row in document["processes"]) >= 12


def assert_tree(document: dict[str, Any]) -> None:
    every = list(nodes(document))
    assert_keys(every, NODE)
    assert {node["status"] for node in every} == {"running"}
    assert {node["type"] for node in every} == {"supervisor", "worker"}
    assert [node["address"] for node in document["children"]] == ["cell-0", "cell-1", "gateway", "admin"]
    addresses = {node["address"] for node in every}
    assert {"contract:shop", "monitor:shop:errors", "alert:mail", "ledger:mail", "report:shop"} <= addresses
    layers = [node["address"].partition("/")[2] for node in document["children"][0]["children"]]
    assert layers == [
        f"{layer}_supervisor"
        for layer in ("definition", "monitoring", "enforcement", "alerting", "reporting")
    ]


def assert_violations(rows: Rows) -> None:
    assert_keys(rows, VIOLATION)
    assert [(row["metric_name"], row["status"], row["end_time"]) for row in rows] == [
        ("errors", "open", None)
    ]


def assert_contract(document: dict[str, Any]) -> None:
    assert (document["id"], document["version"], document["service_level"]) == ("shop", 1, "99.9")
    assert document["period"].keys() >= PERIOD
    assert document["period"]["end"] - document["period"]["start"] == 86_400_000
    assert_keys(document["metrics"], METRIC)
    states = {
        row["name"]: (row["state"], row["value"], row["samples_accepted"]) for row in document["metrics"]
    }
    assert states == {"latency": ("ok", 1, 2), "errors": ("violating", 500, 1)}


def assert_compensation(rows: Rows) -> None:
    assert_keys(rows, ENTRY)
    assert [(row["sla_id"], row["amount"], row["status"]) for row in rows] == [("shop", "400.0", "pending")]


SHOWN: list[tuple[tuple[str, ...], str, Callable[[Any], None]]] = [
    (("status",), "/v1/status", assert_status),
    (("tree",), "/v1/tree", assert_tree),
    (("violations",), "/v1/violations", assert_violations),
    (("violations", "--sla", "shop"), "/v1/violations?sla=shop", assert_violations),
    (("sla", "show", "shop"), "/v1/slas/shop", assert_contract),
    (("compensation",), "/v1/compensation", assert_compensation),
]


def test_what_is_shown_has_its_shape_on_the_command_line_and_over_http(service: Service) -> None:
    shown = service.shown(words for words, _, _ in SHOWN)
    for words, path, check in SHOWN:
        check(shown[words])
        check(service.get(path))


def test_every_command_that_shows_something_prints_one_json_document(service: Service) -> None:
    (row,) = service.violations()
    commands: list[tuple[str, ...]] = [
        ("sla", "list"), ("sla", "show", "mail"), ("status",), ("tree",), ("violations", "--all"),
        ("violations", "--sla", "mail"), ("compensation", "--sla", "mail"), ("report", "--sla", "shop"),
        ("actor", "state", "contract:shop"), ("actor", "state", "gateway"), ("dashboard",),
        ("actor", "state", "cell-0/alerting_supervisor"), ("actor", "crashes"), ("actor", "dead-letters"),
        ("channel", "list"), ("channel", "test", "log"), ("oncall",),
        ("observe", "delay", "5"), ("escalate", row["id"], "--by", "eva"), ("ack", row["id"], "--by", "eva"),
    ]  # fmt: skip
    answers = {words: service.invoke("--json", *words) for words in commands}
    assert {(answer.code, answer.err) for answer in answers.values()} == {(0, "")}
    documents = {words: answer.document for words, answer in answers.items()}
    assert documents["observe", "delay", "5"] == {"accepted": 1, "rejected": []}
    assert documents["violations", "--sla", "mail"] == []
    assert documents["channel", "test", "log"] == {"channel": "log", "status": "logged", "detail": "logged"}
    assert [row["state"] for row in documents["channel", "list"]] == ["log"]
    assert documents["oncall",] == []
    assert documents["report", "--sla", "shop"]["sla"]["id"] == "shop"
    assert len(documents["violations", "--all"]) == 2
    # The option may stand before the command or after it.
    listed = service.invoke("sla", "list", "--json").document
    assert [one["id"] for one in listed] == ["mail", "shop"]


def test_a_trace_shows_what_an_actor_does_while_it_does_it(service: Service) -> None:
    arguments = [*COMMAND, "--data", str(service.data), "--json", "actor", "trace", "monitor:mail:delay"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tracing:
        until(lambda: service.actor("monitor:mail:delay")["traced"], what="the trace")
        service.observe("delay", 7)
        assert tracing.stdout is not None
        line = json.loads(tracing.stdout.readline())
        tracing.send_signal(signal.SIGINT)
        assert tracing.wait(20) == 0
    assert (line["address"], line["what"]) == ("monitor:mail:delay", "in")
    assert "7.0" in line["detail"]


def test_without_json_people_read_tables(service: Service) -> None:
    answers = service.answers(
        [("status",), ("tree",), ("violations",), ("sla", "show", "shop"), ("sla", "list")]
    )
    assert {(answer.code, answer.err) for answer in answers.values()} == {(0, "")}
    assert "thespian-logger" in answers["status",].out
    assert "└─ admin" in answers["tree",].out
    assert service.violations()[0]["id"] in answers["violations",].out
    assert "errors" in answers["sla", "show", "shop"].out
    for answer in answers.values():
        with pytest.raises(ValueError, match="Expecting value"):
            _ = answer.document


def test_check_says_that_a_configuration_is_valid(service: Service, config: Path) -> None:
    plain, document = (service.invoke("check", "--config", str(config), *more) for more in ([], ["--json"]))
    assert (plain.code, plain.out) == (0, f"The configuration in {config} is valid.\n")
    assert document.document == {"ok": True, "folder": str(config), "errors": []}


REFUSED = {
    ("sla", "show", "nobody"): (1, "slakeeper: no contract nobody"),
    ("sla", "suspend", "nobody"): (1, "slakeeper: no contract nobody"),
    ("sla", "resume", "mail"): (1, "slakeeper: mail is already active"),
    ("ack", "v0", "--by", "eva"): (1, "slakeeper: no violation v0"),
    ("resolve", "v0", "--by", "eva"): (1, "slakeeper: no violation v0"),
    ("escalate", "v0"): (1, "slakeeper: no violation v0"),
    ("remediate", "v0", "scale"): (1, "slakeeper: no violation v0"),
    ("compensation", "approve", "c0", "--by", "eva", "--reason", "so"): (1, "slakeeper: no ledger entry c0"),
    ("report", "--sla", "nobody"): (1, "slakeeper: no contract nobody"),
    ("actor", "state", "nobody"): (1, "slakeeper: no actor at nobody"),
    ("actor", "trace", "nobody"): (1, "slakeeper: no actor at nobody"),
    ("actor", "redeliver", "cell-0/7"): (1, "slakeeper: no dead letter cell-0/7"),
    ("actor", "suspend", "gateway"): (
        1,
        "slakeeper: gateway is a process: it can be killed, restarted or shown",
    ),
    ("nonsense",): (2, "slakeeper: No such command 'nonsense'; see: slakeeper --help"),
    ("ack", "v0"): (2, "slakeeper: Missing option '--by'; see: slakeeper ack --help"),
    ("violations", "--every"): (2, "slakeeper: No such option '--every'; see: slakeeper violations --help"),
    ("report",): (2, "slakeeper: say which contract with --sla: mail, shop; see: slakeeper report --help"),
    ("start", "--cells", "0"): (
        2,
        "slakeeper: Invalid value for '--cells': 0 is not in the range 1<=x<=64; see: slakeeper start --help",
    ),
}


def test_what_is_refused_ends_with_1_and_wrong_usage_with_2(service: Service) -> None:
    answers = {words: service.invoke(*words) for words in REFUSED}
    answers |= service.answers([("sla", "show", "nobody"), ("nonsense",)])
    said = {words: (answer.code, answer.err.splitlines()[-1]) for words, answer in answers.items()}
    assert said == REFUSED
    assert {answer.out for answer in answers.values()} == {""}
    assert all(len(answer.err.splitlines()) == 1 for answer in answers.values())


def test_what_is_refused_is_a_document_with_json_and_says_why_in_a_word(service: Service) -> None:
    commands = [("sla", "show", "nobody"), ("sla", "resume", "mail"), ("observe", "nothing", "5")]
    answers = [service.invoke("--json", *words) for words in commands]
    errors = [answer.document["error"] for answer in answers]
    assert [error["reason"] for error in errors] == ["not_found", "conflict", "invalid"]
    assert [f"slakeeper: {error['message']}" for error in errors] == [answer.complaint for answer in answers]


def test_a_contract_is_defined_changed_and_removed_from_the_command_line(
    service: Service, tmp_path: Path
) -> None:
    file = write_config(tmp_path, [contract("extra", [metric("speed")])]) / "sla_definitions.yaml"
    assert service.show("sla", "define", str(file)) == [{"id": "extra", "version": 1}]
    assert service.invoke("--json", "sla", "define", str(file)).document == [{"id": "extra", "version": 1}]
    write_config(tmp_path, [contract("extra", [metric("speed", 200)])])
    assert service.invoke("--json", "sla", "define", str(file)).document == [{"id": "extra", "version": 2}]
    service.observe("speed", 500)
    (row,) = service.get("/v1/violations?sla=extra")
    kept = service.invoke("sla", "remove", "extra", "--by", "eva")
    assert (kept.code, row["id"] in kept.complaint) == (1, True)
    for words, state in (
        (("remediate", row["id"], "scale", "--dry-run", "--by", "eva"), "open"),
        (("resolve", row["id"], "--by", "eva", "--note", "a test"), "resolved"),
    ):
        answer = service.invoke("--json", *words)
        assert (answer.code, answer.document["id"], answer.document["status"]) == (0, row["id"], state)
    for word, status in (("suspend", "suspended"), ("resume", "healthy"), ("remove", None)):
        answer = service.invoke("--json", "sla", word, "extra", "--by", "eva")
        assert (answer.code, answer.document["id"], answer.document.get("status")) == (0, "extra", status)
    assert [row["id"] for row in service.get("/v1/slas")] == ["mail", "shop"]
    (tmp_path / "sla_definitions.yaml").write_text("slas:\n  - id: extra\n    service_level: 50\n")
    wrong = service.invoke("sla", "define", str(file))
    assert (wrong.code, wrong.out) == (2, "")
    assert f"{file}:3: slas[0].service_level" in wrong.err


def test_no_answer_in_time_ends_with_4(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REQUEST_TIMEOUT_S", 0.5)
    os.kill(service.pid("admin"), signal.SIGSTOP)
    try:
        result = CliRunner().invoke(cli.main, ["--data", str(service.data), "violations"])
    finally:
        os.kill(service.pid("admin"), signal.SIGCONT)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "slakeeper: no answer to 'violations' within 0.5 s\n"
    until(service.is_whole, what="the service")


def test_a_process_that_is_killed_by_command_comes_back(service: Service) -> None:
    before = service.processes()
    assert service.cli("actor", "kill", "cell-1").code == 0
    until(lambda: service.processes().get("cell-1") not in (None, before["cell-1"]) and service.is_whole())
    rows = {row["name"]: row["restarts"] for row in service.show("status")["processes"]}
    assert rows["cell-1"] == 1
    assert {name: restarts for name, restarts in rows.items() if restarts} == {"cell-1": 1}
