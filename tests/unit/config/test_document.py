"""A YAML file becomes plain values with lines; what readers of YAML disagree on is a problem."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from slakeeper.config import document as module
from slakeeper.config.document import MAX_BYTES, Document, parse_document, read_document


def parse(text: str) -> Document:
    return parse_document(text.encode(), "f.yaml")


def reasons(document: Document) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.path, problem.reason) for problem in document.problems]


def value(text: str) -> Any:
    document = parse(f"x: {text}")
    assert document.problems == ()
    return document.value["x"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("text", "text"),
        ("no way", "no way"),
        ("'no'", "no"),
        ('"1:30"', "1:30"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("08:00-18:00", "08:00-18:00"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("-", [None]),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_plain_values_are_what_they_look_like(text: str, expected: object) -> None:
    found = parse(f"x:\n  {text}").value["x"] if text == "-" else value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["99.999", "0.1", "-0.5", "1.50", ".5", "1e3", "1.0e-3"])
def test_a_number_with_a_point_is_exact(text: str) -> None:
    assert value(text) == Decimal(text)
    assert isinstance(value(text), Decimal)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "NO",
        "on",
        "OFF",
        "1:30",
        "12:30:45",
        "010",
        "007",
        "0x1F",
        "0b101",
        "1_000",
        ".inf",
        "-.inf",
        ".nan",
    ],
)
def test_what_readers_disagree_on_is_refused(text: str) -> None:
    assert reasons(parse(f"a: 1\nx: {text}")) == [(2, "x", "ambiguous_value")]


@pytest.mark.parametrize("word, advice", [("NO", "write false"), ("yes", "write true")])
def test_a_word_for_a_truth_comes_with_advice(word: str, advice: str) -> None:
    (problem,) = parse(f"x: {word}").problems
    assert advice in problem.message
    assert f'"{word}" in quotes' in problem.message


@pytest.mark.parametrize("text", ["9" * 5000, "1.0e999999999", "1." + "3" * 100])
def test_numbers_that_would_fill_the_memory_are_refused(text: str) -> None:
    assert reasons(parse(f"x: {text}")) == [(1, "x", "number_out_of_range")]


@pytest.mark.parametrize("key", ["1", "true", "no", "~", "1.5"])
def test_a_key_that_is_no_text_is_refused(key: str) -> None:
    assert [reason for *_, reason in reasons(parse(f"{key}: 1"))] == ["invalid_key"]


@pytest.mark.parametrize("text", ["? [a]\n: 1", "? {a: 1}\n: 1", "x: &a y\n*a : 1"])
def test_a_key_that_is_a_collection_or_alias_is_refused(text: str) -> None:
    document = parse(text)
    assert document.broken
    assert document.problems[-1].reason == "invalid_key"


def test_a_duplicate_key_is_refused_and_names_the_first() -> None:
    document = parse("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert reasons(document) == [(4, "a.b", "duplicate_key")]
    assert "line 2" in document.problems[0].message
    assert document.value == {"a": {"b": 1, "c": 2}}


def test_all_problems_of_a_file_are_found() -> None:
    document = parse("a: NO\nb: [1, 1:30]\nb: 2\nc: !foo 1\nd: *nothing\n")
    assert [problem.reason for problem in document.problems] == [
        "ambiguous_value",
        "ambiguous_value",
        "duplicate_key",
        "unknown_tag",
        "unknown_anchor",
    ]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['true']", "!!binary aGk=", "!!set {a}", "!x 1"]
)
def test_tags_are_refused(tag: str) -> None:
    assert [reason for *_, reason in reasons(parse(f"x: {tag}"))] == ["unknown_tag"]


def test_merge_keys_are_refused() -> None:
    assert reasons(parse("a: &a {b: 1}\nc: {<<: *a}\n")) == [(2, "c.<<", "merge_key")]


def test_an_alias_stands_for_its_value() -> None:
    document = parse("a: &a {b: [1, 2]}\nc: *a\n")
    assert document.value == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}
    assert document.line(("c",)) == 2
    assert document.line(("c", "b", 1)) == 1


def test_an_alias_inside_its_own_value_is_refused() -> None:
    assert reasons(parse("a: &a [*a]")) == [(1, "a[0]", "unknown_anchor")]


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 12))
    document = parse("l0: &l0 [x]\n" + levels)
    assert document.broken
    assert document.problems[-1].reason == "too_many_values"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "".join(" " * i + "a:\n" for i in range(500))]
)
def test_deep_nesting_is_refused(text: str) -> None:
    document = parse(text)
    assert document.broken
    assert document.problems[-1].reason == "too_deep"


@pytest.mark.parametrize(
    "data, line, reason",
    [
        (b"", 1, "empty_file"),
        (b"# only a comment\n", 1, "empty_file"),
        (b"---\n", 1, "empty_file"),
        (b"a: 1\n\0", 2, "nul_byte"),
        (b'a: 1\nb: "\\0"\n', 2, "nul_byte"),
        (b"a: 1\nb: \x07\n", 2, "control_character"),
        (b"a: 1\nb: caf\xe9\n", 2, "not_utf8"),
        ("a: 1".encode("utf-16"), 1, "not_utf8"),
        (b"a: [1,\n  2\nb: 3\n", 3, "invalid_yaml"),
        (b"a: 1\n\tb: 2\n", 2, "invalid_yaml"),
        (b"a: 1\n---\nb: 2\n", 2, "several_documents"),
    ],
)
def test_text_that_is_no_yaml_is_refused_with_its_line(data: bytes, line: int, reason: str) -> None:
    document = parse_document(data, "f.yaml")
    assert [(problem.line, problem.reason) for problem in document.problems] == [(line, reason)]


def test_a_byte_order_mark_is_no_text() -> None:
    assert parse_document(b"\xef\xbb\xbfa: 1\n", "f.yaml").value == {"a": 1}


def test_every_value_has_a_line_and_a_missing_one_that_of_what_is_around_it() -> None:
    document = parse("a:\n  b:\n    - x\n    - c: 1\n      d: 2\n")
    assert document.line(()) == 1
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "b", 0)) == 3
    assert document.line(("a", "b", 1, "d")) == 5
    assert document.line(("a", "b", 1, "nothing", "deeper")) == 4
    assert document.line(("a", "b", 7)) == 2


def test_no_message_shows_a_value_that_may_be_a_secret() -> None:
    document = parse("a: 0777\nb: 12:34\nc: !hunter1\nd: *hunter2\ne: 1.0e777\n")
    assert len(document.problems) == 5
    for problem in document.problems:
        for secret in ("777", "12:34", "hunter"):
            assert secret not in problem.message


def test_problems_without_end_are_cut_short() -> None:
    document = parse("".join(f"k{i}: NO\n" for i in range(5000)))
    assert document.broken
    assert len(document.problems) == 1001
    assert document.problems[-1].reason == "too_many_problems"


def test_a_missing_file_a_directory_and_a_loop_of_links_are_told_apart(tmp_path: Path) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    found = [read_document(path).problems[0].reason for path in (tmp_path / "none.yaml", tmp_path, loop)]
    assert found == ["missing_file", "not_a_file", "unreadable_file"]
    assert read_document(Path("a\0b")).problems[0].reason == "unreadable_file"


def test_a_device_is_not_read() -> None:
    assert read_document(Path("/dev/zero")).problems[0].reason == "not_a_file"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    assert read_document(path).problems[0].reason == "file_too_large"
    assert path.stat().st_size > MAX_BYTES


def test_the_parser_written_in_python_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, 'no', 99.9, {b: NO}]\nc: *x\na: 2\n"
    fast = parse(text)
    monkeypatch.setattr(module, "_LOADER", yaml.SafeLoader)
    slow = parse(text)
    assert (fast.value, fast.problems) == (slow.value, slow.problems)


@pytest.mark.parametrize(
    "text", ["slas:\n\t- id: a\n", "slas:\n  - id: a\n  \tname: b\n", "a:\r\n\tb: 1\r\n"]
)
def test_a_tab_as_indentation_is_called_by_its_name(text: str) -> None:
    [problem] = parse_document(text.encode(), "f").problems
    assert "a tab at the start of a line: YAML wants spaces" in problem.message
    assert problem.reason == "invalid_yaml"
