"""Types of fields and checks that several models share.

A field's type says what it accepts, and its error's ``type`` is the reason shown to people. pydantic runs a
model's own ``after`` check only when every field is sound. So that one fault never hides another, checks across
fields stand on the last of these fields (a failed field is missing in ``info.data``), and checks across items of
lists look at the document as given (:func:`validate_with`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from slakeeper.sla.duration import DURATION, TimeError, parse_duration, parse_instant

MAX_EXPONENT = 40
MAX_DIGITS = 64

# Metric and contract names travel in addresses, URLs and file names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")


class Value(BaseModel):
    """What a file says, checked and frozen: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _exact(value: object) -> object:
    """Numbers from text, int, float (by its shortest repr) or Decimal; anything else is left for pydantic."""
    return Decimal(repr(float(value))) if isinstance(value, float) else value


def _sane(number: Decimal) -> Decimal:
    """Refuses numbers whose exact integers or fractions would fill the memory (1e999999999)."""
    if abs(number.adjusted()) > MAX_EXPONENT or len(number.as_tuple().digits) > MAX_DIGITS:
        raise PydanticCustomError(
            "number_out_of_range",
            "a number may have {digits} digits and lie between 1e-{exponent} and 1e{exponent}",
            {"digits": MAX_DIGITS, "exponent": MAX_EXPONENT},
        )
    return number


Number = Annotated[Decimal, BeforeValidator(_exact), Field(allow_inf_nan=False), AfterValidator(_sane)]
"""A finite number held exactly, given as an int, a float (its shortest text counts), a Decimal or text."""


def _plain(value: Any) -> Any:
    """Exact decimals of a file as floats: what leaves for programs and JSON is plain."""
    match value:
        case Decimal():
            return float(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return value


Parameters = Annotated[dict[str, Any], BeforeValidator(_plain)]
"""What is handed to programs and calls of others as it stands: plain JSON values by name."""

Flag = Annotated[bool, Field(strict=True)]
"""true or false; neither ``"no"`` nor 1."""

Whole = Annotated[int, Field(strict=True)]
"""A whole number; neither ``"5"`` nor 5.0 nor true."""


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise PydanticCustomError(
            "invalid_name",
            "{value} is not a name: use letters, digits, '_', '.', ':' or '-', at most 128, not starting with a sign",
            {"value": repr(value)},
        )
    return value


Name = Annotated[
    str, Field(strict=True), BeforeValidator(lambda v: _check_name(v) if isinstance(v, str) else v)
]


def _refuse_as_field(parse: Callable[[object], int], value: object) -> int:
    try:
        return parse(value)
    except TimeError as error:
        raise PydanticCustomError(error.reason, "{text}", {"text": str(error)}) from None


def check_duration(value: object) -> int:
    """`parse_duration` within a model: what it refuses is one of the model's errors."""
    return _refuse_as_field(parse_duration, value)


def check_instant(value: object) -> int:
    """`parse_instant` within a model: what it refuses is one of the model's errors."""
    return _refuse_as_field(parse_instant, value)


DurationMs = Annotated[
    int,
    BeforeValidator(check_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "description": "milliseconds"},
                {"type": "string", "pattern": rf"^{DURATION.pattern}$", "examples": ["30s", "5m", "7d"]},
            ]
        }
    ),
]
"""A field given as a duration and held as integer milliseconds."""


def _positive(span_ms: int) -> int:
    if span_ms <= 0:
        raise PydanticCustomError("invalid_duration", "this must be longer than 0")
    return span_ms


SpanMs = Annotated[DurationMs, AfterValidator(_positive)]
"""A duration longer than 0: what something waits for again and again, or must have time for."""

InstantMs = Annotated[
    int,
    BeforeValidator(check_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "description": "Unix seconds"},
                {"type": "string", "examples": ["2026-11-01T00:00:00Z"]},
            ]
        }
    ),
]
"""A field given as an instant and held as Unix milliseconds."""


def check_url(url: str) -> str:
    """``url`` when it is an http or https address; otherwise refused without showing it."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        fits = False
    if not fits or any(character.isspace() for character in url):
        # The address itself is not shown: it may be a secret.
        raise PydanticCustomError(
            "invalid_url", "an address must look like http://host:port/path or https://…"
        )
    return url


def _check_secret_url(url: SecretStr) -> SecretStr:
    if url.get_secret_value():
        check_url(url.get_secret_value())
    return url


Url = Annotated[str, AfterValidator(check_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_check_secret_url)]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error seen across the items of a document as given: where (keys and indices), which reason, in words."""

    loc: tuple[str | int, ...]
    reason: str
    message: str
    input: object


_Model = TypeVar("_Model", bound=BaseModel)


def validate_with(
    findings: Iterable[Finding], data: Any, handler: ModelWrapValidatorHandler[_Model]
) -> _Model:
    """Runs a model's own validation and reports its errors together with ``findings``.

    Raises:
        ValidationError: either of them found something.
    """
    found = [
        InitErrorDetails(
            type=PydanticCustomError(item.reason, "{text}", {"text": item.message}),
            loc=item.loc,
            input=item.input,
        )
        for item in findings
    ]
    try:
        value = handler(data)
    except ValidationError as error:
        if not found:
            raise
        own = [
            InitErrorDetails(
                type=PydanticCustomError(
                    line["type"], "{text}", {**line.get("ctx", {}), "text": line["msg"]}
                ),
                loc=line["loc"],
                input=line["input"],
            )
            for line in error.errors(include_url=False)
        ]
        raise ValidationError.from_exception_data(error.title, [*own, *found]) from None
    if found:
        raise ValidationError.from_exception_data(type(value).__name__, found)
    return value


def given(data: Mapping[str, Any], *keys: str) -> tuple[str, list[Any]]:
    """The list that stands under the first of ``keys`` present, with that key; an empty list when none fits."""
    for key in keys:
        if key in data:
            return key, list(data[key]) if isinstance(data[key], (list, tuple)) else []
    return keys[0], []


def given_text(item: object, *keys: str) -> str | None:
    """The text under the first of ``keys`` present in ``item``, a mapping or a model; None when there is none."""
    for key in keys:
        text = item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
        if text is not None:
            return text if isinstance(text, str) else None
    return None
