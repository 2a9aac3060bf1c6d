"""What the process half of otp decides without a process: verdicts, requests said twice, lines, logs, specs."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slakeeper.otp import log
from slakeeper.otp.control import Answered, Beat, Reply
from slakeeper.otp.generation import LineReader, LineWriter
from slakeeper.otp.process_child import ProcessChild
from slakeeper.otp.service import ProcessSpec

SPEC = ProcessSpec("cell", "module:factory", heartbeat_ms=100, hang_after_ms=1_000, start_timeout_ms=5_000)


def child(**changes: Any) -> ProcessChild:
    process = SimpleNamespace(pid=7, exitcode=changes.pop("exitcode", None))
    one = ProcessChild(SPEC, 1, None, process, start_due_ms=5_000, heard_at_ms=0, asked_at_ms=0)
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def beat(phase: str) -> Beat:
    return Beat("cell", 1, 7, 4711, phase, {"socket": "/x"} if phase == "running" else {}, {"actors": 3})


def test_a_child_runs_once_its_beat_says_so() -> None:
    one = child()
    assert not one.hear(beat("starting"), 100)
    assert one.hear(beat("running"), 200)
    assert not one.hear(beat("running"), 300)
    assert (one.phase, one.facts, one.stats, one.port) == ("running", {"socket": "/x"}, {"actors": 3}, 4711)


@pytest.mark.parametrize(
    ("state", "now_ms", "verdict"),
    [
        ({}, 900, ""),
        ({}, 1_001, "hung: silent for 1001 ms"),
        ({"heard_at_ms": 4_900}, 5_000, "not started within 5000 ms"),
        ({"phase": "running", "heard_at_ms": 90_000}, 91_000, ""),
        ({"phase": "running", "heard_at_ms": 90_000}, 91_001, "hung: silent for 1001 ms"),
        ({"phase": "stopping", "kill_at_ms": 2_000}, 1_999, ""),
        ({"phase": "stopping", "kill_at_ms": 2_000}, 2_000, "killed"),
        ({"phase": "stopping", "kill_at_ms": None}, 10**9, ""),
    ],
)
def test_verdicts(state: dict[str, Any], now_ms: int, verdict: str) -> None:
    assert child(**state).verdict(now_ms) == verdict


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"exitcode": -signal.SIGKILL}, "killed"),
        ({"exitcode": -signal.SIGSEGV}, "killed by SIGSEGV"),
        ({"exitcode": 3}, "exited with status 3 and no reason"),
        ({"exitcode": 0, "last_words": "shutdown"}, "shutdown"),
        ({"exitcode": -signal.SIGKILL, "sentence": "hung: x", "last_words": "shutdown"}, "hung: x"),
    ],
)
def test_exit_reasons(state: dict[str, Any], reason: str) -> None:
    one = child(**state)
    assert one.ended()
    assert one.exit_reason() == reason


def test_a_request_is_new_once_and_its_answer_is_kept() -> None:
    answered = Answered(limit=2)
    assert answered.is_new("a")
    assert not answered.is_new("a")
    assert answered.get("a") is None
    answered.put(Reply("a", {"x": 1}))
    assert answered.get("a") == Reply("a", {"x": 1})
    answered.is_new("b")
    answered.is_new("c")
    assert answered.get("a") is None
    answered.put(Reply("a"))
    assert answered.get("a") is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"entry": "module"}, "an entry is module:factory"),
        ({"entry": ":factory"}, "an entry is module:factory"),
        ({"heartbeat_ms": 0}, "must not be negative"),
        ({"shutdown_ms": -1}, "must not be negative"),
        ({"heartbeat_ms": 500, "hang_after_ms": 1_000}, "more than two heartbeats"),
    ],
)
def test_a_process_spec_that_cannot_be_is_refused(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        ProcessSpec(**{"name": "x", "entry": "module:factory", **changes})


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    fds = os.pipe()
    yield fds
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue


def test_lines_arrive_whole_and_in_order_however_full_the_pipe(pipe: tuple[int, int]) -> None:
    taken: list[dict[str, Any]] = []
    reader, writer = LineReader(pipe[0], taken.append), LineWriter(pipe[1])
    sent = [{"n": number, "text": "x" * 5_000} for number in range(50)]
    for line in sent:
        writer.send(**line)
    for _ in range(20):
        assert reader.read()
        writer.flush()
    assert taken == sent
    os.close(pipe[1])
    assert not reader.read()


def test_lines_nobody_reads_are_forgotten_from_the_oldest(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], limit=3)
    for number in range(100):
        writer.send(n=number, text="x" * 5_000)
    taken: list[dict[str, Any]] = []
    reader = LineReader(pipe[0], taken.append)
    for _ in range(20):
        reader.read()
        writer.flush()
    numbers = [line["n"] for line in taken]
    assert numbers == sorted(numbers)
    assert numbers[-3:] == [97, 98, 99]


def record(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("some.logger", logging.WARNING, "", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_a_log_line_is_json_with_what_was_given() -> None:
    line = json.loads(
        log.JsonFormatter("cell-0").format(record("%d things\nof note", 3, sla="shop", odd={1}))
    )
    assert line["message"] == "3 things\nof note"
    assert (line["level"], line["logger"], line["process"]) == ("warning", "some.logger", "cell-0")
    assert (line["sla"], line["odd"]) == ("shop", "{1}")
    assert line["at"].endswith("Z")


def test_a_log_line_has_the_traceback() -> None:
    try:
        raise ValueError("bad")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    line = json.loads(log.JsonFormatter().format(made))
    assert line["exception"].endswith("ValueError: bad")


def test_logs_are_rotated_by_size_and_the_writer_follows(tmp_path: Path) -> None:
    path = tmp_path / "slakeeper.log"
    handler = log.JsonFile(str(path))
    for number in range(4):
        handler.emit(record("x" * 100 + str(number)))
        log.rotate(path, limit_bytes=50, keep=2)
    handler.emit(record("last"))
    handler.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "slakeeper.log",
        "slakeeper.log.1",
        "slakeeper.log.2",
    ]
    assert "last" in path.read_text()
    assert path.with_name("slakeeper.log.1").read_text().count("x3") == 1
    log.rotate(path, limit_bytes=10_000, keep=2)
    assert path.exists()
    log.rotate(tmp_path / "none", limit_bytes=1, keep=2)


def test_a_log_of_which_nothing_is_kept_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "slakeeper.log"
    path.write_text("x" * 100)
    log.rotate(path, limit_bytes=50, keep=0)
    assert list(tmp_path.iterdir()) == []
