"""What the documents show works as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from slakeeper.cli import main

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_otp_alone_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "otp.md").read_text(), re.DOTALL)
    exec(compile(example, "docs/otp.md", "exec"), {})
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_examples_of_simulate_say_what_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    text = (DOCS / "simulate.md").read_text()
    readme = (DOCS.parent / "README.md").read_text()
    examples = re.findall(r"```sh\nslakeeper (.*?)\n```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for command, said in examples:
        assert f"slakeeper {command}\n" in readme
        result = CliRunner().invoke(main, shlex.split(command))
        assert (result.exit_code, result.stderr) == (0, "")
        assert _without_speed(result.stdout) == _without_speed(said)


def _without_speed(text: str) -> str:
    return re.sub(r" in \S+ s, \d+ samples/s", "", text)
