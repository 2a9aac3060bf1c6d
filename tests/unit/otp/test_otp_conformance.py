"""docs/otp-conformance.md says of every case of OTP's suite where it is tested, and that is so."""

import ast
from pathlib import Path

import pytest

from tools.otp_conformance import CASES, DOCUMENT, DRIVERS, ON_BOTH, ROOT, SUITE, Case, read_cases, render

CASES_READ = read_cases(CASES.read_text(encoding="utf-8"))


def written_in(path: Path) -> list[ast.FunctionDef]:
    """The tests of a file."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def declared() -> dict[str, list[str]]:
    """The drivers of each test of the conformance suite, by the fixtures it asks for."""
    found: dict[str, list[str]] = {}
    for path in sorted(SUITE.glob("test_*.py")):
        for test in written_in(path):
            names = {argument.arg for argument in test.args.args}
            used = DRIVERS if names & set(ON_BOTH) else [driver for driver in DRIVERS if driver in names]
            found[test.name.removeprefix("test_")] = list(used)
    return found


def test_all_93_cases_are_listed_once() -> None:
    assert len(CASES_READ) == len({case.name for case in CASES_READ}) == 93


def test_each_case_has_a_test_of_its_name_and_there_are_no_others() -> None:
    ran_on = declared()
    assert set(ran_on) == {case.name for case in CASES_READ}
    assert all(ran_on.values()), "each runs on a driver"


def test_each_case_has_a_test_of_processes_or_a_reason() -> None:
    assert all(bool(case.process) != bool(case.reason) for case in CASES_READ)


def test_the_tests_of_processes_that_are_named_exist() -> None:
    for case in CASES_READ:
        if case.process:
            path, _, name = case.process.partition("::")
            assert name in {test.name for test in written_in(ROOT / path)}, case.process


def test_the_document_is_up_to_date() -> None:
    """If not: python -m tools.otp_conformance."""
    assert DOCUMENT.read_text(encoding="utf-8") == render(CASES_READ, declared())


def test_a_case_that_does_not_apply_is_shown_with_its_reason() -> None:
    cases = read_cases("# comment\n[group]\na - no such thing here\nb: tests/x.py::test_y_z\n\n")
    assert cases == [
        Case("group", "a", "", "no such thing here"),
        Case("group", "b", "tests/x.py::test_y_z", ""),
    ]
    document = render(cases, {"a": ["core"], "b": ["core", "host"]})
    assert document.endswith(
        "| `a` | core | no such thing here |\n| `b` | core, host | [y z](../tests/x.py) |\n"
    )
    counts = "2 of 2 cases are tested on light actors, 1 of them on the host; 1 on processes, 1 do not\napply there."
    assert counts in document
    with pytest.raises(ValueError, match="is no case"):
        read_cases("two words")
