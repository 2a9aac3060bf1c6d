"""Names that must mean something elsewhere: in another contract, another section, another file.

All of it looks at the values as they were given, valid or not: what is wrong with one contract never hides what
is wrong between others. So nothing here may assume a type.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slakeeper.config.problem import Place
from slakeeper.config.reading import Reading, suggest
from slakeeper.config.schema import given
from slakeeper.sla.contract import Metric, Sla
from slakeeper.sla.policy import EscalationLevel


@dataclass(frozen=True, slots=True)
class Given:
    """A section as it was given, and the file it came from."""

    reading: Reading
    value: Any


@dataclass(frozen=True, slots=True)
class Named:
    """What the files name: channels that something is sent to, sources that metrics are asked of."""

    channels: frozenset[str]
    sources: frozenset[str]


def check_contracts(contracts: Given) -> None:
    """Reports contracts of one id, and dependencies that go in a circle."""
    first: dict[str, int] = {}
    for index, contract in enumerate(contracts.value):
        sla_id = contract.get("id") if isinstance(contract, dict) else None
        if not isinstance(sla_id, str):
            continue
        if sla_id in first:
            line = contracts.reading.line(("slas", first[sla_id]))
            message = f"there are two contracts {sla_id!r}, the first in line {line}"
            contracts.reading.report(("slas", index, "id"), "duplicate_sla", message)
        first.setdefault(sla_id, index)
    graph = {
        sla_id: [name for _, name in _dependencies(contracts.value[index])] for sla_id, index in first.items()
    }
    for circle in _circles(graph):
        place = ("slas", first[circle[0]], "depends_on")
        message = f"contracts depend on each other in a circle: {' -> '.join([*circle, circle[0]])}"
        contracts.reading.report(place, "dependency_cycle", message)


def check_references(
    contracts: Given,
    enforcement: Given,
    monitoring: Given,
    *,
    channels: Collection[str],
    remedies: Collection[str],
    sources: Collection[str],
) -> Named:
    """Reports names of contracts, sources, channels and actions that nothing bears.

    Args:
        contracts: the list of contracts.
        enforcement, monitoring: the sections.
        channels, remedies, sources: names that need no settings.
    """
    ids = {
        contract["id"]
        for contract in contracts.value
        if isinstance(contract, dict) and _is_text(contract.get("id"))
    }
    for index, contract in enumerate(contracts.value):
        for at, name in _dependencies(contract):
            if name not in ids:
                message = f"there is no contract {name!r}" + suggest(name, ids)
                contracts.reading.report(("slas", index, "depends_on", at), "unknown_sla", message)

    used_sources = set()
    known_sources = {*sources, *_mapping(monitoring.value, "sources")}
    for place, name in _sources(contracts.value):
        used_sources.add(name)
        if name not in known_sources and not monitoring.reading.document.broken:
            message = f"there is no source {name!r} in the monitoring file" + suggest(name, known_sources)
            contracts.reading.report(place, "unknown_source", message)

    used_channels = set()
    known_channels = {*channels, *_mapping(enforcement.value, "channels")}
    named_by = [(enforcement.reading, *item) for item in _level_channels(enforcement.value)]
    named_by += [
        (monitoring.reading, ("alert_channels", index), name)
        for index, name in enumerate(_list(monitoring.value, "alert_channels"))
        if _is_text(name)
    ]
    for reading, place, name in named_by:
        used_channels.add(name)
        if name not in known_channels and not enforcement.reading.document.broken:
            message = f"there is no channel {name!r} among the channels" + suggest(name, known_channels)
            reading.report(place, "unknown_channel", message)

    known_remedies = {*remedies, *_mapping(enforcement.value, "remedies")}
    for index, action in enumerate(_list(enforcement.value, "automatic_actions")):
        remedy = action.get("action") if isinstance(action, dict) else None
        if _is_text(remedy) and remedy not in known_remedies:
            message = f"there is no action {remedy!r} among the remedies" + suggest(remedy, known_remedies)
            enforcement.reading.report(("automatic_actions", index, "action"), "unknown_action", message)
    return Named(frozenset(used_channels), frozenset(used_sources))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _dependencies(contract: Any) -> list[tuple[int, str]]:
    return [(at, name) for at, name in enumerate(_list(contract, "depends_on")) if _is_text(name)]


def _sources(contracts: list[Any]) -> Iterator[tuple[Place, str]]:
    for index, contract in enumerate(contracts):
        found = given(Sla, contract, "metrics") if isinstance(contract, dict) else None
        if found is None:
            continue
        for at, metric in enumerate(_list(contract, found[0])):
            source = given(Metric, metric, "source") if isinstance(metric, dict) else None
            if source is not None and _is_text(source[1]):
                yield ("slas", index, found[0], at, source[0]), source[1]


def _level_channels(enforcement: Any) -> Iterator[tuple[Place, str]]:
    for index, policy in enumerate(_list(enforcement, "escalation_policies")):
        for at, level in enumerate(_list(policy, "levels")):
            channel = given(EscalationLevel, level, "channel") if isinstance(level, dict) else None
            if channel is not None and _is_text(channel[1]):
                yield ("escalation_policies", index, "levels", at, channel[0]), channel[1]
        for at, name in enumerate(_list(policy, "notify_channels")):
            if _is_text(name):
                yield ("escalation_policies", index, "notify_channels", at), name


def _circles(graph: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """The circles of a graph met first in a depth-first walk, without recursion: chains may be long."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            stack.append((start, iter(graph[start])))
            path.append(start)
            on_path.add(start)
        while stack:
            node, following = stack[-1]
            step = next((name for name in following if name in graph and name not in done), None)
            if step is None:
                stack.pop()
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif step in on_path:
                yield path[path.index(step) :]
            else:
                stack.append((step, iter(graph[step])))
                path.append(step)
                on_path.add(step)
