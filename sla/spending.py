"""Spending: what the last days were worth for one metric, as spans, so that any look-back can be asked of them.

Neighbouring windows of one verdict are one span: a quiet metric has a single one, whatever its interval.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from slakeeper.sla.span import Span, clip, total_ms, union

MAX_SPANS = 4_096
"""So many spans of a kind are kept at most; a promise that breaks and heals more often has a shorter memory."""


class Spending:
    """Known and bad time of one metric up to ``end_ms``, as far back as ``kept_ms`` says."""

    __slots__ = ("_bad", "_known", "end_ms", "kept_ms")

    def __init__(self, kept_ms: int) -> None:
        self._known: list[Span] = []
        self._bad: list[Span] = []
        self.end_ms = 0
        self.kept_ms = kept_ms

    def add(self, end_ms: int, *, good: Iterable[Span] = (), bad: Sequence[Span] = ()) -> None:
        """Takes in what came of the time up to ``end_ms``, all of it after what is here already."""
        self.end_ms = end_ms
        _extend(self._known, union([*good, *bad]))
        _extend(self._bad, bad)
        # What is forgotten of one kind is forgotten of the other, or shares of the time would be wrong.
        oldest_ms = end_ms - self.kept_ms
        for spans in (self._known, self._bad):
            if len(spans) > MAX_SPANS:
                oldest_ms = max(oldest_ms, spans[-MAX_SPANS - 1][1])
        for spans in (self._known, self._bad):
            gone = 0
            while gone < len(spans) and spans[gone][1] <= oldest_ms:
                gone += 1
            del spans[:gone]
            if spans and spans[0][0] < oldest_ms:
                spans[0] = (oldest_ms, spans[0][1])

    @property
    def is_spotless(self) -> bool:
        """Whether no bad time is remembered."""
        return not self._bad

    def within(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """(bad, known) time of ``[start_ms, end_ms)`` [ms]."""
        return total_ms(clip(self._bad, start_ms, end_ms)), total_ms(clip(self._known, start_ms, end_ms))

    def dump(self) -> list[Any]:
        return [self.end_ms, self.kept_ms, [list(span) for span in self._known], [list(s) for s in self._bad]]

    def load(self, dump: Sequence[Any]) -> None:
        self.end_ms, self.kept_ms, known, bad = dump
        self._known = [(a, b) for a, b in known]
        self._bad = [(a, b) for a, b in bad]


def _extend(spans: list[Span], more: Iterable[Span]) -> None:
    for start_ms, end_ms in more:
        if spans and spans[-1][1] == start_ms:
            spans[-1] = (spans[-1][0], end_ms)
        else:
            spans.append((start_ms, end_ms))
