"""``slakeeper source test``: what a source says now, without a running system."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slakeeper.cli import main
from tests.system.configuration import contract, metric, write_config


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(
        tmp_path / "config",
        [
            contract("shop", [metric("up", source="me"), metric("threads")]),
            contract("other", [metric("load", source="host", query="load")]),
        ],
        monitoring={
            "sources": {
                "me": {"type": "process", "pid": 2**22 - 1, "metrics": {"threads": "threads", "n": "count"}},
                "bad": {"type": "process", "pid": 1, "metrics": {"m": "nonsense"}},
                "push": {"type": "internal"},
            }
        },
    )


def test_every_bound_query_is_asked_and_silence_is_no_failure(config: Path, tmp_path: Path) -> None:
    result = run("--data", tmp_path / "data", "--json", "source", "test", "me", "--config", config)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["readings"]
    assert [(row["sla_id"], row["metric"], row["query"], row["value"], row["error"]) for row in rows] == [
        ("shop", "up", "up", 0.0, None),
        ("shop", "threads", "threads", None, "no such process"),
        (None, "n", "count", 0.0, None),
    ]
    assert not (tmp_path / "data").exists()


def test_a_built_in_source_can_be_asked_too(config: Path) -> None:
    result = run("source", "test", "host", "--config", config)
    assert result.exit_code == 0
    assert result.stdout.startswith("host (host)\n")


def test_a_query_that_is_an_error_ends_with_1(config: Path) -> None:
    result = run("source", "test", "bad", "--config", config)
    assert result.exit_code == 1
    assert "unknown query 'nonsense'" in result.stdout


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("push", 1, "is pushed to, not polled"), ("hoost", 2, "there is no source 'hoost'")],
)
def test_what_cannot_be_asked_is_refused_in_words(config: Path, name: str, code: int, words: str) -> None:
    result = run("source", "test", name, "--config", config)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_without_a_system_there_is_no_list(tmp_path: Path) -> None:
    assert run("--data", tmp_path, "source", "list").exit_code == 3
