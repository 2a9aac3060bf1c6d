"""One scenario is broken off at every boundary that it has, each once: nothing is lost, nothing comes out otherwise."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from slakeeper.actors.contract import ContractActor
from slakeeper.actors.contract_event import MetricTurned
from slakeeper.actors.outbox import Delivery, Outbox
from slakeeper.otp.context import Context
from slakeeper.otp.sim_actor import Doom
from slakeeper.otp.sim_cell import SimCell
from slakeeper.otp.sim_fault import CellKilled, Moment, Point
from slakeeper.sla.policy import Severity
from slakeeper.sla.record import DeliveryStatus
from slakeeper.sla.violation import Violation
from tests.simulation.check import archived, ledger
from tests.simulation.recorded import Recorded

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(240)]

# Where to end matters: before each operation on the disk, before the first and before each further of a turn's replies
# and effects. Whatever a turn does before its first write leaves nothing, wherever in it the process ends.
BOUNDARIES = {Point.DISK, Point.COMMITTED, Point.RELEASED}

# Tests of about a quarter of a minute, so that workers can share them.
PROCESS_SHARES, ACTOR_SHARES = 8, 5


@cache
def calm() -> tuple[dict[str, Any], Counter[Point]]:
    """What the scenario comes to when nothing goes wrong, and how many points of each kind it has."""
    points: Counter[Point] = Counter()
    world = Recorded(lambda cell, point: points.update([point]))
    assert world.play() == []
    return world.outcome(), points


def ending_at(number: int) -> Callable[[SimCell, Point], None]:
    """Ends the process at that boundary, counted from 1."""
    left = number

    def watch(cell: SimCell, point: Point) -> None:
        nonlocal left
        left -= point in BOUNDARIES
        if point in BOUNDARIES and not left:
            raise CellKilled(point.value)

    return watch


def test_the_scenario_has_what_can_go_wrong() -> None:
    world = Recorded()
    assert world.play() == []
    outcome = world.outcome()
    assert Counter(each.sla_id for each in archived(world)) == {"api": 2, "web": 2}
    levels = Counter(violation_id for violation_id, _ in outcome["levels"])
    assert sorted(levels.values()) == [2, 3, 3]
    assert sum(world.outside.remedied.values()) == 3
    assert {each.acknowledged_by for each in archived(world)} == {None, "ann"}
    owed = Counter(each.violation_id is None for each in ledger(world))
    assert owed == {False: 4, True: 1}
    assert len(outcome["periods"]) == 1
    assert world.cell.deaths == {"restart": 1}


@pytest.mark.slow
@pytest.mark.parametrize("share", range(PROCESS_SHARES))
def test_a_process_that_ends_at_any_boundary_changes_nothing(share: int) -> None:
    expected, points = calm()
    count = sum(points[each] for each in BOUNDARIES)
    for number in range(1 + share, 1 + count, PROCESS_SHARES):
        world = Recorded(ending_at(number))
        assert world.play() == [], number
        assert world.outcome() == expected, number
        assert any(why.startswith("killed") for why in world.cell.deaths), number


@pytest.mark.slow
@pytest.mark.parametrize("share", range(ACTOR_SHARES))
def test_an_actor_that_fails_in_any_handler_loses_no_more_than_its_message(share: int) -> None:
    _, points = calm()
    for number in range(1 + share, 1 + points[Point.HANDLER], ACTOR_SHARES):
        world = Recorded(doomed=Doom(None, Moment.AFTER, number))
        assert world.play() == [], number
        assert world.topics["actor.crashed"] == 1, number


# -- what is planted --------------------------------------------------------------------------------------------------


def overlooks_what_is_mild(monkeypatch: pytest.MonkeyPatch) -> None:
    opens = ContractActor._open_violation

    def careless(actor: ContractActor, ctx: Context, turn: MetricTurned, severity: Severity) -> None:
        if severity is not Severity.INFO:
            opens(actor, ctx, turn, severity)

    monkeypatch.setattr(ContractActor, "_open_violation", careless)


def takes_silence_for_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken counts as sent; half of it is not taken."""

    def after_failure(outbox: Outbox, ctx: Context, delivery: Delivery, error: BaseException) -> Delivery:
        return replace(delivery, status=DeliveryStatus.SENT, due_ms=None)

    monkeypatch.setattr(Outbox, "_after_failure", after_failure)
    monkeypatch.setattr("tests.simulation.outside.UNREACHABLE_RATIO", 0.5)


def settles_by_another_attainment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slakeeper.actors.ledger.settled_attainment", lambda *_: Fraction(97))


def forgets_what_was_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest value is kept."""

    def update(violation: Violation, value: float, *_: Any) -> Violation:
        return replace(violation, actual_value=value)

    monkeypatch.setattr("slakeeper.sla.violation.update", update)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (overlooks_what_is_mild, "broke its promise, and no violation was opened"),
        (takes_silence_for_success, "is said to be sent, and nobody has got it"),
        (settles_by_another_attainment, "the penalty"),
        (forgets_what_was_worst, "without crashes Spell("),
    ],
)
def test_a_bug_that_is_planted_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    world = Recorded()
    world.outside.is_calm = False
    assert any(found in problem for problem in world.play())
