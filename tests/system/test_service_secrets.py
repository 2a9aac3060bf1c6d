"""No secret of the configuration is ever seen again: in no log, answer, report, audit line, crash or error.

Everything is configured with secrets that can be recognised, the other sides do what they can to give them away (they
answer an error that holds all they were sent), and then everything that was written or shown is searched.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from slakeeper.ack_key import ACK_KEY_FILE
from slakeeper.config.loader import load
from slakeeper.sla import monitoring, policy
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService, Service, command
from tests.unit.integrations.fake_http import CERTIFICATE, Behaviour, FakeServer, Reply, Request
from tests.unit.integrations.fake_smtp import Post, running

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]
pytest_plugins = ["tests.system.service_fixtures"]

CHANNELS = ("email", "sms", "slack", "pagerduty", "hook", "login", "nowhere", "odd", "other")
SOURCES = ("prom", "basic", "doc", "probe", "agent", "tool", "blabber")
ACTIONS = ("mend", "run", "call", "grow")

# Gives away what it is called with, to all who listen, and fails.
TELLTALE = (
    "import json, os; message = json.loads(input()); "
    "print(json.dumps({'jsonrpc': '2.0', 'id': message['id'], 'error': {'code': 1, 'message': os.environ['KEY']}}))"
)
BLABBER = "import os, sys; print(dict(os.environ)); print(dict(os.environ), file=sys.stderr); sys.exit(3)"

MARK = "kanarienvogel"


def canary(name: str) -> str:
    return f"{MARK}-{name}-4711"


def echo(request: Request) -> Behaviour:
    """Gives away whatever it was sent."""
    told = {"path": request.path, "query": request.query, "headers": dict(request.headers)}
    text = json.dumps({**told, "body": request.body.decode("utf-8", "replace")[:500]})
    if request.path.endswith("/mcp"):
        error = {"code": -32000, "message": text}
        return Reply(200, json.dumps({"jsonrpc": "2.0", "id": request.json().get("id"), "error": error}).encode(),
                     {"Content-Type": "application/json"})  # fmt: skip
    # As an error of Prometheus, of Kubernetes and of Twilio.
    return Reply(500, json.dumps({
        **json.loads(text), "kind": "Status", "message": text, "status": "error", "errorType": text, "error": text,
    }).encode())  # fmt: skip


@pytest.fixture
def outside() -> Iterator[FakeServer]:
    with FakeServer(echo) as server:
        yield server


@pytest.fixture
def sealed() -> Iterator[FakeServer]:
    """The same over https."""
    with FakeServer(echo, tls=True) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, outside: FakeServer, sealed: FakeServer) -> Iterator[Path]:
    post = Post({"mail": f"451 {canary('smtp')}"})
    token_file = tmp_path / "kubernetes.token"
    token_file.write_text(canary("kubernetes"))
    bound = {"load": ("prom", "up"), "alpha": ("basic", "up"), "size": ("doc", "/x"), "beta": ("probe", "status"),
             "gamma": ("agent", "latency"), "delta": ("tool", "latency"), "epsilon": ("blabber", "latency"),
             }  # fmt: skip
    metrics = [metric(name, source=source, query=query) for name, (source, query) in bound.items()]
    headers = {"X-Key": canary("custom-header")}
    with running(post, auth_require_tls=False, auth_required=False) as port:
        yield write_config(
            tmp_path / "config",
            [contract("web", [metric("latency"), *metrics], fee="100", compensation=[
                {"metric": "latency", "type": "credit", "formula": "credit = 1", "auto_approve": True}
            ])],
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
                    "other": {"type": "apprise",
                              "url": f"json://me:{canary('apprise')}@127.0.0.1:{outside.port}/{canary('apprise-path')}"},
                },
                "billing": {"url": f"{outside.url}/{canary('billing-path')}", "secret": canary("billing"),
                            "headers": {"X-Key": canary("billing-header")}, "inbound_secret": canary("inbound3")},
                "automatic_actions": [
                    {"name": name, "trigger_metric": "latency", "condition": {"gt": 1}, "action": name,
                     "parameters": {"cmd": "env"}}
                    for name in ACTIONS
                ],
                "remedies": {
                    "mend": {"type": "webhook", "url": f"{outside.url}/{canary('remedy-path')}",
                             "secret": canary("remedy")},
                    "run": {"type": "command", "argv": [sys.executable, "-c", BLABBER],
                            "secrets": {"KEY": canary("command")}},
                    "call": {"type": "python", "entry": "subprocess:getoutput", "secrets": {"KEY": canary("python")}},
                    "grow": {"type": "kubernetes", "url": sealed.url, "namespace": "shop", "deployment": "web",
                             "replicas": 3, "token_file": str(token_file), "ca_file": str(CERTIFICATE)},
                },
                "remediation": {"max_remediation_attempts": 1},
                "escalation_policies": [
                    {"severity": "critical", "levels": [{"type": each} for each in ("email", "sms", "slack", "hook")]}
                ],
            },
            {
                "alert_channels": list(CHANNELS),
                "sources": {
                    "prom": {"type": "prometheus", "url": f"{outside.url}/{canary('prometheus-path')}",
                             "token": canary("prometheus"), "interval": "100ms"},
                    "basic": {"type": "prometheus", "url": outside.url, "username": "me",
                              "password": canary("prometheus-password"), "interval": "100ms"},
                    "doc": {"type": "custom", "url": f"{outside.url}/?key={canary('custom-query')}",
                            "token": canary("custom"), "interval": "100ms", "headers": headers},
                    "probe": {"type": "http", "url": f"{outside.url}/{canary('probe-path')}", "method": "POST",
                              "body": canary("probe-body"), "headers": headers, "interval": "100ms"},
                    "agent": {"type": "mcp", "url": f"{outside.url}/{canary('mcp-path')}/mcp", "token": canary("mcp"),
                              "headers": headers, "interval": "1s"},
                    "tool": {"type": "mcp", "argv": [sys.executable, "-c", TELLTALE], "env": {"KEY": canary("mcp-env")},
                             "interval": "1s"},
                    "blabber": {"type": "mcp", "argv": [sys.executable, "-c", BLABBER],
                                "env": {"KEY": canary("mcp-env2")}, "interval": "1s"},
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
        ("actor", "crashes"), ("actor", "dead-letters"), ("doctor",), ("oncall",), ("source", "list"),
        ("actor", "state", "alert:web"), ("actor", "state", f"escalation:{violation_id}"),
        ("actor", "state", "contract:web"), ("silence", "list"), ("check", "--config", str(service.config)),
        *(("source", "test", each, "--config", str(service.config)) for each in SOURCES),
        *(("channel", "test", each, "--config", str(service.config)) for each in CHANNELS),
        *(("channel", "test", each) for each in (*CHANNELS, "none")),
    ]  # fmt: skip
    every = [words for each in commands for words in (each, ("--json", *each))]
    with ThreadPoolExecutor(4) as pool:
        for words, answer in zip(every, pool.map(lambda one: service.cli(*one), every), strict=True):
            yield " ".join(words), answer.out + answer.err
    for path in (
        "/v1/status",
        "/v1/violations",
        f"/v1/violations/{violation_id}",
        "/metrics",
        "/v1/slas/web",
        "/v1/tree",
        "/v1/silences?all=true",
        "/v1/compensation",
        "/v1/reports/web?format=html",
    ):
        yield path, service.http("GET", path).body.decode()


def leaks(found: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{where}: …{text[max(0, text.index(MARK) - 80) :][:200]}" for where, text in found if MARK in text
    ]


def secret_fields(model: type[BaseModel]) -> set[str]:
    """The keys of a model that hold a secret, alone or in a mapping."""
    return {
        name
        for name, field in model.model_fields.items()
        if SecretStr in {field.annotation, *get_args(field.annotation)}
    }


def models(union: Any) -> list[type[BaseModel]]:
    return [each for each in get_args(get_args(union)[0]) if issubclass(each, BaseModel)]


def test_every_key_that_holds_a_secret_is_tried(config: Path) -> None:
    """A new one has to be added to the configuration above."""
    loaded = load(config, os.environ)
    there: dict[type, set[str]] = {}
    enforcement = loaded.enforcement
    given_all: list[Any] = [
        *enforcement.channels.values(), *enforcement.remedies.values(), *loaded.monitoring.sources.values(),
        enforcement.billing,
    ]  # fmt: skip
    for each in given_all:
        given = {name for name in type(each).model_fields if MARK in revealed(getattr(each, name))}
        there.setdefault(type(each), set()).update(given)
    kinds: list[type[BaseModel]] = [
        *models(policy.AnyChannel), *models(policy.Remedy), *models(monitoring.AnySource), policy.BillingWebhook,
    ]  # fmt: skip
    assert {
        kind.__name__: secret_fields(kind) - there.get(kind, set()) for kind in kinds if secret_fields(kind)
    } == {kind.__name__: set() for kind in kinds if secret_fields(kind)}


def revealed(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return " ".join(map(revealed, value.values()))
    return str(value)


def test_no_secret_is_ever_seen_again(make_service: MakeService, config: Path) -> None:
    service = make_service(config)
    service.start()
    service.observe("latency", 500)
    (row,) = [each for each in service.violations() if each["metric_name"] == "latency"]
    until(
        lambda: all(channel["failed"] or channel["uncertain"] for channel in service.show("channel", "list")),
        what="every channel to have failed", limit_s=60,
    )  # fmt: skip
    until(
        lambda: {each["name"] for each in attempts(service, row["id"]) if each["status"] in ("failed", "completed")}
        == set(ACTIONS),
        what="every action to have been tried", limit_s=60,
    )  # fmt: skip
    until(
        lambda: all(each["polls"] for each in service.show("source", "list")),
        what="every source to have been asked", limit_s=60,
    )  # fmt: skip
    # What dies with all of it in its memory, an actor or a whole process, writes none of it either.
    for address in ("alert:web", f"escalation:{row['id']}", "contract:web", "source:prom", "source:tool"):
        service.cli("actor", "kill", address)
    assert service.cli("resolve", row["id"], "--by", "ann").code == 0
    assert leaks(shown(service, row["id"])) == []
    service.cli("actor", "kill", "cell-0")
    until(service.is_whole, what="the cell to be back")
    key = (service.data / ACK_KEY_FILE).read_text().strip()
    token = service.run()["token"]
    service.stop()
    assert leaks(written(service)) == []
    # Nor those that the service has made for itself, outside the files that are theirs.
    own = {"run.json", "token", ACK_KEY_FILE}
    assert [
        where for where, text in written(service) if where not in own and (key in text or token in text)
    ] == []


def attempts(service: Service, violation_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = service.show("violations", "show", violation_id)["remediation_actions"]
    return rows


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
