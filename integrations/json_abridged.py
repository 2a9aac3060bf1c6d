"""A JSON document without its bulk, as a program: for documents of which little is wanted, and that are large.

    python -I -S json_abridged.py < the document

It prints the same document as JSON with its long texts, lists and objects cut short; nothing when it is no JSON. While
Python reads JSON no other thread of its process gets on. This file imports nothing of ours.
"""

import json
import os
import sys
from itertools import islice
from typing import Any

# Whoever waits for the cells' processor comes before a document that somebody has made that large.
_NICENESS = 10

# What is left is a few kilobytes of any honest answer: codes, versions and words for people.
_TEXT_LIMIT = 4 * 1024
_ITEM_LIMIT = 64
_DEPTH_LIMIT = 8
_TOTAL_LIMIT = 64 * 1024


def abridged(value: Any, depth: int = _DEPTH_LIMIT) -> Any:
    """A JSON value with at most so many signs of each text, items of each list and object, and levels."""
    match value:
        case str():
            return value[:_TEXT_LIMIT]
        case list() | dict() if not depth:
            return None
        case list():
            return [abridged(each, depth - 1) for each in value[:_ITEM_LIMIT]]
        case dict():
            items = islice(value.items(), _ITEM_LIMIT)
            return {name[:_TEXT_LIMIT]: abridged(each, depth - 1) for name, each in items}
        case int() if value.bit_length() > 64:
            return None
        case _:
            return value


def main() -> None:
    os.nice(_NICENESS)
    try:
        document = json.load(sys.stdin.buffer)
    except (ValueError, RecursionError):
        return
    text = json.dumps(abridged(document))
    if len(text) <= _TOTAL_LIMIT:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
