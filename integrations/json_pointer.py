"""Numbers in a JSON document, by JSON pointers (RFC 6901); also as a program, for documents that are large.

    python -I -S json_pointer.py < a line of JSON with the pointers, and the document

What it finds it prints as JSON: for each pointer ``[number, null]`` or ``[null, why there is none]``; ``null`` when the
document is no JSON. While Python reads JSON no other thread of its process gets on: a megabyte of small lists takes
thirty milliseconds, which a cell does not have. This file imports nothing of ours.
"""

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

# Whoever waits for the cells' processor comes before a document that somebody has made that large.
_NICENESS = 10

_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")

Found = tuple[float | None, str | None]
"""A number, or why there is none."""


def resolve_pointer(document: Any, pointer: str) -> Any:
    """What a JSON pointer points at.

    Args:
        document: as ``json.loads`` gives it.
        pointer: ``""`` for the whole, otherwise ``/`` before each step, with ``~1`` for ``/`` and ``~0`` for ``~``.

    Raises:
        LookupError: it points at nothing, or is no pointer; says how far it led.
    """
    if pointer and not pointer.startswith("/"):
        raise LookupError(f"{pointer!r} is no JSON pointer: it begins with '/'")
    value, way = document, ""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match value:
            case dict() if name in value:
                value = value[name]
            case list() if _INDEX.fullmatch(name) and int(name) < len(value):
                value = value[int(name)]
            case _:
                raise LookupError(f"nothing at {way}/{step}")
        way += f"/{step}"
    return value


def numbers_in(body: bytes, pointers: Sequence[str]) -> list[Found]:
    """What each pointer finds; true, false and text are not numbers.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return [_number(document, pointer) for pointer in pointers]


def _number(document: Any, pointer: str) -> Found:
    try:
        value = resolve_pointer(document, pointer)
    except LookupError as error:
        return None, str(error.args[0])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None, f"no number at {pointer or 'the top'}"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return None, f"no finite number at {pointer or 'the top'}"
    return number, None


def main() -> None:
    os.nice(_NICENESS)
    given = sys.stdin.buffer.read()
    first, _, body = given.partition(b"\n")
    try:
        found: list[Found] | None = numbers_in(body, json.loads(first))
    except ValueError:
        found = None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
