"""logs: how reports read."""

import logging

import pytest

from slakeeper.otp.child_spec import ONE_FOR_ONE, Flags
from slakeeper.otp.crash_report import MAX_SHOWN_CHARS
from tests.conformance.fake_children import worker
from tests.conformance.light import OnHost


def test_format_log_1(host: OnHost, caplog: pytest.LogCaptureFixture) -> None:
    """One line with the supervisor, what happened, to whom, and why; errors are errors and progress is not."""
    with caplog.at_level(logging.INFO, "slakeeper.otp"):
        host.start(Flags(ONE_FOR_ONE, 1, 10), worker("child1", ["up", "up", "no port"]))
        host.exit("child1", "boom")
        host.exit("child1", "bang")
    reports = [(record.levelname, record.message) for record in caplog.records]
    assert reports == [
        ("INFO", "top: progress child1 started supervised"),
        ("ERROR", "top: child_terminated child1 boom"),
        ("INFO", "top: progress child1 started supervised"),
        ("ERROR", "top: child_terminated child1 bang"),
        ("ERROR", "top: shutdown child1 reached_max_restart_intensity bang"),
    ]


def test_format_log_2(host: OnHost) -> None:
    """OTP's chars_limit: of a large term only the beginning is shown."""
    host.start(Flags(ONE_FOR_ONE, 5, 10), worker("child1"))
    host.host.cast("child1", "x" * 100_000)
    host.later()
    report = host.host.crash_reports[-1]
    assert report.address == "child1"
    assert report.message == "'" + "x" * (MAX_SHOWN_CHARS - 1) + "…"
