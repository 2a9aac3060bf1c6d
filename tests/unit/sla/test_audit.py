"""The audit chain: its form, and that every change of a written chain is found, in its place."""

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slakeeper.sla.audit import GENESIS, Fact, Head, Link, What, link, plain, read
from slakeeper.sla.audit_check import Expected, Finding, ProblemKind, Row, check

FILE = "audit/p000/000000000001.jsonl"

texts = st.text(max_size=8)
details = st.dictionaries(
    texts, st.one_of(texts, st.integers(), st.none(), st.booleans(), st.lists(texts)), max_size=3
)
facts = st.builds(
    Fact,
    st.integers(0, 2**45),
    st.sampled_from([each.value for each in What]),
    texts,
    texts,
    texts,
    texts,
    details,
)


def chain(facts: list[Fact], partition: str = "p000") -> list[Link]:
    links: list[Link] = []
    for fact in facts:
        links.append(link(links[-1].head if links else Head(), partition, fact))
    return links


def fact(number: int) -> Fact:
    return Fact(
        1_000 + number, What.VIOLATION_OPENED.value, "slakeeper", "", "api", f"v{number}", {"value": "9.5"}
    )


def checked(lines: list[str], expected: Expected | None = None) -> Finding:
    return check(
        "p000", [Row(FILE, number, line) for number, line in enumerate(lines, 1)], expected, "audit/p000"
    )


def all_of(links: list[Link]) -> Expected:
    return Expected(links[-1].head, links[-1].seq)


def found(finding: Finding) -> list[tuple[str, int]]:
    return [(each.kind.value, each.line) for each in finding.problems]


FIVE = chain([fact(number) for number in range(5)])
LINES = [each.line for each in FIVE]
WHOLE = all_of(FIVE)


# --- the form ------------------------------------------------------------------------------------------------


def test_an_entry_is_one_line_of_json_that_ends_with_its_hash() -> None:
    assert LINES[0] == (
        '{"format":1,"seq":1,"at_ms":1000,"partition":"p000","what":"violation.opened","who":"slakeeper","via":"",'
        '"sla":"api","subject":"v0","details":{"value":"9.5"},"previous":"' + "0" * 64 + '",'
        '"hash":"15cc6332ffd7ab3c20fb87e21b8e98494880bf6adb5b3e9dc35ca312aaf14fe6"}'
    )  # fmt: skip


def test_the_hash_is_that_of_the_line_without_it() -> None:
    body = LINES[2][: LINES[2].index(',"hash":')] + "}"
    assert hashlib.sha256(body.encode()).hexdigest() == FIVE[2].hash == json.loads(LINES[2])["hash"]


@given(st.lists(facts, min_size=1, max_size=6))
def test_a_chain_as_written_is_intact(some: list[Fact]) -> None:
    links = chain(some)
    finding = checked([each.line for each in links], all_of(links))
    assert not finding.problems
    assert (finding.end, finding.entry_count, finding.unwritten_count) == (links[-1].head, len(links), 0)
    assert finding.hashes == {each.hash for each in links}


@given(facts)
def test_what_is_read_back_is_what_was_written(some: Fact) -> None:
    entry = read(link(Head(6, "ab" * 32), "p001", some).line)
    assert entry is not None
    assert (entry.seq, entry.partition, entry.previous, entry.is_intact) == (7, "p001", "ab" * 32, True)
    assert entry.document["details"] == some.details
    assert entry.document["who"] == some.who


@pytest.mark.parametrize(
    "value, written",
    [
        (Decimal("4.990"), "4.990"), (Decimal("1E+3"), "1000"), (Fraction(1, 3), "1/3"), (0.1, "0.1"), (7, 7),
        (float("nan"), "nan"), (True, True), (None, None), (("a", 1), ["a", 1]), (What.CHAIN_BEGUN, "chain.begun"),
        ({"b": Decimal(1), "a": 2}, {"a": 2, "b": "1"}), ({1: "x"}, {"1": "x"}),
    ],
)  # fmt: skip
def test_numbers_that_are_not_whole_are_written_as_text(value: Any, written: Any) -> None:
    assert plain(value) == written
    json.dumps(plain(value), allow_nan=False)


def test_a_value_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no place in the audit chain"):
        plain({"x": b"bytes"})


def test_the_same_details_in_another_order_are_the_same_entry() -> None:
    one = link(Head(), "p", Fact(1, "x", "y", details={"a": "1", "b": "2"}))
    two = link(Head(), "p", Fact(1, "x", "y", details={"b": "2", "a": "1"}))
    assert one == two


# --- one change, found in its place ------------------------------------------------------------------------------


@given(st.integers(0, 4), st.data())
def test_any_edit_of_a_byte_is_found_in_its_line(index: int, data: st.DataObject) -> None:
    line = LINES[index]
    at = data.draw(st.integers(0, len(line) - 1))
    sign = data.draw(st.characters(max_codepoint=255, exclude_characters="\n"))
    assume(sign != line[at])
    lines = [*LINES]
    lines[index] = line[:at] + sign + line[at + 1 :]
    assert found(checked(lines, WHOLE)) == [("edited", index + 1)]
    assert found(checked(lines)) == [("edited", index + 1)]


@given(st.integers(0, 4), st.data())
def test_any_rubbish_instead_of_a_line_is_found_in_its_line(index: int, data: st.DataObject) -> None:
    rubbish = data.draw(st.text(st.characters(max_codepoint=255, exclude_characters="\n")))
    lines = [*LINES]
    lines[index] = rubbish
    assert found(checked(lines, WHOLE)) == [("edited", index + 1)]


@pytest.mark.parametrize("index", range(4))
def test_an_edit_whose_hash_was_computed_anew_is_found_by_what_follows(index: int) -> None:
    lines = [*LINES]
    before = FIVE[index - 1].head if index else Head()
    lines[index] = link(before, "p000", replace(fact(index), who="mallory")).line
    assert found(checked(lines)) == [("edited", index + 1)]


def test_a_last_entry_that_was_computed_anew_is_found_by_the_head_alone() -> None:
    lines = [*LINES[:4], link(FIVE[3].head, "p000", replace(fact(4), who="mallory")).line]
    assert found(checked(lines)) == []
    assert found(checked(lines, WHOLE)) == [("foreign", 5)]


@pytest.mark.parametrize("index", range(1, 4))
def test_an_entry_that_follows_on_another_is_found(index: int) -> None:
    lines = [*LINES]
    lines[index] = link(Head(index, "ab" * 32), "p000", fact(index)).line
    assert found(checked(lines)) == [("edited", index + 1)]


def test_a_first_entry_that_follows_on_something_is_found() -> None:
    assert found(checked([link(Head(0, "ab" * 32), "p000", fact(0)).line, *LINES[1:]])) == [("edited", 1)]


def test_a_chain_that_was_written_anew_from_the_middle_on_is_found_by_the_head() -> None:
    forged = chain([fact(0), fact(1), replace(fact(2), who="mallory"), fact(3), fact(4)])
    lines = [each.line for each in forged]
    assert found(checked(lines)) == []
    assert found(checked(lines, WHOLE)) == [("foreign", 5)]
    assert FIVE[2].hash not in checked(lines).hashes  # so does a head that was noted then
    assert FIVE[1].hash in checked(lines).hashes  # and one from before the change does not


@pytest.mark.parametrize("index", range(4))
def test_a_deleted_entry_is_found_before_the_next(index: int) -> None:
    lines = [line for number, line in enumerate(LINES) if number != index]
    finding = checked(lines, WHOLE)
    assert found(finding) == [("missing", index + 1)]
    assert finding.problems[0].seq == index + 1


def test_several_deleted_entries_are_one_gap() -> None:
    [problem] = checked([LINES[0], LINES[4]], WHOLE).problems
    assert (problem.kind, problem.line, problem.seq) == (ProblemKind.MISSING, 2, 2)
    assert "entries 2 to 4 are missing" in problem.message


@given(st.integers(0, 4), st.integers(0, 4))
def test_two_swapped_entries_are_found_where_the_first_stands(a: int, b: int) -> None:
    assume(a < b)
    lines = [*LINES]
    lines[a], lines[b] = lines[b], lines[a]
    [problem] = checked(lines, WHOLE).problems
    assert (problem.kind, problem.line, problem.seq) == (ProblemKind.SWAPPED, a + 1, b + 1)


@given(st.integers(0, 4), st.integers(0, 5))
def test_a_repeated_entry_is_found(index: int, at: int) -> None:
    lines = [*LINES]
    lines.insert(at, LINES[index])
    assert ProblemKind.REPEATED in {each.kind for each in checked(lines, WHOLE).problems}


@given(st.integers(0, 4))
def test_a_cut_end_is_found_after_the_last_line_that_is_left(left: int) -> None:
    [problem] = checked(LINES[:left], WHOLE).problems
    assert (problem.kind, problem.line, problem.seq) == (ProblemKind.TRUNCATED, left, left + 1)
    assert problem.file == (FILE if left else "audit/p000")


@given(st.data())
def test_a_file_that_is_cut_at_any_byte_is_found(data: st.DataObject) -> None:
    content = "".join(line + "\n" for line in LINES)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    *whole, rest = cut.split("\n")
    rows = [Row(FILE, number, line) for number, line in enumerate(whole, 1)]
    if rest:
        rows.append(Row(FILE, len(whole) + 1, rest, is_whole=False))
    [problem] = check("p000", rows, WHOLE).problems
    assert (problem.kind, problem.seq) == (ProblemKind.TRUNCATED, len(whole) + 1)
    if rest:
        assert [each.kind for each in check("p000", rows).problems] == [ProblemKind.TRUNCATED]


def test_the_chain_of_another_partition_is_found() -> None:
    other = [each.line for each in chain([fact(number) for number in range(5)], "p001")]
    assert {kind for kind, _ in found(checked(other, WHOLE))} == {"foreign"}


def test_what_follows_on_the_head_was_never_recorded() -> None:
    assert found(checked(LINES, Expected(FIVE[3].head, 4))) == [("foreign", 5)]


def test_two_changes_are_two_problems() -> None:
    lines = [LINES[0].replace("9.5", "9.6"), LINES[1], LINES[3], LINES[4]]
    assert found(checked(lines, WHOLE)) == [("edited", 1), ("missing", 3)]


# --- while it is being written -----------------------------------------------------------------------------------


def test_entries_that_are_not_in_the_file_yet_are_no_problem_and_are_counted() -> None:
    finding = checked(LINES[:3], Expected(WHOLE.head, 3))
    assert (finding.problems, finding.unwritten_count) == ((), 2)


def test_the_last_written_entry_is_known_by_its_hash_also_while_the_head_is_not_written() -> None:
    good = Expected(WHOLE.head, 3, filed_hash=FIVE[2].hash)
    assert not checked(LINES[:3], good).problems
    assert not checked(LINES, good).problems
    assert found(checked(LINES[:3], replace(good, filed_hash=FIVE[1].hash))) == [("foreign", 3)]


def test_entries_that_came_after_the_head_was_asked_for_are_no_problem() -> None:
    assert not checked(LINES, Expected(FIVE[2].head, 3, latest_seq=5)).problems


@pytest.mark.parametrize("rubbish", ["\0" * 40, LINES[3][20:], ""])
def test_what_a_crash_left_half_written_behind_what_is_confirmed_is_no_problem(rubbish: str) -> None:
    assert not checked([*LINES[:3], rubbish, LINES[4]], Expected(WHOLE.head, 3)).problems
    assert found(checked([*LINES[:3], rubbish, LINES[4]], WHOLE)) == [("edited", 4)]


def test_a_line_that_is_just_being_written_is_no_problem() -> None:
    rows = [
        *(Row(FILE, number, line) for number, line in enumerate(LINES[:4], 1)),
        Row(FILE, 5, LINES[4][:9], False),
    ]
    assert not check("p000", rows, Expected(WHOLE.head, 4)).problems


def test_a_chain_begins_with_the_genesis() -> None:
    assert json.loads(LINES[0])["previous"] == GENESIS == "0" * 64
