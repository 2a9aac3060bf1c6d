"""What is wrong is named, and spoils nothing but itself."""

import json
import math
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import msgpack
import pytest

from slakeeper.cli import main
from tests.system.configuration import contract, metric, write_config
from tests.system.service import MakeService, Service, command, now_ms

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

# Commands that need no running service.
OFFLINE = {
    ("start",), ("check",), ("doctor",), ("backup",), ("restore",), ("schema",), ("simulate",), ("compare",),
    ("import", "openslo"), ("source", "test"),
}  # fmt: skip
# What some cannot do without although no single option of them is required.
MORE_WORDS: dict[tuple[str, ...], list[str]] = {("silence", "add"): ["--sla", "x", "--for", "1h"]}


@pytest.fixture(scope="module")
def service(module_services: MakeService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    config = write_config(
        tmp_path_factory.mktemp("config"),
        [contract("shop", [metric("latency"), metric("labelled", labels={"region": "eu"})])],
    )
    one = module_services(config)
    one.start()
    return one


# -- configuration --------------------------------------------------------------------------------------------------

WRONG = {
    "sla_definitions.yaml": """\
slas:
  - id: one
    name: One
    name: Again
    service_level: 101
    time_period: 0
    metrcs: []
    metrics:
      - {name: latency, value: -5, weight: 2, condition: lt, interval: 1:30}
      - {name: errors, value: 5, condition: nearly}
  - id: two
    service_level: 99
    time_period: 1d
    metrics: []
""",
    "enforcement.yaml": """\
automatic_actions:
  - {name: mend, trigger_metric: latency, condition: {lt: 5}, action: nothing_of_the_kind}
channels:
  mail: {type: email, tls: NO}
""",
    "monitoring.yaml": """\
check_intervall: 5s
alert_channels: [mail, nowhere]
""",
    "service.yaml": "cells: [1, 2\n",
}

EVERY_ERROR = {
    ("sla_definitions.yaml", 4, "slas[0].name", "duplicate_key"),
    ("sla_definitions.yaml", 5, "slas[0].service_level", "invalid_service_level"),
    ("sla_definitions.yaml", 6, "slas[0].time_period", "invalid_time_period"),
    ("sla_definitions.yaml", 7, "slas[0].metrcs", "unknown_key"),
    ("sla_definitions.yaml", 9, "slas[0].metrics[0].value", "invalid_metric_value"),
    ("sla_definitions.yaml", 9, "slas[0].metrics[0].weight", "invalid_metric_weight"),
    ("sla_definitions.yaml", 9, "slas[0].metrics[0].interval", "ambiguous_value"),
    ("sla_definitions.yaml", 10, "slas[0].metrics[1].condition", "enum"),
    ("sla_definitions.yaml", 14, "slas[1].metrics", "no_metrics_defined"),
    ("enforcement.yaml", 2, "automatic_actions[0].action", "unknown_action"),
    ("enforcement.yaml", 4, "channels.mail.tls", "ambiguous_value"),
    ("monitoring.yaml", 1, "check_intervall", "unknown_key"),
    ("monitoring.yaml", 2, "alert_channels[1]", "unknown_channel"),
    ("service.yaml", 2, "cells[2]", "invalid_yaml"),
}


def test_every_error_of_a_configuration_is_named_at_once_and_nothing_starts(tmp_path: Path) -> None:
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    for name, text in WRONG.items():
        (config / name).write_text(text)
    answer = command("--json", "check", "--config", str(config))
    assert (answer.code, answer.err) == (2, "")
    assert answer.document["ok"] is False
    found = {
        (Path(one["file"]).name, one["line"], one["path"], one["reason"]) for one in answer.document["errors"]
    }
    assert found == EVERY_ERROR
    starting = Service(data, config)
    ways = [(*starting.start_arguments, *options) for options in (("--detach",), ("--no-view",), ())]
    for way in ways:  # one after the other: a start has the data directory while it reads
        refused = starting.cli(*way)
        assert (refused.code, refused.out) == (2, "")
        lines = refused.err.splitlines()
        assert len(lines) == len(EVERY_ERROR)
        for name, line, path, reason in EVERY_ERROR:
            place = f"slakeeper: {config / name}:{line}: {path}: "
            assert any(said.startswith(place) and said.endswith(f"[{reason}]") for said in lines), place
        assert not data.exists()


# -- samples --------------------------------------------------------------------------------------------------------


def bad_samples() -> list[tuple[Any, str]]:
    """Samples as they may come, each with the reason it is rejected for; none for the good ones."""
    good = {"metric": "latency", "value": 1.5}
    return [
        (good, ""),
        ({**good, "value": math.nan}, "not_finite"),
        ({**good, "value": math.inf}, "not_finite"),
        ({**good, "value": -math.inf}, "not_finite"),
        ({**good, "value": 10**400}, "not_finite"),
        ({**good, "value": 7}, ""),
        ({**good, "value": "7"}, "not_a_number"),
        ({**good, "value": True}, "not_a_number"),
        ({**good, "value": None}, "not_a_number"),
        ({**good, "value": [7]}, "not_a_number"),
        ({"metric": "latency"}, "missing_value"),
        ({"value": 7}, "missing_metric"),
        ({**good, "metric": 7}, "invalid_metric"),
        ({**good, "metric": "x" * 1000}, "invalid_metric"),
        ({**good, "metric": "nobody_promised"}, "unknown_metric"),
        ({**good, "sla": "nobody"}, "unknown_sla"),
        ({**good, "ts": -1}, "negative_time"),
        ({**good, "ts": "noon"}, "not_an_instant"),
        ({**good, "ts": 1.5}, "not_an_instant"),
        ({**good, "ts": 10**30}, "future"),
        ({**good, "ts": now_ms() + 3_600_000}, "future"),
        ({**good, "ts": 1_000}, "too_old"),
        ({**good, "metric": "labelled"}, "labels_do_not_match"),
        ("latency=5", "not_a_sample"),
        ({**good, "value": 1e300, "sla": "shop"}, ""),
    ]


def in_json(samples: list[Any]) -> tuple[bytes, str]:
    return json.dumps({"samples": samples}).encode(), "application/json"


def in_lines(samples: list[Any]) -> tuple[bytes, str]:
    return "\n".join(map(json.dumps, samples)).encode(), "application/x-ndjson"


def in_msgpack(samples: list[Any]) -> tuple[bytes, str]:
    # There are no numbers beyond 64 bits in msgpack.
    plain = json.loads(json.dumps(samples), parse_int=lambda text: int(text) if len(text) < 19 else math.inf)
    return msgpack.packb({"samples": plain}), "application/msgpack"


@pytest.mark.parametrize("write", [in_json, in_lines, in_msgpack])
def test_bad_samples_are_rejected_one_by_one_and_the_good_ones_count(service: Service, write: Any) -> None:
    samples = [sample for sample, _ in bad_samples()]
    reasons = [reason for _, reason in bad_samples()]
    if write is in_msgpack:
        reasons[samples.index({"metric": "latency", "value": 1.5, "ts": 10**30})] = "not_an_instant"
    body, content_type = write(samples)
    before = service.metric("shop", "latency")["samples_accepted"]
    reply = service.http("POST", "/v1/samples", body, {"content-type": content_type})
    assert reply.status == 202, reply
    expected = [{"index": index, "reason": reason} for index, reason in enumerate(reasons) if reason]
    assert reply.document == {"accepted": 3, "rejected": expected}
    assert service.metric("shop", "latency")["samples_accepted"] == before + 3


def test_a_body_that_is_not_understood_is_answered_400_with_a_reason(service: Service) -> None:
    for body in (b"", b"{", b"[]", b'{"samples": 5}', b"\xff\xfe", b'{"samples": [], "batch_id": 5}'):
        reply = service.http("POST", "/v1/samples", body)
        assert (reply.status, reply.document["error"]) == (400, "invalid"), body
        assert reply.document["reason"]
    assert service.http("POST", "/v1/samples", b"x", {"content-type": "text/html"}).status == 415
    assert service.http("POST", "/v1/violations/x/ack", {"note": "nobody"}).status == 400


def test_a_body_of_10_megabytes_is_answered_413(service: Service) -> None:
    before = service.metric("shop", "latency")["samples_accepted"]
    body = b'{"samples": [' + b'{"metric": "latency", "value": 1},' * 310_000 + b"]}"
    assert len(body) > 10_000_000
    reply = service.http("POST", "/v1/samples", body)
    assert (reply.status, reply.document["error"]) == (413, "too_large")
    service.observe("latency", 1)
    assert service.metric("shop", "latency")["samples_accepted"] == before + 1


def test_bad_samples_are_refused_on_the_command_line(service: Service) -> None:
    expected = {
        ("latency", "nan"): (1, "slakeeper: nan is not a finite number [not_finite]"),
        ("latency", "-inf"): (1, "slakeeper: -inf is not a finite number [not_finite]"),
        ("nobody_promised", "5"): (
            1,
            "slakeeper: no contract here has a metric 'nobody_promised'; see: slakeeper sla list [unknown_metric]",
        ),
        ("latency", "5", "--sla", "nobody"): (
            1,
            "slakeeper: there is no contract 'nobody'; see: slakeeper sla list [unknown_sla]",
        ),
        ("latency", "five"): (
            2,
            "slakeeper: Invalid value for 'VALUE': 'five' is not a valid float; see: slakeeper observe --help",
        ),
        ("latency", "5", "--slo", "shop"): (
            2,
            "slakeeper: Got unexpected extra arguments (--slo shop); see: slakeeper observe --help",
        ),
        ("labelled", "5"): (
            1,
            "slakeeper: no contract binds 'labelled' to these labels; see: slakeeper sla show [labels_do_not_match]",
        ),
        ("labelled", "5", "--label", "region=eu", "--label", "host=a"): (0, ""),
        ("latency", "-5"): (0, ""),
    }
    answers = service.answers(("observe", *arguments) for arguments in expected)
    # A wrong usage comes with a hint above it.
    said = {words[1:]: (each.code, (each.err.splitlines() or [""])[-1]) for words, each in answers.items()}
    assert said == expected


# -- starting -------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


DETACHED = ("--detach",)
FOREGROUND = ("--no-view",)


def refusals(*services: Service) -> list[str]:
    """What is said when services cannot start, every other in the background and in the foreground."""
    ways = [(service, (DETACHED, FOREGROUND)[number % 2]) for number, service in enumerate(services)]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda way: way[0].cli(*way[0].start_arguments, *way[1]), ways)
    refused = list(answers)
    assert {(answer.code, answer.out) for answer in refused} == {(1, "")}
    return [answer.complaint for answer in refused]


def test_a_port_in_use_is_named_and_nothing_is_left_running(
    make_service: MakeService, taken_port: int
) -> None:
    services = [make_service(name=name, http=f"127.0.0.1:{taken_port}") for name in ("one", "two")]
    for complaint in refusals(*services):
        assert f"cannot listen on 127.0.0.1:{taken_port}: the port is in use" in complaint
    for service in services:
        assert not (service.data / "run.json").exists()
    # The fixture finds nothing of them left.


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path, make_service: MakeService) -> None:
    (tmp_path / "file").write_text("in the way")
    for complaint in refusals(make_service(name="file/data"), make_service(name="file/data")):
        assert str(tmp_path / "file" / "data") in complaint
    instead = make_service(name="file").cli("start", "--detach")
    assert (instead.code, instead.out) == (2, "")
    assert f"'{tmp_path / 'file'}' is a file" in instead.err
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_second_start_on_the_same_data_names_the_first_and_leaves_it_alone(service: Service) -> None:
    processes = service.processes()
    second = Service(service.data, service.config)
    for complaint in refusals(second, second):
        assert f"process {service.pid('heart')}" in complaint
    assert service.processes() == processes
    assert service.is_whole()


# -- nothing running ------------------------------------------------------------------------------------------------


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, (*path, name))
        if not isinstance(one, click.Group) or one.invoke_without_command:
            yield (*path, name), one


def filled_in(one: click.Command, file: Path) -> list[str]:
    """Something for everything that a command cannot do without."""
    words = []
    for parameter in one.params:
        if not parameter.required or isinstance(one, click.Group):
            continue
        value = "1" if parameter.type is click.FLOAT else "x"
        value = str(file) if isinstance(parameter.type, click.Path) else value
        words += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return words


def test_every_command_without_a_running_service_ends_with_3_and_starts_nothing(
    tmp_path: Path, make_service: MakeService
) -> None:
    service = make_service(name="nothing")
    file = write_config(tmp_path / "config", [contract("shop", [metric("latency")])]) / "sla_definitions.yaml"
    asked = [
        (*words, *filled_in(one, file), *MORE_WORDS.get(words, ()))
        for words, one in commands(main)
        if words not in OFFLINE
    ]
    assert len(asked) >= 25
    answers = {words: service.invoke(*words) for words in asked}
    answers |= service.answers([("status",), ("stop",)])
    assert {words: (answer.code, answer.out) for words, answer in answers.items()} == dict.fromkeys(
        asked, (3, "")
    )
    for answer in answers.values():
        assert (
            answer.complaint
            == f"slakeeper: nothing runs on {service.data}; name another data directory with "
            f"--data or SLAKEEPER_DATA, or start one here: slakeeper --data {service.data} start"
        )
    assert not service.data.exists()
