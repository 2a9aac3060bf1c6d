"""The seed's ``metrics_sources`` list as the ``sources`` map it stands for."""

from typing import Any, Final

from slakeeper.config.problem import Place
from slakeeper.config.reading import Reading

SOURCE_TYPES: Final = {
    "internal": "collector",
    "prometheus": "url",
    "custom": "url",
    "http": "url",
    "mcp": "url",
    "host": None,
    "process": "process",
}
"""The types of sources, each with what the one value of the seed's pair means for it."""


def sources_given(reading: Reading, section: dict[str, Any]) -> dict[str, Any]:
    """``section`` with the items of ``metrics_sources`` among ``sources``, each under its name.

    An item is the seed's pair as ``[prometheus, URL]``, a mapping ``{prometheus: URL, enabled: false}`` or one
    with ``type:``; ``name:`` names it, else its type does. Entries of ``sources`` named after a type need no
    ``type:``.
    """
    section = dict(section)
    items = section.pop("metrics_sources", [])
    sources = section.get("sources", {})
    if not isinstance(sources, dict):
        return section
    sources = {
        name: {"type": name, **entry} if isinstance(entry, dict) and name in SOURCE_TYPES else entry
        for name, entry in sources.items()
    }
    if not isinstance(items, list):
        reading.report(("metrics_sources",), "list_type", "a list should stand here, each item after a dash")
        items = []
    for index, item in enumerate(items):
        place: Place = ("metrics_sources", index)
        settings = _settings(item)
        if settings is None:
            reading.report(
                place,
                "invalid_source",
                f"a source is one of {', '.join(SOURCE_TYPES)} with its address, "
                'such as {prometheus: "http://monitoring:9090"}',
            )
            continue
        name = settings.pop("name", settings["type"])
        if not isinstance(name, str):
            reading.report((*place, "name"), "string_type", "text should stand here")
        elif name in sources:
            reading.report(
                place, "duplicate_source", f"there are two sources named {name!r}: give one a 'name'"
            )
        else:
            sources[name] = settings
            reading.moved[("sources", name)] = place
    return {**section, "sources": sources}


def _settings(item: Any) -> dict[str, Any] | None:
    """One item as a source's settings; None when it is none."""
    match item:
        case str() if item in {"internal", "host"}:
            return {"type": item}
        case [str() as kind, address] if SOURCE_TYPES.get(kind):
            return {"type": kind, str(SOURCE_TYPES[kind]): address}
        case {"type": str(), **_others}:
            return dict(item)
        case dict():
            kinds = [kind for kind in SOURCE_TYPES if kind in item]
            if len(kinds) != 1:
                return None
            settings = {"type": kinds[0], **item}
            address = settings.pop(kinds[0])
            key = SOURCE_TYPES[kinds[0]]
            if key is None:
                return (
                    {**settings, **address}
                    if isinstance(address, dict)
                    else settings
                    if address is None
                    else None
                )
            if key in settings:
                return None
            return {**settings, key: address}
        case _:
            return None
