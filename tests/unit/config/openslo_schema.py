"""A JSON Schema of OpenSLO v1, written from the text of its specification (README of OpenSLO/OpenSLO)."""

from typing import Any

import jsonschema

_NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_LABEL = {"type": "string", "pattern": r"^[a-z0-9A-Z][a-z0-9A-Z._-]{0,62}$"}
_DESCRIPTION = {"type": "string", "maxLength": 1050}
_DURATION = {"type": "string", "pattern": r"^[1-9][0-9]*[mhdwMQY]$"}
_METRIC = {
    "type": "object",
    "required": ["metricSource"],
    "additionalProperties": False,
    "properties": {
        "metricSource": {
            "type": "object",
            "required": ["spec"],
            "anyOf": [{"required": ["type"]}, {"required": ["metricSourceRef"]}],
            "additionalProperties": False,
            "properties": {
                "metricSourceRef": _NAME,
                "type": {"type": "string"},
                "spec": {"type": "object"},
            },
        }
    },
}
_METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "displayName": {"type": "string", "minLength": 1},
        "labels": {
            "type": "object",
            "additionalProperties": {"anyOf": [_LABEL, {"type": "array", "items": _LABEL}]},
        },
        "annotations": {
            "type": "object",
            "propertyNames": {"pattern": r"^([a-z0-9.-]{2,253}/)?[a-z0-9A-Z][a-z0-9A-Z._-]{0,62}$"},
            "additionalProperties": _LABEL,
        },
    },
}
_SLI_SPEC = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["thresholdMetric"]}, {"required": ["ratioMetric"]}],
    "properties": {
        "description": _DESCRIPTION,
        "thresholdMetric": _METRIC,
        "ratioMetric": {
            "type": "object",
            "additionalProperties": False,
            "oneOf": [
                {"required": ["raw", "rawType"]},
                {"required": ["good", "total"]},
                {"required": ["bad", "total"]},
            ],
            "properties": {
                "counter": {"type": "boolean"},
                "rawType": {"enum": ["success", "failure"]},
                **dict.fromkeys(("good", "bad", "total", "raw"), _METRIC),
            },
        },
    },
}
_WINDOW = {
    "type": "object",
    "required": ["duration", "isRolling"],
    "additionalProperties": False,
    "properties": {
        "duration": _DURATION,
        "isRolling": {"type": "boolean"},
        "calendar": {
            "type": "object",
            "required": ["startTime", "timeZone"],
            "properties": {
                "startTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"},
                "timeZone": {"type": "string"},
            },
        },
    },
}
_OBJECTIVE = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["target"]}, {"required": ["targetPercent"]}],
    "required": ["timeSliceTarget", "timeSliceWindow"],
    "properties": {
        "displayName": {"type": "string"},
        "op": {"enum": ["lte", "gte", "lt", "gt"]},
        "value": {"type": "number"},
        "target": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "targetPercent": {"type": "number", "minimum": 0, "exclusiveMaximum": 100},
        "timeSliceTarget": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "timeSliceWindow": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION]},
    },
}
_SPECS: dict[str, Any] = {
    "SLO": {
        "type": "object",
        "required": ["service", "budgetingMethod", "objectives"],
        "additionalProperties": False,
        "oneOf": [{"required": ["indicator"]}, {"required": ["indicatorRef"]}],
        "properties": {
            "description": _DESCRIPTION,
            "service": _NAME,
            "indicator": {
                "type": "object",
                "required": ["metadata", "spec"],
                "properties": {"metadata": _METADATA, "spec": _SLI_SPEC},
            },
            "indicatorRef": _NAME,
            "timeWindow": {"type": "array", "minItems": 1, "maxItems": 1, "items": _WINDOW},
            "budgetingMethod": {"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
            "objectives": {"type": "array", "minItems": 1, "items": _OBJECTIVE},
        },
    },
    "Service": {"type": "object", "properties": {"description": _DESCRIPTION}, "additionalProperties": False},
    "DataSource": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string"}, "connectionDetails": {}, "description": _DESCRIPTION},
    },
}


def check_object(document: Any) -> None:
    """Raises jsonschema.ValidationError for what is no valid object."""
    jsonschema.validate(
        document,
        {
            "type": "object",
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": False,
            "properties": {
                "apiVersion": {"const": "openslo/v1"},
                "kind": {"enum": list(_SPECS)},
                "metadata": _METADATA,
                "spec": _SPECS.get(document.get("kind"), False),
            },
        },
        jsonschema.Draft202012Validator,
    )
