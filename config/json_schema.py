"""JSON Schemas (2020-12) of the configuration's files, for editors: keys in every spelling, values, descriptions.

They are made of the models that check the files. What only code can check (names that must exist elsewhere, a
formula, a time zone) is left to ``slakeeper check``: whatever that accepts is valid here, and not the other way.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter

from slakeeper.config.loader import CHANNEL_TYPES, DEFINITIONS, ENFORCEMENT, MONITORING, SERVICE
from slakeeper.config.schema import Model, keys_of
from slakeeper.config.service import ServiceSettings
from slakeeper.config.sources import SOURCE_TYPES
from slakeeper.sla.condition import Condition
from slakeeper.sla.contract import Sla
from slakeeper.sla.field import Number
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitoring import AnySource, MonitoringPolicy
from slakeeper.sla.policy import ActionCondition, EnforcementPolicy
from slakeeper.sla.service_hours import ServiceHours

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

# Bounds that a model's own checks set, and no field says.
_BOUNDS: Final[Mapping[tuple[Model, str], Schema]] = {
    (Sla, "service_level"): {"minimum": 90, "maximum": 100},
    (Sla, "currency"): {"pattern": "^[A-Z]{3}$"},
    (Metric, "weight"): {"exclusiveMinimum": 0, "maximum": 1},
    (Metric, "alert_threshold"): {"exclusiveMinimum": 0, "maximum": 1},
    (Metric, "percentile"): {"exclusiveMinimum": 0, "exclusiveMaximum": 100},
    (ServiceHours, "hours"): {"pattern": r"^\d\d:\d\d-\d\d:\d\d$"},
}

_NUMERIC: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})

_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.+(?:\n        .+)*)", re.MULTILINE)


def file_schemas() -> dict[str, Schema]:
    """The schema of each file of a configuration, by the file's name."""
    return {
        DEFINITIONS: _file("Contracts: what is promised", _definitions(), "erlmcp_sla_definition"),
        ENFORCEMENT: _file("What is done about a violation", _enforcement(), "erlmcp_sla_enforcement"),
        MONITORING: _file("What is watched, and how", _monitoring(), "erlmcp_sla_monitor"),
        SERVICE: _file("How slakeeper itself runs", _model(ServiceSettings), None),
    }


def _file(title: str, section: Schema, nesting_key: str | None) -> Schema:
    """The schema of a file whose section may also stand below the seed's nesting key."""
    definitions = section.pop("$defs", {})
    if nesting_key is not None:
        definitions["File"] = section
        below = {
            "type": "object",
            "properties": {nesting_key: {"$ref": "#/$defs/File"}},
            "required": [nesting_key],
            "additionalProperties": False,
        }
        section = {"anyOf": [{"$ref": "#/$defs/File"}, below]}
    return {"$schema": DIALECT, "title": title, **section, "$defs": definitions}


def _definitions() -> Schema:
    contract = _model(Sla)
    definitions = contract.pop("$defs")
    # One that `thresholds` names needs no value of its own.
    definitions["Metric"]["required"] = [
        key for key in definitions["Metric"].get("required", []) if key != "value"
    ]
    definitions["Sla"] = contract
    value = {**TypeAdapter(Number).json_schema(), "description": "the value of metrics that give none"}
    return {
        "type": "object",
        "properties": {
            "slas": {"type": "array", "items": {"$ref": "#/$defs/Sla"}},
            "thresholds": {"type": "object", "additionalProperties": value},
        },
        "required": ["slas"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _enforcement() -> Schema:
    schema = _model(EnforcementPolicy)
    _allow_named_after_type(schema, "channels", {name: type(each) for name, each in CHANNEL_TYPES.items()})
    return schema


def _monitoring() -> Schema:
    schema = _model(MonitoringPolicy)
    models = {
        get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(get_args(AnySource)[0])
    }
    _allow_named_after_type(schema, "sources", models)
    schema["properties"]["metrics_sources"] = {
        "type": "array",
        "description": "another spelling of sources",
        "items": {
            "anyOf": [
                {"enum": ["internal", "host"]},
                {"type": "array", "minItems": 2, "maxItems": 2},
                {
                    "type": "object",
                    "anyOf": [{"required": [key]} for key in ("type", *SOURCE_TYPES)],
                },
            ]
        },
    }
    return schema


def _allow_named_after_type(schema: Schema, key: str, models: Mapping[str, Model]) -> None:
    """Entries of a map that are named after their type need not say it."""
    entries = schema["properties"][key]
    entries["properties"] = {}
    for name, model in models.items():
        entry = dict(schema["$defs"][model.__name__])
        entry["required"] = [each for each in entry.get("required", []) if each != "type"]
        # Another type under the name of one is no mistake.
        entries["properties"][name] = {
            "anyOf": [entry, {"allOf": [{"required": ["type"]}, entries["additionalProperties"]]}]
        }


def _model(model: Model) -> Schema:
    """pydantic's schema of a model, with what it does not know of it and of the models within."""
    schema = model.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for each in {model, *_within(model)}:
        _complete(schema if each is model else definitions[each.__name__], each)
    return schema


def _within(model: Model) -> Iterator[Model]:
    """The models that the fields of a model are made of."""
    waiting = [field.annotation for field in model.model_fields.values()]
    while waiting:
        shape = waiting.pop()
        waiting += get_args(shape)
        if inspect.isclass(shape) and issubclass(shape, BaseModel):
            yield shape
            yield from _within(shape)


def _complete(schema: Schema, model: Model) -> None:
    if model is ActionCondition:
        spellings = _condition(schema)
        schema.clear()
        schema.update(spellings)
        return
    schema.pop("title", None)
    lines = inspect.getdoc(model) or ""
    schema["description"] = lines.partition("\n")[0]
    said = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(lines)}
    properties: Schema = {}
    one_of: list[Schema] = []
    required: list[str] = []
    for name, field in model.model_fields.items():
        keys = [key for key, filled in keys_of(model).items() if filled == name and not key.endswith("_")]
        found = next(schema["properties"][key] for key in (*keys, name) if key in schema["properties"])
        found = {key: value for key, value in found.items() if key != "title"}
        if name in said:
            found["description"] = said[name]
        _bound(found, _BOUNDS.get((model, name), {}))
        properties[keys[0]] = found
        for key in keys[1:]:
            properties[key] = {**found, "description": f"another spelling of {keys[0]}"}
        if field.is_required():
            if len(keys) == 1:
                required.append(keys[0])
            else:
                one_of.append({"anyOf": [{"required": [key]} for key in keys]})
    schema["properties"] = properties
    schema.pop("required", None)
    if required:
        schema["required"] = required
    if one_of:
        schema["allOf"] = one_of


def _bound(schema: Schema, bounds: Schema) -> None:
    """Sets bounds where they have a meaning: of numbers at the number, of text at the text."""
    for branch in schema.get("anyOf", [schema]):
        for key, bound in bounds.items():
            if branch.get("type") == ("number" if key in _NUMERIC else "string"):
                branch[key] = bound


def _condition(plain: Schema) -> Schema:
    """The three spellings of an action's condition."""
    value = plain["properties"]["value"]
    operators = [each.value for each in Condition]
    return {
        "type": ["object", "array"],
        "anyOf": [
            dict(plain),
            {
                "type": "object",
                "properties": dict.fromkeys(operators, value),
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
            {
                "type": "array",
                "prefixItems": [{"enum": operators}, value],
                "minItems": 2,
                "items": False,
            },
        ],
    }
