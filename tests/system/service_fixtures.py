"""Fixtures of the tests of the whole service; after each test nothing of any service is left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import posix
from tests.system.receivers import Hooks, Mailbox
from tests.system.remains import kill, sweep
from tests.system.service import MakeService, Service


@pytest.fixture(scope="module")
def module_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeService]:
    """Makes services that last until the module's last test."""
    yield from _making(tmp_path_factory.mktemp("service"), _lasting)
    _lasting.clear()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Makes services on ``tmp_path``; the name of the folder is ``data`` unless it is given."""
    yield from _making(tmp_path, [])


# Those of the module that is being tested, which a single test leaves alone.
_lasting: list[Service] = []


def _making(folder: Path, made: list[Service]) -> Iterator[MakeService]:
    posix.adopt_orphans()

    def make(config: Path | None = None, name: str = "data", **settings: Any) -> Service:
        made.append(Service(folder / name, config, **settings))
        return made[-1]

    yield make
    for service in made:
        kill(service.data)
    lasting = [service for service in _lasting if service not in made]
    assert sweep(process for service in lasting for process in service.everything()) == []


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as running:
        yield running
