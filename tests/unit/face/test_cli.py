"""The command line as far as no system runs: usage, configuration, exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slakeeper import __version__
from slakeeper.cli import main
from slakeeper.cli_compensation import STATUSES
from slakeeper.config.loader import DEFAULT_DIR
from slakeeper.sla.ledger import EntryStatus


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_it_says_its_version() -> None:
    assert __version__ in run("--version").output


@pytest.mark.parametrize(
    "words",
    [["status"], ["tree"], ["violations"], ["stop"], ["compensation"], ["sla", "list"], ["ack", "v1", "--by", "a"],
     ["observe", "latency", "5"], ["observe", "latency", "-5"], ["observe", "latency", "5", "--label", "region=eu"],
     ["actor", "state", "x"], ["report", "--sla", "a"],
     ["compensation", "approve", "c1", "--by", "a", "--reason", "b"], ["dashboard"],
     ["compensation", "settle", "c1", "--by", "a", "--reason", "b"], ["compensation", "export"],
     ["violations", "show", "v1"], ["mcp"], ["remediation", "off", "--by", "a", "--reason", "b"],
     ["silence", "list"], ["silence", "expire", "s1", "--by", "a"],
     ["silence", "add", "--sla", "api", "--for", "2h", "--by", "a", "--reason", "b"],
     ["channel", "list"], ["channel", "test", "email"], ["oncall"],
     ["oncall", "web", "--at", "2026-11-26"]],
)  # fmt: skip
def test_without_a_system_every_command_ends_with_3_and_starts_nothing(
    tmp_path: Path, words: list[str]
) -> None:
    result = run("--data", tmp_path / "data", *words)
    assert result.exit_code == 3
    assert "nothing runs on" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words",
    [["ack", "v1"], ["resolve", "v1"], ["observe", "latency"], ["observe", "latency", "much"], ["nothing"],
     ["observe", "latency", "5", "--ts", "yesterday"], ["observe", "latency", "5", "--label", "eu"],
     ["observe", "latency", "5", "--label", "=eu"], ["start", "--cells", "0"], ["report", "--format", "pdf"],
     ["compensation", "approve", "c1", "--by", "a"], ["compensation", "settle", "c1", "--by", "a"],
     ["compensation", "export", "--format", "xml"], ["compensation", "export", "--status", "paid"],
          ["silence", "add", "--for", "2h", "--by", "a", "--reason", "b"], ["silence", "expire", "s1"],
     ["silence", "add", "--sla", "a", "--by", "a", "--reason", "b"],
     ["silence", "add", "--sla", "a", "--for", "2h", "--until", "2026-01-01", "--by", "a", "--reason", "b"],
     ["silence", "add", "--sla", "a", "--for", "long", "--by", "a", "--reason", "b"],
     ["silence", "add", "--sla", "a", "--until", "soon", "--by", "a", "--reason", "b"],
     ["sla", "define", "/nowhere.yaml"], ["observe", "a", "5", "--sl"],
     ["channel", "test"], ["oncall", "--at", "soon"],
     ["remediation", "off", "--by", "a"], ["remediation", "on", "--reason", "b"],
     ["mcp", "--by", "a"], ["mcp", "--allow-acknowledge"], ["mcp", "--allow-acknowledge", "--by", " "]],
)  # fmt: skip
def test_bad_usage_ends_with_2(tmp_path: Path, words: list[str]) -> None:
    result = run("--data", tmp_path, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("slakeeper: ")
    assert line.endswith("--help")
    as_json = run("--data", tmp_path, "--json", *words)
    assert (as_json.exit_code, as_json.stderr) == (2, result.stderr)
    assert json.loads(as_json.stdout) == {
        "error": {"reason": "usage", "message": line.removeprefix("slakeeper: ")}
    }


def test_without_its_package_the_door_for_assistants_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "slakeeper.mcp_server", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    result = run("--data", tmp_path, "mcp")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "slakeeper: its package is missing: pip install 'slakeeper[mcp]'\n"


# What people and scripts ask again and again; each would take half as long again with what models are made of.
QUICK = (
    "--version", "status", "tree", "violations", "violations show v", "sla list", "sla show a", "compensation",
    "silence list", "silence add --sla a --for 2h --by a --reason b", "source list", "report --sla a", "stop",
    "observe latency 5 --ts 2026-11-01", "ack v --by a", "resolve v --by a", "escalate v --by a",
    "remediate v a", "remediation off --by a --reason b", "sla suspend a --by a", "actor state x", "dashboard",
    "channel list", "channel test email", "oncall web --at 2026-11-26",
)  # fmt: skip

QUICK_WITH_A_SYSTEM = ("slakeeper.client", "slakeeper.text", "slakeeper.violation_text", "slakeeper.watch")
"""What they import only once they have an answer."""


def test_no_command_that_only_asks_waits_for_what_models_are_made_of(tmp_path: Path) -> None:
    """pydantic and the contract's model take three times as long as all the rest of the command line."""
    program = f"""
import importlib, sys
from slakeeper.cli import main

def note(what):
    if "pydantic" in sys.modules:
        sys.exit(f"{{what}} imports pydantic")

note("the command line")
for words in {QUICK}:
    try:
        main(["--data", {str(tmp_path / "data")!r}, *words.split()])
    except SystemExit:
        note(words)
for name in {QUICK_WITH_A_SYSTEM}:
    importlib.import_module(name)
    note(name)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    usage = [line for line in told.stderr.splitlines() if "nothing runs on" not in line]
    assert (told.returncode, usage) == (0, [])
    assert list(EntryStatus) == list(STATUSES)


def test_a_group_without_a_command_shows_its_help() -> None:
    assert "Commands:" in run("sla").stderr
    assert "Commands:" in run().stderr


@pytest.mark.parametrize(
    "words",
    [["--json", "status"], ["status", "--json"], ["violations", "--json"], ["compensation", "--json"]],
)
def test_what_fails_with_json_is_one_document_wherever_the_option_stands(
    tmp_path: Path, words: list[str]
) -> None:
    result = run("--data", tmp_path / "data", *words)
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["reason"]) == (3, "not_running")
    assert result.stderr == f"slakeeper: {error['message']}\n"


def test_a_refused_contract_with_json_says_every_error_in_the_document(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("slas: [{id: a, metrics: []}]\n")
    result = run("--data", tmp_path / "data", "--json", "sla", "define", file)
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["reason"]) == (2, "configuration")
    assert {each["line"] for each in error["errors"]} == {1}


@pytest.mark.parametrize(
    "words",
    [["ack", "v1", "--by", ""], ["resolve", "v1", "--by", " "], ["sla", "suspend", "a", "--by", ""],
     ["escalate", "v1", "--by", ""], ["compensation", "reject", "c1", "--by", "", "--reason", "b"]],
)  # fmt: skip
def test_an_empty_name_is_bad_usage(tmp_path: Path, words: list[str]) -> None:
    result = run("--data", tmp_path, *words)
    assert result.exit_code == 2
    assert "Invalid value for '--by': it is empty" in result.stderr


def test_where_nothing_runs_the_data_directory_comes_before_the_advice_to_start(tmp_path: Path) -> None:
    result = run("--data", tmp_path / "data", "status")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"slakeeper: nothing runs on {tmp_path / 'data'}; ")
    assert line.index("--data or") < line.index("SLAKEEPER_DATA") < line.index(" start ")


def test_the_shipped_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("check", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0, {"ok": True, "folder": str(DEFAULT_DIR), "errors": []},
    )  # fmt: skip
    assert run("check").stdout == f"The configuration in {DEFAULT_DIR} is valid.\n"


def test_every_error_of_a_configuration_has_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "sla_definitions.yaml").write_text(
        "slas:\n  - id: a\n    service_level: 5\n    metrics: []\n"
    )
    result = run("check", "--config", tmp_path, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"]) == (2, False)
    assert {(each["line"], each["reason"]) for each in answer["errors"]} >= {(3, "invalid_service_level")}
    plain = run("check", "--config", tmp_path)
    assert f"{tmp_path / 'sla_definitions.yaml'}:3:" in plain.stdout


def test_a_broken_configuration_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "sla_definitions.yaml").write_text("slas: 5\n")
    result = run("--data", tmp_path / "data", "start", "--config", tmp_path, "--no-view")
    assert result.exit_code == 2
    assert "sla_definitions.yaml:1" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_file_with_a_wrong_contract_is_not_sent_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("slas: [{id: a, metrics: []}]\n")
    result = run("--data", tmp_path / "data", "sla", "define", file)
    assert (result.exit_code, "new.yaml:1" in result.stderr) == (2, True)


@pytest.mark.parametrize("group", [["violations"], ["compensation"]])
def test_options_given_to_a_group_hold_for_its_commands(tmp_path: Path, group: list[str]) -> None:
    words = {"violations": ["show", "v1"], "compensation": ["approve", "c1", "--by", "a", "--reason", "b"]}
    result = run(*group, "--data", tmp_path / "elsewhere", *words[group[0]])
    assert result.exit_code == 3
    assert f"nothing runs on {tmp_path / 'elsewhere'}" in result.stderr
