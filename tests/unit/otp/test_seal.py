"""Sealed frames: made with the key they are read whole, anything else is refused before its body is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.otp.seal import HEADER_SIZE, MAX_BODY_SIZE, SealBroken, SealedReader, seal

KEY = b"k" * 32


def read(frame: bytes, sizes: list[int], key: bytes = KEY) -> tuple[bytes | None, bytes]:
    """Feeds a reader as a socket would, never more than it wants; returns the body and what is left over."""
    reader = SealedReader(key)
    turn = 0
    while frame and reader.wanted():
        size = min(reader.wanted(), sizes[turn % len(sizes)])
        reader.feed(frame[:size])
        frame = frame[size:]
        turn += 1
    return reader.body(), frame


@given(
    st.binary(min_size=1, max_size=500),
    st.binary(max_size=100),
    st.lists(st.integers(1, 200), min_size=1, max_size=8),
)
def test_a_frame_is_read_whole_and_not_a_byte_beyond(body: bytes, rest: bytes, sizes: list[int]) -> None:
    assert read(seal(body, KEY) + rest, sizes) == (body, rest)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_frame_with_any_bit_changed_is_refused(body: bytes, data: st.DataObject) -> None:
    frame = bytearray(seal(body, KEY))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        read(bytes(frame), [1_000])


@given(st.binary(min_size=HEADER_SIZE, max_size=500))
def test_noise_is_refused_after_the_header(noise: bytes) -> None:
    reader = SealedReader(KEY)
    with pytest.raises(SealBroken, match="without the key"):
        reader.feed(noise[:HEADER_SIZE])


def test_another_key_is_refused() -> None:
    with pytest.raises(SealBroken, match="without the key"):
        read(seal(b"body", b"other" * 6 + b"xx"), [1_000])


def test_a_header_does_not_serve_for_another_body() -> None:
    recorded = seal(b"body", KEY)[:HEADER_SIZE]
    with pytest.raises(SealBroken, match="does not belong"):
        read(recorded + b"bomb", [1_000])


def test_a_frame_cut_short_is_not_complete() -> None:
    frame = seal(b"body", KEY)
    for length in range(len(frame)):
        assert read(frame[:length], [7]) == (None, b"")


def test_more_than_wanted_is_refused() -> None:
    reader = SealedReader(KEY)
    with pytest.raises(SealBroken, match="more than one frame"):
        reader.feed(b"x" * (HEADER_SIZE + 1))


@pytest.mark.parametrize("size", [0, MAX_BODY_SIZE + 1])
def test_an_empty_or_enormous_body_is_not_sealed(size: int) -> None:
    with pytest.raises(ValueError, match="a frame's body has"):
        seal(bytes(size), KEY)
