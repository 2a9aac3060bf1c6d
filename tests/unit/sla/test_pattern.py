"""Patterns: what Python's own engine says, at a bounded cost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.pattern import (
    MAX_PATTERN_CHARS,
    MAX_STATES,
    MAX_TEXT_CHARS,
    PatternError,
    compile_pattern,
)

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "[a-c]", "[^b-d]", "\\d", "\\W", "\\.", "\\-", "-", " "]
)
REPEATS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}", "{1,}", "{0}"])


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequence = st.lists(st.tuples(inner, REPEATS).map("".join), min_size=1, max_size=3).map("".join)
    alternatives = st.lists(sequence, min_size=1, max_size=3).map("|".join)
    return st.tuples(st.sampled_from(["(", "(?:"]), alternatives, st.just(")")).map("".join)


PATTERNS = st.recursive(ATOMS, combined, max_leaves=8)


@given(PATTERNS, st.lists(st.text("abcd.-1 \n", max_size=6), min_size=1, max_size=20))
@settings(deadline=None, max_examples=400)
def test_it_matches_what_python_matches(pattern: str, texts: list[str]) -> None:
    compiled = compile_pattern(pattern)
    expected = re.compile(pattern, re.ASCII)
    assert [compiled.matches(text) for text in texts] == [bool(expected.fullmatch(text)) for text in texts]


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("warning|info", "info", True),
        ("warning|info", "information", False),
        ("api-.*", "api-gold", True),
        ("", "", True),
        ("", "a", False),
        ("[]a]+", "]a", True),
        ("[a\\]-]+", "a-]", True),
        ("|a", "", True),
    ],
)
def test_a_pattern_matches_all_of_a_text(pattern: str, text: str, wanted: bool) -> None:
    assert compile_pattern(pattern).matches(text) is wanted


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "*", "a**", "a+?", "a*+", "^a", "a$", "[a", "[b-a]", "[[:alpha:]]", "(?=a)", "(?P<n>a)", "\\b",
     "\\1", "a{", "a{x}", "a{3,1}", "a{,2}", "]", "}", "\\"],
)  # fmt: skip
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["a" * (MAX_PATTERN_CHARS + 1), "a{501}", "(a{100}){100}", "((){400}){400}", "((){400,}){400,}",
     "(" * 50 + ")" * 50],
)  # fmt: skip
def test_what_would_cost_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "(a?){240}a{10}b", ".*.*.*.*.*.*.*b"])
def test_what_takes_other_engines_for_ever_is_bounded(pattern: str) -> None:
    # Steps are counted by the states that are looked at, not by a clock.
    assert not compile_pattern(pattern).matches("a" * MAX_TEXT_CHARS)
    assert len(compile_pattern(pattern)._states) <= MAX_STATES


def test_a_text_that_is_too_long_matches_nothing() -> None:
    assert compile_pattern("a*").matches("a" * MAX_TEXT_CHARS)
    assert not compile_pattern("a*").matches("a" * (MAX_TEXT_CHARS + 1))
