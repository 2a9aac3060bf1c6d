"""What the models say of a document: which keys they take, where an error points, which texts are secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, SecretStr

from slakeeper.config.problem import Place

Model = type[BaseModel]


@cache
def keys_of(model: Model) -> dict[str, str]:
    """Every key that ``model`` takes, with the field it fills; the first key of a field is the one to advise."""
    keys: dict[str, str] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        spelled = [choice for choice in choices if isinstance(choice, str)]
        for key in spelled or [name]:
            keys.setdefault(key, name)
    for name in model.model_fields:
        keys.setdefault(name, name)
    return keys


def given(model: Model, value: Mapping[str, Any], field: str) -> tuple[str, Any] | None:
    """The key under which ``value`` gives a field of ``model``, and what stands there; None when it does not."""
    for key, name in keys_of(model).items():
        if name == field and key in value:
            return key, value[key]
    return None


@dataclass(frozen=True, slots=True)
class Located:
    """Where an error is: its place in the document, the model that owns its last key, and if it holds a secret."""

    place: Place
    owner: Model | None
    is_secret: bool


def locate(shape: Any, value: Any, loc: Place) -> Located:
    """Follows pydantic's ``loc``, which also names the member of a union, through a document.

    Args:
        shape: a model or the annotation of a field.
        value: what was validated against it.
        loc: from the validation error.

    Returns:
        The place; it may end in one key that is missing in the document.
    """
    place: list[str | int] = []
    owner: Model | None = None
    steps = list(loc)
    secret = False
    while True:
        secret = secret or _is_secret(shape)
        shape, tagged = _resolve(shape, value)
        if tagged and steps and isinstance(value, Mapping) and steps[0] == value.get("type"):
            steps.pop(0)
        if not steps:
            break
        step = steps.pop(0)
        owner = shape if _is_model(shape) else None
        exists = (isinstance(value, Mapping) and step in value) or (
            isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value)
        )
        if not exists:
            # Beyond a scalar pydantic only names members of a union.
            if isinstance(value, Mapping):
                place.append(step)
            break
        place.append(step)
        shape = _inner(shape, step)
        value = value[step]
    return Located(tuple(place), owner, secret)


def map_texts(shape: Any, value: Any, change: Callable[[str, Place, bool], str], place: Place = ()) -> Any:
    """A copy of ``value`` in which ``change(text, place, is_secret)`` has replaced every text that is no key."""
    if isinstance(value, str):
        return change(value, place, _is_secret(shape))
    shape, _ = _resolve(shape, value)
    if isinstance(value, Mapping):
        return {
            key: map_texts(_inner(shape, key), item, change, (*place, key)) for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            map_texts(_inner(shape, index), item, change, (*place, index)) for index, item in enumerate(value)
        ]
    return value


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)


def _is_secret(shape: Any) -> bool:
    if get_origin(shape) in (Annotated, Union, UnionType):
        return any(_is_secret(argument) for argument in get_args(shape))
    return shape is SecretStr


def _resolve(shape: Any, value: Any) -> tuple[Any, bool]:
    """A shape without annotations and None, the fitting member of a union; and whether the union was tagged."""
    if get_origin(shape) is Annotated:
        return _resolve(get_args(shape)[0], value)
    if get_origin(shape) not in (Union, UnionType):
        return shape, False
    members = [member for member in get_args(shape) if member is not type(None)]
    if len(members) == 1:
        return _resolve(members[0], value)
    if not all(_is_model(member) for member in members):
        return None, False
    tag = value.get("type") if isinstance(value, Mapping) else None
    return next((member for member in members if tag in tags_of(member)), None), True


def tags_of(model: Model) -> tuple[Any, ...]:
    """The values of ``type`` by which a tagged union chooses ``model``."""
    shape = model.model_fields["type"].annotation
    return get_args(shape) if get_origin(shape) is Literal else ()


def _inner(shape: Any, step: str | int) -> Any:
    """The shape of what stands under a key or index; None when nothing is known of it."""
    if _is_model(shape) and isinstance(step, str):
        name = keys_of(shape).get(step)
        return shape.model_fields[name].annotation if name else None
    arguments = get_args(shape)
    if get_origin(shape) is tuple and arguments:
        return arguments[0]
    if get_origin(shape) is dict:
        return arguments[1]
    return None
