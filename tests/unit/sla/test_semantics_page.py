"""docs/semantics.md is true: its examples give what they say, and every rule of every section has tests."""

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "semantics.md"
UNIT = Path(__file__).parents[1]

# Contract, metric, severity, violation, compliance, enforcement, compensation, reports and audit.
SECTIONS = [str(number) for number in range(1, 9)]

_RULE = re.compile(r"^### (\d+\.\d+) (.+)$", re.MULTILINE)
_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TESTED_BY = re.compile(r"^Tested by: (.+)$", re.MULTILINE)


class Rule(NamedTuple):
    number: str
    title: str
    text: str
    line: int

    @property
    def section(self) -> str:
        return self.number.split(".")[0]


def rules() -> Iterator[Rule]:
    page = PAGE.read_text()
    found = list(_RULE.finditer(page))
    for heading, following in zip(found, [*found[1:], None], strict=True):
        text = page[heading.end() : following.start() if following else len(page)]
        # A section's heading after the last rule of the one before is no part of it.
        text = re.split(r"^## ", text, flags=re.MULTILINE)[0]
        yield Rule(heading[1], heading[2], text, page[: heading.end()].count("\n") + 1)


RULES = list(rules())


def executed(text: str, names: dict[str, Any], name: str, line: int) -> str:
    """Runs the examples in a text with ``names``, which they add to; gives what went wrong."""
    said: list[str] = []
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(verbose=False)
    for block in _EXAMPLE.finditer(text):
        first = line + text[: block.start(1)].count("\n")
        test = parser.get_doctest(block[1], names, name, str(PAGE), first)
        test.globs = names
        runner.run(test, out=said.append, clear_globs=False)
    return "".join(said)


def test_the_examples_of_the_whole_page_give_what_they_say() -> None:
    """One after the other, as a reader would try them."""
    page = PAGE.read_text()
    names: dict[str, Any] = {}
    first_rule = page.index("\n### ")
    assert executed(page[:first_rule], names, "preamble", 0) == ""
    wrong = [executed(rule.text, names, f"§{rule.number}", rule.line) for rule in RULES]
    assert "".join(wrong) == ""


@pytest.mark.parametrize("rule", RULES, ids=[f"§{rule.number}" for rule in RULES])
def test_a_rule_has_an_example_and_names_tests_that_are_there(rule: Rule) -> None:
    blocks = _EXAMPLE.findall(rule.text)
    examples = [each for block in blocks for each in doctest.DocTestParser().get_examples(block)]
    assert any(each.want for each in examples), "no example"
    tested = _TESTED_BY.search(rule.text)
    assert tested is not None, "no tests"
    for named in re.findall(r"`([^`]+)`", tested[1]):
        file, _, function = named.partition("::")
        path = UNIT / file if "/" in file else UNIT / "sla" / file
        assert path.exists(), f"{named}: no such file"
        defined = {
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
        }
        if function:
            assert function in defined, f"{named}: no such test"
        else:
            assert any(name.startswith("test_") for name in defined), f"{named} has no tests"


def test_every_section_has_its_rules_counted_without_a_gap() -> None:
    assert [rule.section for rule in RULES] == sorted(rule.section for rule in RULES)
    for section in SECTIONS:
        numbers = [int(rule.number.split(".")[1]) for rule in RULES if rule.section == section]
        assert numbers == list(range(1, len(numbers) + 1)), section
        assert numbers, section
