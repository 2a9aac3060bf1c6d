"""Writes docs/otp-conformance.md from a run of the conformance suite: `python -m tools.otp_conformance`.

With --check it writes nothing and fails if the document is not what the run says.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "tests" / "conformance"
ORACLE = SUITE / "erlang"
"""No cases, but scripts made by chance for Erlang's supervisor, a naive one and ours."""
CASES = SUITE / "cases.txt"
DOCUMENT = ROOT / "docs" / "otp-conformance.md"
DRIVERS = ("core", "host")
"""The fixtures that stand for a driver."""
ON_BOTH = ("light", "kin")
"""The fixtures that run a test on each."""

_LINE = re.compile(r"(?P<name>\w+)(?:: (?P<process>\S+::\w+))?(?: - (?P<reason>.+))?")

INTRODUCTION = """\
# OTP conformance

The supervisors keep the contract of Erlang/OTP's `supervisor`. This is each of the {total} cases of its own suite
(`supervisor_SUITE`, 2025) and where it is tested here. Written by `python -m tools.otp_conformance` from a run of
`tests/conformance`; not to be edited by hand.

- **light**: the actors of a cell. `host` is the host that runs them in production; `core` is the same pure supervisor
  over children that follow a script, for what takes time or does not end when it is asked to: a light actor does
  neither.
- **process**: the root supervisor over operating system processes: a test of real ones, or why it does not apply.

Where Erlang is installed, [tests/conformance/erlang](../tests/conformance/erlang/test_against_erlang.py) puts its
supervisor and ours through the same thousands of scripts made by chance: four strategies, starts that fail, exits,
requests, code changes, supervisors below. Starts, ends and reports in order, replies, lists and counts are the same.
With or without it, a [naive supervisor](../tests/conformance/erlang/naive_supervisor.py) goes through such scripts too:
written from the contract, sharing no code with ours, and held to Erlang's where there is one.

Where we differ, on purpose:

- A supervisor that stops or starts a child answers others meanwhile; OTP's is deaf. Children that do not depend on
  each other do not wait for each other's restarts.
- `terminate_child` of a pid that is no child's is `not_found`; OTP says `ok` if that process is dead, whoever's it was.
- A light actor that ends normally is done for good: the host deletes a transient one, where OTP keeps its spec.
- Under `simple_one_for_one` OTP 25 breaks when a restart is ignored, or when a code change makes a child temporary or
  no longer so. Ours drops the child, and changes it; one that was started as a temporary one stays that, as nobody
  knows any more what with.
- A process's spec with a field that there is not is refused, where OTP ignores unknown keys.
- Quarantine is ours: see [ADR 0003](adr/0003-quarantine-and-backoff.md).

{ran} of {total} cases are tested on light actors, {host} of them on the host; {process} on processes, {apart} do not
apply there.
"""


@dataclass(frozen=True)
class Case:
    """One case of the suite: its group; a test of real processes for it, or why it does not apply to them (else "")."""

    group: str
    name: str
    process: str
    reason: str


def read_cases(text: str) -> list[Case]:
    """All cases in the order of the suite.

    Raises:
        ValueError: a line that cannot be read.
    """
    group, cases = "", []
    for line in text.splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{CASES.name}: {line!r} is no case")
            cases.append(Case(group, match["name"], match["process"] or "", match["reason"] or ""))
    return cases


def render(cases: Sequence[Case], ran_on: Mapping[str, Sequence[str]]) -> str:
    """The document.

    Args:
        cases: in the order they are shown.
        ran_on: the drivers each case passed on, by its name.
    """
    counts = {
        "total": len(cases),
        "ran": sum(bool(ran_on.get(case.name)) for case in cases),
        "host": sum("host" in ran_on.get(case.name, ()) for case in cases),
        "process": sum(bool(case.process) for case in cases),
        "apart": sum(bool(case.reason) for case in cases),
    }
    lines = [INTRODUCTION.format(**counts).rstrip()]
    group = ""
    for case in cases:
        if case.group != group:
            group = case.group
            lines += [f"\n## {group}\n", "| case | light | process |", "| --- | --- | --- |"]
        light = ", ".join(ran_on.get(case.name, ()))
        path, _, test = case.process.partition("::")
        process = f"[{test.removeprefix('test_').replace('_', ' ')}](../{path})" if test else case.reason
        lines.append(f"| `{case.name}` | {light} | {process} |")
    return "\n".join(lines) + "\n"


class Results:
    """A pytest plugin: which case passed on which driver, and what failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self._drivers: dict[str, set[str]] = defaultdict(set)

    def ran_on(self) -> dict[str, list[str]]:
        return {case: sorted(drivers) for case, drivers in self._drivers.items()}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function):
                case = item.originalname.removeprefix("test_")
                params = item.callspec.params if hasattr(item, "callspec") else {}
                driver = next((params[name] for name in ON_BOTH if name in params), None)
                used = {str(driver)} if driver else set(DRIVERS) & set(item.fixturenames)
                self._drivers[case] |= used

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)


def main(arguments: Sequence[str]) -> int:
    """Runs the suite, then writes or checks the document; returns the exit status."""
    results = Results()
    status = pytest.main(
        [str(SUITE), f"--ignore={ORACLE}", "-q", "-p", "no:cacheprovider"], plugins=[results]
    )
    if status != pytest.ExitCode.OK or results.failed:
        print(f"otp_conformance: the suite did not pass: {', '.join(sorted(results.failed)) or status}")
        return 1
    document = render(read_cases(CASES.read_text(encoding="utf-8")), results.ran_on())
    if "--check" not in arguments:
        DOCUMENT.write_text(document, encoding="utf-8")
        print(f"otp_conformance: wrote {DOCUMENT.relative_to(ROOT)}")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != document:
        print(
            f"otp_conformance: {DOCUMENT.relative_to(ROOT)} is out of date: python -m tools.otp_conformance"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
