"""Why people are not told of a violation: what the actors of a cell share of silences, and of what is broken elsewhere.

Nothing of it is durable. Silences are written here by those that keep them (``silences:PARTITION``); what is broken in
another cell by whoever asks that cell (``neighbour:CELL@CELL``), and it holds only while it is fresh: of a cell that
does not answer nobody knows what is broken in it, so it mutes nothing.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from slakeeper.sla import silence
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.silence import Silence

# How soon muted news and walks look again whether they still are: a silence may be ended before its time.
LOOK_AGAIN_MS = 30 * SECOND_MS

# News of a contract that depends on others waits at least so long, in which their breaks become known in all cells.
INHIBITION_WAIT_MS = 3 * SECOND_MS

# What a neighbour said holds so long. It is asked every second or so; one that is killed is back within a few.
FRESH_MS = 15 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Muted:
    """Who mutes a violation: ids of silences, and of contracts that its own depends on. Falsy when nobody does."""

    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    look_again_ms: int = 0

    def __bool__(self) -> bool:
        return bool(self.silenced_by or self.inhibited_by)


@dataclass(frozen=True, slots=True)
class _Known:
    """The silences of a cell as they stand from ``from_ms`` until before ``until_ms`` [Unix ms]."""

    from_ms: float
    until_ms: float
    unended: tuple[Silence, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class _Heard:
    at_ms: int
    broken: frozenset[str]


class Muting:
    """One for each cell.

    Args:
        fresh_ms: how long what a neighbour said holds [ms].
    """

    def __init__(self, fresh_ms: int = FRESH_MS) -> None:
        self._fresh_ms = fresh_ms
        self._by_keeper: dict[str, tuple[Silence, ...]] = {}
        self._silences: tuple[Silence, ...] = ()
        self._known: _Known | None = None
        self._heard: dict[str, _Heard] = {}

    # -- silences ---------------------------------------------------------------------------------------------

    def digest(self, now_ms: int) -> str:
        """The same in two cells that know the same silences, each with the same end."""
        return self._look(now_ms).digest

    def ends(self, now_ms: int) -> dict[str, int]:
        """When each silence ends that :meth:`digest` is of, by id [Unix ms]."""
        return {each.id: each.ends_at_ms for each in self._silences if silence.is_kept(each, now_ms)}

    def unended(self, now_ms: int) -> tuple[Silence, ...]:
        """Those that are in force or will be, by id."""
        return self._look(now_ms).unended

    @property
    def silences(self) -> tuple[Silence, ...]:
        """All that are known, by id."""
        return self._silences

    def keep(self, keeper: str, silences: Iterable[Silence]) -> None:
        """What the actor at the address ``keeper`` knows, in place of what it knew before."""
        self._by_keeper[keeper] = tuple(silences)
        merged: dict[str, Silence] = {}
        for kept in self._by_keeper.values():
            for each in kept:
                known = merged.get(each.id)
                merged[each.id] = each if known is None else silence.merge(known, each)
        self._silences = tuple(each for _, each in sorted(merged.items()))
        self._known = None

    def _look(self, now_ms: int) -> _Known:
        """It is asked at every piece of news, and what it says changes only when a silence ends or is forgotten."""
        known = self._known
        if known is None or not known.from_ms <= now_ms < known.until_ms:
            known = self._known = _known(self._silences, now_ms)
        return known

    # -- what is broken elsewhere -----------------------------------------------------------------------------

    def hear(self, cell: str, broken: Iterable[str], now_ms: int) -> None:
        """The contracts that are broken in another cell, of those that matter here."""
        self._heard[cell] = _Heard(now_ms, frozenset(broken))

    def is_broken_elsewhere(self, sla_id: str, now_ms: int) -> bool:
        """Whether another cell has said lately that a contract is broken."""
        return any(
            sla_id in heard.broken and now_ms - heard.at_ms < self._fresh_ms for heard in self._heard.values()
        )


def _known(silences: tuple[Silence, ...], now_ms: int) -> _Known:
    changes_ms = [
        end_ms for each in silences for end_ms in (each.ends_at_ms, each.ends_at_ms + silence.KEPT_MS)
    ]
    kept = " ".join(f"{each.id}:{each.ends_at_ms}" for each in silences if silence.is_kept(each, now_ms))
    return _Known(
        max((each for each in changes_ms if each <= now_ms), default=-inf),
        min((each for each in changes_ms if each > now_ms), default=inf),
        tuple(each for each in silences if each.ends_at_ms > now_ms),
        hashlib.blake2b(kept.encode(), digest_size=16).hexdigest(),
    )
