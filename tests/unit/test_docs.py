"""What the documents show works as it stands there."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from slakeeper.cli import main
from slakeeper.config.service import ServiceSettings
from slakeeper.integrations.webhook import signed_post
from slakeeper.sla.signature import sign
from tests.unit.integrations.fake_http import FakeServer, Reply, Request

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_otp_alone_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "otp.md").read_text(), re.DOTALL)
    exec(compile(example, "docs/otp.md", "exec"), {})
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_what_checks_a_webhook_takes_nothing_forged_old_or_twice() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "channels.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/channels.md", "exec"), names)
    accept, seen = names["accept"], set[str]()

    def posted(key: str) -> tuple[dict[str, str], bytes]:
        post = signed_post("/", {"id": key}, key, "s3cret")
        return dict(post.headers), post.body

    headers, body = posted("opened-1")
    secret = "s3cret"
    assert accept(secret, headers, body, seen)
    assert not accept(secret, headers, body, seen)  # taken already
    other, _ = posted("opened-2")
    assert not accept(secret, other, body, seen)  # another message's signature
    assert not accept(
        secret, {**headers, "Idempotency-Key": "opened-3"}, body, seen
    )  # sent anew under another key
    assert not accept("guess", *posted("opened-4"), seen)
    old = str(int(time.time()) - 301)
    stale = {
        **headers,
        "X-Slakeeper-Timestamp": old,
        "X-Slakeeper-Signature": sign(secret, old, "opened-1", body),
    }
    assert not accept(secret, stale, body, set())
    assert accept(secret, *posted("opened-5"), seen)


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


def test_the_settings_and_the_program_of_ingest_are_right() -> None:
    text = (DOCS / "ingest.md").read_text()
    (settings,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    ingest = ServiceSettings.model_validate(yaml.safe_load(settings)).ingest
    assert (ingest.statsd, ingest.statsd_flush) == ("127.0.0.1:8125", 1_000)
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    taken: list[Request] = []

    def answer(request: Request) -> Reply:
        taken.append(request)
        return Reply(202, b'{"accepted": 2, "rejected": []}')

    with FakeServer(answer) as server:
        here = program.replace("http://127.0.0.1:8765", server.url)
        exec(compile(here, "docs/ingest.md", "exec"), {"token": "a-token"})
    samples = [sample for request in taken for sample in request.json()["samples"]]
    assert [(sample["metric"], sample["value"]) for sample in samples] == [
        ("latency", 312.0),
        ("uptime", 1.0),
    ]
