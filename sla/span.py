"""Spans of time: half-open ``(start_ms, end_ms)`` pairs and the little algebra that cuts need.

Every function takes and gives sorted, disjoint spans unless it says otherwise.
"""

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """Any spans, in any order, as sorted disjoint ones; touching ones become one, empty ones vanish."""
    merged: list[Span] = []
    for start_ms, end_ms in sorted(spans):
        if end_ms <= start_ms:
            continue
        if merged and start_ms <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_ms))
        else:
            merged.append((start_ms, end_ms))
    return merged


def clip(spans: Iterable[Span], start_ms: int, end_ms: int) -> list[Span]:
    """What of the spans lies within ``[start_ms, end_ms)``."""
    return [(max(a, start_ms), min(b, end_ms)) for a, b in spans if a < end_ms and b > start_ms and a < b]


def subtract(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """What of the spans no cut covers."""
    left: list[Span] = []
    holes = list(cuts)
    first = 0
    for start_ms, end_ms in spans:
        at_ms = start_ms
        while first < len(holes) and holes[first][1] <= at_ms:
            first += 1
        for a, b in holes[first:]:
            if a >= end_ms:
                break
            if a > at_ms:
                left.append((at_ms, a))
            at_ms = max(at_ms, b)
        if at_ms < end_ms:
            left.append((at_ms, end_ms))
    return left


def total_ms(spans: Iterable[Span]) -> int:
    """How long the spans are together [ms]."""
    return sum(end_ms - start_ms for start_ms, end_ms in spans)
