"""A directory of YAML files in, one checked :class:`Configuration` out, or every error of every file.

``sla_definitions.yaml`` must be there; ``enforcement.yaml``, ``monitoring.yaml`` and ``service.yaml`` take their
defaults when they are not. The seed's nesting keys (``erlmcp_sla_definition:`` and its sisters) and spellings
load too. Checks between files are made on the values as given (:mod:`~slakeeper.config.reference`), so that an
error in one contract never hides another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from slakeeper.config.apprise_url import check_apprise
from slakeeper.config.document import Document, read_document
from slakeeper.config.problem import ConfigError, Place, Problem
from slakeeper.config.reading import Reading, suggest
from slakeeper.config.reference import Given, check_contracts, check_references
from slakeeper.config.schema import given
from slakeeper.config.service import ServiceSettings
from slakeeper.config.sources import sources_given
from slakeeper.sla.contract import Sla
from slakeeper.sla.field import Name, Number
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitoring import HostSource, InternalSource, MonitoringPolicy
from slakeeper.sla.policy import (
    AppriseChannel,
    DryRunRemedy,
    EmailChannel,
    EnforcementPolicy,
    LogChannel,
    PagerDutyChannel,
    SlackChannel,
    SmsChannel,
    WebhookChannel,
)

DEFAULT_DIR: Final = Path(__file__).parent
"""The configuration that is shipped."""

DEFINITIONS: Final = "sla_definitions.yaml"
ENFORCEMENT: Final = "enforcement.yaml"
MONITORING: Final = "monitoring.yaml"
SERVICE: Final = "service.yaml"
FILES: Final = (DEFINITIONS, ENFORCEMENT, MONITORING, SERVICE)

CHANNEL_TYPES: Final = {
    "email": EmailChannel(type="email"),
    "sms": SmsChannel(type="sms"),
    "slack": SlackChannel(type="slack"),
    "pagerduty": PagerDutyChannel(type="pagerduty"),
    "webhook": WebhookChannel(type="webhook"),
    "apprise": AppriseChannel(type="apprise"),
    "log": LogChannel(type="log"),
}
"""Channels that can be named without settings; without an address they write to the log."""

BUILT_IN_REMEDIES: Final = {
    name: DryRunRemedy()
    for name in ("scale_resources", "optimize_database", "add_capacity", "add_circuit_breakers")
}
"""The seed's actions; until ``remedies:`` binds them to something they are logged dry runs."""

BUILT_IN_SOURCES: Final = {"internal": InternalSource(type="internal"), "host": HostSource(type="host")}
"""Sources that need no address and can be named without settings."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that was configured, checked.

    Every channel, remedy and source that is named anywhere has an entry in ``enforcement.channels``,
    ``enforcement.remedies`` and ``monitoring.sources``. ``thresholds`` maps metric names to the value that a
    metric of that name takes when a contract gives none.
    """

    slas: tuple[Sla, ...]
    enforcement: EnforcementPolicy
    monitoring: MonitoringPolicy
    service: ServiceSettings
    thresholds: Mapping[str, Decimal]


class _Threshold(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: Name
    value: Number = Field(gt=0)


def load(directory: Path, environ: Mapping[str, str]) -> Configuration:
    """Loads a configuration.

    Args:
        directory: holds the files of :data:`FILES`.
        environ: environment variables that ``${NAME}`` in secret fields may name.

    Raises:
        ConfigError: with every error of every file.
    """
    problems = _check_directory(directory)
    readings = {name: Reading(_read(directory, name), environ) for name in FILES}
    definitions, enforcement, monitoring, service = (readings[name] for name in FILES)

    contracts, slas, thresholds = _read_definitions(definitions)
    policy_given = _with_types(enforcement.section("erlmcp_sla_enforcement") or {}, "channels", CHANNEL_TYPES)
    policy = enforcement.read(EnforcementPolicy, policy_given)
    if policy is not None:
        check_apprise(enforcement, policy)
    watch_given = sources_given(monitoring, monitoring.section("erlmcp_sla_monitor") or {})
    watch = monitoring.read(MonitoringPolicy, watch_given)
    settings = service.read(ServiceSettings, service.section() or {})

    named = check_references(
        Given(definitions, contracts),
        Given(enforcement, policy_given),
        Given(monitoring, watch_given),
        channels=CHANNEL_TYPES.keys(),
        remedies=BUILT_IN_REMEDIES.keys(),
        sources=BUILT_IN_SOURCES.keys(),
    )
    for reading in readings.values():
        found = {*reading.document.problems, *reading.problems}
        problems += sorted(found, key=lambda problem: (problem.line, problem.path, problem.reason))
    if problems or policy is None or watch is None or settings is None:
        raise ConfigError(problems)
    channels = {name: CHANNEL_TYPES[name] for name in named.channels if name in CHANNEL_TYPES}
    sources = {name: BUILT_IN_SOURCES[name] for name in named.sources if name in BUILT_IN_SOURCES}
    return Configuration(
        slas=slas,
        enforcement=policy.model_copy(
            update={
                "channels": {**channels, **policy.channels},
                "remedies": {**BUILT_IN_REMEDIES, **policy.remedies},
            }
        ),
        monitoring=watch.model_copy(update={"sources": {**sources, **watch.sources}}),
        service=settings,
        thresholds=thresholds,
    )


def load_contracts(path: Path) -> tuple[tuple[Sla, ...], tuple[Problem, ...]]:
    """Loads the contracts of one file in the form of ``sla_definitions.yaml``, as for ``sla define``.

    Names of sources and of contracts outside the file are not checked: they belong to the running system.

    Returns:
        The contracts that are valid, and all problems.
    """
    reading = Reading(read_document(path), {})
    _, slas, _ = _read_definitions(reading)
    found = {*reading.document.problems, *reading.problems}
    return slas, tuple(sorted(found, key=lambda problem: (problem.line, problem.path, problem.reason)))


def _read_definitions(reading: Reading) -> tuple[list[Any], tuple[Sla, ...], dict[str, Decimal]]:
    """The contracts as given, those of them that are valid, and the default thresholds."""
    section = reading.section("erlmcp_sla_definition")
    if section is None:
        return [], (), {}
    for key in section:
        if key not in {"slas", "thresholds"}:
            hint = suggest(key, ["slas", "thresholds"])
            reading.report((key,), "unknown_key", f"there is no key {key!r} here{hint}")
    thresholds = _read_thresholds(reading, section)
    contracts = section.get("slas")
    if not isinstance(contracts, list):
        if "slas" not in section:
            reading.report(("slas",), "missing", "'slas' is missing: the list of contracts")
        else:
            reading.report(
                ("slas",), "list_type", "a list of contracts should stand here, each beginning with '- id:'"
            )
        return [], (), thresholds
    contracts = [_with_thresholds(contract, thresholds) for contract in contracts]
    slas = [reading.read(Sla, contract, ("slas", index)) for index, contract in enumerate(contracts)]
    check_contracts(Given(reading, contracts))
    return contracts, tuple(sla for sla in slas if sla is not None), thresholds


def _read_thresholds(reading: Reading, section: Mapping[str, Any]) -> dict[str, Decimal]:
    given_map = section.get("thresholds", {})
    if not isinstance(given_map, dict):
        reading.report(("thresholds",), "dict_type", "metric names with values should stand here")
        return {}
    thresholds: dict[str, Decimal] = {}
    for name, value in given_map.items():
        reading.moved[("thresholds", name, "value")] = reading.moved[("thresholds", name, "name")] = (
            "thresholds",
            name,
        )
        threshold = reading.read(_Threshold, {"name": name, "value": value}, ("thresholds", name))
        if threshold is not None:
            thresholds[threshold.name] = threshold.value
    return thresholds


def _with_thresholds(contract: Any, thresholds: Mapping[str, Decimal]) -> Any:
    """``contract`` with the default value at each metric that gives none."""
    found = given(Sla, contract, "metrics") if isinstance(contract, dict) else None
    if not thresholds or found is None or not isinstance(found[1], list):
        return contract
    metrics = []
    for metric in found[1]:
        name = given(Metric, metric, "name") if isinstance(metric, dict) and "value" not in metric else None
        if name is not None and isinstance(name[1], str) and name[1] in thresholds:
            metric = {**metric, "value": thresholds[name[1]]}
        metrics.append(metric)
    return {**contract, found[0]: metrics}


def _with_types(section: dict[str, Any], key: str, types: Mapping[str, Any]) -> dict[str, Any]:
    """``section`` with the type filled in at entries that are named after one: ``slack: {url: …}``."""
    entries = section.get(key)
    if not isinstance(entries, dict):
        return section
    return {
        **section,
        key: {
            name: {"type": name, **entry} if isinstance(entry, dict) and name in types else entry
            for name, entry in entries.items()
        },
    }


def _check_directory(directory: Path) -> list[Problem]:
    """Problems with the names of files in a directory.

    Raises:
        ConfigError: there is no such directory.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        raise ConfigError([_problem(directory, "missing_directory", "there is no such directory")]) from None
    except NotADirectoryError:
        raise ConfigError(
            [_problem(directory, "not_a_directory", "this is a file, not a directory")]
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        text = f"the directory cannot be read: {error}"
        raise ConfigError([_problem(directory, "unreadable_directory", text)]) from error
    return [
        _problem(directory / name, "unknown_file", f"this file is not read: did you mean {wanted!r}?")
        for wanted in FILES
        if wanted not in names
        for name in names
        if _is_nearly(name, wanted)
    ]


def _is_nearly(name: str, wanted: str) -> bool:
    """Whether a file name is a slip of another, and not a copy such as ``monitoring-old.yaml``."""
    if not name.endswith((".yaml", ".yml")) or name in FILES:
        return False
    stem, wanted_stem = name.rsplit(".", 1)[0], wanted.rsplit(".", 1)[0]
    return SequenceMatcher(None, stem.lower(), wanted_stem).ratio() > 0.9


def _read(directory: Path, name: str) -> Document:
    document = read_document(directory / name)
    missing = document.broken and document.problems[0].reason == "missing_file"
    if missing and name != DEFINITIONS:
        return Document(document.file, {})
    return document


def _problem(path: Path, reason: str, message: str) -> Problem:
    return Problem(str(path), 1, "", reason, message)


__all__ = [
    "DEFAULT_DIR",
    "FILES",
    "ConfigError",
    "Configuration",
    "Place",
    "Problem",
    "load",
    "load_contracts",
]
