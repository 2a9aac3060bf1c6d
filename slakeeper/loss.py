"""What a repair gives up, in the words of contracts: whose events, and of which time."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from slakeeper.otp.codec import Codec, CodecError
from slakeeper.otp.record import Event, Started
from slakeeper.otp.survey import Commit

# Plain numbers in events are instants when they could be one [Unix ms]: 2001 to 2096.
_INSTANTS_MS = range(10**12, 4 * 10**12)

_MONITOR = re.compile(r"((?:[^:]|::)+):[^:].*")
_OF_ONE_CONTRACT = frozenset({"contract", "alert", "ledger", "report"})


@dataclass
class Loss:
    """What can be read of commits that are not kept.

    Attributes:
        events: how many, by actor.
        contracts: the ids of those concerned.
        from_ms, to_ms: the first and the last instant that an event mentions [Unix ms]; None when none does.
    """

    events: Counter[str] = field(default_factory=Counter)
    contracts: set[str] = field(default_factory=set)
    from_ms: int | None = None
    to_ms: int | None = None


def loss_of(commits: Sequence[Commit], codec: Codec, now_ms: int) -> Loss:
    """Reads commits as far as they can be read.

    Args:
        now_ms: later instants are plans, not events [Unix ms].
    """
    loss = Loss()
    instants: list[int] = []
    for op in (op for commit in commits for op in commit.ops):
        loss.events[op.address] += isinstance(op, Event)
        contract = contract_of(op.address)
        if contract is not None:
            loss.contracts.add(contract)
        if isinstance(op, Event | Started):
            try:
                value = codec.decode(op.data if isinstance(op, Event) else op.arg)
            except CodecError:
                continue  # its address and its number are known, which is something
            loss.contracts.update(each for name, each in _leaves(value) if name == "sla_id" and each)
            if isinstance(op, Event):
                instants += [
                    each for name, each in _leaves(value) if _is_instant(name, each) and each <= now_ms
                ]
    if instants:
        loss.from_ms, loss.to_ms = min(instants), max(instants)
    return loss


def contract_of(address: str) -> str | None:
    """The contract that an actor belongs to, as far as its address says so."""
    kind, _, name = address.partition(":")
    if kind in _OF_ONE_CONTRACT:
        return name or None
    match = _MONITOR.fullmatch(name) if kind == "monitor" else None
    return match[1].replace("::", ":") if match else None


def _is_instant(name: str, value: Any) -> bool:
    if type(value) is not int or value not in _INSTANTS_MS:
        return False
    return not name or name.endswith("at_ms") or name == "ts_ms"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values with the name of the field they stand in; none for those of plain sequences."""
    if is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from _leaves(getattr(value, each.name), each.name)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, str(key))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _leaves(each, name)
    else:
        yield name, value
