"""``slakeeper simulate`` and ``slakeeper compare``: contracts against a history in a file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slakeeper.cli import main

T0_MS = 1_767_225_600_000
MINUTE_MS = 60_000

CONTRACT = """
slas:
  - id: api
    service_level: 99
    time_period: 1h
    effective_date: 2026-01-01T00:00:00Z
    fee: "1000.00"
    metrics:
      - {name: latency, value: 250, unit: ms, condition: lt, interval: 1m, keep_for: 0}
      - {name: queue, value: 10, condition: lt, interval: 1m, weight: 0.000001, labels: {region: eu}}
    penalties:
      - {threshold: 99, type: service_credit, rate: 10}
      - {threshold: 90, type: refund, rate: 25}
    compensation:
      - {metric: latency, type: credit, formula: "actual - threshold", auto_approve: true}
"""


def run(*words: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def test_a_history_without_a_sample_says_so(contract: Path) -> None:
    result = run("simulate", "--config", contract, "--samples", "-", stdin="ts,metric,value\n")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "The history has no sample to begin with.",
    )


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.yaml"
    path.write_text(CONTRACT)
    return path


def lines(minutes: int, bad: int = 0) -> list[str]:
    """A sample a minute, the first ones bad."""
    return [
        f"{T0_MS + number * MINUTE_MS},latency,{400 if number < bad else 100}" for number in range(minutes)
    ]


def history(tmp_path: Path, rows: list[str], name: str = "history.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(["ts,metric,value", *rows]) + "\n")
    return path


def simulated(*words: object, status: int = 0) -> dict[str, Any]:
    result = run("--json", "simulate", *words)
    assert result.exit_code == status, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_it_says_periods_violations_and_what_is_owed(tmp_path: Path, contract: Path) -> None:
    document = simulated("--config", contract, "--samples", history(tmp_path, lines(75, bad=3)))
    assert document["samples"] == 75
    assert document["elapsed_s"] > 0
    [sla] = document["slas"]
    lost, kept = sla["periods"]
    times = ("known_ms", "good_ms", "bad_ms", "unknown_ms", "excluded_ms")
    assert (lost["start"], lost["end"], lost["met"], lost["attainment"]) == (
        T0_MS, T0_MS + 60 * MINUTE_MS, False, 95,
    )  # fmt: skip
    assert lost["credits"] == [
        {"amount": "100.00", "currency": "EUR", "type": "service_credit", "threshold": 99, "rate": 10}
    ]
    assert (kept["end"], kept["met"], kept["attainment"], kept["credits"]) == (
        T0_MS + 120 * MINUTE_MS, True, 100, [],
    )  # fmt: skip
    assert all(isinstance(period[key], int | float) for period in sla["periods"] for key in times)
    assert lost["bad_ms"] == pytest.approx(3 * MINUTE_MS, rel=1e-5)
    [violation] = sla["violations"]
    assert (violation["start_time"], violation["end_time"]) == (T0_MS, T0_MS + 3 * MINUTE_MS)
    assert (violation["worst_value"], violation["status"]) == (400, "resolved")
    booked = [(entry["compensation_type"], entry["amount"], entry["status"]) for entry in sla["compensation"]]
    assert booked == [("credit", "150.0", "approved"), ("service_credit", "100.00", "pending")]


def test_the_history_ends_where_it_is_told_to(tmp_path: Path, contract: Path) -> None:
    path = history(tmp_path, lines(120, bad=3))
    words = ("--config", contract, "--samples", path)
    document = simulated(*words, "--from", T0_MS + 60 * MINUTE_MS, "--to", "2026-01-01T01:30:00Z")
    [period] = document["slas"][0]["periods"]
    assert (period["start"], period["complete"], period["met"]) == (T0_MS + 60 * MINUTE_MS, False, None)
    assert (document["samples"], document["outside"]) == (30, 90)


def test_standard_input_and_gzip_are_read_as_well(tmp_path: Path, contract: Path) -> None:
    path = history(tmp_path, lines(60))
    packed = tmp_path / "history.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    expected = simulated("--config", contract, "--samples", path)["slas"]
    assert simulated("--config", contract, "--samples", packed)["slas"] == expected
    piped = run("--json", "simulate", "--config", contract, "--samples", "-", stdin=path.read_bytes())
    assert json.loads(piped.stdout)["slas"] == expected


def test_labels_and_contracts_choose_where_a_sample_counts(tmp_path: Path, contract: Path) -> None:
    rows = [
        {"ts": T0_MS, "metric": "queue", "value": 1, "labels": {"region": "eu", "host": "a"}},
        {"ts": T0_MS, "metric": "queue", "value": 99, "labels": {"region": "us"}},
        {"ts": T0_MS, "metric": "queue", "value": 99},
        {"ts": T0_MS, "metric": "latency", "value": 999, "sla": "other"},
        {"ts": T0_MS, "metric": "latency", "value": 100, "sla": "api"},
    ]
    path = tmp_path / "history.ndjson"
    path.write_text("\n".join(map(json.dumps, rows)))
    document = simulated("--config", contract, "--samples", path)
    assert document["unused"] == {"latency": 1, "queue": 2}
    metrics = {each["name"]: each["samples_accepted"] for each in document["slas"][0]["metrics"]}
    assert metrics == {"latency": 1, "queue": 1}
    assert document["slas"][0]["violations"] == []


def test_lines_that_cannot_be_used_are_named_and_the_status_is_1(tmp_path: Path, contract: Path) -> None:
    path = history(tmp_path, [*lines(60), "yesterday,latency,1", f"{T0_MS},latency,"])
    result = run("simulate", "--config", contract, "--samples", path)
    assert result.exit_code == 1
    assert "60 samples in " in result.stdout
    assert "2 lines refused" in result.stdout
    assert f"{path}:62: 'yesterday' is not an instant" in result.stderr
    assert f"{path}:63: not_a_number" in result.stderr
    assert simulated("--config", contract, "--samples", path, status=1)["refused"] == 2


def test_samples_that_no_contract_asks_for_are_named(tmp_path: Path, contract: Path) -> None:
    result = run("simulate", "--config", contract, "--samples", history(tmp_path, [f"{T0_MS},latncy,1"]))
    assert result.exit_code == 0
    assert "no contract takes samples of 'latncy': 1 unused" in result.stderr


def test_late_samples_are_counted(tmp_path: Path, contract: Path) -> None:
    path = history(tmp_path, [*lines(30), f"{T0_MS},latency,400"])
    result = run("simulate", "--config", contract, "--samples", path)
    assert "1 sample came too late for their window and did not count" in result.stdout


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("nothing\n", [], "the first line must name the columns"),
        ("", [], "the first line must name the columns"),
        ("ts,metric,value\n", ["--from", "yesterday"], "Invalid value for --from"),
        ("ts,metric,value\n", ["--from", "2000", "--to", "1000"], "it must come after --from"),
    ],
)
def test_bad_usage_ends_with_2(
    tmp_path: Path, contract: Path, text: str, words: list[str], said: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    result = run("simulate", "--config", contract, "--samples", path, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_draft_with_mistakes_ends_with_2_and_says_where(tmp_path: Path, contract: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CONTRACT.replace("service_level: 99", "service_level: 9"))
    path = history(tmp_path, lines(1))
    for words in (("simulate", "--config", wrong), ("compare", contract, wrong)):
        result = run(*words, "--samples", path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "wrong.yaml:4" in result.stderr
        assert "invalid_service_level" in result.stderr


def test_a_history_without_samples_says_nothing(tmp_path: Path, contract: Path) -> None:
    document = simulated("--config", contract, "--samples", history(tmp_path, []))
    assert document["slas"] == []
    assert document["samples"] == 0


def test_two_drafts_are_put_side_by_side(tmp_path: Path, contract: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        CONTRACT.replace("value: 250", "value: 90") + "  - id: more\n    metrics: [{name: a, value: 1}]\n"
    )
    words = (contract, strict, "--samples", history(tmp_path, lines(60, bad=3)))
    document = json.loads(run("--json", "compare", *words).stdout)
    api, other = document["slas"]
    [period] = api["periods"]
    assert (period["a"]["attainment"], period["b"]["attainment"]) == (95, 0)
    assert period["difference"] == {
        "attainment": -95,
        "violations": 0,
        "bad_ms": period["difference"]["bad_ms"],
        "credits": {"credit EUR": "-150.0", "refund EUR": "250.00", "service_credit EUR": "-100.00"},
    }
    assert period["difference"]["bad_ms"] == pytest.approx(57 * MINUTE_MS, rel=1e-5)
    assert (other["id"], other["total"]["a"]) == ("more", None)
    shown = run("compare", *words).stdout
    assert "95 -> 0" in shown
    assert "only in B" in shown
