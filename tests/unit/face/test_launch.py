"""What the command line and the configuration ask for reaches the heart."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from slakeeper.launch import Start
from slakeeper.otp import heart


def test_the_log_is_kept_as_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Heart:
        def __init__(self, data: Path, build: object, ready: Callable[..., None], **options: Any) -> None:
            asked.update(options)

        def run(self) -> int:
            return 0

    def ready(facts: Mapping[str, Any]) -> None:
        raise AssertionError("nothing was started")

    monkeypatch.setattr(heart, "Heart", Heart)
    monkeypatch.setattr(heart, "freeze", lambda: None)
    config = tmp_path / "config"
    config.mkdir()
    (config / "sla_definitions.yaml").write_text("slas: []\n")
    (config / "service.yaml").write_text(
        'log_level: error\nhttp: "127.0.0.1:0"\nhang_after: 20s\nretention: {log_bytes: 200000, log_files: 0}\n'
    )
    assert Start(tmp_path / "data", config).plain(ready) == 0
    assert asked == {
        "claim": asked["claim"], "log_level": "ERROR", "log_limit_bytes": 200_000, "logs_kept": 0, "patience_s": 20.0,
    }  # fmt: skip
