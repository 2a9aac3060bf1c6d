"""Spans against sets of integers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.span import Span, clip, subtract, total_ms, union

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def instants(given_spans: list[Span]) -> set[int]:
    return {at for start, end in given_spans for at in range(start, end)}


@given(spans)
def test_a_union_holds_the_same_instants_sorted_and_apart(many: list[Span]) -> None:
    merged = union(many)
    assert instants(merged) == instants(many)
    assert all(a[1] < b[0] for a, b in pairwise(merged))
    assert all(start < end for start, end in merged)
    assert total_ms(merged) == len(instants(many))


@given(spans, spans)
def test_subtracting_leaves_what_no_cut_holds(many: list[Span], cuts: list[Span]) -> None:
    left = subtract(union(many), union(cuts))
    assert instants(left) == instants(many) - instants(cuts)
    assert left == union(left)


@given(spans, st.integers(0, 40), st.integers(0, 40))
def test_clipping_keeps_what_is_inside(many: list[Span], start: int, end: int) -> None:
    assert instants(clip(union(many), start, end)) == instants(many) & set(range(start, end))
