"""What the codec writes it reads back as it was; what it cannot, it names."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.otp.codec import Codec, CodecError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float = 0.5


@dataclass(frozen=True)
class Shape:
    colour: Colour
    points: tuple[Point, ...] = ()
    second: Colour | None = None
    level: Level = Level.LOW
    history: tuple[Colour, ...] = ()
    pair: tuple[Colour, int] = (Colour.RED, 0)
    by_colour: Mapping[Colour, tuple[Level, ...]] = field(default_factory=dict)
    mixed: Colour | tuple[Colour, ...] | None = None
    several: Sequence[Colour] = ()
    inner: "Shape | None" = None


@dataclass
class Mutable:
    items: list[Colour]
    anything: Any = None
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.length = len(self.items)
        if self.length > 3:
            raise ValueError("at most three")


CODEC = Codec([Point, Shape, Mutable])

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.builds(Point, st.integers(), st.floats(allow_nan=False)),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
        | st.builds(Mutable, st.just([]), inner)
    ),
    max_leaves=15,
)


def there_and_back(value: object) -> Any:
    return CODEC.decode(CODEC.encode(value))


@given(PLAIN)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    assert there_and_back(value) == value


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        2**64,
        -(2**63) - 1,
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("1E+400"),
        Fraction(-1, 3),
        "\ud800",
        "\0",
    ],
    ids=ascii,
)
def test_edges_come_back_exactly(value: object) -> None:
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value
    if isinstance(value, Decimal):
        assert str(back) == str(value)


def test_integers_beyond_what_text_may_hold_come_back() -> None:
    assert there_and_back((10**5000, -(10**5000))) == (10**5000, -(10**5000))
    assert there_and_back(Fraction(10**5000, 3)) == Fraction(10**5000, 3)


def test_floats_without_a_number_come_back() -> None:
    assert math.isnan(there_and_back(math.nan))
    assert there_and_back((math.inf, -math.inf)) == (math.inf, -math.inf)
    assert math.copysign(1, there_and_back(-0.0)) == -1


def test_fields_come_back_as_they_are_annotated() -> None:
    shape = Shape(
        Colour.RED,
        (Point(1), Point(2, 3.0)),
        second=Colour.BLUE,
        level=Level.HIGH,
        history=(Colour.RED, Colour.BLUE),
        pair=(Colour.BLUE, 7),
        by_colour={Colour.RED: (Level.LOW, Level.HIGH)},
        mixed=(Colour.RED,),
        several=(Colour.BLUE,),
        inner=Shape(Colour.BLUE, mixed=Colour.RED),
    )
    back = there_and_back(shape)
    assert back == shape
    assert type(back.second) is type(back.history[1]) is type(back.pair[0]) is type(back.several[0]) is Colour
    assert type(back.level) is type(back.by_colour[Colour.RED][0]) is Level
    assert all(type(key) is Colour for key in back.by_colour)
    assert type(back.mixed[0]) is type(back.inner.mixed) is Colour
    assert back.inner.second is None


def test_a_field_outside_of_init_is_worked_out_again() -> None:
    back = there_and_back(Mutable([Colour.RED], anything=[1, [2]]))
    assert back.items == [Colour.RED]
    assert type(back.items[0]) is Colour
    assert back.length == 1
    assert back.anything == (1, (2,))


def test_sequences_come_back_as_tuples_and_enums_outside_of_records_as_values() -> None:
    assert there_and_back([1, [2, 3]]) == (1, (2, 3))
    assert type(there_and_back(Colour.RED)) is str
    assert there_and_back({(1, 2): bytearray(b"x")}) == {(1, 2): b"x"}


def test_a_field_added_later_takes_its_default() -> None:
    @dataclass(frozen=True)
    class Old:
        x: int

    Old.__name__ = "Point"
    assert CODEC.decode(Codec([Old]).encode(Old(3))) == Point(3, 0.5)


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"y": 1.0}, "Point: .*missing.*'x'"),
        ({"x": 1, "z": 2}, "Point has no field 'z'"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, object], reason: str) -> None:
    other = type("Point", (), {"__annotations__": dict.fromkeys(fields, object)})
    record: Any = dataclass(other)
    with pytest.raises(CodecError, match=reason):
        CODEC.decode(Codec([record]).encode(record(**fields)))


# -- versions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Version 3: once ``length`` in seconds, then ``length_ms``, then ``span`` of two instants."""

    span: tuple[int, int]
    colour: Colour = Colour.RED


def to_ms(fields: dict[str, Any]) -> dict[str, Any]:
    length_s = fields.pop("length")
    return {**fields, "length_ms": length_s * 1_000}


def to_span(fields: dict[str, Any]) -> dict[str, Any]:
    length_ms = fields.pop("length_ms")
    return {**fields, "span": (0, length_ms)}


VERSIONED = Codec([Window, Point], {"Window": [to_ms, to_span]})


def former(version: int, **fields: Any) -> bytes:
    """A window as a program of that version wrote it."""
    record: Any = dataclass(type("Window", (), {"__annotations__": dict.fromkeys(fields, object)}))
    return Codec([record], {"Window": [to_ms, to_span][: version - 1]}).encode(record(**fields))


@pytest.mark.parametrize(
    ("version", "fields"),
    [(1, {"length": 5}), (2, {"length_ms": 5_000}), (3, {"span": (0, 5_000)})],
)
@pytest.mark.parametrize("colour", [None, "blue"])
def test_a_record_of_every_former_version_is_read_as_one_of_now(
    version: int, fields: dict[str, Any], colour: str | None
) -> None:
    given = fields if colour is None else {**fields, "colour": colour}
    assert VERSIONED.decode(former(version, **given)) == Window((0, 5_000), Colour(colour or "red"))


def test_a_record_is_written_in_its_newest_version_and_others_as_ever() -> None:
    assert VERSIONED.decode(VERSIONED.encode(Window((1, 2)))) == Window((1, 2))
    assert VERSIONED.encode(Point(1)) == CODEC.encode(Point(1))
    assert (VERSIONED.version, CODEC.version) == (3, 1)


@dataclass(frozen=True)
class Frame:
    """Version 2 keeps of its window how long it is."""

    length_ms: int


def to_length(fields: dict[str, Any]) -> dict[str, Any]:
    first, last = fields["window"].span
    return {"length_ms": last - first}


def test_a_record_within_a_record_is_brought_up_first() -> None:
    old_window: Any = dataclass(type("Window", (), {"__annotations__": {"length": int}}))
    old_frame: Any = dataclass(type("Frame", (), {"__annotations__": {"window": old_window}}))
    written = Codec([old_window, old_frame]).encode(old_frame(old_window(5)))
    now = Codec([Window, Frame], {"Window": [to_ms, to_span], "Frame": [to_length]})
    assert now.decode(written) == Frame(5_000)


@pytest.mark.parametrize("version", [4, 0, -1, "1", None, True, 2.0])
def test_a_version_that_there_is_not_is_refused(version: Any) -> None:
    data = former(1, length=1)
    content = [*msgpack.unpackb(msgpack.unpackb(data).data), version]
    newer = msgpack.packb(msgpack.ExtType(1, msgpack.packb(content)))
    with pytest.raises(CodecError, match=r"Window of version .*; this program reads up to 3"):
        VERSIONED.decode(newer)


def test_an_upcast_that_cannot_is_named() -> None:
    with pytest.raises(CodecError, match="Window of version 1: KeyError"):
        VERSIONED.decode(former(1, breadth=1))


def test_upcasts_of_no_record_are_refused() -> None:
    with pytest.raises(TypeError, match="upcasts of Door, which are no records"):
        Codec([Point], {"Door": [to_ms]})


def test_a_value_that_the_class_or_the_enum_refuses_is_refused() -> None:
    data = CODEC.encode(Mutable([Colour.RED] * 3))
    with pytest.raises(CodecError, match="'rex' is not a valid Colour"):
        CODEC.decode(data.replace(b"red", b"rex"))
    mutable = Mutable([])
    mutable.items = [Colour.RED] * 4
    with pytest.raises(CodecError, match="Mutable: at most three"):
        CODEC.decode(CODEC.encode(mutable))


@pytest.mark.parametrize("value", [{1}, frozenset(), object(), complex(1), Codec()])
def test_a_type_that_is_not_registered_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=rf"{type(value).__qualname__} is not a registered record"):
        CODEC.encode((1, {"a": value}))


def test_a_subclass_of_a_record_is_another_type() -> None:
    class Special(Point):
        pass

    with pytest.raises(TypeError, match="Special is not a registered record"):
        CODEC.encode(Special(1))


def test_an_unknown_record_is_named() -> None:
    with pytest.raises(CodecError, match="unknown record 'Point'"):
        Codec().decode(CODEC.encode(Point(1)))


@given(PLAIN, st.data())
def test_bytes_cut_short_are_refused(value: object, data: st.DataObject) -> None:
    encoded = CODEC.encode(value)
    with pytest.raises(CodecError):
        CODEC.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_codec_error(data: bytes) -> None:
    try:
        CODEC.decode(data)
    except CodecError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x02",
        b"\xc7\x00\x09",
        b"\xc7\x01\x01\x01",
        b"\xc7\x01\x02x",
        b"\xc7\x03\x031/0",
        b"\xc7\x01\x04z",
    ],
)
def test_malformed_extensions_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        CODEC.decode(data)


def test_a_circle_is_refused() -> None:
    mutable = Mutable([])
    mutable.anything = mutable
    with pytest.raises(CodecError, match="cannot write Mutable"):
        CODEC.encode(mutable)
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(CodecError, match="cannot write list"):
        CODEC.encode(circle)


@pytest.mark.parametrize("before", [{1}, Shape(Colour.RED, inner=Shape(Colour.BLUE)), "long" * 1_000])
def test_what_was_written_before_leaves_nothing_in_what_is_written_next(before: object) -> None:
    codec, value = Codec([Point, Shape]), (1, "text", Point(2))
    with suppress(TypeError):  # of what it cannot write, the first part is written already
        codec.encode((7, before))
    assert [codec.encode(value) for _ in range(3)] == [CODEC.encode(value)] * 3


def test_values_are_written_on_several_threads_at_once() -> None:
    values = [Shape(Colour.RED, (Point(number),) * 20) for number in range(200)]
    codec = Codec([Point, Shape])
    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(codec.encode, values * 5))
    assert written == [CODEC.encode(value) for value in values * 5]


def test_two_classes_of_one_name_are_refused() -> None:
    other: type = dataclass(type("Point", (), {}))
    with pytest.raises(TypeError, match="two record classes are called Point"):
        Codec([Point, other])
    assert Codec([Point, Point]).decode(CODEC.encode(Point(1))) == Point(1)


def test_what_is_not_a_dataclass_is_refused() -> None:
    with pytest.raises(TypeError, match="is not a dataclass"):
        Codec([int])


def test_values_of_the_first_format_still_read() -> None:
    value = (Point(1), Decimal("1.5"), Fraction(-1, 3), 2**64, Shape(Colour.RED, (Point(2),)))
    data = bytes.fromhex(
        "95c7160192a5506f696e7482a17801a179cb3fe0000000000000c70302312e35d6032d312f33c7110431303030"
        "30303030303030303030303030c7790192a553686170658aa6636f6c6f7572a3726564a6706f696e747391c716"
        "0192a5506f696e7482a17802a179cb3fe0000000000000a67365636f6e64c0a56c6576656c01a7686973746f72"
        "7990a47061697292a372656400a962795f636f6c6f757280a56d69786564c0a77365766572616c90a5696e6e65"
        "72c0"
    )
    assert CODEC.decode(data) == value
    assert CODEC.encode(value) == data


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1_000])
def test_values_that_are_read_together_are_the_same_in_the_same_order(count: int) -> None:
    values = [Point(number) if number % 3 else {"n": (number, None)} for number in range(count)]
    assert list(CODEC.decode_each([CODEC.encode(value) for value in values])) == values


@pytest.mark.parametrize("second", [b"", b"\xc1", CODEC.encode(1) * 2, Codec([Mutable]).encode(Mutable([]))])
def test_what_is_no_value_is_refused_among_those_that_are_read_together(second: bytes) -> None:
    with pytest.raises(CodecError):
        list(Codec().decode_each([CODEC.encode(1), second, CODEC.encode("three")[:1]]))
