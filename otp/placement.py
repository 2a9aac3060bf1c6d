"""Where things live: keys hash to partitions, partitions belong to cells."""

import zlib


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key; the same on every machine and in every version.

    Args:
        key: a contract's id.
        partitions: how many there are, > 0; fixed when the data directory is made.

    Returns:
        0 <= x < partitions.
    """
    return zlib.crc32(key.encode()) % partitions


def owner_of(partition: int, cells: int) -> int:
    """The index of the cell that owns a partition when there are ``cells`` of them."""
    return partition % cells
