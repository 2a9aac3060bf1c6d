"""Asking a running system from outside, and the root supervisor from inside."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import attach
from slakeeper.otp.control import Request
from slakeeper.otp.transport import TransmitIntent, actor_address
from tests.system.running_system import PILLARS, PROCESSES, System, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def test_an_answer_comes_back_quickly(system: System) -> None:
    until(system.works)
    took_s = []
    for _ in range(5):
        began = time.monotonic()
        assert system.ask("echo", {"text": "hello", "list": [1, 2]}) == {"text": "hello", "list": [1, 2]}
        took_s.append(time.monotonic() - began)
    assert min(took_s) < 0.15


def test_a_large_answer_comes_back_whole(system: System) -> None:
    text = os.urandom(1_000_000).hex()
    assert system.ask("echo", {"text": text}) == {"text": text}


def test_a_refusal_has_a_code_and_details(system: System) -> None:
    with pytest.raises(attach.RequestFailed) as caught:
        system.ask("refuse")
    assert (caught.value.code, str(caught.value), caught.value.details) == (
        "conflict",
        "told to refuse",
        {"hint": "none"},
    )


def test_an_unexpected_error_is_internal(system: System) -> None:
    with pytest.raises(attach.RequestFailed) as caught:
        system.ask("raise")
    assert (caught.value.code, str(caught.value)) == ("internal", "ValueError: told to raise")


def test_a_slow_request_keeps_neither_heartbeats_nor_other_requests_waiting(system: System) -> None:
    until(system.works)
    pid = system.pid("admin")
    slow = threading.Thread(target=lambda: system.ask("slow", {"s": 4}, 10.0))
    slow.start()
    assert system.ask("echo", {"a": 1}, 2.0) == {"a": 1}
    slow.join()
    assert system.pid("admin") == pid


def test_too_slow_an_answer_times_out(system: System) -> None:
    began = time.monotonic()
    with pytest.raises(attach.TimedOut):
        system.ask("slow", {"s": 3}, 0.3)
    assert time.monotonic() - began < 1.5


def test_nothing_runs_on_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(attach.NotRunning), attach.Client(tmp_path) as client:
        client.request("echo", {})


def test_a_request_survives_the_restart_of_the_process_it_is_for(system: System) -> None:
    until(system.works)
    pid = system.pid("admin")
    with attach.Client(system.data) as client:
        client.request("echo", {})
        os.kill(pid, 9)
        # Asked of the dead, the client finds its successor's address by itself.
        assert client.request("echo", {"a": 2}, 20.0) == {"a": 2}


def test_a_request_said_twice_is_done_once(system: System, tmp_path: Path) -> None:
    until(system.works)
    run = system.run()
    target = actor_address(int(run["admin_address"].rpartition(":")[2]))
    before = system.ask_root("processes")["processes"]
    with attach.Client(system.data) as client:
        client.request("echo", {})
        spec = {"name": "once", "entry": "tests.system.echo_service:echo", "args": {}}
        payload = {"name": "start_process", "payload": {"spec": spec}}
        request = Request("the-same-id", "root", payload)
        transport = client._transport
        replies = []
        for _ in range(3):
            transport.scheduleTransmit(None, TransmitIntent(target, request))
            transport.scheduleTransmit(None, TransmitIntent(target, request))
            replies.append(transport.run(None, 5).message)
    # Always the same answer, and not one "already started".
    assert all(reply.error is None for reply in replies)
    assert len({reply.result["pid"] for reply in replies}) == 1
    assert len(system.ask_root("processes")["processes"]) == len(before) + 1
    system.ask_root("stop_process", {"name": "once"})


def test_the_root_lists_every_process_with_its_beat(system: System) -> None:
    until(system.works)
    lines = {line["name"]: line for line in system.ask_root("processes")["processes"]}
    assert set(lines) >= {"heart", *PILLARS, *PROCESSES}
    assert lines["cell-0"]["actors"] == 1
    assert lines["cell-0"]["status"] == "running"
    for line in lines.values():
        if line["pid"] is not None:
            assert os.path.exists(f"/proc/{line['pid']}")


def test_processes_can_be_added_stopped_and_started_again(system: System) -> None:
    until(system.works)
    spec = {"name": "cell-extra", "entry": "tests.system.echo_service:echo", "args": {"listen": True}}
    started = system.ask_root("start_process", {"spec": spec})
    assert started["facts"]["http"].startswith("127.0.0.1:")
    refused(lambda: system.ask_root("start_process", {"spec": spec}), "conflict", "already_started")
    system.ask_root("stop_process", {"name": "cell-extra"})
    assert status(system, "cell-extra") == ("stopped", None)
    again = system.ask_root("restart_process", {"name": "cell-extra"})
    assert status(system, "cell-extra") == ("running", again["pid"])
    system.ask_root("stop_process", {"name": "cell-extra"})


def test_the_root_refuses_what_it_cannot_do(system: System) -> None:
    refused(lambda: system.ask_root("kill", {"name": "nobody"}), "not_found", "nobody")
    refused(lambda: system.ask_root("stop_process", {"name": "nobody"}), "not_found", "not_found")
    refused(lambda: system.ask_root("restart_process", {"name": "nobody"}), "not_found", "not_found")
    refused(lambda: system.ask_root("dance"), "not_found", "dance")
    refused(
        lambda: system.ask_root("start_process", {"spec": {"name": "x", "entry": "nowhere"}}),
        "invalid",
        "entry",
    )
    refused(lambda: system.ask_root("start_process", {}), "invalid", "spec")


def test_a_process_killed_by_request_comes_back(system: System) -> None:
    until(system.works)
    pid = system.pid("gateway")
    assert system.ask_root("kill", {"name": "gateway"})["pid"] == pid
    system.back_without("gateway", pid)


def test_the_whole_system_stops_by_request(tmp_path: Path) -> None:
    one = System(tmp_path / "data")
    one.start()
    try:
        # The answer may be overtaken by the end.
        with contextlib.suppress(attach.NotRunning, attach.TimedOut):
            one.ask_root("stop")
        assert one.heart is not None
        one.heart.communicate(timeout=30)
        assert one.heart.returncode == 0
    finally:
        one.kill()


def refused(act: Callable[[], Any], code: str, text: str) -> None:
    with pytest.raises(attach.RequestFailed, match=text) as caught:
        act()
    assert caught.value.code == code


def status(system: System, name: str) -> tuple[str, int | None]:
    lines = {line["name"]: line for line in system.ask_root("processes")["processes"]}
    return lines[name]["status"], lines[name]["pid"]
