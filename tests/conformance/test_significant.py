"""significant: a supervisor that ends when its work is done (auto_shutdown)."""

import pytest

from slakeeper.otp.child_spec import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    AutoShutdown,
    ChildSpec,
    Flags,
    Restart,
    SpecError,
    Strategy,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import subtree, worker
from tests.conformance.host_family import Kin, KinSupervisor

NEVER, ANY, ALL = AutoShutdown.NEVER, AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT
STRATEGIES = pytest.mark.parametrize("strategy", [ONE_FOR_ONE, REST_FOR_ONE, ONE_FOR_ALL])


def flags(auto_shutdown: AutoShutdown, strategy: Strategy = ONE_FOR_ONE) -> Flags:
    return Flags(strategy, 3, 3_600, auto_shutdown=auto_shutdown)


def child(child_id: str, restart: Restart = TRANSIENT, *, significant: bool = True) -> ChildSpec:
    return worker(child_id, restart=restart, significant=significant)


def pair(kin: Kin, auto_shutdown: AutoShutdown, restart: Restart = TRANSIENT) -> KinSupervisor:
    """A supervisor of two significant children and one that is not."""
    return kin.start(
        flags(auto_shutdown), child("a", restart), child("b", restart), worker("c", restart=PERMANENT)
    )


def test_nonsignificant_temporary(kin: Kin) -> None:
    for auto_shutdown in (ANY, ALL):
        for reason in ("normal", "shutdown", "abnormal"):
            sup = kin.start(flags(auto_shutdown), child("a", TEMPORARY, significant=False))
            sup.exit("a", reason)
            assert sup.ended is None


def test_nonsignificant_transient(kin: Kin) -> None:
    for auto_shutdown in (ANY, ALL):
        for reason in ("normal", "shutdown", "abnormal"):
            sup = kin.start(flags(auto_shutdown), child("a", significant=False))
            sup.exit("a", reason)
            assert sup.ended is None


def test_significant_temporary(kin: Kin) -> None:
    """Any end of it counts."""
    for reason in ("normal", "shutdown", "shutdown: x", "abnormal", "killed"):
        sup = pair(kin, ANY, TEMPORARY)
        sup.exit("a", reason)
        assert sup.ended == "shutdown"
        sup = pair(kin, ALL, TEMPORARY)
        sup.exit("a", reason)
        assert sup.ended is None
        sup.exit("b", reason)
        assert sup.ended == "shutdown"


def test_significant_transient(kin: Kin) -> None:
    """Only a normal end counts: after any other it is restarted."""
    for auto_shutdown in (ANY, ALL):
        sup = pair(kin, auto_shutdown)
        sup.exit("a", "abnormal")
        assert len([pid for _, pid in sup.which_children() if pid]) == 3
        sup.exit("a", "normal")
        assert sup.ended == ("shutdown" if auto_shutdown is ANY else None)
        if auto_shutdown is ALL:
            sup.exit("b", "shutdown: x")
            assert sup.ended == "shutdown"


def test_significant_simple(kin: Kin) -> None:
    """Rejected: there is no such thing under simple_one_for_one."""
    for auto_shutdown in (ANY, ALL):
        with pytest.raises(SpecError) as caught:
            flags(auto_shutdown, SIMPLE_ONE_FOR_ONE)
        assert (caught.value.where, caught.value.reason) == ("supervisor_data", "bad_combination")
    with pytest.raises(SpecError) as caught:
        kin.start(flags(NEVER, SIMPLE_ONE_FOR_ONE), child("a"))
    assert (caught.value.where, caught.value.reason) == ("start_spec", "bad_combination")


@STRATEGIES
def test_significant_bystander(kin: Kin, strategy: Strategy) -> None:
    """Only its own end counts: not one that is asked for, nor one for a sibling's sake."""
    for restart in (TRANSIENT, TEMPORARY):
        sup = kin.start(flags(ANY, strategy), worker("a"), child("b", restart))
        sup.exit("a", "abnormal")
        assert sup.ended is None
        if restart is TRANSIENT or strategy is ONE_FOR_ONE:
            assert sup.terminate_child("b") == Ok()
        assert sup.ended is None
        assert sup.which_children()[-1] == ("a", sup.pid("a"))


def test_significant_escalation(kin: Kin) -> None:
    """The end goes on upwards if the supervisor is significant itself, and stops there if it is not."""
    for significant in (True, False):
        inner = subtree("inner", flags(ANY), child("a"), restart=TRANSIENT, significant=significant)
        sup = kin.start(flags(ANY), inner, worker("other"))
        kin.supervisors["inner"].exit("a", "normal")
        assert kin.supervisors["inner"].ended == "shutdown"
        assert sup.ended == ("shutdown" if significant else None)
        assert sup.which_children()[-1] == ("inner", None)


# -- upgrades: a change of the flags counts from the next end on --------------------------------------------------


def changed(kin: Kin, before: AutoShutdown, after: AutoShutdown) -> KinSupervisor:
    """Two children under flags that changed while they ran, significant where that makes sense."""
    specs = [child("a", significant=before is not NEVER), child("b", significant=before is not NEVER)]
    sup = kin.start(flags(before), *specs, worker("c"))
    specs = [child("a", significant=after is not NEVER), child("b", significant=after is not NEVER)]
    pids = sup.which_children()
    assert sup.code_change(flags(after), *specs, worker("c")) == Ok()
    assert sup.which_children() == pids
    return sup


def ends_after(sup: KinSupervisor, *child_ids: str) -> bool:
    """Whether the last of these normal ends, and none before, ends the supervisor."""
    for child_id in child_ids:
        assert sup.ended is None
        sup.exit(child_id, "normal")
    return sup.ended == "shutdown"


def test_significant_upgrade_never_any(kin: Kin) -> None:
    assert ends_after(changed(kin, NEVER, ANY), "a")


def test_significant_upgrade_any_never(kin: Kin) -> None:
    assert not ends_after(changed(kin, ANY, NEVER), "a", "b")


def test_significant_upgrade_never_all(kin: Kin) -> None:
    assert ends_after(changed(kin, NEVER, ALL), "a", "b")


def test_significant_upgrade_all_never(kin: Kin) -> None:
    assert not ends_after(changed(kin, ALL, NEVER), "a", "b")


def test_significant_upgrade_any_all(kin: Kin) -> None:
    assert ends_after(changed(kin, ANY, ALL), "a", "b")


def test_significant_upgrade_all_any(kin: Kin) -> None:
    assert ends_after(changed(kin, ALL, ANY), "b")


def test_significant_upgrade_child(kin: Kin) -> None:
    """A child that becomes significant, or no longer is."""
    sup = kin.start(flags(ANY), child("a"), child("b", significant=False))
    swapped = [child("a", significant=False), child("b")]
    assert sup.code_change(flags(ANY), *swapped) == Ok()
    assert ends_after(sup, "a", "b")
    sup = kin.start(flags(ANY), child("a"))
    answer = sup.code_change(flags(NEVER), child("a"))
    assert isinstance(answer, Error)
    assert answer.reason is Refusal.BAD_COMBINATION
    assert ends_after(sup, "a"), "a change that was refused has changed nothing"
