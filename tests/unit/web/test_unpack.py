"""Compressed bodies are bounded before they are in memory."""

import gzip
import tracemalloc

import cramjam
import pytest

from slakeeper.web.ingest import BadBatch
from slakeeper.web.unpack import gunzip, unsnap


def refusal(unpack: object, body: bytes, limit: int = 1_000) -> int:
    with pytest.raises(BadBatch) as caught:
        unpack(body, limit)  # type: ignore[operator]
    return caught.value.status


def test_what_was_packed_comes_back() -> None:
    assert gunzip(gzip.compress(b"a" * 100) + gzip.compress(b"b")) == b"a" * 100 + b"b"
    assert unsnap(bytes(cramjam.snappy.compress_raw(b"a" * 100))) == b"a" * 100
    assert gunzip(gzip.compress(b"a" * 1_000), 1_000) == b"a" * 1_000


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    snappy_bomb = b"\xff\xff\xff\xff\x0f" + bytes(100)  # says 4 GiB
    tracemalloc.start()
    assert refusal(gunzip, bomb) == 413
    assert refusal(unsnap, snappy_bomb) == 413
    assert refusal(gunzip, gzip.compress(b"a" * 600) * 2) == 413
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "body", [b"x", gzip.compress(b"hello")[:-3], gzip.compress(b"hello") + b"rest"], ids=range(3)
)
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    assert refusal(gunzip, body) == 400


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x05hello-not"])
def test_what_is_not_snappy_is_refused(body: bytes) -> None:
    assert refusal(unsnap, body) == 400
