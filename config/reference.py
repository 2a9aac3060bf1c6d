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
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric
from slakeeper.sla.on_call import PREFIX
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

    channel_settings = _mapping(enforcement.value, "channels")
    for name, template in _mapping(enforcement.value, "templates").items():
        has_html = isinstance(template, Mapping) and "html" in template
        if (
            has_html
            and name in known_channels
            and _mapping(channel_settings, name).get("type", name) != "email"
        ):
            message = "only mails have an HTML part; write the text under 'body'"
            enforcement.reading.report(("templates", name, "html"), "misplaced_html", message)
        if name not in known_channels:
            message = f"there is no channel {name!r} among the channels" + suggest(name, known_channels)
            enforcement.reading.report(("templates", name), "unknown_channel", message)

    _check_on_call(enforcement)
    known_remedies = {*remedies, *_mapping(enforcement.value, "remedies")}
    for index, action in enumerate(_list(enforcement.value, "automatic_actions")):
        remedy = action.get("action") if isinstance(action, dict) else None
        if _is_text(remedy) and remedy not in known_remedies:
            message = f"there is no action {remedy!r} among the remedies" + suggest(remedy, known_remedies)
            enforcement.reading.report(("automatic_actions", index, "action"), "unknown_action", message)
    return Named(frozenset(used_channels), frozenset(used_sources))


def _check_on_call(enforcement: Given) -> None:
    """Reports people and rotations that nobody knows, and people who cannot be reached where they are to be told."""
    responders, rotations = _mapping(enforcement.value, "responders"), _mapping(enforcement.value, "on_call")
    report = enforcement.reading.report
    people = {name: list(_people(rotation)) for name, rotation in rotations.items()}
    for name, named in people.items():
        for place, person in named:
            if person not in responders:
                message = f"there is nobody called {person!r} among the responders" + suggest(
                    person, responders
                )
                report(("on_call", name, *place), "unknown_responder", message)
    for place, channel, recipient in _level_recipients(enforcement.value):
        if not recipient.startswith(PREFIX):
            continue
        name = recipient.removeprefix(PREFIX)
        if name not in rotations:
            report(
                place,
                "unknown_rotation",
                f"there is no rotation {name!r} in on_call" + suggest(name, rotations),
            )
            continue
        for person in dict.fromkeys(person for _, person in people[name] if person in responders):
            if not isinstance(_mapping(responders[person], "addresses").get(channel), str):
                message = f"{person} of rotation {name!r} has no address for channel {channel!r}"
                report(place, "missing_address", message)
    for channel, settings in _mapping(enforcement.value, "channels").items():
        for at, recipient in enumerate(_list(settings, "recipients")):
            if _is_text(recipient) and recipient.startswith(PREFIX):
                message = "who is on call is looked up for levels of escalation_policies, not for a channel"
                report(("channels", channel, "recipients", at), "misplaced_rotation", message)


def _people(rotation: Any) -> Iterator[tuple[Place, str]]:
    """Everyone whom a rotation names, with the place where."""
    for at, person in enumerate(_list(rotation, "members")):
        if _is_text(person):
            yield ("members", at), person
    for at, override in enumerate(_list(rotation, "overrides")):
        if _is_text(person := _value(override, "who")):
            yield ("overrides", at, "who"), person
    if _is_text(person := _value(rotation, "fallback")):
        yield ("fallback",), person


def _level_recipients(enforcement: Any) -> Iterator[tuple[Place, str, str]]:
    """(place, channel, recipient) of each level."""
    for index, policy in enumerate(_list(enforcement, "escalation_policies")):
        for at, level in enumerate(_list(policy, "levels")):
            channel = given(EscalationLevel, level, "channel") if isinstance(level, dict) else None
            for number, recipient in enumerate(_list(level, "recipients")):
                if channel is not None and _is_text(channel[1]) and _is_text(recipient):
                    place = ("escalation_policies", index, "levels", at, "recipients", number)
                    yield place, channel[1], recipient


def _value(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


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
