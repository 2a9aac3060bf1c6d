"""The system as data: which processes there are, and what each is given."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from slakeeper.config.loader import Configuration
from slakeeper.layout import CellPlace, Layout, ack_links, cell_settings, make_layout
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.service import ProcessSpec, SystemSpec
from slakeeper.sla.ack_link import Links
from slakeeper.sla.contract import Sla
from slakeeper.sla.policy import EnforcementPolicy, PagerDutyChannel, WebhookChannel

# Processes are few and each restart costs tens of milliseconds: ten within a minute is a defect that starting
# again from disk as a whole may mend; then the heart takes over with growing waits.
ROOT_FLAGS = Flags(intensity=10, period_s=60)


def build_system(
    data: Path, configuration: Configuration, extra: tuple[ProcessSpec, ...] = ()
) -> Callable[[dict[str, Any]], SystemSpec]:
    """What the heart calls for each generation.

    Args:
        data: the data directory; its layout is made or read now.
        configuration: checked; its service settings have the command line's wishes in them.
        extra: further processes, started first.

    Raises:
        LayoutError: the data directory cannot be used.
    """
    layout = make_layout(data, configuration, configuration.service.cells)
    links = ack_links(data, configuration)

    def build(facts: dict[str, Any]) -> SystemSpec:
        runtime = Path(facts["runtime_dir"])
        places = [_place(layout, cell, runtime) for cell in layout.cells]
        # What somebody started defines its contracts once. A later generation goes on with what there is: a contract
        # that was removed by command meanwhile stays removed.
        contracts = () if facts.get("was_ready") else configuration.slas
        cells = [_cell(cell, layout, data, configuration, contracts, runtime) for cell in layout.cells]
        shared = {"cells": places, "partitions": layout.partition_count}
        gateway = {
            **shared,
            "http": configuration.service.http,
            "token": facts["token"],
            "run_file": str(data / "run.json"),
            "names": _public_names(links),
            "behind_proxy": links is not None,
            "ack_key": None if links is None else links.key,
            "inbound": inbound_secrets(configuration.enforcement),
            "ingest": _ingest(configuration),
        }
        processes = (
            *extra,
            *cells,
            ProcessSpec("gateway", "slakeeper.web.server:gateway", gateway),
            ProcessSpec("admin", "slakeeper.admin:admin", shared),
        )
        timed = tuple(_timed(process, configuration) for process in processes)
        return SystemSpec(timed, ROOT_FLAGS, {"cells": len(layout.cells), "topology": shared})

    return build


def _public_names(links: Links | None) -> tuple[str, ...]:
    """What a browser may call the host when it comes by a link."""
    host = urlsplit(links.public_url).hostname if links is not None else None
    return () if host is None else (host,)


def inbound_secrets(enforcement: EnforcementPolicy) -> dict[str, tuple[str, str]]:
    """Channels whose other side may acknowledge: name to (type, secret)."""
    found: dict[str, tuple[str, str]] = {}
    for name, channel in enforcement.channels.items():
        match channel:
            case (
                PagerDutyChannel(inbound_secret=SecretStr() as secret)
                | WebhookChannel(inbound_secret=SecretStr() as secret)
            ) if secret.get_secret_value():
                found[name] = channel.type, secret.get_secret_value()
    return found


def _ingest(configuration: Configuration) -> dict[str, Any]:
    ingest = configuration.service.ingest
    return {
        "prometheus": ingest.prometheus,
        "otlp": ingest.otlp,
        "statsd": ingest.statsd,
        "statsd_flush_ms": ingest.statsd_flush,
        "token_file": ingest.token_file,
        "rate_limit": ingest.rate_limit,
    }


def _place(layout: Layout, cell: CellPlace, runtime: Path) -> dict[str, Any]:
    place: dict[str, Any] = {"name": cell.name, "socket": str(_socket(layout, cell, runtime))}
    return place if cell.sla_id is None else {**place, "sla": cell.sla_id}


def _socket(layout: Layout, cell: CellPlace, runtime: Path) -> Path:
    # By number: a contract's id may be longer than a socket's path can be.
    return runtime / f"{layout.cells.index(cell)}.sock"


def _cell(
    cell: CellPlace,
    layout: Layout,
    data: Path,
    configuration: Configuration,
    contracts: Sequence[Sla],
    runtime: Path,
) -> ProcessSpec:
    socket_path = _socket(layout, cell, runtime)
    others = {each.name: _socket(layout, each, runtime) for each in layout.cells if each is not cell}
    settings = cell_settings(cell, layout, data, configuration, contracts, socket_path, others)
    return ProcessSpec(cell.name, "slakeeper.supervisors.cell:cell", {"settings": settings})


def _timed(process: ProcessSpec, configuration: Configuration) -> ProcessSpec:
    service = configuration.service
    return replace(
        process,
        heartbeat_ms=service.heartbeat_interval,
        hang_after_ms=service.hang_after,
        start_timeout_ms=service.start_timeout,
        shutdown_ms=service.shutdown_timeout,
    )
