"""Quarantine: one bad child of many is set aside; docs/adr/0003-quarantine-and-backoff.md."""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import TEMPORARY, TRANSIENT, Flags, Quarantine, Restart
from slakeeper.otp.supervisor import (
    DeleteRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    RestartRequested,
    StartRequested,
    TerminateRequested,
)
from tests.unit.otp.supervisor_world import IGNORE, World, spec

POLICY = Quarantine(3, 60, Backoff(100, 10_000, jitter_ratio=0))
FLAGS = Flags(intensity=0, quarantine=POLICY)


def pair() -> World:
    return World(FLAGS, spec("bad"), spec("good"))


def quarantined() -> World:
    world = pair()
    for _ in range(4):
        world.later(1_000)
        world.crash("bad")
    assert world.status("bad") == "quarantined"
    return world


def test_the_first_restart_comes_at_once_and_the_waits_before_the_next_ones_double() -> None:
    world = pair()
    world.crash("bad")
    assert world.status("bad") == "running"
    waits = []
    for _ in range(2):
        world.crash("bad")
        assert world.status("bad") == "restarting"
        waits.append(world.retries[0][0] - world.now_ms)
        world.later(waits[-1] - 1)
        assert world.status("bad") == "restarting"
        world.later(1)
        assert world.status("bad") == "running"
    assert waits == [100, 200]


def test_past_its_own_intensity_a_child_is_set_aside_and_nobody_else_is_touched() -> None:
    world = quarantined()
    assert world.log.count("start bad") == 4
    assert world.log.count("start good") == 1
    assert world.running == ["good"]
    assert world.ended is None
    report = world.reports[-1]
    assert (report.kind, report.child_id, report.reason) == ("quarantined", "bad", "boom")
    assert report.detail == "4 failures within 60 s"


def test_a_quarantined_child_is_kept_and_shown_and_stays_where_it_is() -> None:
    world = quarantined()
    world.later(1_000_000)
    shown = core.which_children(world.state)[1]
    assert (shown.id, shown.pid, shown.status, shown.restarts) == ("bad", None, "quarantined", 3)
    assert world.refusal(StartRequested, spec("bad")) == "already_present"


@pytest.mark.parametrize("kind", [ReleaseRequested, RestartRequested])
def test_a_released_child_starts_with_its_count_at_zero(
    kind: type[ReleaseRequested | RestartRequested],
) -> None:
    world = quarantined()
    assert isinstance(world.ask(kind, "bad"), Ok)
    for _ in range(3):
        assert world.status("bad") == "running"
        world.crash("bad")
        world.later(1_000)
    world.crash("bad")
    assert world.status("bad") == "quarantined"


def test_a_release_that_fails_leaves_it_in_quarantine() -> None:
    world = quarantined()
    world.starts["bad"].append("no port")
    assert world.ask(ReleaseRequested, "bad") == Error(Refusal.START_ERROR, detail="no port")
    assert world.status("bad") == "quarantined"
    assert world.retries == []


def test_a_quarantined_child_can_be_terminated_and_deleted() -> None:
    world = quarantined()
    assert world.ask(TerminateRequested, "bad") == Ok()
    assert world.status("bad") == "stopped"
    assert world.refusal(ReleaseRequested, "bad") == "not_quarantined"
    assert quarantined().ask(DeleteRequested, "bad") == Ok()


def test_only_a_quarantined_child_can_be_released() -> None:
    world = pair()
    assert world.refusal(ReleaseRequested, "bad") == "not_quarantined"
    assert world.refusal(ReleaseRequested, "nobody") == "not_found"


def test_failures_that_lie_long_ago_do_not_count() -> None:
    world = pair()
    for _ in range(20):
        world.later(61_000)
        world.crash("bad")
        assert world.status("bad") == "running", "the first restart within a period does not wait"


def test_starts_that_fail_count_like_crashes() -> None:
    world = pair()
    world.starts["bad"].extend(["no port"] * 100)
    mark = world.mark
    world.crash("bad")
    while world.retries:
        world.later(world.retries[0][0] - world.now_ms)
    assert world.since(mark) == ["start bad"] * 3
    assert world.status("bad") == "quarantined"
    assert world.reports[-1].reason == "no port"


@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_that_fails_in_init_does_not_keep_the_others_from_starting(restart: Restart) -> None:
    world = World(FLAGS, spec("bad", restart=restart), spec("good"), begin=False)
    world.starts["bad"].append("no port")
    world.tell(core.Begin())
    assert world.was_ready
    assert world.running == ["good"]
    world.later()
    assert world.running == (["good"] if restart is TEMPORARY else ["bad", "good"])


def test_a_retry_that_is_due_during_init_waits_for_its_end() -> None:
    world = World(FLAGS, spec("bad"), spec("slow"), begin=False)
    world.starts["bad"].append("no port")
    world.starts["slow"].append("hang")
    world.tell(core.Begin())
    world.later()
    assert world.log == ["start bad", "start slow"]
    world.finish_start("slow")
    assert world.log == ["start bad", "start slow", "up slow", "ready", "start bad", "up bad"]


def test_a_requested_start_that_fails_is_the_askers_affair() -> None:
    world = pair()
    world.starts["new"].append("no port")
    assert world.refusal(StartRequested, spec("new")) == "start_error"
    assert core.get_childspec(world.state, "new") is None


def test_restart_types_mean_what_they_always_do() -> None:
    world = World(FLAGS, spec("t", restart=TRANSIENT), spec("u", restart=TEMPORARY), spec("p"))
    for child_id, reason in (("t", "normal"), ("u", "boom"), ("p", "normal")):
        world.crash(child_id, reason)
    assert world.running == ["p"]
    assert core.child_ids(world.state) == ["t", "p"]


def test_an_ignored_retry_is_a_success() -> None:
    world = pair()
    world.starts["bad"].append(IGNORE)
    world.crash("bad")
    assert world.status("bad") == "stopped"


def test_terminating_a_child_that_waits_for_its_retry_cancels_it() -> None:
    world = pair()
    world.crash("bad")
    world.crash("bad")
    assert world.ask(TerminateRequested, "bad") == Ok()
    world.later(100_000)
    assert world.status("bad") == "stopped"


def test_children_that_fail_together_are_not_restarted_together() -> None:
    policy = Quarantine(3, 60, Backoff(1_000, 10_000, jitter_ratio=1))
    names = [f"sla-{index}" for index in range(100)]
    world = World(Flags(quarantine=policy), *(spec(name) for name in names))
    for _ in range(2):
        for name in names:
            world.crash(name)
    assert len({at_ms for at_ms, _ in world.retries}) > 80
