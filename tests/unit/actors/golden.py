"""Data as former versions wrote it: a busy hour of a cell, its files, and what was known at its end.

``python -m tests.unit.actors.golden`` writes that of this version, once for each ``make_codec().version``; what was
written is never written again.
"""

import base64
import dataclasses
import json
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from slakeeper.actors.record import RECORDS, make_codec
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    WARNING,
    World,
    action,
    contract,
    enforcement,
    metric,
)

FOLDER = Path(__file__).parent / "golden"
POLICY = enforcement(
    automatic_actions=[action()],
    remedies={"reboot": {"type": "command", "argv": ["false"]}},
    remediation={"verify_after": "30s", "backoff": "10s"},
)


def path_of(version: int) -> Path:
    return FOLDER / f"schema-{version}.json"


def fill(world: World) -> None:
    """Something of every kind that can be on disk."""
    world.define(contract(metrics=[metric("latency"), metric("load", weight=0.5), metric("size")]))
    world.define(contract(id="other", name="Other", compensation=[]))
    world.define(contract(id="gone", name="Gone", metrics=[metric("speed")], compensation=[]))
    muted = {"matchers": ["sla=other", "severity=~info|warning"], "end": NOW_MS + 70 * MINUTE_MS}
    world.request("silence.add", by="ann", reason="not yet", **muted)
    world.observe(INFO, batch_id="one")
    world.pass_time(11 * SECOND_MS)
    world.observe(CRITICAL, batch_id="two")
    world.observe(CRITICAL, "speed")
    world.pass_time(MINUTE_MS)
    row = next(each for each in world.violations() if each["sla_id"] == "api")
    world.request("violation.ack", id=row["id"], by="ann", note="mine")
    world.settle()
    world.observe(WARNING, "load")
    world.request("sla.suspend", id="other", by="ann")
    world.settle()
    world.recover()
    world.request(
        "sla.define", document=contract(metrics=[metric("latency"), metric("load", weight=0.75)]), by="ann"
    )
    world.settle()
    world.go_to(NOW_MS + 65 * MINUTE_MS)
    # From here on in the journal only.
    world.host.snapshot(world.partition) if world.partition is not None else None
    world.observe(CRITICAL, batch_id="three")
    world.pass_time(30 * SECOND_MS)
    world.observe(GOOD, "load", batch_id="four")


def facts(world: World) -> dict[str, Any]:
    """What people see, as JSON values."""
    found = {
        "status": world.request("status")["slas"],
        "violations": world.violations(resolved=True),
        "compensation": world.ledger(),
        "contracts": [world.shown(row["id"]) for row in world.request("status")["slas"]],
        "addresses": sorted(world.host.addresses()),
        "resent": world.observe(CRITICAL, batch_id="three"),
        "report": world.request("report", sla="api", period="last"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def shapes() -> dict[str, list[str]]:
    """The fields of each record."""
    return {
        record.__name__: [field.name for field in dataclasses.fields(record) if field.init]
        for record in RECORDS
    }


def write(version: int) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), POLICY)
        with patch("slakeeper.actors.remediation.run_remedy", world.run_remedy):
            fill(world)
        partition = Path(folder) / "p000"
        files = {
            path.name: base64.b64encode(zlib.compress(path.read_bytes(), 9)).decode()
            for path in sorted(partition.iterdir())
            if path.name != "lock"
        }
        now_ms = world.now_ms
        world.restart()
        document = {"now_ms": now_ms, "files": files, "facts": facts(world), "shapes": shapes()}
    path_of(version).parent.mkdir(exist_ok=True)
    path_of(version).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    number = getattr(make_codec(), "version", 1)
    if path_of(number).exists():
        sys.exit(f"{path_of(number)} is there already, and stays as it is")
    write(number)
