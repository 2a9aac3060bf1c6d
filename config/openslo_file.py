"""A file of OpenSLO objects: read, checked one by one, found by kind and name."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from slakeeper.config.document import read_documents
from slakeeper.config.openslo import KINDS, Object
from slakeeper.config.problem import ConfigError, Place, show_place
from slakeeper.config.reading import Reading, suggest

_Object = TypeVar("_Object", bound=Object)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object and where it stands."""

    reading: Reading
    place: Place
    value: Any

    @property
    def subject(self) -> str:
        return f"{self.value.kind} {self.value.metadata.name}"


@dataclass(frozen=True, slots=True)
class Unmapped:
    """What has no equal on the other side, or only a near one.

    Attributes:
        subject: the object or contract it belongs to, such as ``SLO web``.
        path: within that.
        reason: in words; what is done instead, if anything.
        file, line: where it stands; empty and 0 when it comes from no file.
    """

    subject: str
    path: str
    reason: str
    file: str = ""
    line: int = 0

    def to_document(self) -> dict[str, str | int]:
        """Plain JSON values."""
        place: dict[str, str | int] = {"file": self.file, "line": self.line} if self.file else {}
        return {"subject": self.subject, "path": self.path, "reason": self.reason, **place}

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file else ""
        return f"{where}{self.subject}: {self.path}: {self.reason}"


@dataclass
class Library:
    """The objects of a file, and what was found not to map while they were used."""

    entries: list[Entry]
    _noted: dict[Unmapped, None] = field(default_factory=dict)
    _used: set[tuple[str, str]] = field(default_factory=set)

    def of(self, kind: type[_Object]) -> Iterator[Entry]:
        """Every object of a kind, in the order of the file."""
        return (entry for entry in self.entries if isinstance(entry.value, kind))

    def find(self, kind: type[_Object], name: str | None) -> Entry | None:
        """The object of a kind and name; it counts as used."""
        for entry in self.of(kind):
            if entry.value.metadata.name == name:
                self._used.add((entry.value.kind, entry.value.metadata.name))
                return entry
        return None

    def is_used(self, entry: Entry) -> bool:
        return (entry.value.kind, entry.value.metadata.name) in self._used

    def note(self, entry: Entry, place: Place, reason: str) -> None:
        """Notes that what stands at a place of an object does not map; once, however often it is met."""
        line = entry.reading.line(entry.place + place)
        self._noted[Unmapped(entry.subject, show_place(place), reason, entry.reading.document.file, line)] = (
            None
        )

    def note_unknown_keys(self, entry: Entry) -> None:
        """Notes every key that OpenSLO v1 does not know."""
        for place in _unknown(entry.value):
            self.note(entry, place, "this is no key of OpenSLO v1")

    @property
    def unmapped(self) -> tuple[Unmapped, ...]:
        return tuple(sorted(self._noted, key=lambda each: (each.line, each.path)))


def read_library(path: Path) -> Library:
    """Reads the objects of a file: YAML documents, each an object or a list of objects.

    Raises:
        ConfigError: with everything that is not YAML or not OpenSLO v1.
    """
    entries: list[Entry] = []
    readings = []
    for document in read_documents(path):
        # A ``${`` of a query is no variable of ours.
        reading = Reading(replace(document, has_placeholders=False), {})
        readings.append(reading)
        if document.broken:
            continue
        value = document.value
        items = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, item in items:
            place: Place = () if index is None else (index,)
            entry = _read_object(reading, item, place)
            if entry is not None:
                _refuse_second(entries, entry)
                entries.append(entry)
    problems = [problem for each in readings for problem in {*each.document.problems, *each.problems}]
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line, problem.path, problem.reason)))
    return Library(entries)


def _read_object(reading: Reading, value: Any, place: Place) -> Entry | None:
    if not isinstance(value, dict):
        reading.report(place, "not_a_mapping", "an object of OpenSLO should stand here: apiVersion, kind, …")
        return None
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        if "kind" not in value:
            reading.report((*place, "kind"), "missing", "'kind' is missing: this is no object of OpenSLO")
        else:
            reading.report(
                (*place, "kind"), "unknown_kind", f"there is no kind {kind!r}" + suggest(kind, KINDS)
            )
        return None
    made = reading.read(model, value, place)
    return None if made is None else Entry(reading, place, made)


def _refuse_second(entries: list[Entry], entry: Entry) -> None:
    for other in entries:
        if other.subject == entry.subject:
            line = other.reading.line(other.place)
            entry.reading.report(
                (*entry.place, "metadata"),
                "duplicate_object",
                f"there are two objects {entry.subject}, the first in line {line}",
            )
            return


def _unknown(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of keys that no model of ``value`` knows."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _unknown(item, (*place, index))
    if not isinstance(value, BaseModel):
        return
    for key in value.model_extra or {}:
        yield (*place, key)
    for name, info in type(value).model_fields.items():
        yield from _unknown(getattr(value, name), (*place, str(info.alias or name)))
