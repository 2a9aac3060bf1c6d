"""``python -m bench [TABLE …] [--quick]``: measures, prints, and writes ``bench/results/<table>.json``.

With ``--show`` it measures nothing and prints what was written. Exit status: 0 done, 1 a limit does not hold,
2 bad usage.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import machine
from bench.table import Table, from_document, to_document, to_text, write

RESULTS = Path(__file__).parent / "results"

# They last as long as they are told to, so they are measured only when they are named.
LASTING = ("soak", "isolation")

# Each table is made by `measure(quick: bool) -> Table` of the module of its name.
TABLES = (
    "start",
    "restart",
    "path",
    "durability",
    "engine",
    "process",
    "cell",
    "simulation",
    "sources",
    "outside",
    "sla",
)


def measure_of(name: str) -> Callable[[bool], Table]:
    """The function that measures a table; imported when it is wanted, so that none weighs on another."""
    found: Callable[[bool], Table] = importlib.import_module(f"bench.{name}").measure
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure slakeeper on this machine.")
    parser.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help=f"any of {', '.join(TABLES)}, by default all; or {', '.join(LASTING)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer runs: to see that it works, not to compare"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    parser.add_argument("--show", action="store_true", help="print the files instead of measuring")
    parser.add_argument(
        "--minutes", type=float, help=f"how long {' and '.join(LASTING)} last; some by default"
    )
    given = parser.parse_args(arguments)
    unknown = [name for name in given.tables if name not in (*TABLES, *LASTING)]
    if unknown:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join((*TABLES, *LASTING))}")
    tables = given.tables or TABLES
    held = [
        _show(given.results / f"{name}.json")
        if given.show
        else _measure(name, given.results, quick=given.quick, minutes=given.minutes)
        for name in tables
    ]
    return 0 if all(held) else 1


def _measure(name: str, results: Path, *, quick: bool, minutes: float | None) -> bool:
    found = machine.facts()
    measure: Callable[..., Table] = measure_of(name)
    table = measure(quick, minutes=minutes) if name in LASTING else measure(quick)
    document = to_document(table, found, quick=quick)
    _print(table, document)
    print(f"  {write(document, results)}\n", flush=True)
    return table.holds


def _show(path: Path) -> bool:
    if not path.is_file():
        print(f"{path.stem}: not measured, {path} is not there\n")
        return True
    document = json.loads(path.read_text(encoding="utf-8"))
    table = from_document(document)
    _print(table, document)
    print()
    return table.holds


def _print(table: Table, document: dict[str, Any]) -> None:
    print(to_text(table))
    print(f"  {machine.one_line(document)}{'; quick' if document['quick'] else ''}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
