"""The service in the foreground with its demo: what it shows, what it heals by itself, and how Ctrl-C ends it."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import assert_gone, until
from tests.system.service import COMMAND, ROOT, MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]


class Foreground:
    """``slakeeper start --demo`` with its output in a pipe, in a process group of its own as a shell gives it.

    Args:
        terminal: its output is a terminal instead.
    """

    def __init__(self, service: Service, *, terminal: bool = False) -> None:
        self.service = service
        self.lines: list[str] = []
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [*COMMAND, "--data", str(service.data), *service.start_arguments, "--demo"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "80"},
            process_group=0,
        )
        os.close(theirs)
        self._output = os.fdopen(ours, encoding="utf-8", newline="")
        self._reader = threading.Thread(target=self._read, name="output")
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        # A terminal that nobody has open any more is an error to read; a pipe just ends.
        with self._output, contextlib.suppress(OSError):
            self.lines.extend(self._output)

    def press_ctrl_c(self) -> int:
        """Sends what a terminal sends, to the whole group; returns the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        status = self.process.wait(30)
        self._reader.join(10)
        return status


@pytest.fixture
def foreground(make_service: MakeService, tmp_path: Path) -> Iterator[Foreground]:
    config = write_config(tmp_path / "config", [contract("shop", [metric("latency")])])
    one = Foreground(make_service(config))
    yield one
    one.process.kill()
    one.end()


def test_the_demo_is_shown_broken_healed_and_stopped_by_ctrl_c(foreground: Foreground) -> None:
    service = foreground.service
    found = until(lambda: re.search(r"curl -X POST (http://127\.0\.0\.1:\d+)/fault/slow", foreground.text))
    assert f"slakeeper running · http://{service.run()['http']} · data {service.data}" in foreground.text

    with urllib.request.urlopen(urllib.request.Request(f"{found[1]}/fault/slow", method="POST")) as answer:
        assert answer.read() == b"fault: slow\n"
    opened = until(lambda: service.violation("shop_latency"), what="the violation")
    assert opened["sla_id"] == "demo_shop"
    assert opened["actual_value"] > 150
    healed = until(lambda: service.violation("shop_latency", "resolved"), 40, "the recovery")
    assert healed["id"] == opened["id"]
    record = until(
        lambda: [
            each
            for each in service.violations(resolved=True)
            if [one["result"].partition(":")[0] for one in each["remediation_actions"]] == ["effective"]
        ],
        what="the action's verdict",
    )
    (action,) = record[0]["remediation_actions"]
    assert (action["name"], action["action_type"], action["status"]) == (
        "restart_shop",
        "automatic",
        "completed",
    )
    with urllib.request.urlopen(found[1]) as answer:
        assert answer.read() == b"fault: none\n"
    assert re.search(r"violation opened: demo_shop shop_latency at \d", foreground.text)
    until(lambda: "action restart_shop: effective" in foreground.text, what="the news")
    assert "violation resolved: demo_shop shop_latency" in foreground.text
    old = service.pid("cell-1")
    os.kill(old, signal.SIGKILL)
    until(lambda: f"cell-1 is another process: {service.pid('cell-1')}, was {old}" in foreground.text)
    # What does not change is said once.
    assert foreground.text.count("slakeeper running") == 1
    assert foreground.text.count("to break the demo") == 1

    processes, sockets = service.everything(), service.sockets()
    assert foreground.press_ctrl_c() == 0
    assert foreground.text.endswith("slakeeper stopped\n")
    assert "do not answer" not in foreground.text
    assert_gone(processes, sockets)
    # In order, not in haste: everything that was journalled is in a snapshot as well.
    journals = {
        path.parent for path in service.data.glob("partitions/*/journal-*") if path.stat().st_size > 100
    }
    assert {path.parent for path in service.data.glob("partitions/*/snapshot-*")} >= journals != set()


def test_on_a_terminal_everything_is_shown_as_one_picture(make_service: MakeService, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", [contract("shop", [metric("latency")])])
    service = make_service(config)
    shown = Foreground(service, terminal=True)
    try:
        for text in ("slakeeper running", "No open violations.", "demo_shop", "try, in another terminal:"):
            until(lambda text=text: text in shown.text, what=text)  # type: ignore[misc]
        until(lambda: re.search(r"processes:.* heart \d+", shown.text), what="the processes")
        service.observe("latency", 500)
        until(lambda: "violation opened: shop latency at 500" in shown.text, what="the news")
        assert shown.press_ctrl_c() == 0
        assert "slakeeper stopped" in shown.text
    finally:
        shown.process.kill()
        shown.end()


def test_ctrl_c_while_it_starts_leaves_nothing(foreground: Foreground) -> None:
    until(foreground.service.data.is_dir, what="the data directory")
    foreground.press_ctrl_c()
    # The fixture finds nothing of it left.


def test_ctrl_c_in_the_middle_of_its_fork_is_not_lost(make_service: MakeService) -> None:
    pressed_once = (
        "import os, signal, sys; from slakeeper.cli import main; forks = iter([os.getpid()]);"
        "press = lambda: next(forks, None) == os.getpid() and os.kill(os.getpid(), signal.SIGINT);"
        "os.register_at_fork(after_in_parent=press); main(sys.argv[1:], prog_name='slakeeper')"
    )
    service = make_service()
    arguments = ["--data", str(service.data), *service.start_arguments]
    done = subprocess.run(
        [sys.executable, "-c", pressed_once, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "slakeeper: stopped while it was starting\n"), done


def test_a_killed_foreground_takes_the_service_with_it(foreground: Foreground) -> None:
    until(lambda: "slakeeper running" in foreground.text, what="the status")
    processes, sockets = foreground.service.everything(), foreground.service.sockets()
    foreground.process.kill()
    foreground.end()
    until(lambda: not any(process.alive() for process in processes), what="the end of all processes")
    assert_gone(processes, sockets)


def test_a_start_without_the_demo_says_that_its_contract_is_left(make_service: MakeService) -> None:
    service = make_service()
    assert service.cli(*service.start_arguments, "--demo", "--detach").code == 0
    service.stop()
    answer = service.cli(*service.start_arguments, "--detach")
    assert answer.code == 0
    assert answer.complaint.endswith("slakeeper sla remove demo_shop")
    assert service.cli("sla", "remove", "demo_shop").code == 0
    service.stop()
    assert service.cli(*service.start_arguments, "--detach").err == ""
