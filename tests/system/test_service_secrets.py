"""No secret of the configuration is ever seen again: in no log, answer, report, audit line, crash or error.

Everything is configured with secrets that can be recognised, the other sides do what they can to give them away (they
answer an error that holds all they were sent), and then everything that was written or shown is searched.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService, Service, command
from tests.unit.integrations.fake_http import Behaviour, FakeServer, Reply, Request
from tests.unit.integrations.fake_smtp import Post, running

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

CHANNELS = ("email", "sms", "slack", "pagerduty", "hook", "login", "nowhere", "odd")

MARK = "kanarienvogel"


def canary(name: str) -> str:
    return f"{MARK}-{name}-4711"


def echo(request: Request) -> Behaviour:
    """Gives away whatever it was sent."""
    told = {"headers": dict(request.headers), "path": request.path, "query": request.query}
    return Reply(500, json.dumps({**told, "body": request.body.decode("utf-8", "replace")[:500]}).encode())


@pytest.fixture
def outside() -> Iterator[FakeServer]:
    with FakeServer(echo) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, outside: FakeServer) -> Iterator[Path]:
    post = Post({"mail": f"451 {canary('smtp')}"})
    with running(post, auth_require_tls=False, auth_required=False) as port:
        yield write_config(
            tmp_path / "config",
            [contract("web", [metric("latency"), metric("load", source="prom", query="up"),
                              metric("size", source="doc", query="/x")])],
            {
                "channels": {
                    "email": {"type": "email", "host": "127.0.0.1", "port": port, "username": "u",
                              "password": canary("smtp"), "recipients": ["a@example.com"]},
                    "sms": {"base_url": outside.url, "account_sid": "AC1", "auth_token": canary("twilio"),
                            "from": "+49", "recipients": ["+491"]},
                    "slack": {"url": f"{outside.url}/services/{canary('slack')}"},
                    "pagerduty": {"base_url": outside.url, "routing_key": canary("routing"),
                                  "inbound_secret": canary("inbound")},
                    "hook": {"type": "webhook", "url": f"{outside.url}/in/{canary('path')}?key={canary('query')}",
                             "secret": canary("hook"), "headers": {"X-Key": canary("header")},
                             "inbound_secret": canary("inbound2")},
                    "login": {"type": "webhook", "url": outside.url.replace("//", f"//me:{canary('login')}@")},
                    "nowhere": {"type": "webhook", "url": f"http://nowhere.invalid/{canary('nowhere')}"},
                    "odd": {"type": "webhook", "url": outside.url, "headers": {"X-Odd": canary("odd") + "\n"}},
                },
                "automatic_actions": [{"name": "mend", "trigger_metric": "latency", "condition": {"gt": 1},
                                       "action": "call"}],
                "remedies": {"call": {"type": "webhook", "url": f"{outside.url}/{canary('remedy-path')}",
                                      "secret": canary("remedy")}},
                "remediation": {"max_remediation_attempts": 1},
                "escalation_policies": [
                    {"severity": "critical", "levels": [{"type": each} for each in ("email", "sms", "slack", "hook")]}
                ],
            },
            {
                "alert_channels": list(CHANNELS),
                "sources": {
                    "prom": {"type": "prometheus", "url": outside.url, "token": canary("prometheus"),
                             "interval": "100ms"},
                    "doc": {"type": "custom", "url": outside.url, "token": canary("custom"), "interval": "100ms",
                            "headers": {"X-Key": canary("custom-header")}},
                },
            },
            {"public_url": "https://sla.example.com", "log_level": "debug"},
        )  # fmt: skip


def written(service: Service) -> Iterator[tuple[str, str]]:
    """Everything below the data directory."""
    for folder, _, names in os.walk(service.data):
        for name in names:
            path = Path(folder) / name
            if path.is_file():
                yield str(path.relative_to(service.data)), path.read_bytes().decode("latin-1")


def shown(service: Service, violation_id: str) -> Iterator[tuple[str, str]]:
    """Everything that commands and pages say."""
    commands: list[tuple[str, ...]] = [
        ("status",), ("tree",), ("violations", "--all"), ("violations", "show", violation_id), ("channel", "list"),
        ("compensation",), ("report", "--sla", "web"), ("audit", "tail", "-n", "500"), ("sla", "show", "web"),
        ("actor", "crashes"), ("actor", "dead-letters"), ("doctor",), ("oncall",),
        ("actor", "state", "alert:web"), ("actor", "state", f"escalation:{violation_id}"),
        *(("channel", "test", each) for each in (*CHANNELS, "none")),
    ]  # fmt: skip
    for words in commands:
        for answer in (service.cli(*words), service.cli("--json", *words)):
            yield " ".join(words), answer.out + answer.err
    for path in (
        "/v1/status",
        "/v1/violations",
        f"/v1/violations/{violation_id}",
        "/metrics",
        "/v1/slas/web",
    ):
        yield path, service.http("GET", path).body.decode()


def leaks(found: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{where}: …{text[max(0, text.index(MARK) - 80) :][:200]}" for where, text in found if MARK in text
    ]


def test_no_secret_is_ever_seen_again(make_service: MakeService, config: Path) -> None:
    service = make_service(config)
    service.start()
    service.observe("latency", 500)
    (row,) = service.violations()
    until(
        lambda: all(channel["failed"] for channel in service.show("channel", "list")),
        what="every channel to have failed", limit_s=60,
    )  # fmt: skip
    assert leaks(shown(service, row["id"])) == []
    # A process that dies with all of it in its memory writes none of it either.
    service.cli("actor", "kill", "cell-0")
    until(service.is_whole, what="the cell to be back")
    service.stop()
    assert leaks(written(service)) == []


def test_a_configuration_that_is_wrong_shows_no_secret(tmp_path: Path) -> None:
    folder = write_config(tmp_path / "config", [contract("web", [metric("latency")])], {
        "channels": {
            "slack": {"url": f"not an address {canary('slack')}"},
            "pagerduty": {"routing_key": [canary("routing")], "inbound_secret": {"x": canary("inbound")}},
            "hook": {"type": "webhook", "url": f"ftp://{canary('url')}", "headers": {"X": [canary("header")]}},
            "email": {"password": 4711, "host": "x", "passwort": canary("slip")},
        },
    })  # fmt: skip
    for words in (("check",), ("--json", "check"), ("start",)):
        answer = command("--data", str(tmp_path / "data"), *words, "--config", str(folder))
        assert answer.code == 2
        assert MARK not in answer.out + answer.err
