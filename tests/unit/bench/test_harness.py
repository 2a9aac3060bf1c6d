"""The benchmark harness itself: its statistics, its files, its command line. Nothing here looks at the time."""

import importlib.util
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import machine, peer
from bench.table import (
    FORMAT,
    Limit,
    Table,
    from_document,
    median,
    percentile,
    row,
    to_document,
    to_text,
    write,
)

pytestmark = pytest.mark.slow

ROW_KEYS = ["figure", "unit", "count", "min", "p50", "p95", "p99", "max"]


def document_of(table: Table) -> dict[str, Any]:
    return to_document(table, machine.facts(), quick=True)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0.1, 1), (1, 1), (50, 50), (94.5, 95), (95, 95), (99, 99), (99.1, 100), (100, 100)]
)  # fmt: skip
def test_a_percentile_is_the_value_of_its_rank(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_a_percentile_is_not_below_its_share_of_the_values() -> None:
    values = sorted(random.Random(3).random() for _ in range(137))
    for percent in range(1, 101):
        found = percentile(values, percent)
        assert sum(value <= found for value in values) >= percent / 100 * len(values)
        assert sum(value < found for value in values) < percent / 100 * len(values)


def test_a_median_of_an_even_number_lies_between_the_middle_two() -> None:
    assert median([1, 2, 3]) == 2
    assert median([1, 2, 4, 9]) == 3


def test_a_row_does_not_care_for_the_order_of_the_runs() -> None:
    values = [float(value) for value in range(200)]
    shuffled = random.Random(5).sample(values, len(values))
    assert row("f", "ms", shuffled) == row("f", "ms", values)


def test_one_run_is_all_of_its_statistics() -> None:
    one = row("f", "ms", [7.5])
    assert (one.count, one.min, one.p50, one.p95, one.p99, one.max) == (1, 7.5, 7.5, 7.5, 7.5, 7.5)


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_a_row_without_a_finite_value_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        row("f", "ms", values)


def test_a_limit_holds_up_to_and_with_its_value() -> None:
    values = [*([1.0] * 95), *([200.0] * 5)]
    assert row("f", "ms", values, Limit("p95", 1.0)).holds is True
    assert row("f", "ms", values, Limit("max", 199.9)).holds is False
    assert row("f", "ms", values).holds is None


def test_a_table_holds_unless_one_of_its_limits_does_not() -> None:
    fine, broken, free = (
        row("a", "s", [1], Limit("max", 1)),
        row("b", "s", [2], Limit("max", 1)),
        row("c", "s", [9]),
    )
    assert Table("t", "about", (fine, free)).holds
    assert not Table("t", "about", (fine, free, broken)).holds


def test_the_file_says_what_where_and_when(tmp_path: Path) -> None:
    table = Table("t", "about", (row("f", "ms", [1.0, 2.0], Limit("p95", 100.0)),), ("Pykka",), ("a note",))
    path = write(document_of(table), tmp_path / "results")
    assert path.name == "t.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert list(found) == [
        "format", "table", "about", "quick", "date", "commit", "machine", "rows", "absent", "notes",
    ]  # fmt: skip
    assert (found["format"], found["quick"], found["absent"], found["notes"]) == (
        FORMAT,
        True,
        ["Pykka"],
        ["a note"],
    )
    assert list(found["machine"]) == ["cpu", "cores", "memory_mib", "kernel", "python", "load_1m"]
    (only,) = found["rows"]
    assert list(only) == [*ROW_KEYS, "limit"]
    assert only["limit"] == {"of": "p95", "at_most": 100.0, "holds": True}


def test_a_row_without_a_limit_has_no_key_for_it() -> None:
    assert list(row("f", "ms", [1.0]).to_document()) == ROW_KEYS


def test_figures_are_written_with_four_digits() -> None:
    found = row("f", "1/s", [123_456.789, 0.000123456]).to_document()
    assert (found["min"], found["max"]) == (0.0001235, 123_500.0)


def test_writing_again_replaces_the_file(tmp_path: Path) -> None:
    first, second = (document_of(Table("t", "about", (row("f", "ms", [value]),))) for value in (1.0, 2.0))
    write(first, tmp_path)
    path = write(second, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert json.loads(path.read_text(encoding="utf-8"))["rows"][0]["min"] == 2.0


def test_the_text_is_aligned_and_tells_what_does_not_hold() -> None:
    many = row("many", "ms", [float(value) for value in range(100)], Limit("p95", 10.0))
    few = row("a few", "s", [0.123456, 2.0])
    text = to_text(Table("t", "about it", (many, few), ("Pykka",), ("a note",)))
    title, _, header, *lines = text.splitlines()
    assert title == "t: about it"
    assert header.split() == ["figure", "unit", "runs", "min", "p50", "p95", "p99", "max", "must", "hold"]
    column = header.index("p50") + len("p50")
    assert [line[:column].split()[-1] for line in lines[:2]] == ["49.5", "1.06"]
    assert lines[0].endswith("p95 <= 10: NO")
    assert lines[1].split() == ["a", "few", "s", "2", "0.123", "1.06", "2"]
    assert [line.strip() for line in lines[2:]] == ["Pykka: absent, not installed", "a note"]


def test_percentiles_are_shown_only_of_runs_enough_for_them() -> None:
    for count, shown in ((19, 5), (20, 6), (99, 6), (100, 7)):
        line = to_text(Table("t", "about", (row("f", "s", [1.0] * count),))).splitlines()[3]
        assert len(line.split()) == shown + 1


def test_a_file_is_the_table_again() -> None:
    table = Table(
        "t", "about", (row("f", "s", [1.0, 2.5], Limit("max", 2.0)), row("g", "", [0])), ("Pykka",), ("n",)
    )
    assert from_document(json.loads(json.dumps(document_of(table)))) == table


def test_a_file_of_another_format_is_refused() -> None:
    document = document_of(Table("t", "about", (row("f", "s", [1.0]),)))
    with pytest.raises(ValueError, match="format 2"):
        from_document({**document, "format": FORMAT + 1})


def test_every_named_table_can_be_measured() -> None:
    for name in command.TABLES:
        assert callable(command.measure_of(name))


def run_with(monkeypatch: pytest.MonkeyPatch, results: Path, value: float) -> int:
    table = Table("start", "about", (row("f", "s", [value], Limit("max", 1.0)),))
    monkeypatch.setattr(command, "measure_of", lambda name: lambda quick: table)
    return command.main(["start", "--quick", "--results", str(results)])


def test_the_command_prints_and_writes_and_fails_when_a_limit_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, tmp_path, 1.0) == 0
    assert run_with(monkeypatch, tmp_path, 1.1) == 1
    printed = capsys.readouterr().out
    assert "max <= 1: yes" in printed
    assert "max <= 1: NO" in printed
    assert machine.commit() in printed
    assert json.loads((tmp_path / "start.json").read_text(encoding="utf-8"))["quick"] is True


def test_what_was_written_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with(monkeypatch, tmp_path, 1.0)
    measured = capsys.readouterr().out
    assert command.main(["start", "cell", "--show", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert measured.splitlines()[:4] == shown.splitlines()[:4]
    assert "cell: not measured" in shown


def test_an_unknown_table_is_bad_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["nonsense"])
    assert ended.value.code == 2


def test_a_peer_that_cannot_be_imported_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert [peer.is_installed(name) for name in peer.PEERS] == [False] * len(peer.PEERS)
