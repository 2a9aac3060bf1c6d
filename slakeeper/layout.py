"""The data directory and who serves which part of it."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slakeeper.ack_key import ack_key
from slakeeper.actors.record import SCHEMA_VERSION
from slakeeper.config.loader import Configuration
from slakeeper.otp.placement import owner_of, partition_of
from slakeeper.restored import held_because
from slakeeper.sla.ack_link import Links
from slakeeper.sla.contract import Sla
from slakeeper.supervisors.cell import CellSettings

# Raised when the files below the data directory change their meaning.
LAYOUT_VERSION = 1

META_FILE = "meta.json"
PARTITIONS = "partitions"


class LayoutError(Exception):
    """The data directory cannot be used; the text says why and what to do."""


class NewerData(LayoutError):
    """Another version of slakeeper wrote it, which this one cannot read: that is no damage."""


@dataclass(frozen=True)
class CellPlace:
    """One cell: its name, its partitions by number, and the contract it serves alone, if any."""

    name: str
    partitions: Mapping[int, str]
    sla_id: str | None = None


@dataclass(frozen=True)
class Layout:
    """How contracts are spread over cells.

    Attributes:
        partition_count: fixed when the data directory was made.
        cells: shared cells first, then one for each isolated contract.
        held: why nothing may leave, if nothing may.
        moved: ids whose ``isolation`` differs from where they live already; they stay where they are.
    """

    partition_count: int
    cells: tuple[CellPlace, ...]
    moved: tuple[str, ...] = ()
    held: str = ""

    def cell_of(self, sla_id: str) -> CellPlace:
        """The cell that serves a contract."""
        for cell in self.cells:
            if cell.sla_id == sla_id:
                return cell
        shared = [cell for cell in self.cells if cell.sla_id is None]
        return shared[owner_of(partition_of(sla_id, self.partition_count), len(shared))]


def make_layout(data: Path, configuration: Configuration, cell_count: int) -> Layout:
    """Reads the data directory's own facts, making them on its first use, and spreads the contracts.

    Raises:
        LayoutError: the directory cannot be written, is of a newer version, or something of it is missing.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if lost := lost_partitions(data):
            raise LayoutError(
                f"{data / PARTITIONS}: {', '.join(lost)} missing or empty, and with it all contracts that it kept; "
                f"restore a backup, or see: slakeeper --data {shlex.quote(str(data))} doctor"
            )
        meta = _read_meta(data)
        if meta is None:
            meta = {
                "version": LAYOUT_VERSION,
                "partitions": configuration.service.partition_count,
                "isolated": {},
            }
        placed: dict[str, bool] = dict(meta["isolated"])
        for contract in configuration.slas:
            placed.setdefault(contract.id, contract.isolation == "process")
        now = {**meta, "isolated": placed, "schema": SCHEMA_VERSION}
        if now != _read_meta(data):  # nothing is written to a full disk that need not be
            # Before anything is written in it: from then on an older program cannot read all of it.
            _write_meta(data, now)
    except OSError as error:
        raise LayoutError(f"{data}: cannot be used as data directory: {error.strerror or error}") from error
    count = int(meta["partitions"])
    cells = min(cell_count, count)
    shared = [
        CellPlace(
            f"cell-{index}",
            {number: f"p{number:03d}" for number in range(count) if owner_of(number, cells) == index},
        )
        for index in range(cells)
    ]
    names = {place.name for place in shared}
    alone: list[CellPlace] = []
    for sla_id in (each for each, isolated in placed.items() if isolated):
        name = f"cell-{sla_id}"
        while name in names:  # a contract called "0"
            name += "-alone"
        names.add(name)
        alone.append(CellPlace(name, {0: f"alone-{sla_id}"}, sla_id))
    moved = tuple(
        contract.id
        for contract in configuration.slas
        if placed[contract.id] != (contract.isolation == "process")
    )
    return Layout(count, (*shared, *alone), moved, held_because(data))


def note_served(data: Path) -> None:
    """Keeps in mind which partitions there are: called when all of them are open. One that is gone later is missed.

    Raises:
        OSError: it cannot be written.
    """
    meta = _read_meta(data)
    if meta is not None and (served := sorted(_with_history(data))) != meta.get("served"):
        _write_meta(data, {**meta, "served": served})


def lost_partitions(data: Path) -> list[str]:
    """Partitions that were there at an earlier start and of which nothing is left: with them all that was in them.

    Raises:
        LayoutError: the directory's own facts are damaged or missing.
    """
    meta = _read_meta(data)
    there = _with_history(data)
    if meta is None:
        if there:
            raise LayoutError(
                f"{data / META_FILE} is missing, and with it into how many partitions contracts are hashed; restore it "
                f"from a backup"
            )
        return []
    return [name for name in meta.get("served", ()) if name not in there]


def give_up(data: Path, names: Sequence[str]) -> None:
    """Partitions that are lost are not missed any more: the next start begins them anew.

    Raises:
        OSError: it cannot be written.
    """
    meta = _read_meta(data)
    if meta is not None:
        _write_meta(data, {**meta, "served": [each for each in meta.get("served", ()) if each not in names]})


def _with_history(data: Path) -> set[str]:
    folder = data / PARTITIONS
    if not folder.is_dir():
        return set()
    # A snapshot whose journal is gone is damage, of which a repair keeps the snapshot.
    return {
        path.name
        for path in folder.iterdir()
        if any(path.glob("journal-*.log")) or any(path.glob("snapshot-*.msgpack"))
    }


def cell_settings(
    place: CellPlace,
    layout: Layout,
    data: Path,
    configuration: Configuration,
    contracts: Sequence[Sla],
    socket_path: Path | None,
    neighbours: Mapping[str, Path] | None = None,
) -> CellSettings:
    """What the cell at ``place`` is made of.

    Args:
        contracts: all that are configured.
        neighbours: sockets of the other cells by name.
    """
    return CellSettings(
        name=place.name,
        data=data,
        partitions=dict(place.partitions),
        partition_count=1 if place.sla_id is not None else layout.partition_count,
        contracts=tuple(
            contract.to_document() for contract in contracts if layout.cell_of(contract.id).name == place.name
        ),
        enforcement=configuration.enforcement,
        monitoring=configuration.monitoring,
        socket_path=socket_path,
        snapshot_interval_ms=configuration.service.snapshot_interval,
        min_free_bytes=configuration.service.min_free_bytes,
        held=layout.held,
        links=None if socket_path is None else ack_links(data, configuration),
        neighbours=dict(neighbours or {}),
    )


def ack_links(data: Path, configuration: Configuration) -> Links | None:
    """How people acknowledge by a link; None when no ``public_url`` is set.

    Raises:
        LayoutError: the key can be neither read nor written.
    """
    service = configuration.service
    if not service.public_url:
        return None
    try:
        return Links(service.public_url, ack_key(data), service.ack_link_lifetime)
    except OSError as error:
        raise LayoutError(f"{data}: the key of acknowledge links: {error.strerror or error}") from error


def check_meta(data: Path) -> None:
    """Looks whether the data directory's own facts can be read; one without any has not been used yet.

    Raises:
        LayoutError: they are damaged, of a newer version, or missing where there are partitions.
    """
    lost_partitions(data)


def _read_meta(data: Path) -> dict[str, Any] | None:
    path = data / META_FILE
    try:
        meta = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LayoutError(f"{path}: is damaged ({error}); restore it from a backup") from error
    if isinstance(meta, dict) and meta.get("version", LAYOUT_VERSION) != LAYOUT_VERSION:
        raise NewerData(
            f"{path}: version {meta['version']} of the data is not known; this slakeeper writes {LAYOUT_VERSION}"
        )
    if not _is_sound(meta):
        raise LayoutError(f"{path}: is damaged (a key is missing or wrong); restore it from a backup")
    if meta.get("schema", 1) > SCHEMA_VERSION:
        raise NewerData(
            f"{path}: what is stored is of schema {meta['schema']}, this slakeeper reads up to {SCHEMA_VERSION}; "
            f"start the newer one again, or restore a backup that is older"
        )
    return dict(meta)


def _is_sound(meta: Any) -> bool:
    if not isinstance(meta, dict) or "version" not in meta:
        return False
    partitions, isolated = meta.get("partitions"), meta.get("isolated")
    return (
        type(partitions) is int
        and partitions > 0
        and isinstance(isolated, dict)
        and type(meta.get("schema", 1)) is int
        and all(isinstance(alone, bool) for alone in isolated.values())
    )


def _write_meta(data: Path, meta: Mapping[str, Any]) -> None:
    path, temporary = data / META_FILE, data / (META_FILE + ".tmp")
    with temporary.open("w") as file:
        file.write(json.dumps(meta, indent=1, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(data, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
