"""Billing over HTTP: every approved entry is taken once by its id, whichever processes are killed meanwhile."""

import csv
import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService
from tests.unit.integrations.fake_http import FakeServer, Reply, Request

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]


class Books:
    """A billing system that is down at first, and takes an entry once by its id."""

    def __init__(self) -> None:
        self.is_up = False
        self.taken: dict[str, Any] = {}

    def __call__(self, request: Request) -> Reply:
        if not self.is_up:
            return Reply(502)
        self.taken.setdefault(request.headers["Idempotency-Key"], request.json())
        return Reply(204, b"")


def test_an_approved_entry_is_billed_once_whatever_is_killed(
    make_service: MakeService, tmp_path: Path
) -> None:
    books = Books()
    with FakeServer(books) as server:
        rules = [{"metric": name, "type": "refund", "formula": "5"} for name in ("latency", "errors")]
        config = write_config(
            tmp_path / "config",
            [contract("shop", [metric("latency"), metric("errors")], compensation=rules, approver="chief")],
            {"billing": {"url": f"{server.url}/credits"}},
        )
        service = make_service(config)
        service.start()
        for name in ("latency", "errors"):
            service.observe(name, 500)
            service.observe(name, 1)
        entries = until(
            lambda: rows if len(rows := service.show("compensation")) == 2 else None, what="entries"
        )
        assert entries is not None
        first, second = (each["id"] for each in entries)
        approval = ("--by", "chief", "--reason", "agreed")
        assert service.show("compensation", "approve", first, *approval)["status"] == "approved"
        until(lambda: server.requests, what="the first attempt")
        os.kill(service.pid("cell-0"), signal.SIGKILL)
        until(service.is_whole, what="the cell")
        until(lambda: service.show("status")["slas"][0]["billing_failed"] == 1, what="the status")
        refused = service.invoke(
            "--json", "compensation", "settle", second, "--by", "eva", "--reason", "paid"
        )
        assert (refused.code, refused.document["error"]["reason"]) == (1, "not_approved")
        books.is_up = True
        os.kill(service.pid("cell-0"), signal.SIGKILL)
        until(lambda: books.taken, what="the entry in the books")
        until(lambda: service.show("compensation", "export", "--status", "settled"), what="the settlement")
        assert list(books.taken) == [first]
        assert books.taken[first]["amount"] == "5"
        service.stop()
        listed = server.requests
        assert {request.headers["Idempotency-Key"] for request in listed} == {first}
    service.start()
    service.show("compensation", "reject", second, *approval)
    file = tmp_path / "ledger.csv"
    assert service.cli("compensation", "export", "--format", "csv", "-o", str(file)).code == 0
    read = list(csv.DictReader(io.StringIO(file.read_bytes().decode())))
    assert [(row["id"], row["status"], row["settled_by"]) for row in read] == [
        (first, "settled", "slakeeper"), (second, "rejected", ""),
    ]  # fmt: skip
    (settled,) = (each for each in service.show("audit", "tail") if each["what"] == "compensation.settled")
    assert (settled["subject"], settled["who"]) == (first, "slakeeper")
    service.stop()
