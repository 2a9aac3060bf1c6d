from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.actors.cell_world import World


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes cells, each in a directory of its own."""
    worlds: list[World] = []

    def make(*args: Any, **options: Any) -> World:
        world = World(tmp_path / f"w{len(worlds)}", *args, **options)
        monkeypatch.setattr("slakeeper.actors.remediation.run_remedy", world.run_remedy)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        if world.partition is not None:
            world.partition.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A cell with the contract ``api`` defined."""
    made = make_world()
    made.define()
    return made
