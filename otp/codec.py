"""Records to bytes and back: what actors write into the journal and into snapshots.

Plain values (None, bool, int of any size, float, str, bytes, sequences, maps) go through msgpack unchanged.
A registered dataclass is written as its class name, its fields by name, and its version. A field with a default may
be added, and old records still load. For any other change the class gets an *upcast*, which makes the fields of the
next version of those of the version before; what was written stays as it is. Nothing but the registered classes is
ever built from bytes.
"""

import dataclasses
import struct
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import msgpack

_RECORD, _DECIMAL, _FRACTION, _BIG_INT = 1, 2, 3, 4

# Most values are small; msgpack's own 256 KiB buffer for each packer would be most of the cost.
_BUFFER_BYTES = 512

# Values that are decoded at once. More of them save nothing, and all of them are in memory then.
_GROUP = 256

# How msgpack begins an array of any length.
_ARRAY, _ARRAY_32 = struct.Struct(">BI"), 0xDD

_Convert = Callable[[Any], Any]

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""From the fields of a record of one version to those of the next.

Values are as they were decoded, before the class's own types are made of them: enums are plain, sequences are tuples,
records within are of their newest version. It must not need anything but the fields.
"""


class CodecError(Exception):
    """Bytes that cannot be read as values, or a value of a known type that cannot be written."""


class Codec:
    """Writes and reads values of plain types, Decimal, Fraction and the given dataclasses.

    Thread-safe; holds no state but the registered classes, and what it writes with. What comes back equals what went
    in, except that sequences come back as tuples unless a field is annotated ``list[…]``, mappings as dicts, and enum
    members outside of fields annotated with their enum as their plain values. NaN, infinities and lone
    surrogates survive.

    Args:
        records: dataclasses, frozen or not, each under its own class name.
        upcasts: by class name, the first from version 1 to 2, and so on; one is never taken out or changed again.

    Raises:
        TypeError: something that is not a dataclass, two classes of one name, upcasts of an unknown one.
    """

    def __init__(
        self, records: Iterable[type] = (), upcasts: Mapping[str, Sequence[Upcast]] | None = None
    ) -> None:
        self._packers: list[msgpack.Packer] = []  # that nobody uses at the moment
        self._by_type: dict[type, _Shape] = {}
        self._by_tag: dict[str, _Shape] = {}
        steps = dict(upcasts or {})
        self.version = 1 + sum(map(len, steps.values()))
        """Of everything together: data that a higher one wrote may be unreadable."""
        for record in records:
            shape = _Shape(record, tuple(steps.pop(record.__name__, ())))
            if self._by_tag.setdefault(shape.tag, shape).record is not record:
                raise TypeError(f"two record classes are called {shape.tag}")
            self._by_type[record] = shape
        if steps:
            raise TypeError(f"upcasts of {', '.join(sorted(steps))}, which are no records")

    def encode(self, value: object) -> bytes:
        """Writes one value.

        Raises:
            TypeError: it holds a type that is neither plain nor registered (sets among them), named in the text.
            CodecError: it is nested too deeply, or in a circle.
        """
        try:
            return self._pack(value)
        except (ValueError, RecursionError) as error:
            raise CodecError(f"cannot write {type(value).__name__}: {error}") from error

    def decode(self, data: bytes) -> Any:
        """Reads one value.

        Raises:
            CodecError: not exactly one whole value; an unknown class or field, or one of a newer version; a missing
                field without default; a value that the class, the enum or an upcast refuses.
        """
        try:
            return self._unpack(data)
        except (ValueError, TypeError, ArithmeticError, RecursionError, msgpack.UnpackException) as error:
            raise CodecError(f"not a value: {error!r}") from error

    def decode_each(self, values: Sequence[bytes]) -> Iterator[Any]:
        """Reads values, one after the other: what :meth:`decode` does, for the many that are read together.

        Raises:
            CodecError: as :meth:`decode`; what was read before in the same group is not given out.
        """
        for first in range(0, len(values), _GROUP):
            group = values[first : first + _GROUP]
            # As one array of them: to begin to read takes as long as to read a few samples.
            yield from self.decode(_ARRAY.pack(_ARRAY_32, len(group)) + b"".join(group))

    def _pack(self, value: object) -> bytes:
        # A packer of its own for each value that is being written, on whatever thread: one that is shared mixes up its
        # buffer when a record holds a record. Those that are done serve again: to make one takes as long as to write
        # a sample.
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = msgpack.Packer(  # type: ignore[call-arg]  # the stubs lack buf_size
                default=self._pack_extension, unicode_errors="surrogatepass", buf_size=_BUFFER_BYTES
            )
        data = packer.pack(value)
        if len(data) <= _BUFFER_BYTES:  # its buffer has not grown
            self._packers.append(packer)
        return data

    def _unpack(self, data: bytes) -> Any:
        return msgpack.unpackb(
            data,
            ext_hook=self._unpack_extension,
            use_list=False,
            strict_map_key=False,
            unicode_errors="surrogatepass",
        )

    def _pack_extension(self, value: Any) -> msgpack.ExtType:
        kind = type(value)
        shape = self._by_type.get(kind)
        if shape is not None:
            fields = {name: getattr(value, name) for name in shape.names}
            content = [shape.tag, fields] if shape.version == 1 else [shape.tag, fields, shape.version]
            return msgpack.ExtType(_RECORD, self._pack(content))
        if kind is Decimal:
            return msgpack.ExtType(_DECIMAL, str(value).encode())
        if kind is Fraction:
            return msgpack.ExtType(_FRACTION, f"{value.numerator:x}/{value.denominator:x}".encode())
        if isinstance(value, int):
            # In hexadecimal: decimal text of more than 4300 digits is refused by Python.
            return msgpack.ExtType(_BIG_INT, f"{value:x}".encode())
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not a registered record")

    def _unpack_extension(self, code: int, data: bytes) -> Any:
        match code:
            case 1:  # _RECORD; a bare name in a case would bind
                content = self._unpack(data)
                if not (
                    isinstance(content, tuple) and len(content) in (2, 3) and isinstance(content[1], dict)
                ):
                    raise CodecError("a record is a class name, its fields, and its version from 2 on")
                tag, fields, *version = content
                shape = self._by_tag.get(tag)
                if shape is None:
                    raise CodecError(f"unknown record {tag!r}")
                return shape.build(fields, *version)
            case 2:
                return Decimal(data.decode())
            case 3:
                numerator, _, denominator = data.decode().partition("/")
                return Fraction(int(numerator, 16), int(denominator, 16))
            case 4:
                return int(data.decode(), 16)
        raise CodecError(f"unknown extension {code}")


class _Shape:
    """How one dataclass is written and built again."""

    __slots__ = ("_converters", "_known", "_upcasts", "names", "record", "tag", "version")

    def __init__(self, record: type, upcasts: tuple[Upcast, ...]) -> None:
        if not dataclasses.is_dataclass(record):
            raise TypeError(f"{record!r} is not a dataclass")
        self.record: type = record
        self.tag = record.__name__
        self.version = 1 + len(upcasts)
        self._upcasts = upcasts
        # Fields outside of __init__ are derived: the class works them out again.
        self.names = tuple(field.name for field in dataclasses.fields(record) if field.init)
        self._known = frozenset(self.names)
        hints = typing.get_type_hints(record)
        found = ((name, _converter(hints[name])) for name in self.names)
        self._converters = tuple((name, convert) for name, convert in found if convert is not None)

    def build(self, fields: dict[str, Any], version: int = 1) -> Any:
        if version != self.version:
            fields = self._upcast(fields, version)
        if not fields.keys() <= self._known:
            unknown = fields.keys() - self._known
            raise CodecError(f"{self.tag} has no field {', '.join(map(repr, sorted(unknown)))}")
        try:
            for name, convert in self._converters:
                if name in fields:
                    fields[name] = convert(fields[name])
            return self.record(**fields)
        except (TypeError, ValueError) as error:
            raise CodecError(f"{self.tag}: {error}") from error

    def _upcast(self, fields: dict[str, Any], version: int) -> dict[str, Any]:
        if type(version) is not int or not 1 <= version <= self.version:
            raise CodecError(f"{self.tag} of version {version!r}; this program reads up to {self.version}")
        for step in self._upcasts[version - 1 :]:
            try:
                fields = step(fields)
            except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError) as error:
                raise CodecError(f"{self.tag} of version {version}: {error!r}") from error
        return fields


def _converter(annotation: Any) -> _Convert | None:
    """What turns a decoded plain value into one of the annotated type, or None where they are the same."""
    kind, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return _union_converter(arguments)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Enum):
        return kind
    parts = [_converter(argument) or _same for argument in arguments if argument is not Ellipsis]
    first = parts[0] if parts else _same
    if kind is list:
        return lambda value: [first(part) for part in value]
    if all(part is _same for part in parts):
        return None
    if issubclass(kind, tuple) and Ellipsis not in arguments:
        return lambda value: tuple(convert(part) for convert, part in zip(parts, value, strict=True))
    if issubclass(kind, Sequence):
        return lambda value: tuple(first(part) for part in value)
    if issubclass(kind, Mapping):
        key, item = parts
        return lambda value: {key(name): item(part) for name, part in value.items()}
    return None


def _union_converter(members: Iterable[Any]) -> _Convert | None:
    """The first member that takes the value; one that none takes stays as it is (``None`` in ``Severity | None``)."""
    converters = [convert for member in members if (convert := _converter(member)) is not None]
    if not converters:
        return None

    def convert_union(value: Any) -> Any:
        if value is None or dataclasses.is_dataclass(value):
            return value
        for convert in converters:
            try:
                return convert(value)
            except (TypeError, ValueError):
                continue  # not this member's value: the next one is asked
        return value

    return convert_union


def _same(value: Any) -> Any:
    return value
