"""The audit chain of a real service: whole after kills, and each change of its files found and placed."""

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import kill, until
from tests.system.service import COMMAND, ROOT, MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]


@pytest.fixture
def service(tmp_path: Path, make_service: MakeService) -> Service:
    config = write_config(
        tmp_path / "config",
        [contract("shop", [metric("orders"), metric("errors")])],
        service={"partitions": 2},
    )
    made = make_service(config)
    made.start()
    return made


def entries(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.show("audit", "tail", "-n", "10000")
    return found


def intact(service: Service) -> dict[str, Any]:
    document: dict[str, Any] = service.show("audit", "verify")
    assert document["ok"]
    return document


def chain_of(service: Service, sla_id: str) -> Path:
    """The file of the chain that a contract is in."""
    found = next(each for each in entries(service) if each["sla"] == sla_id)
    return service.data / "audit" / str(found["partition"]) / "000000000001.jsonl"


def work(service: Service, metric_name: str) -> str:
    """A violation that is opened, acknowledged and resolved."""
    service.observe(metric_name, 500)
    opened = service.violation(metric_name)
    assert opened is not None
    assert service.cli("ack", opened["id"], "--by", "ann").code == 0
    assert service.http("POST", f"/v1/violations/{opened['id']}/resolve", {"by": "bob"}).status == 200
    return str(opened["id"])


def test_the_chain_survives_kills_and_every_change_of_it_is_found(service: Service) -> None:
    first = work(service, "orders")
    before = intact(service)
    noted = [each["hash"] for each in before["partitions"]]
    for cell in ("cell-0", "cell-1"):
        process = service.processes()[cell]
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: service.is_whole() and service.processes()[cell] != process, what=f"{cell} to be back")  # noqa: B023
    second = work(service, "errors")
    assert service.cli("sla", "suspend", "shop", "--by", "eve").code == 0
    assert service.cli("actor", "restart", "ledger:shop", "--by", "eve").code == 0
    assert service.cli("actor", "kill", "gateway", "--by", "eve").code == 0
    intact(service)
    for each in noted:
        assert service.cli("audit", "verify", "--head", each).code == 0
    found = entries(service)
    counts = Counter((each["what"], each["subject"], each["who"], each["via"]) for each in found)
    for violation in (first, second):
        assert counts["violation.opened", violation, "slakeeper", ""] == 1
        assert counts["violation.acknowledged", violation, "ann", "cli"] == 1
        assert counts["violation.resolved", violation, "bob", "http"] == 1
    assert counts["contract.defined", "shop", "configuration", ""] == 1
    assert counts["contract.suspended", "shop", "eve", "cli"] == 1
    assert counts["actor.restarted", "ledger:shop", "eve", "cli"] == 1
    assert counts["process.killed", "gateway", "eve", "cli"] == 1
    path = chain_of(service, "shop")
    assert path.stat().st_mode & 0o777 == 0o600
    every_change_is_found(service, path)
    service.stop()
    assert intact(service)["against"] == "journal"
    every_change_is_found(service, path)


def every_change_is_found(service: Service, path: Path) -> None:
    """Makes each change in turn, and takes it back."""
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    last = len(lines)

    def swapped(rows: list[bytes]) -> list[bytes]:
        return [rows[0], rows[2], rows[1], *rows[3:]]

    changes: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
        "edited": (lambda rows: [*rows[:3], rows[3].replace(b'"who":"', b'"who":"x', 1), *rows[4:]], 4),
        "missing": (lambda rows: [*rows[:3], *rows[4:]], 4),
        "swapped": (swapped, 2),
        "truncated": (lambda rows: rows[:-2], last - 2),
    }
    for kind, (change, line) in changes.items():
        path.write_bytes(b"".join(change(lines)))
        answer = service.invoke("--json", "audit", "verify")
        assert answer.code == 1, kind
        assert answer.complaint == "slakeeper: the audit chain is not intact: 1 problem"
        [problem] = answer.document["problems"]
        assert (problem["kind"], problem["line"]) == (kind, line)
        assert service.data / problem["file"] == path
        shown = service.invoke("audit", "verify")
        assert f"{problem['file']}:{line}" in shown.out
    path.write_bytes(whole)
    assert service.invoke("audit", "verify").code == 0


def test_what_a_crash_leaves_unwritten_is_written_at_the_next_start(service: Service) -> None:
    work(service, "orders")
    kill(service.data)
    answer = service.cli("--json", "audit", "verify")
    assert (answer.code, answer.document["against"]) == (0, "journal")
    before = entries(service)
    service.start()
    intact(service)
    assert entries(service)[: len(before)] == before
    service.stop()


def test_what_is_wrong_with_the_command_is_said(tmp_path: Path, make_service: MakeService) -> None:
    service = make_service(None, "nothing")
    for arguments in (("audit", "tail"), ("audit", "verify")):
        answer = service.cli(*arguments)
        assert (answer.code, answer.out) == (3, "")
        assert answer.complaint.startswith(f"slakeeper: nothing runs on {service.data}")
    assert service.cli("audit", "verify", "--head", "short").code == 2
    assert service.cli("audit", "tail", "-n", "-1").code == 2


def test_a_chain_can_be_followed(service: Service) -> None:
    command = [*COMMAND, "--data", str(service.data), "--json", "audit", "tail", "-n", "1", "--follow"]
    following = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout is not None
        json.loads(following.stdout.readline())  # it has begun
        service.observe("orders", 500)
        assert json.loads(following.stdout.readline())["what"] == "violation.opened"
    finally:
        following.kill()
        following.communicate()
    service.stop()
