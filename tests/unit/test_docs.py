"""What the documents show works as it stands there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_otp_alone_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "otp.md").read_text(), re.DOTALL)
    exec(compile(example, "docs/otp.md", "exec"), {})
    assert "ZeroDivisionError" in capsys.readouterr().out
