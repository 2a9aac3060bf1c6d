"""What the documents show works as it stands there."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from slakeeper.integrations.webhook import signed_post
from slakeeper.sla.signature import sign

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
