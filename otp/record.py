"""Durable records: what is known of each actor, the ops that change it, and their written form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slakeeper.otp.base import Base
from slakeeper.otp.codec import Codec
from slakeeper.otp.snapshot_body import Entry


@dataclass(frozen=True, slots=True)
class Started:
    """An actor exists from here on: what its supervisor needs to start it again. ``arg`` is encoded."""

    address: str
    supervisor: str
    kind: str
    arg: bytes
    restart: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to an actor; ``data`` is the encoded event."""

    address: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Stopped:
    """An actor is gone for good, with its state."""

    address: str


Op = Started | Event | Stopped


@dataclass(slots=True)
class Record:
    """One actor: its state at some point (``base``, None before the first) and its events since (``tail``).

    ``arg``, what ``base`` reads and each of ``tail`` are encoded values.
    """

    address: str
    supervisor: str
    kind: str
    arg: bytes
    restart: str
    base: Base | None = None
    tail: list[bytes] = field(default_factory=list)
    order: int = field(default=0, compare=False, repr=False)
    """Rises with each start; puts a record back into its place when its stop is undone."""


_STARTED, _EVENT, _STOPPED = 0, 1, 2


def read_ops(codec: Codec, payload: bytes) -> list[Op]:
    """The ops of one commit, as :meth:`RecordTable.payload` wrote them.

    Raises:
        CodecError, TypeError, ValueError: it did not.
    """
    ops: list[Op] = []
    for kind, address, *rest in codec.decode(payload):
        if kind == _EVENT:
            ops.append(Event(address, *rest))
        elif kind == _STARTED:
            ops.append(Started(address, *rest))
        elif kind == _STOPPED:
            ops.append(Stopped(address, *rest))
        else:
            raise ValueError(f"unknown op {kind!r}")
    return ops


class RecordTable:
    """Records by address, in the order they started, and the ops since the last :meth:`settle`, which can be undone.

    Args:
        codec: writes plain values; it need not know any record class.
    """

    __slots__ = ("_codec", "_orders", "_pending", "_touched", "records")

    def __init__(self, codec: Codec) -> None:
        self.records: dict[str, Record] = {}
        self._codec = codec
        self._pending: list[tuple[int | str | bytes, ...]] = []
        self._touched: list[Record] = []  # one for each pending op
        self._orders = 0

    @property
    def is_settled(self) -> bool:
        """Whether no op is pending."""
        return not self._pending

    def append(self, ops: Sequence[Op]) -> None:
        """Applies ops, keeping them pending.

        Raises:
            ValueError: a start of an address that exists, or an event or a stop of one that does not; the ops
                before it stay applied.
        """
        records, pending, touched = self.records, self._pending, self._touched
        for op in ops:
            address = op.address
            if isinstance(op, Event):
                self.append_event(address, op.data)
            elif isinstance(op, Started):
                touched.append(self._add(address, op.supervisor, op.kind, op.arg, op.restart))
                pending.append((_STARTED, address, op.supervisor, op.kind, op.arg, op.restart))
            else:
                record = records.pop(address, None)
                if record is None:
                    raise _unknown(Stopped, address)
                touched.append(record)
                pending.append((_STOPPED, address))

    def append_event(self, address: str, data: bytes) -> None:
        """As :meth:`append` of an :class:`Event`: there are so many that an object for each is left out.

        Raises:
            ValueError: an address that does not exist.
        """
        record = self.records.get(address)
        if record is None:
            raise _unknown(Event, address)
        record.tail.append(data)
        self._pending.append((_EVENT, address, data))
        self._touched.append(record)

    def payload(self) -> bytes:
        """The pending ops, written."""
        return self._codec.encode(self._pending)

    def settle(self) -> None:
        """The pending ops hold for good."""
        self._pending.clear()
        self._touched.clear()

    def undo(self) -> None:
        """Takes the pending ops back, last first."""
        put_back = False
        while self._pending:
            kind, record = self._pending.pop()[0], self._touched.pop()
            if kind == _EVENT:
                record.tail.pop()
            elif kind == _STARTED:
                del self.records[record.address]
            else:
                self.records[record.address] = record
                put_back = True
        if put_back:
            ordered = sorted(self.records.values(), key=lambda record: record.order)
            self.records.clear()
            self.records.update((record.address, record) for record in ordered)

    def replay(self, payload: bytes) -> None:
        """Applies ops that :meth:`payload` wrote.

        Raises:
            CodecError, KeyError, TypeError, ValueError: it did not, or not after what is here.
        """
        records = self.records
        for op in self._codec.decode(payload):
            if op[0] == _EVENT:  # nearly all of them are
                _, address, data = op
                records[address].tail.append(data)
                continue
            kind, address, *rest = op
            if kind == _STARTED:
                self._add(address, *rest)
            elif kind == _STOPPED:
                del self.records[address]
            else:
                raise ValueError(f"unknown op {kind!r}")

    def rebase(self, dumps: Mapping[str, bytes]) -> None:
        """Gives records a new base, each the state that its base and tail amount to, and an empty tail.

        Raises:
            ValueError: an address that does not exist; nothing is changed.
        """
        # One by one: the difference of the two would go through all records, for a single state.
        unknown = sorted(address for address in dumps if address not in self.records)
        if unknown:
            raise ValueError(f"states of {', '.join(map(repr, unknown))}, which do not exist")
        for address, dump in dumps.items():
            record = self.records[address]
            record.base, record.tail = Base(dump), []

    def content(self) -> list[Entry]:
        """All records as they are now; later changes do not reach them, but for where a state is."""
        return [
            ((r.address, r.supervisor, r.kind, r.arg, r.restart, tuple(r.tail)), r.base)
            for r in self.records.values()
        ]

    def load(self, entries: Iterable[Entry]) -> None:
        """Adds the records of a :meth:`content`.

        Raises:
            TypeError, ValueError: it is none. Whatever else ``entries`` raises.
        """
        for (address, supervisor, kind, arg, restart, tail), base in entries:
            record = self._add(address, supervisor, kind, arg, restart)
            record.base, record.tail = base, list(tail)

    def _add(self, address: str, supervisor: str, kind: str, arg: bytes, restart: str) -> Record:
        if address in self.records:
            raise ValueError(f"a start of {address!r}, which exists")
        self._orders += 1
        record = self.records[address] = Record(address, supervisor, kind, arg, restart, order=self._orders)
        return record


def _unknown(op: type[Op], address: str) -> ValueError:
    return ValueError(f"{op.__name__} for {address!r}, which was never started or has stopped")
