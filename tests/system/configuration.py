"""Configurations for the tests, written as the YAML files that users write."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slakeeper.otp.placement import partition_of


def metric(name: str, value: float = 100, condition: str = "lt", **more: Any) -> dict[str, Any]:
    """A metric whose newest sample decides, at once in both directions."""
    return {
        "name": name, "value": value, "condition": condition, "aggregation": "last", "interval": "1m",
        "keep_for": 0, **more,
    }  # fmt: skip


def contract(sla_id: str, metrics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A contract of a day."""
    return {
        "id": sla_id,
        "name": f"The {sla_id}",
        "service_level": 99.9,
        "time_period": "1d",
        "metrics": metrics,
        **more,
    }


def ids_by_partition(partitions: int) -> list[str]:
    """An id of a contract for each partition, in which it lives."""
    found: dict[int, str] = {}
    numbers = itertools.count()
    while len(found) < partitions:
        sla_id = f"shop-{next(numbers)}"
        found.setdefault(partition_of(sla_id, partitions), sla_id)
    return [found[each] for each in range(partitions)]


def write_config(
    folder: Path,
    slas: list[dict[str, Any]],
    enforcement: Mapping[str, Any] | None = None,
    monitoring: Mapping[str, Any] | None = None,
    service: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the files that are given, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "sla_definitions": {"slas": slas},
        "enforcement": enforcement,
        "monitoring": monitoring,
        "service": service,
    }
    for name, content in files.items():
        if content is not None:
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return folder
