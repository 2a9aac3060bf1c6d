"""Arrays of numbers as bytes (little-endian), so that a dump of a full window stays small and quick."""

import sys
from array import array

_SWAP = sys.byteorder == "big"


def pack_ints(numbers: "array[int]") -> bytes:
    """64-bit integers as bytes."""
    return _pack(array("q", numbers))


def pack_floats(numbers: "array[float]") -> bytes:
    """Doubles as bytes."""
    return _pack(array("d", numbers))


def unpack_ints(data: bytes) -> "array[int]":
    """The integers :func:`pack_ints` wrote."""
    numbers = array("q")
    numbers.frombytes(data)
    if _SWAP:
        numbers.byteswap()
    return numbers


def unpack_floats(data: bytes) -> "array[float]":
    """The doubles :func:`pack_floats` wrote."""
    numbers = array("d")
    numbers.frombytes(data)
    if _SWAP:
        numbers.byteswap()
    return numbers


def _pack(numbers: "array[int] | array[float]") -> bytes:
    if _SWAP:
        numbers.byteswap()
    return numbers.tobytes()
