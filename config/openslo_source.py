"""DataSource of OpenSLO and sources of ``monitoring.yaml``, each as the other.

``connectionDetails`` is any YAML: of it the keys of the source's own kind are understood, and an address under
the names in use for one. Nothing that may be a secret is carried over in either direction.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from slakeeper.config.openslo import API_VERSION, DataSource
from slakeeper.config.openslo_file import Entry, Library
from slakeeper.config.problem import Place
from slakeeper.sla.duration import format_duration
from slakeeper.sla.monitoring import (
    AnySource,
    CustomSource,
    HostSource,
    HttpSource,
    InternalSource,
    McpSource,
    PrometheusSource,
)

_KINDS: Final[Mapping[str, type[BaseModel]]] = {
    "internal": InternalSource,
    "host": HostSource,
    "prometheus": PrometheusSource,
    "custom": CustomSource,
    "http": HttpSource,
    "mcp": McpSource,
}

_ADDRESS_KEYS: Final = ("url", "URL", "baseUrl", "baseURL", "address", "endpoint", "server", "host")

_SPANS: Final = frozenset({"interval", "timeout", "jitter"})

_SOURCE: Final[TypeAdapter[Any]] = TypeAdapter(AnySource)


def imported_sources(library: Library) -> dict[str, dict[str, Any]]:
    """The sources of ``monitoring.yaml`` that the DataSources of a file stand for, by name; each is valid."""
    sources = {}
    for entry in library.of(DataSource):
        settings = _settings(library, entry)
        if settings is None:
            continue
        try:
            _SOURCE.validate_python(settings)
        except ValidationError as error:
            for line in error.errors(include_url=False, include_input=False):
                where = ".".join(str(step) for step in line["loc"][1:])
                library.note(entry, ("spec",), f"no source is made of it: {where}: {line['msg']}")
        else:
            name = entry.value.metadata.name
            library.find(DataSource, name)
            sources[name] = settings
    return sources


def _settings(library: Library, entry: Entry) -> dict[str, Any] | None:
    spec = entry.value.spec
    kind = spec.type.lower()
    model = _KINDS.get(kind)
    for text, *where in (
        (spec.description, "spec", "description"),
        (entry.value.metadata.display_name, "metadata", "displayName"),
    ):
        if text:
            library.note(entry, tuple(where), "a source has only its name")
    for part in ("labels", "annotations"):
        for key in getattr(entry.value.metadata, part):
            library.note(entry, ("metadata", part, key), f"a source has no {part}")
    if model is None:
        library.note(
            entry, ("spec", "type"), f"there is no source for {spec.type}: samples have to be pushed"
        )
        library.find(DataSource, entry.value.metadata.name)
        return None
    details = spec.connection_details
    if details is not None and not isinstance(details, dict):
        library.note(entry, ("spec", "connectionDetails"), "only keys with values are understood")
        details = None
    details = details or {}
    settings: dict[str, Any] = {"type": kind}
    address = (
        next((key for key in _ADDRESS_KEYS if key in details), None) if "url" in model.model_fields else None
    )
    for key, value in details.items():
        place: Place = ("spec", "connectionDetails", key)
        if key == address:
            settings["url"] = value
        elif key in _open_fields(model):
            settings[key] = value
        else:
            library.note(entry, place, "it is not carried over; secrets go into monitoring.yaml as ${NAME}")
    return settings


def _open_fields(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a source that are no secrets."""
    for name, field in model.model_fields.items():
        if name != "type" and not _holds_secret(field.annotation):
            yield name


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(each) for each in get_args(annotation))


def data_source(name: str, source: BaseModel) -> tuple[dict[str, Any], list[str]]:
    """A source as a DataSource.

    Returns:
        The object, and the keys that are given and not carried over: secrets.
    """
    model = type(source)
    open_fields = set(_open_fields(model))
    details: dict[str, Any] = {}
    left = []
    for key in model.model_fields:
        value = getattr(source, key)
        if key == "type" or value == model.model_fields[key].get_default(call_default_factory=True):
            continue
        if key not in open_fields:
            left.append(key)
        elif key in _SPANS:
            details[key] = value if " " in format_duration(value) else format_duration(value)
        else:
            details[key] = list(value) if isinstance(value, tuple) else value
    kind = next(name for name, each in _KINDS.items() if each is model)
    spec: dict[str, Any] = {"type": "Prometheus" if kind == "prometheus" else kind}
    if details:
        spec["connectionDetails"] = details
    made = {"apiVersion": API_VERSION, "kind": "DataSource", "metadata": {"name": name}, "spec": spec}
    return made, left
