"""A metric that flaps: one notice for all that is not said, shown, survived, and calmed down."""

from collections.abc import Callable

from tests.unit.actors.cell_world import CRITICAL, MINUTE_MS, SECOND_MS, World, enforcement

MakeWorld = Callable[..., World]

OPENINGS = 5


def flap(world: World, value: float = CRITICAL) -> None:
    """In every other interval of ten seconds a violation opens; in the next somebody ends it; the last one stays."""
    for number in range(OPENINGS):
        world.observe(value)
        world.pass_time(10 * SECOND_MS)
        if number < OPENINGS - 1:
            world.request("violation.resolve", id=world.violations()[0]["id"], by="ann")
            world.pass_time(10 * SECOND_MS)


def alerts(world: World) -> list[str]:
    return [each.kind.value for each in world.told(channel="chat") if each.kind.value != "escalation"]


def test_single_violations_are_not_told_and_what_is_open_when_it_is_calm_again_is(
    make_world: MakeWorld,
) -> None:
    world = make_world(enforcement(escalation_policies=[]))
    world.define()
    flap(world)
    assert alerts(world) == ["opened", "resolved", "opened", "resolved", "opened", "flapping_started"]
    (row,) = world.shown()["metrics"]
    assert row["flapping"] is True
    assert 30 < row["flapping_percent"] < 100
    world.restart()
    assert world.shown()["metrics"][0]["flapping"] is True
    world.pass_time(5 * MINUTE_MS)
    (open_one,) = world.violations()
    assert alerts(world)[6:] == ["opened", "resolved", "flapping_ended"]
    assert [each.violation_ids for each in world.told("opened")][-1] == (open_one["id"],)
    (row,) = world.shown()["metrics"]
    assert (row["flapping"], row["flapping_percent"]) == (False, 0)


def test_escalations_go_on(world: World) -> None:
    flap(world)
    assert len({each.violation_ids for each in world.told("escalation")}) == OPENINGS


def test_who_does_not_want_it_is_told_of_each(make_world: MakeWorld) -> None:
    world = make_world(enforcement(escalation_policies=[], alerts={"flapping": False}))
    world.define()
    flap(world)
    assert alerts(world).count("opened") == OPENINGS
    assert world.shown()["metrics"][0]["flapping"] is False
