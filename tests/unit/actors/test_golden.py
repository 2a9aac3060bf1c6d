"""What former versions left on disk means the same today."""

import base64
import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.record import RECORDS, make_codec
from tests.unit.actors.cell_world import World
from tests.unit.actors.golden import POLICY, facts, path_of

VERSION = make_codec().version


def golden(version: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path_of(version).read_text())
    return document


def missing(before: Any, now: Any, place: str = "") -> list[str]:
    """Where something that was known is gone or another; what came in addition does not matter."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            each
            for key, value in before.items()
            for each in (
                missing(value, now[key], f"{place}.{key}") if key in now else [f"{place}.{key} is gone"]
            )
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) <= len(now):
        pairs = enumerate(zip(before, now, strict=False))
        return [each for index, (a, b) in pairs for each in missing(a, b, f"{place}[{index}]")]
    return [] if before == now else [f"{place}: {before!r} became {now!r}"]


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_what_every_version_left_on_disk_still_means_the_same(tmp_path: Path, version: int) -> None:
    written = golden(version)
    folder = tmp_path / "p000"
    folder.mkdir()
    for name, content in written["files"].items():
        (folder / name).write_bytes(zlib.decompress(base64.b64decode(content)))
    world = World(tmp_path, POLICY, now_ms=written["now_ms"])
    known = facts(world)
    addresses = written["facts"].pop("addresses")
    assert missing(written["facts"], known) == []
    assert set(addresses) <= set(known["addresses"])
    assert world.host.counts["crashes"] == 0
    assert world.partition is not None
    world.partition.close()


def test_a_record_has_the_shape_it_was_written_with_or_an_upcast() -> None:
    """A new field needs a default; any other change an upcast, and ``python -m tests.unit.actors.golden``."""
    classes: dict[str, Any] = {record.__name__: record for record in RECORDS}
    for name, before in golden(VERSION)["shapes"].items():
        assert name in classes, f"{name} was written, and can no longer be read"
        now = {field.name: field for field in dataclasses.fields(classes[name]) if field.init}
        assert set(before) <= now.keys(), f"{name} has lost a field: write an upcast"
        for added in now.keys() - set(before):
            nothing = dataclasses.MISSING
            has_default = (now[added].default, now[added].default_factory) != (nothing, nothing)
            assert has_default, f"{name}.{added} has no default: give it one, or write an upcast"
