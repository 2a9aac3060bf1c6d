"""The cell crashes at every commit of a recorded scenario; what is left must be what it is without a crash."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from slakeeper.sla.policy import EnforcementPolicy
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    World,
    action,
    contract,
    enforcement,
)

Step = Callable[[World], Any]
MakeWorld = Callable[..., World]


def at(after_ms: int) -> Step:
    return lambda world: world.go_to(NOW_MS + after_ms)


def sample(value: float, name: str) -> Step:
    """One sample in a batch of its own; sent again under the same id when the answer is lost."""
    return lambda world: world.observe(value, batch_id=name)


def once(kind: str, **payload: Any) -> Step:
    """An operator's act on the only violation; one that was carried out already is refused the second time."""

    def act(world: World) -> None:
        try:
            world.request(kind, id=world.violation()["id"], **payload)
        except RequestError as error:
            if error.code != "conflict":
                raise
        world.settle()

    return act


BEGIN: list[Step] = [lambda world: world.define()]
RECOVER: list[Step] = [
    step
    for number in range(1, 6)
    for step in (at(10 * MINUTE_MS + number * 6 * SECOND_MS), sample(GOOD, f"good-{number}"))
]

# Opened and worsened, both levels told, nobody answers, it recovers, the period ends.
ALONE: list[Step] = [
    *BEGIN,
    sample(INFO, "a"),
    at(11 * SECOND_MS),
    sample(CRITICAL, "b"),
    at(10 * MINUTE_MS),
    *RECOVER,
    at(61 * MINUTE_MS),
]

# Acknowledged between two levels, then resolved by hand.
BY_HAND: list[Step] = [
    *BEGIN,
    sample(CRITICAL, "a"),
    at(30 * SECOND_MS),
    once("violation.ack", by="ann"),
    at(5 * MINUTE_MS),
    once("violation.resolve", by="ann"),
    at(61 * MINUTE_MS),
]


def run(world: World, steps: list[Step]) -> World:
    for step in steps:
        world.do(step)
    world.crash_at = None
    world.do(World.settle)
    return world


def outcome(world: World) -> dict[str, Any]:
    """What must not depend on crashes."""
    row = world.violation()
    levels = [(each["key"], each["channel"], each["status"]) for each in row["escalations"]]
    report = world.request("report", sla="api", period="last")["document"]
    return {
        "violation": {key: row[key] for key in row if key not in ("escalations", "remediation_actions")},
        "levels": levels,
        "told": sorted((channel, each.id, str(recipient)) for channel, each, recipient in set_of(world)),
        "ledger": world.ledger(),
        "status": {**world.status(), "metrics": None},
        "accounts": report["metrics"],
        "samples": world.metric()["samples_accepted"],
        "actors": sorted(world.host.addresses()),
    }


def set_of(world: World) -> list[Any]:
    """Every message once: the other side recognises a repetition by its id."""
    return list({(name, each.id, str(to)): (name, each, to) for name, each, to in world.sent}.values())


@pytest.mark.parametrize("steps", [ALONE, BY_HAND], ids=["alone", "by hand"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_commit_changes_nothing(make_world: MakeWorld, steps: list[Step], when: Any) -> None:
    calm = run(make_world(), steps)
    expected = outcome(calm)
    assert expected["violation"]["status"] == "resolved"
    assert len(expected["ledger"]) == 1
    for number in range(1, calm.commits + 1):
        world = make_world()
        world.crash_at = (number, when)
        assert outcome(run(world, steps)) == expected, f"{when} commit {number}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cell_that_crashes_at_every_second_commit_gets_there_too(make_world: MakeWorld, when: Any) -> None:
    expected = outcome(run(make_world(), ALONE))
    world = make_world()
    for step in ALONE:
        world.crash_at = (world.commits + 2, when)
        world.do(step)
    world.crash_at = None
    world.do(World.settle)
    assert outcome(world) == expected


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_snapshot_between_any_two_steps_changes_nothing(make_world: MakeWorld, when: Any) -> None:
    expected = outcome(run(make_world(), ALONE))
    for number in range(1, len(ALONE)):
        world = make_world()
        for step in ALONE[:number]:
            world.do(step)
        assert world.partition is not None
        world.host.snapshot(world.partition)
        world.crash_at = (world.commits + 1, when)
        assert outcome(run(world, ALONE[number:])) == expected, number


def remediating() -> EnforcementPolicy:
    return enforcement(
        automatic_actions=[action()],
        remedies={"reboot": {"type": "command", "argv": ["reboot"]}},
        remediation={"verify_after": "30s", "backoff": "10s", "max_remediation_attempts": 3},
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_during_remediation_repeats_no_attempt_under_another_key(
    make_world: MakeWorld, when: Any
) -> None:
    steps: list[Step] = [*BEGIN, sample(INFO, "a"), at(20 * SECOND_MS), *RECOVER]
    calm = run(make_world(remediating()), steps)
    for number in range(1, calm.commits + 1):
        world = make_world(remediating())
        world.crash_at = (number, when)
        run(world, steps)
        row = world.violation()
        attempts = [each["attempt"] for each in row["remediation_actions"]]
        assert attempts == list(range(1, len(attempts) + 1)), f"{when} commit {number}"
        assert len(attempts) <= 3
        assert {each["status"] for each in row["remediation_actions"]} <= {"completed", "failed"}
        assert (row["status"], len(world.ledger())) == ("resolved", 1)
        assert world.host.addresses("remediation") == []


def test_an_attempt_that_a_crash_interrupts_is_verified_and_then_followed_by_another(
    make_world: MakeWorld,
) -> None:
    world = make_world(remediating())
    world.define()
    world.request("samples", samples=[["latency", INFO, None, None, None]])
    world.turn()
    assert len(world.executor.waiting) > 0
    world.restart()
    world.settle()
    [first] = world.violation()["remediation_actions"]
    assert (first["status"], "interrupted" in first["result"]) == ("failed", True)
    world.pass_time(39 * SECOND_MS)
    assert world.remedied == []
    world.pass_time(1 * SECOND_MS)
    assert [each["attempt"] for each in world.violation()["remediation_actions"]] == [1, 2]
    assert len(world.remedied) == 1


def test_an_escalation_goes_on_at_its_level_and_deadline(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(CRITICAL)
    world.pass_time(50 * SECOND_MS)
    world.restart()
    world.pass_time(9 * SECOND_MS)
    assert len(world.told("escalation")) == 1
    world.pass_time(1 * SECOND_MS)
    assert [each.details["escalation"]["level"] for each in world.told("escalation")] == [0, 1]
    counts = Counter(each.id for _, each, _ in world.sent)
    assert set(counts.values()) == {1}


def test_a_batch_sent_again_after_a_crash_counts_once(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD, batch_id="b1")
    world.restart()
    assert world.observe(GOOD, batch_id="b1")["accepted"] == [0]
    assert (world.metric()["samples_accepted"], world.metric()["samples_duplicate"]) == (1, 1)


def test_a_batch_that_was_lost_with_the_crash_counts_when_it_comes_again(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.crash_at = (world.commits + 1, "before")
    world.do(sample(GOOD, "b1"))
    assert (world.metric()["samples_accepted"], world.metric()["samples_duplicate"]) == (1, 0)


def test_defining_the_configured_contracts_at_every_start_changes_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(CRITICAL)
    before = (world.violation(), world.shown()["version"])
    world.restart()
    assert world.define(contract())["version"] == 1
    assert (world.violation(), world.shown()["version"]) == before
