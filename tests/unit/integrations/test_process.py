"""Processes of this machine as a source."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slakeeper.integrations.source import Reading, open_source
from slakeeper.sla.monitoring import ProcessSource

EVERYTHING = ("up", "count", "cpu", "memory", "open_files", "threads", "age")
MARK = f"--mark-of-{os.getpid()}"


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """One that waits to be told to work, and to end."""
    program = "import sys\nfor line in sys.stdin:\n    sum(range(3_000_000)); print('done', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program, MARK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        yield started
        started.kill()


def work(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"work\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"done\n"


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def look(poller: Any) -> dict[str, Reading]:
    return {each.metric: each for each in poller.poll({query: query for query in EVERYTHING})}


def test_a_process_that_runs_is_up_and_takes_something(process: "subprocess.Popen[bytes]") -> None:
    poller = open_source("p", ProcessSource(type="process", pid=process.pid))
    work(process)
    first = look(poller)
    assert first["cpu"].is_silence
    work(process)
    found = {name: reading.value for name, reading in look(poller).items()}
    assert (found["up"], found["count"]) == (100.0, 1.0)
    for name in ("cpu", "memory", "open_files", "threads", "age"):
        value = found[name]
        assert value is not None, name
        assert value > 0, name


def test_it_is_found_by_name_and_arguments(process: "subprocess.Popen[bytes]") -> None:
    work(process)
    name = Path(sys.executable).name
    found = look(open_source("p", ProcessSource(type="process", process=name, args=(MARK,))))
    assert found["count"].value == 1.0
    other = look(open_source("p", ProcessSource(type="process", process=name, args=(MARK, "--other"))))
    assert other["count"].value == 0.0


def test_one_that_has_ended_is_down_and_the_rest_is_silence(process: "subprocess.Popen[bytes]") -> None:
    poller = open_source("p", ProcessSource(type="process", pid=process.pid))
    assert look(poller)["up"].value == 100.0
    end(process)
    found = look(poller)
    assert (found["up"], found["count"]) == (Reading("up", 0.0), Reading("count", 0.0))
    assert all(found[name].is_silence for name in ("cpu", "memory", "open_files", "threads", "age"))


def test_a_pid_file_names_it(process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    file = tmp_path / "worker.pid"
    poller = open_source("p", ProcessSource(type="process", pid_file=str(file)))
    assert look(poller)["up"] == Reading("up", 0.0)
    file.write_text(f"{process.pid}\n")
    assert look(poller)["up"].value == 100.0
    file.write_text("")  # just being written
    assert look(poller)["up"].value == 0.0


@pytest.mark.parametrize("text", ["worker", "-1", "0", "9" * 30, "²"])
def test_a_pid_file_with_something_else_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "worker.pid"
    file.write_text(text)
    found = look(open_source("p", ProcessSource(type="process", pid_file=str(file))))
    assert {reading.error for reading in found.values()} == {f"{file}: holds no process id"}


def test_an_unknown_query_is_an_error_of_its_own() -> None:
    poller = open_source("p", ProcessSource(type="process", pid=os.getpid()))
    wrong, right = poller.poll({"w": "handles", "r": "up"})
    assert str(wrong.error).startswith("unknown query 'handles': up, count, cpu")
    assert right.value == 100.0


@pytest.mark.parametrize("settings", [{}, {"pid": 1, "process": "init"}, {"pid": 0}])
def test_it_is_told_one_way_which(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProcessSource(type="process", **settings)
