"""normal, shutdown, abnormal: the restart types against the reasons a child ends with.

A light actor that ends normally is done for good: the host takes a transient one out of the tree, spec and all, where
OTP keeps the spec for a restart_child. So those two cases are the core's alone.
"""

import logging

import pytest

from slakeeper.otp.child_spec import ONE_FOR_ONE, PERMANENT, TEMPORARY, TRANSIENT, Flags, Restart
from slakeeper.otp.supervisor import Ok
from tests.conformance.fake_children import Family, StartError, subtree, worker
from tests.conformance.light import Light, OnHost

FLAGS = Flags(ONE_FOR_ONE, 2, 3_600)


def comes_back(light: Light, restart: Restart, reason: str) -> bool:
    """Whether a child that was started by request comes back as another process."""
    assert light.start_child(worker("child1", restart=restart)) == "ok"
    pid = light.pids()["child1"]
    light.exit("child1", reason)
    assert light.ended is None
    return light.pids().get("child1", pid) != pid


def test_external_start_no_progress_log(core: Family, host: OnHost, caplog: pytest.LogCaptureFixture) -> None:
    """A start by request is no news (the host logs it for debugging alone); one by the supervisor is."""
    sup = core.start(FLAGS, worker("child1"))
    sup.start_child(worker("child2"))
    sup.exit("child2", "boom")
    progress = [(report.child_id, report.detail) for report in sup.reports if report.kind == "progress"]
    assert progress == [("child1", "supervised"), ("child2", "requested"), ("child2", "supervised")]
    with caplog.at_level(logging.INFO, "slakeeper.otp"):
        host.start(FLAGS, worker("child1"))
        assert [record.message for record in caplog.records] == ["top: progress child1 started supervised"]
        host.start_child(worker("child2"))
        assert len(caplog.records) == 1
        host.exit("child2", "boom")
        assert caplog.messages[1:] == [
            "top: child_terminated child2 boom",
            "top: progress child2 started supervised",
        ]


def test_permanent_normal(light: Light) -> None:
    light.start(FLAGS)
    assert comes_back(light, PERMANENT, "normal")


def test_transient_normal(core: Family) -> None:
    sup = core.start(FLAGS, worker("child1", restart=TRANSIENT))
    sup.exit("child1", "normal")
    assert sup.which_children() == [("child1", None)]
    assert sup.counts() == (1, 0, 0, 1)


def test_temporary_normal(light: Light) -> None:
    light.start(FLAGS)
    assert not comes_back(light, TEMPORARY, "normal")
    assert light.start_child(worker("child1")) == "ok", "nothing of it was kept"


def test_permanent_shutdown(light: Light) -> None:
    light.start(FLAGS)
    assert comes_back(light, PERMANENT, "shutdown")
    light.exit("child1", "shutdown: some_info")
    assert list(light.pids()) == ["child1"]


def test_transient_shutdown(core: Family) -> None:
    sup = core.start(FLAGS, worker("child1", restart=TRANSIENT))
    for reason in ("shutdown", "shutdown: some_info"):
        sup.exit("child1", reason)
        assert sup.which_children() == [("child1", None)]
        assert sup.counts() == (1, 0, 0, 1)
        assert isinstance(sup.restart_child("child1"), Ok)


def test_temporary_shutdown(light: Light) -> None:
    light.start(FLAGS)
    for reason in ("shutdown", "shutdown: some_info"):
        assert not comes_back(light, TEMPORARY, reason)
        assert light.pids() == {}


def test_faulty_application_shutdown(light: Light) -> None:
    """The cause is named all the way up."""
    with pytest.raises(StartError) as caught:
        light.start(
            FLAGS, subtree("app", FLAGS, subtree("part", FLAGS, worker("server", ["undefined function"])))
        )
    assert "failed_to_start_child app: shutdown: failed_to_start_child part: shutdown: " in str(caught.value)
    assert "failed_to_start_child server: " in str(caught.value)
    assert str(caught.value).endswith("undefined function")


def test_permanent_abnormal(light: Light) -> None:
    light.start(FLAGS)
    assert comes_back(light, PERMANENT, "abnormal")


def test_transient_abnormal(light: Light) -> None:
    light.start(FLAGS)
    assert comes_back(light, TRANSIENT, "abnormal")


def test_temporary_abnormal(light: Light) -> None:
    light.start(FLAGS)
    assert not comes_back(light, TEMPORARY, "abnormal")
    assert light.pids() == {}
