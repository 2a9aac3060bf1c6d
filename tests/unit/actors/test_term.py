"""A contract's status over time: pending, in force, renewed, suspended, expired."""

from collections.abc import Callable
from typing import Any

from tests.unit.actors.cell_world import CRITICAL, GOOD, HOUR_MS, MINUTE_MS, NOW_MS, World

MakeWorld = Callable[..., World]

TERM_MS = 90 * MINUTE_MS


def history(world: World) -> list[Any]:
    return [(each["at"] - NOW_MS, each["status"]) for each in world.shown()["status_history"]]


def only(world: World) -> dict[str, Any]:
    [violation] = world.violations(resolved=True)
    return violation


def test_a_contract_configured_as_expired_counts_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(status="expired")
    for _ in range(3):
        world.observe(CRITICAL)
        world.pass_time(HOUR_MS)
    assert (world.status()["status"], world.violations()) == ("expired", [])
    assert world.shown()["period"]["known_ms"] == 0


def test_pending_in_force_and_expired_are_kept_in_its_history(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(effective_date=(NOW_MS + HOUR_MS) // 1000, term="90m")
    world.pass_time(HOUR_MS - 1)
    assert world.status()["status"] == "pending"
    world.pass_time(1)
    assert world.status()["status"] == "healthy"
    world.pass_time(TERM_MS - 1)
    assert world.status()["status"] == "healthy"
    world.pass_time(1)
    assert world.status()["status"] == "expired"
    assert history(world) == [(HOUR_MS, "healthy"), (HOUR_MS + TERM_MS, "expired")]


def test_a_violation_ends_with_its_contract_and_is_priced(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.observe(CRITICAL)
    world.pass_time(TERM_MS)
    ended = only(world)
    assert (ended["status"], ended["end_time"]) == ("resolved", NOW_MS + TERM_MS)
    assert (ended["resolved_by"], ended["resolve_note"]) == ("slakeeper", "contract expired")
    assert [entry["violation_id"] for entry in world.ledger()] == [ended["id"]]
    assert history(world) == [(0, "warning"), (TERM_MS, "expired")]


def test_a_renewed_contract_goes_on_with_its_violation(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m", renew=True)
    world.observe(CRITICAL)
    world.pass_time(4 * HOUR_MS)
    assert (only(world)["status"], world.status()["status"]) == ("open", "warning")


def test_an_expiry_while_the_cell_was_down_is_caught_up_with(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    world.clock.advance(2 * HOUR_MS)
    world.restart()
    world.settle()
    world.pass_time(MINUTE_MS)
    assert (only(world)["status"], only(world)["end_time"]) == ("resolved", NOW_MS + TERM_MS)
    assert history(world) == [(0, "warning"), (TERM_MS, "expired")]
    world.restart()
    world.pass_time(MINUTE_MS)
    assert history(world) == [(0, "warning"), (TERM_MS, "expired")]


def test_a_late_sample_of_the_time_before_leaves_no_violation_open(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.observe(GOOD)
    world.pass_time(TERM_MS + 1)
    world.observe(CRITICAL, ts=NOW_MS + TERM_MS - 1)
    world.pass_time(MINUTE_MS)
    assert world.violations() == []


def test_a_new_version_may_end_a_contract_or_give_it_another_term(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.observe(CRITICAL)
    world.define(term="3h")
    world.pass_time(2 * HOUR_MS)
    assert only(world)["status"] == "open"
    world.define(status="expired")
    world.pass_time(MINUTE_MS)
    assert (only(world)["status"], world.status()["status"]) == ("resolved", "expired")
    world.define(term="1d", status="active")
    world.observe(CRITICAL)
    assert world.status()["status"] == "warning"


def test_a_suspended_contract_expires_all_the_same(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(term="90m")
    world.request("sla.suspend", id="api", by="me")
    world.pass_time(2 * HOUR_MS)
    assert world.status()["status"] == "expired"
    assert history(world) == [(0, "suspended"), (TERM_MS, "expired")]
