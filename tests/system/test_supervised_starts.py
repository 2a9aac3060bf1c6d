"""OTP's contract on real processes: how children start, are asked about, and are taken away again."""

import socket
import threading
from typing import Any

import pytest

from slakeeper.otp import attach
from tests.system.process_tree import ENTRY, ProcessTree
from tests.system.running_system import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def test_a_temporary_service_that_is_started_and_not_needed_leaves_no_spec(tree: ProcessTree) -> None:
    assert tree.start_process("brief", {"start": "ignore"}, restart="temporary")["pid"] is None
    tree.becomes("brief", "gone")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"args": {"start": "fail"}}, "RuntimeError: planned to fail"),
        ({"entry": "tests.system.obedient_service:nothing"}, "'NoneType' object has no attribute 'start'"),
        ({"entry": "tests.system.obedient_service:nobody"}, "has no attribute 'nobody'"),
        ({"entry": "tests.system.no_such_module:x"}, "No module named"),
    ],
)
def test_a_process_that_does_not_start_is_answered_with_its_reason_and_leaves_nothing(
    tree: ProcessTree, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(attach.RequestFailed, match="start_error") as caught:
        tree.start_process("doomed", **fields)
    assert reason in str(caught.value)
    tree.becomes("doomed", "gone")


def test_a_service_that_finds_its_place_taken_from_outside_says_so(tree: ProcessTree) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as outside,
        pytest.raises(attach.RequestFailed, match=r"start_error: OSError: .*Address already in use"),
    ):
        tree.start_process("late", {"port": outside.getsockname()[1]})
    tree.becomes("late", "gone")


def test_a_restart_by_request_that_fails_keeps_the_spec(tree: ProcessTree) -> None:
    tree.start_process("fickle", tree.plan("fickle", "up fail up"))
    tree.ask("stop_process", "fickle")
    assert tree.refusal("restart_process", "fickle") == "start_error"
    tree.becomes("fickle", "stopped")
    assert tree.ask("restart_process", "fickle")["pid"] == tree.running("fickle")["fickle"]
    tree.take_away("fickle")


def test_a_spec_has_defaults_for_all_but_its_name_and_entry(tree: ProcessTree) -> None:
    tree.ask("start_process", spec={"name": "plain", "entry": "tests.system.echo_service:echo"})
    assert tree.ask("process_spec", "plain") == {
        "id": "plain",
        "restart": "permanent",
        "shutdown": 5_000,
        "type": "worker",
        "significant": False,
    }
    tree.take_away("plain")
    assert "plain" in tree.refusal("process_spec", "plain")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": ""}, "missing_id"),
        ({"name": None}, "missing_id"),
        ({"entry": "tests.system.echo_service"}, "an entry is module:factory"),
        ({"restart": "sometimes"}, "invalid_restart_type"),
        ({"shutdown_ms": -1}, "must not be negative"),
        ({"shutdown_ms": "soon"}, "invalid_shutdown"),
        ({"significant": "very"}, "invalid_significant"),
        ({"significant": True}, "bad_combination"),
        ({"significant": True, "restart": "transient"}, "bad_combination"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_the_reason(
    tree: ProcessTree, fields: dict[str, Any], reason: str
) -> None:
    spec = {"name": "odd", "entry": ENTRY, **fields}
    assert reason in tree.refusal("start_process", spec=spec)
    assert tree.counts() == (1, 1), "the contact alone"


def test_the_life_of_a_process_by_request(tree: ProcessTree) -> None:
    first = tree.start_process("guest")["pid"]
    assert tree.refusal("start_process", spec={"name": "guest", "entry": ENTRY}) == "already_started"
    assert tree.refusal("restart_process", "guest") == "running"
    assert tree.refusal("delete_process", "guest") == "running"
    tree.ask("stop_process", "guest")
    tree.ask("stop_process", "guest")
    assert tree.refusal("start_process", spec={"name": "guest", "entry": ENTRY}) == "already_present"
    assert tree.ask("restart_process", "guest")["pid"] != first
    tree.take_away("guest")
    for request in ("stop_process", "restart_process", "delete_process"):
        assert tree.refusal(request, "guest") == "not_found"


def test_the_root_counts_its_processes_and_a_restarting_one_is_not_active(tree: ProcessTree) -> None:
    assert tree.counts() == (1, 1)
    tree.start_process("steady")
    tree.start_process("slow", tree.plan("slow", "up hang"))
    assert tree.counts() == (3, 3)
    tree.end("slow", "kill")
    until(lambda: tree.status("slow") == "restarting")
    assert tree.counts() == (3, 2)
    assert tree.refusal("restart_process", "slow") == "restarting"
    assert tree.refusal("delete_process", "slow") == "restarting"
    tree.ask("stop_process", "slow")
    assert tree.counts() == (3, 2)
    tree.take_away("slow", "steady")
    assert tree.counts() == (1, 1)


def test_the_name_of_a_temporary_process_that_has_ended_can_be_used_again(tree: ProcessTree) -> None:
    tree.start_process("once", restart="temporary")
    tree.end("once", "crash told to")
    tree.becomes("once", "gone")
    tree.start_process("once", restart="temporary")
    tree.ask("stop_process", "once")
    tree.becomes("once", "gone")


def test_a_start_by_request_is_not_logged_as_progress_and_a_restart_is(tree: ProcessTree) -> None:
    def progress() -> list[str]:
        return [
            one["message"]
            for one in tree.system.log()
            if one.get("kind") == "progress" and one["child"] == "quiet"
        ]

    tree.start_process("quiet")
    assert not progress()
    tree.end("quiet", "kill")
    tree.running("quiet")
    until(lambda: progress() == ["progress quiet: started"])
    tree.take_away("quiet")


def test_what_the_root_reports_is_in_the_log_with_kind_and_child_and_reason(tree: ProcessTree) -> None:
    tree.start_process("noisy", tree.plan("noisy", "up fail up"))
    tree.end("noisy", "crash told to")
    tree.running("noisy")
    reports = [one for one in tree.system.log() if one.get("child") == "noisy" and one["kind"] != "progress"]
    assert [(one["kind"], one["message"]) for one in reports] == [
        ("child_terminated", "child_terminated noisy: told to"),
        ("start_error", "start_error noisy: RuntimeError: planned to fail"),
    ]
    tree.take_away("noisy")


def test_a_process_that_ignores_its_stop_keeps_nobody_waiting_who_asks_about_another(
    tree: ProcessTree,
) -> None:
    stubborn = tree.start_process("stubborn", {"ignore_stop": True}, shutdown_ms="infinity")["pid"]
    tree.start_process("sibling")
    asker = threading.Thread(target=lambda: tree.ask("stop_process", "stubborn"))
    asker.start()
    until(lambda: "stop stubborn" in tree.log())
    tree.ask("stop_process", "sibling")
    assert tree.ask("restart_process", "sibling")["pid"] == tree.running("sibling")["sibling"]
    tree.start_process("another")
    tree.end("another", "kill")
    tree.running("another")
    assert tree.counts() == (4, 4)
    assert tree.pid("stubborn") == stubborn, "all the while it is stopping"
    tree.end("stubborn", "kill")
    asker.join()
    tree.take_away("stubborn", "sibling", "another")
