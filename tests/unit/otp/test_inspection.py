"""Looking into a host: state, statistics, traces, crash reports, dead letters."""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import ActorSpec, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import AutoShutdown, Flags, Restart, Strategy
from slakeeper.otp.inspection import TRACE_LEASE_MS
from tests.unit.otp.host_world import KINDS, HostWorld


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b")
    return world


def test_an_actor_shows_its_counters_and_ties(world: HostWorld) -> None:
    world.tell("a", lambda ctx: (ctx.cast("b", 1), ctx.monitor("b"), ctx.register("x"), ctx.link("b")))
    world.tell("a", lambda ctx: ctx.set_timer("tick", 9_999, "tick"))
    shown = world.host.inspector.describe("a")
    assert shown["messages_handled"] == 2
    assert shown["messages_sent"] == 1
    assert (shown["timers"], shown["names"], shown["links"], shown["monitors"]) == (
        ["tick"], ["x"], ["b"], ["b"],
    )  # fmt: skip
    assert world.host.inspector.describe("x")["address"] == "a"


def test_a_supervisor_shows_its_flags_and_children(world: HostWorld) -> None:
    world.tell("a", RuntimeError("boom"))
    shown = world.host.inspector.describe("host/dynamic")
    assert (shown["strategy"], shown["intensity"]) == ("one_for_one", 1_000)
    assert shown["children"] == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
    assert shown["children_restarted"] == 1
    assert shown["supervisor"] == "host"


def test_a_trace_shows_messages_in_and_out_and_ends_when_nobody_asks(world: HostWorld) -> None:
    inspector = world.host.inspector
    last = inspector.trace(["a"], None)["last"]
    world.tell("a", lambda ctx: ctx.cast("b", "hello"))
    world.tell("a", "plain")
    world.tell("a", RuntimeError("boom"))
    shown = inspector.trace(["a"], last)
    kinds = [line["what"] for line in shown["lines"]]
    assert kinds == ["in", "out", "in", "in", "exit", "start"]
    assert shown["lines"][1]["detail"] == "b: 'hello'"
    assert inspector.trace(["a"], shown["last"])["lines"] == []
    world.turn(TRACE_LEASE_MS)
    assert not inspector.describe("a")["traced"]


def test_a_trace_that_is_fetched_goes_on(world: HostWorld) -> None:
    inspector = world.host.inspector
    last = inspector.trace(["a"], None)["last"]
    for _ in range(5):
        world.turn(TRACE_LEASE_MS - 1)
        world.tell("a", "still")
        shown = inspector.trace(["a"], last)
        last = shown["last"]
        assert len(shown["lines"]) == 1


def test_a_trace_of_nobody_is_refused(world: HostWorld) -> None:
    with pytest.raises(RequestError):
        world.host.inspector.trace(["nobody"], None)


def test_a_crash_report_has_the_messages_that_led_to_it(world: HostWorld) -> None:
    for number in range(15):
        world.tell("a", number)
        world.tell("b", "noise")
    world.tell("a", RuntimeError("boom"))
    report = world.host.crash_reports[-1]
    assert report.before == (*map(str, range(6, 15)), "RuntimeError('boom')")


def test_a_dead_letter_can_be_delivered_after_all(world: HostWorld) -> None:
    world.tell("c", "too early")
    world.add("c")
    (letter,) = world.host.dead_letters
    world.host.inspector.redeliver(f"host/{letter.number}")
    world.turn()
    assert world.heard("c") == ["too early"]
    assert not world.host.dead_letters
    with pytest.raises(RequestError):
        world.host.inspector.redeliver(f"host/{letter.number}")


def test_a_request_that_was_lost_can_be_done_after_all(world: HostWorld) -> None:
    world.call("c", "later")
    world.add("c")
    world.host.inspector.redeliver(f"host/{world.host.dead_letters[0].number}")
    world.turn()
    assert world.host.inspector.describe("c")["messages_handled"] == 1


# -- the rest of the supervision contract, on the host --------------------------------------------------------


def test_an_actor_may_choose_not_to_run(world: HostWorld) -> None:
    world.add("i", arg="ignore")
    assert not world.host.is_running("i")
    assert world.host.exists("i")
    assert world.host.inspector.describe("i")["status"] == "stopped"


def test_a_pool_makes_children_of_its_template(world: HostWorld) -> None:
    world.host.supervisors.spawn("pool")
    world.host.supervisors.spawn("pool", "given")
    first, second = world.host.addresses()[-2:]
    assert world.host.tree.seats[first].spec.arg == "template"
    assert world.host.tree.seats[second].spec.arg == "given"
    world.tell(first, RuntimeError("boom"))
    assert world.host.is_running(first)
    world.tell(first, lambda ctx: ctx.stop())
    assert not world.host.exists(first)
    assert world.host.is_running(second)
    assert world.host.supervisors.spawn("dynamic") == core.Error(core.Refusal.INVALID_CHILD_SPEC)
    with pytest.raises(RequestError):
        world.host.supervisors.spawn("nobody")


def test_a_significant_actor_takes_its_supervisor_with_it() -> None:
    flags = Flags(Strategy.ONE_FOR_ONE, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    job = SupervisorSpec(
        "job",
        flags,
        (ActorSpec("main", "puppet", None, Restart.TRANSIENT, significant=True), ActorSpec("side", "puppet")),
        Restart.TEMPORARY,
    )
    world = HostWorld(KINDS, job)
    assert world.host.is_running("side")
    world.tell("main", lambda ctx: ctx.stop())
    assert not world.host.is_running("side")
    assert world.host.ended is None
    with pytest.raises(RequestError):
        world.host.inspector.describe("host/job")


def test_a_supervisor_can_be_shown_and_nothing_else(world: HostWorld) -> None:
    for operate in (world.host.inspector.kill, world.host.inspector.suspend, world.host.inspector.resume):
        with pytest.raises(RequestError) as caught:
            operate("host/dynamic")
        assert (caught.value.code, str(caught.value)) == (
            "invalid", "host/dynamic is a supervisor: it can only be shown",
        )  # fmt: skip


def test_the_tree_shows_who_is_suspended(world: HostWorld) -> None:
    world.host.inspector.suspend("a")
    (dynamic,) = (each for each in world.host.tree.describe()["children"] if each["children"])
    assert {each["address"]: (each["status"], each["suspended"]) for each in dynamic["children"]} == {
        "a": ("running", True), "b": ("running", False),
    }  # fmt: skip
