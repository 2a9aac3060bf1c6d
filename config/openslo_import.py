"""OpenSLO v1 in: contracts, the sources they ask, and what becomes of alert policies.

An objective of an SLO becomes a contract of one metric. slakeeper counts time, window by window, which is what
OpenSLO calls Timeslices; the other budgeting methods are mapped to the nearest, and that is said. Whatever has
no equal is in ``unmapped``; nothing is dropped in silence.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from slakeeper.config.openslo import (
    Metadata,
    Service,
    Sli,
    SliSpec,
    Slo,
    SloSpec,
)
from slakeeper.config.openslo_alert import escalation_policies
from slakeeper.config.openslo_file import Entry, Library, Unmapped, read_library
from slakeeper.config.openslo_metric import Measure
from slakeeper.config.openslo_source import imported_sources
from slakeeper.config.openslo_window import accounting_period
from slakeeper.config.problem import Place
from slakeeper.sla.contract import MIN_SERVICE_LEVEL_PCT, Sla

# Annotations that an export of ours writes, because OpenSLO has no key for them.
ID: Final = "slakeeper.id"
METRIC: Final = "slakeeper.metric"
UNIT: Final = "slakeeper.unit"
AGGREGATION: Final = "slakeeper.aggregation"
INTERVAL: Final = "slakeeper.interval"

OWNER_LABELS: Final = ("team", "owner")

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
_MAX_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Imported:
    """What was made of a file.

    Attributes:
        slas: contracts in the form of ``sla_definitions.yaml``; each is valid.
        monitoring: a part of ``monitoring.yaml``; empty when no source is named.
        enforcement: a part of ``enforcement.yaml``; empty when there are no alert policies.
        unmapped: what has no equal here, in the order of the file.
    """

    slas: tuple[dict[str, Any], ...]
    monitoring: dict[str, Any]
    enforcement: dict[str, Any]
    unmapped: tuple[Unmapped, ...]


def import_openslo(path: Path) -> Imported:
    """Reads a file of OpenSLO v1 objects.

    Raises:
        ConfigError: it is not valid OpenSLO; with every error and its line.
    """
    library = read_library(path)
    for entry in library.entries:
        library.note_unknown_keys(entry)
    sources = imported_sources(library)
    slas: list[dict[str, Any]] = []
    for entry in library.of(Slo):
        for contract in _Importer(library, entry, sources).contracts():
            if any(other["id"] == contract["id"] for other in slas):
                library.note(entry, ("metadata", "name"), f"there is a contract {contract['id']} already")
            else:
                slas.append(contract)
    policies = escalation_policies(library)
    for entry in library.entries:
        if not isinstance(entry.value, Slo) and not library.is_used(entry):
            library.note(entry, (), "no SLO of this file uses it")
    return Imported(
        tuple(slas),
        {"sources": sources} if sources else {},
        {"escalation_policies": policies} if policies else {},
        library.unmapped,
    )


class _Importer:
    """Makes the contracts of one SLO."""

    def __init__(self, library: Library, entry: Entry, sources: dict[str, Any]) -> None:
        self._library = library
        self._entry = entry
        self._sources = sources
        self._slo: SloSpec = entry.value.spec
        self._metadata: Metadata = entry.value.metadata

    def contracts(self) -> Iterator[dict[str, Any]]:
        found = self._indicator()
        if found is None:
            return
        at, place, metadata, sli = found
        common = {
            **self._service(),
            **accounting_period(self._library, self._entry, self._slo.time_window),
        }
        metadata_known = () if metadata is None else (METRIC, UNIT, AGGREGATION, INTERVAL)
        self._note_metadata(self._entry, ("metadata",), self._metadata, (ID,))
        if metadata is not None:
            self._note_metadata(at, (*place, "metadata"), metadata, metadata_known)
        if sli.description:
            self._library.note(at, (*place, "spec", "description"), "a metric has no description")
        objectives = self._slo.objectives
        for index, (name, objective) in enumerate(zip(self._names(), objectives, strict=True)):
            metric = Measure(self._library, self._entry, at, place, sli, self._sources).metric(
                objective, index, self._slo.budgeting_method
            )
            if metric is None:
                continue
            target = objective.target_pct
            target_key = "target" if objective.target is not None else "targetPercent"
            if target < MIN_SERVICE_LEVEL_PCT:
                self._note(
                    ("spec", "objectives", index, target_key),
                    f"a service_level is {MIN_SERVICE_LEVEL_PCT} percent or more: it makes no contract",
                )
                continue
            shown = (self._metadata.display_name, objective.display_name if len(objectives) > 1 else "")
            if objective.display_name and len(objectives) == 1:
                self._note(("spec", "objectives", index, "displayName"), "the contract has the SLO's name")
            contract = {
                "id": name,
                **_given(name=" · ".join(text for text in shown if text), description=self._slo.description),
                "service_level": target,
                **common,
                "metrics": [{"name": self._metric_name(metadata), **self._annotated(metadata, metric)}],
            }
            yield from self._checked(contract, index)

    def _checked(self, contract: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
        """The contract, when it is valid."""
        try:
            Sla.model_validate(contract)
        except ValidationError as error:
            for line in error.errors(include_url=False):
                where = ".".join(str(step) for step in line["loc"])
                self._note(
                    ("spec", "objectives", index), f"no contract is made of it: {where}: {line['msg']}"
                )
        else:
            yield contract

    def _indicator(self) -> tuple[Entry, Place, Metadata | None, SliSpec] | None:
        """The indicator's object, its place there, its metadata, and itself."""
        if self._slo.indicator is not None:
            indicator = self._slo.indicator
            return self._entry, ("spec", "indicator"), indicator.metadata, indicator.spec
        entry = self._library.find(Sli, self._slo.indicator_ref)
        if entry is None:
            self._note(
                ("spec", "indicatorRef"),
                f"there is no SLI {self._slo.indicator_ref!r} in this file: no contract is made",
            )
            return None
        return entry, (), entry.value.metadata, entry.value.spec

    def _names(self) -> list[str]:
        """The ids of the contracts, one an objective."""
        base = self._metadata.annotations.get(ID) or self._named(self._metadata.name, ("metadata", "name"))
        objectives = self._slo.objectives
        if len(objectives) == 1:
            return [base]
        self._note(("spec", "objectives"), f"each of the {len(objectives)} objectives becomes a contract")
        slugs = [_slug(objective.display_name) for objective in objectives]
        often = Counter(slugs)
        return [
            f"{base}-{slug if slug and often[slug] == 1 else index + 1}"[:_MAX_NAME]
            for index, slug in enumerate(slugs)
        ]

    def _metric_name(self, metadata: Metadata | None) -> str:
        if metadata is None:
            return self._named(self._metadata.name, ("metadata", "name"))
        return metadata.annotations.get(METRIC) or _name(metadata.name)

    def _named(self, name: str, place: Place) -> str:
        ours = _name(name)
        if ours != name:
            self._note(place, f"the name has characters that none has here, and becomes {ours}")
        return ours

    def _annotated(self, metadata: Metadata | None, metric: dict[str, Any]) -> dict[str, Any]:
        """The metric with what an export of ours left in annotations."""
        notes = {} if metadata is None else metadata.annotations
        given = _given(
            unit=notes.get(UNIT, ""), aggregation=notes.get(AGGREGATION, ""), interval=notes.get(INTERVAL, "")
        )
        return {**metric, **given}

    def _service(self) -> dict[str, str]:
        """The owner: a label of the SLO or its service, else the service itself."""
        entry = self._library.find(Service, self._slo.service)
        carriers = [self._metadata] + ([] if entry is None else [entry.value.metadata])
        owner = next(
            (
                label
                for carrier in carriers
                for key in OWNER_LABELS
                if isinstance(label := carrier.labels.get(key), str)
            ),
            "",
        )
        if entry is not None:
            service: Metadata = entry.value.metadata
            self._note_metadata(entry, ("metadata",), service, ())
            if entry.value.spec.description:
                self._library.note(entry, ("spec", "description"), "only the name of a service is kept")
            if owner and service.display_name not in {"", owner}:
                self._library.note(entry, ("metadata", "displayName"), f"the owner is {owner}")
            owner = owner or service.display_name
        elif owner and owner != self._slo.service and self._slo.service != self._metadata.name:
            self._note(("spec", "service"), f"a contract has no service, and its owner is {owner}")
        # Of a contract without an owner an export of ours says a service of the SLO's own name.
        own = entry is None and self._slo.service == self._metadata.name
        return _given(owner_team=owner or ("" if own else self._slo.service))

    def _note_metadata(self, entry: Entry, place: Place, metadata: Metadata, known: tuple[str, ...]) -> None:
        for key, label in metadata.labels.items():
            if key not in OWNER_LABELS or not isinstance(label, str):
                self._library.note(entry, (*place, "labels", key), "a contract has no labels")
        for key in metadata.annotations:
            if key not in known:
                self._library.note(entry, (*place, "annotations", key), "a contract has no annotations")
        if metadata.display_name and metadata is not self._metadata and not isinstance(entry.value, Service):
            self._library.note(entry, (*place, "displayName"), "a metric has no name for people")

    def _note(self, place: Place, reason: str) -> None:
        self._library.note(self._entry, place, reason)


def _given(**texts: str) -> dict[str, str]:
    """Those that are not empty."""
    return {key: text for key, text in texts.items() if text}


def _name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("-", text).lstrip(".:-")[:_MAX_NAME] or "unnamed"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
