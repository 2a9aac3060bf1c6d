"""Contracts: versions, suspension, removal, and what becomes of open violations meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.actors.address import monitor_address
from slakeeper.actors.message import Observe
from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    WARNING,
    World,
    contract,
    metric,
)

MakeWorld = Callable[..., World]

TWO = [metric("latency"), metric("queue")]


def test_the_same_document_again_changes_nothing(world: World) -> None:
    seq = world.partition.seq if world.partition else None
    assert world.define(contract()) == {"id": "api", "version": 1}
    assert world.partition is not None
    assert world.partition.seq == seq


def test_another_document_is_a_new_version(world: World) -> None:
    assert world.define(contract(service_level=98))["version"] == 2
    world.restart()
    shown = world.shown()
    assert (shown["version"], shown["service_level"]) == (2, "98")


def test_a_document_that_is_not_valid_is_refused_with_every_error(world: World) -> None:
    with pytest.raises(RequestError) as caught:
        world.request("sla.define", document={"id": "x", "service_level": 50, "metrics": []})
    assert caught.value.code == "invalid"
    reasons = {each["reason"] for each in caught.value.details["errors"]}
    assert {"invalid_service_level", "no_metrics_defined"} <= reasons


def test_a_metric_that_is_added_is_watched_from_now_on(world: World) -> None:
    world.pass_time(30 * MINUTE_MS)
    world.define(contract(metrics=[metric("latency"), metric("queue", no_data="bad")]))
    world.observe(CRITICAL, "queue")
    assert [row["metric_name"] for row in world.violations()] == ["queue"]
    account = world.metric("queue")["account"]
    # Nobody watched before: whatever no_data says, that time is unknown.
    assert (account["unknown_ms"], account["bad_ms"]) == (30 * MINUTE_MS, 0)


def test_a_metric_added_days_later_settles_no_period_of_the_past(world: World) -> None:
    world.pass_time(5 * HOUR_MS)
    world.define(contract(metrics=TWO))
    world.pass_time(HOUR_MS + MINUTE_MS)
    state = world.request("actor.state", address="contract:api")["state"]
    assert state["gathered"] == {}
    report = world.request("report", sla="api", period="last")["document"]
    assert report["period"]["start"] == NOW_MS + 5 * HOUR_MS
    assert {each["name"] for each in report["metrics"]} == {"latency", "queue"}


def test_a_metric_that_is_removed_ends_its_violation(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=TWO)
    world.observe(CRITICAL)
    world.observe(CRITICAL, "queue")
    world.define(metrics=[metric("queue")], compensation=[])
    assert [row["metric_name"] for row in world.violations()] == ["queue"]
    assert len(world.ledger()) == 1  # owed under the version in force when it opened
    assert world.observe(GOOD)["rejected"] == [(0, "unknown_metric")]
    assert world.status()["open_violations"] == 1


def test_a_removed_metric_holds_up_no_period_that_waited_for_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency"), metric("queue", lateness="20m")])
    world.observe(GOOD)
    world.pass_time(HOUR_MS + MINUTE_MS)
    with pytest.raises(RequestError, match="no period"):
        world.request("report", sla="api", period="last")
    world.define(metrics=[metric("latency")])
    assert world.request("report", sla="api", period="last")["document"]["period"]["start"] == NOW_MS


def test_a_changed_promise_judges_what_comes_and_keeps_what_is_open(world: World) -> None:
    world.observe(INFO)
    world.define(contract(metrics=[metric("latency", value=400)]))
    row = world.violation()
    assert (row["status"], row["threshold_value"], row["contract_version"]) == ("open", 250, 1)
    world.recover()
    assert world.violation()["status"] == "resolved"
    world.pass_time(11 * SECOND_MS)
    world.observe(WARNING)
    assert world.violations() == []


def test_versions_survive_a_restart_with_their_violations(world: World) -> None:
    world.observe(CRITICAL)
    world.define(contract(metrics=TWO))
    world.restart()
    world.observe(CRITICAL, "queue")
    versions = {row["metric_name"]: row["contract_version"] for row in world.violations()}
    assert versions == {"latency": 1, "queue": 2}


def test_a_changed_label_changes_who_is_meant(world: World) -> None:
    world.define(contract(metrics=[metric("latency", labels={"region": "eu"})]))
    assert world.observe(GOOD)["rejected"] == [(0, "labels_do_not_match")]
    assert world.observe(GOOD, labels={"region": "eu", "host": "a"})["accepted"] == [0]


# -- suspension ---------------------------------------------------------------------------------------------------


def test_while_it_is_suspended_nothing_counts(world: World) -> None:
    assert world.request("sla.suspend", id="api", by="ann")["status"] == "suspended"
    world.settle()
    world.observe(CRITICAL)
    assert world.violations() == []
    world.pass_time(20 * MINUTE_MS)
    world.request("sla.resume", id="api", by="ann")
    world.settle()
    assert world.shown()["period"]["excluded_ms"] >= 19 * MINUTE_MS
    world.observe(CRITICAL)
    assert len(world.violations()) == 1


def test_a_suspension_that_goes_on_leaves_the_budget_of_the_time_that_may_still_count(world: World) -> None:
    world.observe(CRITICAL)
    world.pass_time(30 * SECOND_MS)
    world.request("sla.suspend", id="api", by="ann")
    world.pass_time(MINUTE_MS)
    period = world.shown()["period"]
    assert (
        period["error_budget_ms"] > 34_000
    )  # of 36 s in an hour, without the minute that counts for nothing
    assert -1 < world.status()["error_budget_remaining"] < 1


def test_suspending_twice_is_refused(world: World) -> None:
    world.request("sla.suspend", id="api", by="ann")
    with pytest.raises(RequestError) as caught:
        world.request("sla.suspend", id="api", by="ann")
    assert (caught.value.code, str(caught.value)) == ("conflict", "api is already suspended")


def test_it_stays_suspended_after_a_restart_with_the_same_configuration(world: World) -> None:
    world.request("sla.suspend", id="api", by="ann")
    world.restart()
    world.define(contract())
    assert world.status()["status"] == "suspended"
    world.observe(CRITICAL)
    assert world.violations() == []


def test_it_stays_suspended_through_a_new_version_that_says_nothing_about_it(world: World) -> None:
    world.request("sla.suspend", id="api", by="ann")
    world.define(contract(metrics=TWO))
    assert world.status()["status"] == "suspended"
    world.observe(CRITICAL, "queue")
    world.observe(CRITICAL)
    assert world.violations() == []
    world.request("sla.resume", id="api", by="ann")
    world.observe(CRITICAL, "queue")
    assert len(world.violations()) == 1


def test_a_contract_configured_as_suspended_begins_so_and_the_next_version_may_end_it(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.define(status="suspended")
    world.observe(CRITICAL)
    assert (world.status()["status"], world.violations()) == ("suspended", [])
    world.define()
    assert world.status()["status"] != "suspended"


# -- removal ------------------------------------------------------------------------------------------------------


def test_a_contract_with_an_open_violation_is_not_removed(world: World) -> None:
    world.observe(CRITICAL)
    with pytest.raises(RequestError, match="resolve them first") as caught:
        world.request("sla.remove", id="api", by="ann")
    assert caught.value.code == "conflict"


def removed(world: World) -> World:
    world.observe(CRITICAL)
    world.recover()
    world.request("sla.remove", id="api", by="ann")
    world.settle()
    return world


def test_a_removed_contract_leaves_its_ledger_and_its_history(world: World) -> None:
    removed(world).restart()
    assert world.request("sla.list")["slas"] == []
    assert len(world.ledger()) == len(world.violations(resolved=True)) == 1
    assert world.observe(GOOD)["rejected"] == [(0, "unknown_metric")]
    assert world.request("catalog")["slas"] == []
    assert world.environment.accounts.get("api", {}) == {}
    with pytest.raises(RequestError) as caught:
        world.request("sla.show", id="api")
    assert caught.value.code == "not_found"


def test_news_on_its_way_is_delivered_after_the_removal(world: World) -> None:
    world.observe(INFO)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.request("sla.remove", id="api", by="ann")
    world.settle()
    assert len(world.told("resolved")) == 1


def test_a_contract_defined_again_goes_on_with_the_versions(world: World) -> None:
    removed(world)
    rule: dict[str, Any] = {"metric": "latency", "type": "credit", "formula": "7", "auto_approve": True}
    assert world.define(contract(compensation=[rule]))["version"] == 2
    world.observe(CRITICAL)
    world.recover()
    assert [entry["amount"] for entry in world.ledger()] == ["250.0", "7"]
    assert [entry["contract_version"] for entry in world.ledger()] == [1, 2]
    assert "credit 7" in world.told("opened")[-1].body


def test_a_contract_defined_again_begins_anew(world: World) -> None:
    removed(world)
    world.pass_time(HOUR_MS)
    world.define()
    assert world.shown()["period"]["start"] == world.now_ms
    assert world.metric()["samples_accepted"] == 0


def test_a_contract_that_is_not_effective_yet_is_pending_and_counts_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(effective_date=(NOW_MS + HOUR_MS) // 1000)
    world.observe(CRITICAL)
    assert (world.status()["status"], world.violations()) == ("pending", [])
    world.pass_time(HOUR_MS)
    world.observe(CRITICAL)
    assert len(world.violations()) == 1


def test_an_expired_contract_counts_nothing_and_its_last_period_is_settled(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.observe(GOOD)
    world.pass_time(2 * HOUR_MS)
    world.observe(CRITICAL)
    assert (world.status()["status"], world.violations()) == ("expired", [])
    last = world.request("report", sla="api", period="last")["document"]["period"]
    assert (last["start"], last["end"]) == (NOW_MS + HOUR_MS, NOW_MS + 90 * MINUTE_MS)


def test_what_a_monitor_says_late_of_a_metric_that_is_removed_opens_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency"), metric("load")])
    world.request("actor.suspend", address="monitor:api:load", by="jo")
    world.host.cast(monitor_address("api", "load"), Observe(((world.now_ms, CRITICAL),)))
    world.define(metrics=[metric("latency")])
    world.request("actor.resume", address="monitor:api:load", by="jo")
    world.settle()
    assert world.violations(resolved=True) == []
    assert world.host.counts["crashes"] == 0


def test_contracts_are_told_a_page_at_a_time_each_once(world: World) -> None:
    for sla_id, count in (("d", 1), ("b", 3), ("a", 2), ("c", 1)):
        world.define(id=sla_id, metrics=[metric(f"m{n}") for n in range(count)], compensation=[])
    pages, after = [], None
    while True:
        page = world.request("status", page=2, after=after)
        pages.append([(row["id"], len(row["metrics"])) for row in page["slas"]])
        after = page["next"]
        if after is None:
            break
    assert pages == [[("a", 2)], [("api", 1), ("b", 3)], [("c", 1), ("d", 1)]]
    assert [row["id"] for row in world.request("sla.list")["slas"]] == ["api", "d", "b", "a", "c"]


def test_lines_may_go_without_metrics(world: World) -> None:
    [line] = world.request("status", metrics=False)["slas"]
    assert line["metrics"] == []
    assert line["metrics_down"] == []
