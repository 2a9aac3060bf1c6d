"""OTP's contract on real processes: which come back from which end, and how they are stopped."""

import threading

import pytest

from tests.system.process_tree import ABNORMAL_ENDS, CONTACT, NORMAL_ENDS, ProcessTree
from tests.system.running_system import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


@pytest.mark.parametrize("how", NORMAL_ENDS + ABNORMAL_ENDS)
def test_a_permanent_process_comes_back_from_every_end(tree: ProcessTree, how: str) -> None:
    tree.start_process("one")
    former = tree.end("one", how)
    assert tree.running("one")["one"] != former
    tree.take_away("one")


@pytest.mark.parametrize("how", NORMAL_ENDS)
def test_a_transient_process_stays_away_after_a_normal_end_and_keeps_its_spec(
    tree: ProcessTree, how: str
) -> None:
    tree.start_process("one", restart="transient")
    tree.end("one", how)
    tree.becomes("one", "stopped")
    tree.ask("restart_process", "one")
    tree.take_away("one")


@pytest.mark.parametrize("how", ABNORMAL_ENDS)
def test_a_transient_process_comes_back_from_an_abnormal_end(tree: ProcessTree, how: str) -> None:
    tree.start_process("one", restart="transient")
    tree.end("one", how)
    tree.running("one")
    tree.take_away("one")


@pytest.mark.parametrize("how", NORMAL_ENDS + ABNORMAL_ENDS)
def test_a_temporary_process_does_not_come_back_and_leaves_no_spec(tree: ProcessTree, how: str) -> None:
    tree.start_process("one", restart="temporary")
    tree.end("one", how)
    tree.becomes("one", "gone")
    assert tree.counts() == (1, 1), "the contact alone"


def test_a_process_with_brutal_kill_is_not_asked(tree: ProcessTree) -> None:
    tree.start_process("victim", {"ignore_stop": True}, shutdown_ms="brutal_kill")
    tree.take_away("victim")
    assert "start victim" in tree.log()
    assert "stop victim" not in tree.log()


def test_a_process_with_infinity_has_the_time_it_takes(tree: ProcessTree) -> None:
    tree.start_process("patient", {"stop_s": 0.5}, shutdown_ms="infinity")
    tree.start_process("hurried", {"stop_s": 30.0}, shutdown_ms=200)
    tree.take_away("patient", "hurried")
    assert {"stop patient", "stopped patient", "stop hurried"} <= set(tree.log())
    assert "stopped hurried" not in tree.log()


def test_a_process_that_ends_in_the_middle_of_its_stop_is_stopped(tree: ProcessTree) -> None:
    for name in ("a", "b", "c"):
        tree.start_process(name, {"stop_s": 30.0}, shutdown_ms="infinity")
    askers = [threading.Thread(target=tree.ask, args=("stop_process", name)) for name in ("a", "b", "c")]
    for asker in askers:
        asker.start()
    until(lambda: {"stop a", "stop b", "stop c"} <= set(tree.log()))
    for name, status in zip(("a", "b", "c"), ("exit 0", "exit 3", "kill"), strict=True):
        tree.end(name, status)
    for asker in askers:
        asker.join()
    for name in ("a", "b", "c"):
        tree.becomes(name, "stopped")
    tree.take_away("a", "b", "c")


def test_a_process_whose_restart_always_fails_keeps_nobody_waiting(tree: ProcessTree) -> None:
    tree.start_process("loop", tree.plan("loop", "up fail"))
    tree.end("loop", "kill")
    until(lambda: tree.log().count("start loop") > 5)
    tree.start_process("sibling")
    assert tree.refusal("restart_process", "loop") == "restarting"
    assert tree.counts() == (3, 2)
    before = tree.log().count("start loop")
    until(lambda: tree.log().count("start loop") > before + 2)
    tree.take_away("sibling", "loop")
    assert tree.counts() == (1, 1)


def test_the_contact_too_comes_back(tree: ProcessTree) -> None:
    former = tree.end(CONTACT, "crash told to")
    assert tree.running(CONTACT)[CONTACT] != former
    assert tree.counts() == (1, 1)
