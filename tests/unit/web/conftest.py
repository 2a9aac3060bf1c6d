"""A gateway on a port of its own, in front of two fake cells."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slakeeper.client import CellConnection
from slakeeper.web.server import Gateway, gateway
from tests.unit.web.fake_cell import FakeCell

TOKEN = "a-token"


@dataclass
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A running gateway and how to talk to it."""

    service: Gateway
    address: str
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; ``headers`` are added to the token, one with an empty value is left out."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = self.connect()
        try:
            connection.request(method, path, body, {name: value for name, value in given.items() if value})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, document: Any, **headers: str) -> Answer:
        return self.ask(
            "POST", path, json.dumps(document).encode(), **{"Content-Type": "application/json", **headers}
        )

    def post_samples(self, *samples: Any) -> Answer:
        return self.post("/v1/samples", {"samples": list(samples)})


def make_cells(directory: Path) -> list[FakeCell]:
    """Two cells: `api` (latency, uptime) lives in the first, `web` (latency) in the second."""
    catalogs = [{"latency": ["api"], "uptime": ["api"]}, {"latency": ["web"]}]
    return [FakeCell(f"cell-{n}", directory / f"cell-{n}", catalog) for n, catalog in enumerate(catalogs)]


def end_cells(cells: list[FakeCell]) -> None:
    for cell in cells:
        cell.answering.set()
        cell.die()


def start_gateway(cells: list[FakeCell], **args: Any) -> Gateway:
    """A gateway that is not started yet."""
    topology = [{"name": cell.name, "socket": str(cell.path)} for cell in cells]
    return gateway({"http": "127.0.0.1:0", "cells": topology, "partitions": 8, "token": TOKEN, **args}, None)


@pytest.fixture
def cells(tmp_path: Path) -> Iterator[list[FakeCell]]:
    made = make_cells(tmp_path)
    yield made
    end_cells(made)


@pytest.fixture
def connection(cells: list[FakeCell]) -> Iterator[CellConnection]:
    """A connection to the first cell that waits for it for a moment only."""
    made = CellConnection("cell-0", cells[0].path, patience_s=0.5)
    yield made
    made.close()


@pytest.fixture
def start_site(cells: list[FakeCell]) -> Iterator[Callable[..., Site]]:
    """Starts gateways with further arguments; they are stopped at the end."""
    services: list[Gateway] = []

    def start(**args: Any) -> Site:
        service = start_gateway(cells, **args)
        services.append(service)
        return Site(service, service.start()["http"])

    yield start
    for service in services:
        service.stop(1.0)


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site()


@pytest.fixture(scope="module")
def quiet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway for all tests of a module that leave nothing behind."""
    made = make_cells(tmp_path_factory.mktemp("cells"))
    service = start_gateway(made)
    yield Site(service, service.start()["http"])
    service.stop(1.0)
    end_cells(made)
