"""The HTTP interface over two fake cells, by a real server on a port of its own."""

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from slakeeper.otp.placement import owner_of, partition_of
from tests.unit.web.conftest import Site
from tests.unit.web.fake_cell import FakeCell, Refusal, until

GOOD = {"metric": "latency", "value": 312.0, "ts": 1_700_000_000_000}


# --- samples -----------------------------------------------------------------------------------------


def test_accepted_samples_are_answered_202(site: Site, cells: list[FakeCell]) -> None:
    answer = site.post("/v1/samples", {"samples": [GOOD], "batch_id": "b1"})
    assert (answer.status, answer.json) == (202, {"accepted": 1, "rejected": []})
    expected = {"samples": [["latency", 312.0, 1_700_000_000_000, None, None]], "batch_id": "b1"}
    assert [cell.asked("samples") for cell in cells] == [[expected], [expected]]


def test_each_bad_sample_is_rejected_alone(quiet_site: Site) -> None:
    body = b"""{"samples": [{"metric": "latency", "value": NaN}, {"metric": "uptime", "value": 99.9},
        {"metric": "nobody", "value": 1}, {"metric": "latency", "value": "1"}, {"value": 1},
        {"metric": "latency", "value": -Infinity}, {"metric": "latency", "value": 1, "sla": "none"}]}"""
    answer = quiet_site.ask("POST", "/v1/samples", body, Content_Type="application/json")
    assert answer.status == 202
    assert answer.json["accepted"] == 1
    assert [(row["index"], row["reason"]) for row in answer.json["rejected"]] == [
        (0, "not_finite"), (2, "unknown_metric"), (3, "not_a_number"), (4, "missing_metric"), (5, "not_finite"),
        (6, "unknown_sla"),
    ]  # fmt: skip


def test_a_cells_own_reasons_are_told_under_the_place_in_the_body(site: Site, cells: list[FakeCell]) -> None:
    cells[0].handlers["samples"] = lambda payload: {"accepted": [], "rejected": [[0, "too_old"]]}
    answer = site.post_samples({"value": 1}, {"metric": "uptime", "value": 1})
    assert answer.json["rejected"] == [
        {"index": 0, "reason": "missing_metric"},
        {"index": 1, "reason": "too_old"},
    ]


def test_what_a_monitor_that_is_down_did_not_get_may_be_sent_again_under_the_id_in_the_answer(
    site: Site, cells: list[FakeCell]
) -> None:
    cells[0].handlers["samples"] = lambda payload: {"accepted": [], "rejected": [[0, "monitor_down"]]}
    answer = site.post_samples(GOOD)
    rejected = [{"index": 0, "reason": "monitor_down"}]
    batch_id = cells[1].asked("samples")[0]["batch_id"]
    assert (answer.status, answer.json) == (202, {"accepted": 0, "rejected": rejected, "batch_id": batch_id})
    assert site.ask("GET", "/v1/status").json["ingest"][0]["rejected"] == {"monitor_down": 1}


def test_ndjson_and_msgpack_are_taken(quiet_site: Site) -> None:
    lines = "\n".join(json.dumps(GOOD) for _ in range(3)).encode()
    assert (
        quiet_site.ask("POST", "/v1/samples", lines, Content_Type="application/x-ndjson").json["accepted"]
        == 3
    )
    packed = msgpack.packb({"samples": [GOOD] * 2})
    assert (
        quiet_site.ask("POST", "/v1/samples", packed, Content_Type="application/msgpack").json["accepted"]
        == 2
    )


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400), (b"", {}, 400), (b'{"samples": 1}', {}, 400),
        (b"a=1", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b"\x1f\x8b", {"Content_Encoding": "gzip"}, 415),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_answered_with_a_reason(
    quiet_site: Site, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = quiet_site.ask("POST", "/v1/samples", body, **{"Content_Type": "application/json", **headers})
    assert answer.status == status
    assert answer.json["reason"]


def test_a_large_batch_is_taken_whole(quiet_site: Site) -> None:
    answer = quiet_site.post_samples(*[GOOD] * 20_000)
    assert answer.json == {"accepted": 20_000, "rejected": []}


def test_ten_megabytes_are_answered_413(quiet_site: Site) -> None:
    body = b"x" * 10_000_000
    assert quiet_site.ask("POST", "/v1/samples", body).status == 413
    pieces = [body[:1_000_000]] * 10
    assert quiet_site.ask("POST", "/v1/samples", iter(pieces)).status == 413


def test_a_sender_that_asks_first_is_refused_before_it_sends(quiet_site: Site) -> None:
    connection = quiet_site.connect()
    connection.putrequest("POST", "/v1/samples")
    for name, value in {**quiet_site.headers, "Content-Length": "10000000", "Expect": "100-continue"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_eight_megabytes_are_not_too_much(quiet_site: Site) -> None:
    body = json.dumps({"samples": [GOOD]}).encode()
    padded = body + b" " * (8 * 1024 * 1024 - len(body))
    assert quiet_site.ask("POST", "/v1/samples", padded).status == 202
    assert quiet_site.ask("POST", "/v1/samples", padded + b" ").status == 413


def test_a_cell_that_is_away_is_503_with_the_id_to_send_again(
    start_site: Callable[..., Site], cells: list[FakeCell]
) -> None:
    site = start_site(patience_s=0.1)
    assert site.post_samples(GOOD).status == 202
    cells[0].die()
    until(lambda: site.get("/readyz").status == 503)
    answer = site.post("/v1/samples", {"samples": [GOOD], "batch_id": "mine"})
    assert (answer.status, answer.json["batch_id"]) == (503, "mine")
    assert int(answer.headers["retry-after"]) >= 1
    cells[0].start()
    until(lambda: site.get("/readyz").status == 200)
    assert site.post_samples(GOOD).status == 202


def test_samples_ride_out_the_restart_of_a_cell(site: Site, cells: list[FakeCell]) -> None:
    assert site.post_samples(GOOD).status == 202
    cells[0].answering.clear()
    connection = site.connect()
    body = json.dumps({"samples": [{"metric": "uptime", "value": 1}], "batch_id": "b9"})
    connection.request("POST", "/v1/samples", body, site.headers)
    until(lambda: len(cells[0].asked("samples")) == 2)
    cells[0].die()
    cells[0].answering.set()
    cells[0].start()
    assert connection.getresponse().status == 202
    assert [payload["batch_id"] for payload in cells[0].asked("samples")[1:]] == ["b9", "b9"]
    connection.close()


def test_more_in_flight_than_a_cell_takes_is_503(
    start_site: Callable[..., Site], cells: list[FakeCell]
) -> None:
    site = start_site(max_in_flight=10)
    assert site.post_samples(GOOD).status == 202
    cells[0].answering.clear()
    connection = site.connect()
    body = json.dumps({"samples": [{"metric": "uptime", "value": 1}] * 8})
    connection.request("POST", "/v1/samples", body, site.headers)
    until(lambda: len(cells[0].asked("samples")) == 2)
    answer = site.post_samples(*[{"metric": "uptime", "value": 1}] * 3)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    cells[0].answering.set()
    assert connection.getresponse().status == 202
    connection.close()


# --- reading -----------------------------------------------------------------------------------------


def test_contracts_come_from_all_cells(site: Site, cells: list[FakeCell]) -> None:
    cells[0].handlers["sla.list"] = lambda payload: {"slas": [{"id": "web"}]}
    cells[1].handlers["sla.list"] = lambda payload: {"slas": [{"id": "api"}]}
    assert site.get("/v1/slas").json == [{"id": "api"}, {"id": "web"}]


def test_a_contract_comes_from_its_own_cell(site: Site, cells: list[FakeCell]) -> None:
    owner = cells[owner_of(partition_of("api", 8), 2)]
    owner.handlers["sla.show"] = lambda payload: {"id": payload["id"], "version": 2}
    assert site.get("/v1/slas/api").json == {"id": "api", "version": 2}
    owner.handlers.clear()
    answer = site.get("/v1/slas/api")
    assert (answer.status, answer.json["error"]) == (404, "not_found")


def test_violations_take_their_filters(site: Site, cells: list[FakeCell]) -> None:
    owner = cells[owner_of(partition_of("api", 8), 2)]
    owner.handlers["violations"] = lambda payload: [{"id": "v1", "start_time": 1, **payload}]
    assert site.get("/v1/violations?sla=api&all=true").json == [
        {"id": "v1", "start_time": 1, "sla": "api", "all": True}
    ]
    assert [row["all"] for row in site.get("/v1/violations").json] == [False]
    assert site.get("/v1/violations?all=perhaps").status == 400


def test_compensation_is_the_ledger_of_all_cells(site: Site, cells: list[FakeCell]) -> None:
    cells[0].handlers["compensation"] = lambda payload: [{"id": "c2", "booked_time": 2, "amount": "4.990"}]
    cells[1].handlers["compensation"] = lambda payload: [{"id": "c1", "booked_time": 1, "amount": "1"}]
    assert [row["id"] for row in site.get("/v1/compensation").json] == ["c1", "c2"]


def test_a_report_is_served_in_its_own_type(site: Site, cells: list[FakeCell]) -> None:
    def report(payload: dict[str, Any]) -> dict[str, Any]:
        if payload["format"] == "json":
            return {"document": payload}
        return {"text": f"<p>{payload['period']}</p>"}

    for cell in cells:
        cell.handlers["report"] = report
    assert site.get("/v1/reports/api").json == {"sla": "api", "period": "current", "format": "json"}
    page = site.get("/v1/reports/api?format=html&period=last")
    assert page.body == b"<p>last</p>"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert site.get("/v1/reports/api?format=csv").headers["content-type"].startswith("text/csv")
    assert site.get("/v1/reports/api?format=pdf").status == 400


def test_status_joins_the_process_table_with_what_the_cells_say(
    start_site: Callable[..., Site], cells: list[FakeCell], tmp_path: Any
) -> None:
    run_file = tmp_path / "run.json"
    table = [
        {"name": "heart", "pid": 10, "restarts": 0},
        {"name": "cell-0", "pid": 11, "restarts": 2, "actors": 0, "mailbox": 0},
    ]
    run_file.write_text(json.dumps({"state": "running", "processes": table}))
    cells[0].handlers["status"] = lambda payload: {
        "slas": [{"id": "api"}], "actors": 40, "mailbox": 3, "sources_failing": {"prom": "refused"},
    }  # fmt: skip
    site = start_site(run_file=str(run_file))
    status = site.get("/v1/status").json
    assert (status["state"], status["slas"]) == ("running", [{"id": "api"}])
    assert status["uptime_s"] >= 0
    assert (status["sources"], status["sources_failing"]) == ([], {"prom": "refused"})
    rows = {row["name"]: row for row in status["processes"]}
    assert rows["heart"].items() >= {"pid": 10, "restarts": 0, "actors": 0, "mailbox": 0}.items()
    assert rows["cell-0"].items() >= {"pid": 11, "restarts": 2, "actors": 40, "mailbox": 3}.items()
    assert rows["cell-1"]["pid"] is None
    table[1]["restarts"] = 17
    run_file.write_text(json.dumps({"state": "running", "processes": table}))
    assert {row["name"]: row["restarts"] for row in site.get("/v1/status").json["processes"]}["cell-0"] == 17
    assert site.get("/v1/tree").json["children"][0]["restarts"] == 17


def test_the_disk_is_in_the_status_and_in_the_metrics(start_site: Callable[..., Site], tmp_path: Any) -> None:
    (tmp_path / "run.json").write_text("{}")
    site = start_site(run_file=str(tmp_path / "run.json"))
    disk = site.get("/v1/status").json["disk"]
    assert disk["free_bytes"] > 0
    assert disk.keys() >= {"used_bytes", "free_bytes", "journal_bytes", "snapshot_bytes", "logs_bytes"}
    assert f"slakeeper_disk_used_bytes {float(disk['used_bytes'])}" in site.get("/metrics").body.decode()


def test_without_a_data_directory_there_is_no_disk_to_show(site: Site) -> None:
    assert site.get("/v1/status").json["disk"] is None
    assert "slakeeper_disk" not in site.get("/metrics").body.decode()


def test_status_is_there_while_a_cell_is_away(site: Site, cells: list[FakeCell]) -> None:
    cells[1].die()
    until(lambda: site.get("/readyz").status == 503)
    rows = {row["name"]: row["status"] for row in site.get("/v1/status").json["processes"]}
    assert rows["cell-1"] == "restarting"
    assert site.get("/v1/tree").json["children"][1]["status"] == "restarting"


# --- acting ------------------------------------------------------------------------------------------


def test_a_violation_is_acknowledged_and_resolved(site: Site, cells: list[FakeCell]) -> None:
    for kind in ("violation.ack", "violation.resolve"):
        cells[1].handlers[kind] = lambda payload: payload
    expected = {"id": "v:1", "by": "ada", "note": "on it", "via": "http"}
    acknowledged = site.post("/v1/violations/v:1/ack", {"by": "ada", "note": "on it"}).json
    assert acknowledged == {**expected, "takes_over": True}
    assert site.post("/v1/violations/v:1/resolve", {"by": "ada"}).json == {**expected, "note": None}


@pytest.mark.parametrize(
    "form",
    [
        {},
        [],
        {"by": ""},
        {"by": " "},
        {"by": 7},
        {"by": "x" * 500},
        {"by": "ada", "note": 7},
        {"by": "\ud800"},
    ],
)
def test_who_acts_has_to_be_said(site: Site, cells: list[FakeCell], form: Any) -> None:
    assert site.post("/v1/violations/v1/ack", form).status == 400
    assert not cells[0].asked("violation.ack")


def test_a_refusal_of_a_cell_has_its_status(site: Site, cells: list[FakeCell]) -> None:
    statuses = {
        "not_found": 404,
        "invalid": 400,
        "conflict": 409,
        "forbidden": 403,
        "unavailable": 503,
        "internal": 500,
    }

    def refuse(payload: Any) -> None:
        raise Refusal(payload["id"], "because", errors=[{"path": "x"}])

    for cell in cells:
        cell.handlers["violation.ack"] = refuse
    for code, status in statuses.items():
        answer = site.post(f"/v1/violations/{code}/ack", {"by": "ada"})
        assert answer.status == status
        assert (answer.json["error"], answer.json["reason"]) == (code, "because")
        assert ("retry-after" in answer.headers) == (status == 503)


# --- about the process -------------------------------------------------------------------------------


def test_health_and_readiness_need_no_token(site: Site, cells: list[FakeCell]) -> None:
    assert site.get("/healthz", Authorization="").status == 200
    assert site.get("/readyz", Authorization="").json == {"ready": True, "cells": 2, "answering": 2}
    cells[0].die()
    until(lambda: site.get("/readyz", Authorization="").status == 503)
    assert site.get("/healthz", Authorization="").status == 200


def test_metrics_are_prometheus_text(site: Site, cells: list[FakeCell]) -> None:
    row = {"id": "api", "status": "warning", "compliance_score": 80.0, "attainment": "99.95", "service_level": 99.9,
           "error_budget_remaining": 0.5, "open_violations": 1, "escalations_failed": 1,
           "metrics_down": ["latency", "errors"]}  # fmt: skip
    cells[0].handlers["status"] = lambda payload: {
        "slas": [row], "actors": 9, "mailbox": 2, "sources_failing": {"prom": "refused"},
    }  # fmt: skip
    site.post_samples(GOOD, {"metric": "nobody", "value": 1}, {"metric": "latency", "value": "x"})
    answer = site.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for line in (
        "slakeeper_slas 1.0",
        'slakeeper_sla_compliance_score{sla="api"} 80.0',
        'slakeeper_sla_attainment_percent{sla="api"} 99.95',
        'slakeeper_sla_open_violations{sla="api"} 1.0',
        'slakeeper_sla_status{sla="api",status="warning"} 1.0',
        'slakeeper_sla_status{sla="api",status="healthy"} 0.0',
        'slakeeper_sla_escalations_failed{sla="api"} 1.0',
        'slakeeper_sla_metrics_down{sla="api"} 2.0',
        'slakeeper_source_failing{cell="cell-0",source="prom"} 1.0',
        'slakeeper_cell_up{cell="cell-1"} 1.0',
        'slakeeper_cell_actors{cell="cell-0"} 9.0',
        'slakeeper_samples_accepted_total{door="samples"} 1.0',
        'slakeeper_samples_rejected_total{door="samples",reason="unknown_metric"} 1.0',
        'slakeeper_samples_rejected_total{door="samples",reason="not_a_number"} 1.0',
    ):
        assert line in lines
    cells[1].die()
    until(lambda: b'slakeeper_cell_up{cell="cell-1"} 0.0' in site.get("/metrics").body)


def test_an_unknown_path_and_a_wrong_method_are_told_as_json(quiet_site: Site) -> None:
    assert (quiet_site.get("/v2").status, quiet_site.get("/v2").json["error"]) == (404, "not_found")
    assert quiet_site.get("/v1/samples").status == 405
    assert quiet_site.ask("DELETE", "/v1/slas").status == 405


def test_a_failure_of_our_own_is_500_and_logged(
    site: Site, cells: list[FakeCell], caplog: pytest.LogCaptureFixture
) -> None:
    cells[0].handlers["sla.list"] = lambda payload: {
        "slas": [{"id": float("nan")}]
    }  # JSON has no word for it
    answer = site.get("/v1/slas")
    assert (answer.status, answer.body) == (500, b"internal error")
    assert "GET /v1/slas failed" in caplog.text
    assert site.get("/healthz").status == 200


def test_the_dashboard_loads_nothing_from_elsewhere(quiet_site: Site) -> None:
    page = quiet_site.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in ("/static/dashboard.js", "/static/dashboard.css", "/static/icon.svg"):
        assert path.encode() in page.body
        assert quiet_site.get(path).status == 200
    for part in (
        page.body,
        quiet_site.get("/static/dashboard.js").body,
        quiet_site.get("/static/dashboard.css").body,
    ):
        assert b"https://" not in part
        assert b"style=" not in part
    assert b"<script>" not in page.body


# -- remediation --------------------------------------------------------------------------------------------------

SWITCH = {"state": "off", "by": "ann", "reason": "upgrade", "time": 1}
TURN = {"state": "off", "by": "ann", "reason": "upgrade"}


def test_remediation_is_switched_by_one_cell_and_told_to_all(site: Site, cells: list[FakeCell]) -> None:
    for cell in cells:
        cell.handlers["remediation.turn"] = lambda payload: SWITCH
        cell.handlers["remediation.learn"] = lambda payload: {}
    answer = site.post("/v1/remediation", TURN)
    assert (answer.status, answer.json) == (200, {**SWITCH, "unreached": []})
    (asked,) = [payload for cell in cells for payload in cell.asked("remediation.turn")]
    assert asked == {"on": False, "by": "ann", "reason": "upgrade", "via": "http"}
    assert all(cell.asked("remediation.learn") == [{"switch": SWITCH}] for cell in cells)
    site.post("/v1/remediation", {**TURN, "state": "on"})
    assert [payload["on"] for cell in cells for payload in cell.asked("remediation.turn")] == [False, True]


@pytest.mark.parametrize(
    "changes",
    [{"by": ""}, {"by": None}, {"reason": " "}, {"reason": 7}, {"state": "maybe"}, {"state": True}, {"state": None}],
)  # fmt: skip
def test_a_switch_of_remediation_that_says_too_little_is_refused(
    quiet_site: Site, changes: dict[str, Any]
) -> None:
    answer = quiet_site.post("/v1/remediation", {**TURN, **changes})
    assert (answer.status, answer.json["error"]) == (400, "invalid")
    assert quiet_site.get("/v1/remediation").status == 405


def test_remediation_is_switched_by_nobody_without_the_token(site: Site, cells: list[FakeCell]) -> None:
    site.headers = {}
    assert site.post("/v1/remediation", TURN).status == 401
    assert [cell.asked("remediation.turn") for cell in cells] == [[], []]


# -- silences -----------------------------------------------------------------------------------------------------

SILENCE = {"id": "s1", "state": "active", "matchers": [], "start_time": 1, "end_time": 2, "created_by": "ann"}
WANTED = {
    "matchers": ["sla=api", {"name": "severity", "relation": "=~", "value": "info|warning"}],
    "end": 10**13,
}


def test_a_silence_is_made_by_one_cell_and_told_to_all(site: Site, cells: list[FakeCell]) -> None:
    for cell in cells:
        cell.handlers["silence.add"] = lambda payload: SILENCE
        cell.handlers["silence.learn"] = lambda payload: {}
    answer = site.post("/v1/silences", {**WANTED, "by": "ann", "reason": "upgrade"})
    assert (answer.status, answer.json) == (201, SILENCE)
    (asked,) = [payload for cell in cells for payload in cell.asked("silence.add")]
    assert asked == {**WANTED, "start": None, "by": "ann", "reason": "upgrade", "via": "http"}
    until(lambda: all(cell.asked("silence.learn") == [{"silences": [SILENCE]}] for cell in cells))


@pytest.mark.parametrize(
    "changes",
    [{"by": ""}, {"by": None}, {"reason": " "}, {"matchers": "sla=api"}, {"matchers": [7]}, {"end": "soon"},
     {"end": None}, {"start": 1.5}, {"end": True}, {"matchers": [{"name": 7}]}],
)  # fmt: skip
def test_a_silence_that_says_too_little_is_refused(quiet_site: Site, changes: dict[str, Any]) -> None:
    answer = quiet_site.post("/v1/silences", {**WANTED, "by": "ann", "reason": "upgrade", **changes})
    assert (answer.status, answer.json["error"]) == (400, "invalid")


def test_silences_are_listed_once_and_those_that_are_over_when_asked_for(
    site: Site, cells: list[FakeCell]
) -> None:
    for cell in cells:
        cell.handlers["silences"] = lambda payload: {"silences": [SILENCE, {**SILENCE, "id": "s2"}]}
    assert [row["id"] for row in site.get("/v1/silences").json] == ["s2", "s1"]
    assert site.get("/v1/silences?all=true").status == 200
    assert [payload["all"] for payload in cells[0].asked("silences")] == [False, True]


@pytest.mark.parametrize("says_in_the_body", [True, False])
def test_a_silence_is_ended_by_somebody(site: Site, cells: list[FakeCell], says_in_the_body: bool) -> None:
    for cell in cells:
        cell.handlers["silence.expire"] = lambda payload: {**SILENCE, "state": "expired"}
        cell.handlers["silence.learn"] = lambda payload: {}
    if says_in_the_body:
        answer = site.ask("DELETE", "/v1/silences/s1", json.dumps({"by": "bob"}))
    else:
        answer = site.ask("DELETE", "/v1/silences/s1?by=bob")
    assert (answer.status, answer.json["state"]) == (200, "expired")
    (asked,) = [payload for cell in cells for payload in cell.asked("silence.expire")]
    assert asked == {"id": "s1", "by": "bob", "via": "http"}
    assert site.ask("DELETE", "/v1/silences/s1").status == 400
