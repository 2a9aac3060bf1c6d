"""one_for_one, one_for_all, rest_for_one: who is restarted with whom, and when a supervisor gives up."""

from itertools import chain, repeat

from slakeeper.otp.child_spec import ONE_FOR_ALL, ONE_FOR_ONE, REST_FOR_ONE, Flags, Strategy
from tests.conformance.fake_children import UP, worker
from tests.conformance.light import Light


def flags(strategy: Strategy, intensity: int = 2) -> Flags:
    return Flags(strategy, intensity, 3_600)


def test_multiple_restarts(light: Light) -> None:
    """Crashes that are far enough apart are survived for ever."""
    light.start(Flags(ONE_FOR_ONE, 1, 1), worker("child1"))
    light.exit("child1", "boom")
    for _ in range(3):
        light.later(2_100)
        light.exit("child1", "boom")
        assert "child1" in light.pids()
    light.terminate_child("child1")
    assert light.ended is None


def test_one_for_one(light: Light) -> None:
    light.start(flags(ONE_FOR_ONE), worker("child1"), worker("child2"))
    before = light.pids()
    light.exit("child1", "boom")
    after = light.pids()
    assert list(after) == ["child1", "child2"]
    assert after["child1"] != before["child1"]
    assert after["child2"] == before["child2"]
    light.exit("child2", "boom")
    assert light.ended is None
    light.exit("child2", "boom")
    assert light.ended == "shutdown"


def test_one_for_one_escalation(light: Light) -> None:
    """A child that does not start again ends the supervisor, and its siblings with it."""
    never_again = chain([UP], repeat("error"))
    light.start(flags(ONE_FOR_ONE, 4), worker("child1", never_again), worker("child2"))
    light.exit("child1", "boom")
    light.later()
    assert light.ended == "shutdown"
    assert light.log == ["start child1", "start child2", *["start child1"] * 4, "stop child2"]


def test_one_for_all(light: Light) -> None:
    light.start(flags(ONE_FOR_ALL), worker("child1"), worker("child2"))
    before = light.pids()
    light.exit("child1", "boom")
    after = light.pids()
    assert list(after) == ["child1", "child2"]
    assert not set(before.values()) & set(after.values())
    light.exit("child2", "boom")
    assert light.ended is None
    light.exit("child1", "boom")
    assert light.ended == "shutdown"


def test_one_for_all_escalation(light: Light) -> None:
    never_again = chain([UP], repeat("error"))
    light.start(flags(ONE_FOR_ALL, 4), worker("child1"), worker("child2", never_again))
    light.exit("child1", "boom")
    light.later()
    assert light.ended == "shutdown"


def test_one_for_all_other_child_fails_restart(light: Light) -> None:
    """A sibling that was restarted already is stopped again, and all begins anew."""
    light.start(flags(ONE_FOR_ALL, 3), worker("child1"), worker("child2", [UP, "error"]))
    mark = len(light.log)
    light.exit("child1", "die")
    light.later()
    assert light.log[mark:] == [
        "stop child2",
        "start child1",
        "start child2",
        "stop child1",
        "start child1",
        "start child2",
    ]
    assert list(light.pids()) == ["child1", "child2"]


def test_rest_for_one(light: Light) -> None:
    light.start(flags(REST_FOR_ONE), worker("child1"), worker("child2"), worker("child3"))
    before = light.pids()
    light.exit("child2", "boom")
    after = light.pids()
    assert list(after) == ["child1", "child2", "child3"]
    assert {child for child in after if after[child] == before[child]} == {"child1"}
    light.exit("child3", "boom")
    assert light.ended is None
    light.exit("child2", "boom")
    assert light.ended == "shutdown"


def test_rest_for_one_escalation(light: Light) -> None:
    never_again = chain([UP], repeat("error"))
    light.start(flags(REST_FOR_ONE, 4), worker("child1"), worker("child2", never_again))
    light.exit("child1", "boom")
    light.later()
    assert light.ended == "shutdown"


def test_rest_for_one_other_child_fails_restart(light: Light) -> None:
    """A sibling before the one that failed was started well, and is left alone."""
    light.start(flags(REST_FOR_ONE, 3), worker("child1"), worker("child2", [UP, "error"]))
    mark = len(light.log)
    light.exit("child1", "die")
    light.later()
    assert light.log[mark:] == ["stop child2", "start child1", "start child2", "start child2"]
    assert list(light.pids()) == ["child1", "child2"]
