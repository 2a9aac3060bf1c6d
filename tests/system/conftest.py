"""Systems for the tests; after each test nothing of any of them is left."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import posix
from tests.system.process_tree import ProcessTree
from tests.system.running_system import System, left_running


@pytest.fixture(scope="session", autouse=True)
def adopting() -> None:
    """What a killed heart might leave becomes this process's child, and so cannot be missed."""
    posix.adopt_orphans()


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[Callable[..., System]]:
    made: list[System] = []

    def make(name: str = "data", **settings: Any) -> System:
        made.append(System(tmp_path / name, **settings))
        return made[-1]

    yield make
    for system in made:
        system.kill()
    assert not left_running()


@pytest.fixture
def make_tree(tmp_path: Path) -> Iterator[Callable[..., ProcessTree]]:
    """Starts a root supervisor over the given children; stops it after the test."""
    made: list[ProcessTree] = []

    def make(flags: dict[str, Any], **children: dict[str, Any]) -> ProcessTree:
        made.append(ProcessTree(tmp_path, flags, **children))
        made[-1].system.start()
        return made[-1]

    yield make
    for tree in made:
        tree.system.kill()
    assert not left_running()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessTree]:
    """A root supervisor whose children the tests of a module add, and take away."""
    one = ProcessTree(tmp_path_factory.mktemp("tree"), {"intensity": 1_000, "period_s": 5})
    one.system.start()
    try:
        yield one
        one.system.stop()
    finally:
        one.system.kill()
    assert not left_running()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One running system for all tests of a module."""
    one = System(tmp_path_factory.mktemp("system") / "data", intensity=1_000)
    one.start()
    try:
        yield one
        one.stop()
    finally:
        one.kill()
    assert not left_running()
    assert os.listdir(one.data / "log")
