"""What a source says when it is asked right now, without a running system."""

import time
from collections.abc import Mapping
from typing import Any

from slakeeper.config.loader import Configuration
from slakeeper.integrations.source import open_source
from slakeeper.sla.monitoring import HostSource, InternalSource, ProcessSource

Row = dict[str, Any]

# What is a mean since the look before needs two looks, this far apart [s].
_BETWEEN_LOOKS_S = 1.0


def bound_queries(configuration: Configuration, name: str) -> list[tuple[str, str, str]]:
    """Who asks a source what: contract (empty: any), metric, query; in the order of the files."""
    sources = configuration.monitoring.sources
    by_name: Mapping[str, str] = getattr(sources[name], "metrics", {})
    bound: list[tuple[str, str, str]] = []
    asked = set()
    for contract in configuration.slas:
        for metric in contract.metrics:
            if metric.source == name:
                bound.append((contract.id, metric.name, metric.query or metric.name))
            elif metric.source is None and metric.name in by_name:
                owner = next(
                    each for each, source in sources.items() if metric.name in getattr(source, "metrics", {})
                )
                if owner == name:
                    asked.add(metric.name)
                    bound.append((contract.id, metric.name, by_name[metric.name]))
    return bound + [("", metric, query) for metric, query in by_name.items() if metric not in asked]


def ask_now(configuration: Configuration, name: str) -> list[Row]:
    """What a source says now to every query that is bound to it, each asked by itself.

    Returns:
        Rows of ``sla_id``, ``metric``, ``query``, ``value``, ``ts_ms``, ``error``, ``is_silence`` and ``took_ms``.

    Raises:
        ValueError: nothing is polled there.
    """
    settings = configuration.monitoring.sources[name]
    if isinstance(settings, InternalSource):
        raise ValueError(f"{name} is pushed to, not polled")
    poller = open_source(name, settings)
    bound = bound_queries(configuration, name)
    if isinstance(settings, HostSource | ProcessSource) and bound:
        poller.poll({query: query for _, _, query in bound})
        time.sleep(_BETWEEN_LOOKS_S)
    rows = []
    for sla_id, metric, query in bound:
        began_s, began_ms = time.monotonic(), round(time.time() * 1000)
        [reading] = poller.poll({metric: query})
        rows.append(
            {
                "sla_id": sla_id or None,
                "metric": metric,
                "query": query,
                "value": reading.value,
                "ts_ms": reading.ts_ms if reading.ts_ms is not None or reading.value is None else began_ms,
                "error": reading.error,
                "is_silence": reading.is_silence,
                "took_ms": round((time.monotonic() - began_s) * 1000),
            }
        )
    return rows
