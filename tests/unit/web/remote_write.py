"""WriteRequests as a Prometheus server sends them, byte by byte: nothing is shared with what reads them."""

import struct
from collections.abc import Iterable

import cramjam

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def delimited(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def sample(value: float, ts_ms: int) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + varint(ts_ms)


def series(labels: dict[str, str], samples: Iterable[tuple[float, int]], extra: bytes = b"") -> bytes:
    content = b"".join(
        delimited(1, delimited(1, name.encode()) + delimited(2, text.encode()))
        for name, text in labels.items()
    )
    content += b"".join(delimited(2, sample(value, ts_ms)) for value, ts_ms in samples)
    return delimited(1, content + extra)


def packed(*all_series: bytes) -> bytes:
    # Field 3 is the metadata of metrics, which nobody here looks at.
    return bytes(cramjam.snappy.compress_raw(b"".join(all_series) + delimited(3, b"\x08\x01")))


HEADERS = {
    "Content_Type": "application/x-protobuf",
    "Content_Encoding": "snappy",
    "X_Prometheus_Remote_Write_Version": "0.1.0",
}
