"""A JSON document as a source."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from slakeeper.integrations.http_answer import READ_HERE_BYTES
from slakeeper.integrations.json_pointer import resolve_pointer
from slakeeper.integrations.source import Poller, open_source
from slakeeper.sla.monitoring import (
    CustomSource,
)
from tests.unit.integrations.asking import ask
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    Behaviour,
    Cut,
    CutBody,
    FakeServer,
    Flood,
    Hang,
    Reply,
)


def custom(server: FakeServer, **settings: Any) -> Poller:
    return open_source("shop", CustomSource(type="custom", **{"url": f"{server.url}/stats", **settings}))


# Behind so many spaces a document is read by a process of its own.
LARGE = b" " * READ_HERE_BYTES


@pytest.mark.parametrize("padding", [b"", LARGE], ids=["small", "large"])
def test_pointers_lead_into_the_document(padding: bytes, server: FakeServer) -> None:
    document = {"queue": {"length": 7}, "hosts": [{"load": 0.5}, {"load": 1.5}], "a/b": 1, "m~n": 2, "": 3}
    server.then(Reply(200, json.dumps(document).encode() + padding))
    queries = {
        "len": "/queue/length",
        "load": "/hosts/1/load",
        "slash": "/a~1b",
        "tilde": "/m~0n",
        "empty": "/",
    }
    readings = custom(server).poll(queries)
    assert [(reading.metric, reading.value, reading.error) for reading in readings] == [
        ("len", 7.0, None),
        ("load", 1.5, None),
        ("slash", 1.0, None),
        ("tilde", 2.0, None),
        ("empty", 3.0, None),
    ]
    assert len(server.requests) == 1


def test_the_whole_document_may_be_the_number(server: FakeServer) -> None:
    server.then(Reply(200, b"12.5"))
    assert ask(custom(server), "").value == 12.5


@pytest.mark.parametrize("padding", [b"", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("document", "pointer", "error"),
    [
        (b'{"a": {"b": 1}}', "/a/c", "nothing at /a/c"),
        (b'{"a": [1]}', "/a/1", "nothing at /a/1"),
        (b'{"a": [1]}', "/a/-1", "nothing at /a/-1"),
        (b'{"a": [1]}', "/a/00", "nothing at /a/00"),
        (b'{"a": 1}', "/a/b", "nothing at /a/b"),
        (b'{"a": 1}', "a", "'a' is no JSON pointer: it begins with '/'"),
        (b'{"a": true}', "/a", "no number at /a"),
        (b'{"a": "1"}', "/a", "no number at /a"),
        (b'{"a": null}', "/a", "no number at /a"),
        (b'{"a": NaN}', "/a", "no finite number at /a"),
        (b'{"a": 1e999}', "/a", "no finite number at /a"),
        (b'{"a": 1' + b"0" * 400 + b"}", "/a", "no finite number at /a"),
        (b"[]", "", "no number at the top"),
        (b"<html>", "/a", "the answer is no JSON: <html>"),
        (b"\xff\xfe{", "/a", "the answer is no JSON: "),
        (b"[" * 100_000, "/a", "the answer is no JSON: ["),
    ],
)
def test_what_is_no_number_is_an_error_that_says_why(
    document: bytes, pointer: str, error: str, padding: bytes, server: FakeServer
) -> None:
    server.then(Reply(200, document + padding))
    reading = ask(custom(server), pointer)
    assert reading.value is None
    assert str(reading.error).startswith(error)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Reply(500, b"broken"), "answered 500: broken"),
        (Reply(302, b"", {"Location": "/x"}), "answered 302: "),
        (Hang(), "no answer from "),
        (Cut(), "127.0.0.1"),
        (CutBody(), "127.0.0.1"),
        (Flood(), "the answer is longer than "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_address_without_a_document_is_an_error_of_every_query(
    behaviour: Behaviour, error: str, server: FakeServer
) -> None:
    server.then(behaviour)
    timeout = 300 if isinstance(behaviour, Hang) else 20_000
    readings = custom(server, timeout=timeout).poll({"a": "/a", "b": "/b"})
    assert [reading.metric for reading in readings] == ["a", "b"]
    assert [str(reading.error).startswith(error) for reading in readings] == [True, True]


def test_a_document_behind_a_key_is_asked_with_it_and_the_key_is_not_shown(server: FakeServer) -> None:
    server.then(Reply(200, b"1"), Reply(403, b"no, hush-1, no, hush-2"))
    poller = custom(server, token=SecretStr("hush-1"), headers={"X-Key": SecretStr("hush-2")})
    assert ask(poller, "").value == 1.0
    assert server.requests[0].headers["Authorization"] == "Bearer hush-1"
    assert server.requests[0].headers["X-Key"] == "hush-2"
    assert ask(poller, "").error == "answered 403: no, ***, no, ***"


def test_a_key_in_the_address_is_not_shown(server: FakeServer) -> None:
    server.then(Reply(404, b"Cannot GET /data.json?api_key=T0PSECRETKEY"))
    poller = custom(server, url=f"{server.url}/data.json?api_key=T0PSECRETKEY")
    assert ask(poller, "/a").error == "answered 404: Cannot GET /***?***"


def test_the_examples_of_rfc_6901_hold() -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }
    examples = {
        "": document,
        "/foo": ["bar", "baz"],
        "/foo/0": "bar",
        "/": 0,
        "/a~1b": 1,
        "/c%d": 2,
        "/e^f": 3,
        "/g|h": 4,
        "/i\\j": 5,
        '/k"l': 6,
        "/ ": 7,
        "/m~0n": 8,
    }
    assert {pointer: resolve_pointer(document, pointer) for pointer in examples} == examples


def test_over_tls_it_is_trusted_by_its_own_authority_alone() -> None:
    with FakeServer(lambda _: Reply(200, b"7"), tls=True) as server:
        assert "is not trusted" in str(ask(custom(server), "").error)
        assert ask(custom(server, ca_file=str(CERTIFICATE)), "").value == 7.0


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import signal; signal.pause()", f"{READ_HERE_BYTES + 1} bytes of JSON are not read within 1s"),
        ("raise SystemExit(9)", f"reading {READ_HERE_BYTES + 1} bytes of JSON failed with status 9"),
    ],
)
def test_a_large_document_that_nobody_manages_to_read_is_an_error(
    program: str, error: str, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text(program)
    monkeypatch.setattr("slakeeper.integrations.json_document._PROGRAM", reader)
    server.then(Reply(200, b"1" + LARGE))
    assert ask(custom(server, timeout=1_000), "").error == error
