"""Compressed bodies, within limits: what is unpacked is bounded before it is in memory, not after."""

import zlib

from slakeeper.web.body import MAX_BODY_BYTES
from slakeeper.web.ingest import BYTES_A_SAMPLE, BadBatch

# A Prometheus server sends some 0.4 MB at once, a busy OpenTelemetry collector some 4 MB.
MAX_UNPACKED_BYTES = 2 * MAX_BODY_BYTES

_GZIP = 16 + zlib.MAX_WBITS


def gunzip(body: bytes, limit: int = MAX_UNPACKED_BYTES) -> bytes:
    """The content of a gzip body.

    Raises:
        BadBatch: 400 it is none, or cut off; 413 its content is larger than ``limit``.
    """
    content = bytearray()
    rest = body
    try:
        while rest:  # a gzip file may be several, one after the other
            unpacker = zlib.decompressobj(_GZIP)
            content += unpacker.decompress(rest, limit + 1 - len(content))
            if len(content) > limit:
                raise _too_large(limit, _cost(content))
            if not unpacker.eof:
                raise BadBatch("the gzip body is cut off", cost=_cost(content))
            rest = unpacker.unused_data
    except zlib.error as error:
        raise BadBatch(f"the body is not gzip: {error}", cost=_cost(content)) from error
    return bytes(content)


def unsnap(body: bytes, limit: int = MAX_UNPACKED_BYTES) -> bytes:
    """The content of a snappy block, whose first bytes tell its length.

    Raises:
        BadBatch: 400 it is none; 413 its content is larger than ``limit``.
        ModuleNotFoundError: the extra ``ingest`` is not installed.
    """
    import cramjam

    try:
        if cramjam.snappy.decompress_raw_len(body) > limit:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BadBatch(f"the body is not a snappy block: {error}") from error


def _too_large(limit: int, cost: int = 0) -> BadBatch:
    return BadBatch(f"the unpacked body is over the limit of {limit} bytes", 413, cost)


def _cost(content: bytearray) -> int:
    return len(content) // BYTES_A_SAMPLE
