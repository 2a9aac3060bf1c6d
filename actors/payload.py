"""What requests carry, read from plain values; what is not of its form is refused as ``invalid``."""

from collections.abc import Sequence
from typing import Any

from slakeeper.otp.actor import RequestError


def text(payload: Any, key: str, default: str | None = None) -> str:
    value = payload.get(key, default) if isinstance(payload, dict) else None
    if value is None and default is not None:
        value = default
    if not isinstance(value, str):
        raise RequestError("invalid", f"{key} must be text")
    return value


def optional_text(payload: Any, key: str) -> str | None:
    """Text, or None when it is not given."""
    if isinstance(payload, dict) and payload.get(key) is None:
        return None
    return text(payload, key)


def optional_number(payload: Any, key: str) -> int | None:
    """A whole number from 0 on, or None when it is not given."""
    value = payload.get(key) if isinstance(payload, dict) else None
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise RequestError("invalid", f"{key} must be a whole number")
    return value


def flag(payload: Any, key: str, default: bool | None) -> bool:
    value = payload.get(key) if isinstance(payload, dict) else None
    if value is None:
        value = default
    if not isinstance(value, bool):
        raise RequestError("invalid", f"{key} must be true or false")
    return value


def sequence(payload: Any, key: str) -> Sequence[Any]:
    value = payload.get(key) if isinstance(payload, dict) else None
    if not isinstance(value, (list, tuple)):
        raise RequestError("invalid", f"{key} must be a list")
    return value


def mapping(payload: Any, key: str) -> dict[str, Any]:
    value = payload.get(key) if isinstance(payload, dict) else None
    if not isinstance(value, dict):
        raise RequestError("invalid", f"{key} must be a mapping")
    return value
