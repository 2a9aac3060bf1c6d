"""MCP servers as a source: the official package's own, over both transports, and ones that misbehave."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from pydantic import SecretStr, ValidationError

from slakeeper.integrations import json_apart
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import READ_HERE_BYTES
from slakeeper.integrations.json_abridged import abridged
from slakeeper.integrations.json_apart import read_apart
from slakeeper.integrations.mcp import QUERIES, Refused, Session
from slakeeper.integrations.mcp_http import events
from slakeeper.integrations.source import Reading, open_source
from slakeeper.sla.monitoring import McpSource
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    Behaviour,
    Cut,
    Drip,
    FakeServer,
    Flood,
    Hang,
    Reply,
    Request,
    free_port,
    json_reply,
)

SERVER = str(Path(__file__).with_name("mcp_server.py"))


def probe(timeout: int = 30_000, **settings: Any) -> dict[str, Reading]:
    source = McpSource.model_validate({"type": "mcp", "timeout": timeout, **settings})
    return {
        reading.metric: reading
        for reading in open_source("assistant", source).poll({query: query for query in QUERIES})
    }


def values(readings: dict[str, Reading], *queries: str) -> tuple[float | None, ...]:
    return tuple(readings[query].value for query in queries)


def of_program(script: str, **settings: Any) -> dict[str, Reading]:
    return probe(argv=(sys.executable, "-c", script), **settings)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of the official package's server over streamable HTTP."""
    port = free_port()
    argv = [sys.executable, SERVER, "http", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/mcp"
        end_s, pause = time.monotonic() + 30, threading.Event()
        while probe(url=address)["up"].value != 100.0:
            assert process.poll() is None
            assert time.monotonic() < end_s
            pause.wait(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


# --- the official server -----------------------------------------------------------------------------


def test_a_server_over_http_is_up_and_its_tool_is_timed(url: str) -> None:
    found = probe(url=url, tool="add", arguments={"first": 1, "second": 2}, calls=3)
    assert values(found, "up", "error", "status") == (100.0, 0.0, 0.0)
    for query in ("latency", "throughput", "handshake"):
        value = found[query].value
        assert value is not None
        assert value > 0
    assert not [reading.error for reading in found.values() if reading.error]


def test_a_server_over_stdio_is_up_and_its_tool_is_timed() -> None:
    found = probe(
        argv=(sys.executable, SERVER, "stdio"), tool="add", arguments={"first": 1, "second": 2}, calls=3
    )
    assert values(found, "up", "error", "status") == (100.0, 0.0, 0.0)
    for query in ("latency", "throughput", "handshake"):
        value = found[query].value
        assert value is not None
        assert value > 0


def test_a_tool_that_fails_is_an_error_of_a_server_that_is_up(url: str) -> None:
    found = probe(url=url, tool="fail", calls=2)
    assert values(found, "up", "error", "status", "throughput") == (100.0, 100.0, 1.0, 0.0)
    assert found["latency"].value is None
    assert "disk is full" in str(found["latency"].error) or "fail" in str(found["latency"].error)


def test_without_a_tool_ping_is_timed(url: str) -> None:
    assert values(probe(url=url), "up", "error", "status") == (100.0, 0.0, 0.0)


# --- over HTTP ---------------------------------------------------------------------------------------


def answering(request: Request) -> Behaviour:
    """A server that keeps sessions and answers in JSON."""
    if request.method == "DELETE":
        return Reply(204, b"")
    message = request.json()
    if "id" not in message:
        return Reply(202, b"")
    results: dict[str, Any] = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}},
        "ping": {},
        "tools/call": {"content": []},
    }
    reply = json_reply({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]})
    return Reply(reply.status, reply.body, {**reply.headers, "Mcp-Session-Id": "session-1"})


def test_a_session_is_opened_kept_and_ended() -> None:
    with FakeServer(answering) as server:
        found = probe(url=f"{server.url}/mcp", token="key-7", tool="t", arguments={"a": 1})
        assert values(found, "up", "error") == (100.0, 0.0)
        asked = [
            request.json().get("method") if request.body else request.method for request in server.requests
        ]
        assert asked == ["initialize", "notifications/initialized", "ping", "tools/call", "DELETE"]
        first, *later = server.requests
        assert first.headers["Accept"] == "application/json, text/event-stream"
        assert first.json()["params"]["clientInfo"]["name"] == "slakeeper"
        assert "Mcp-Session-Id" not in first.headers
        for request in later:
            assert request.headers["Mcp-Session-Id"] == "session-1"
            assert request.headers["Mcp-Protocol-Version"] == "2025-06-18"
        assert {request.headers["Authorization"] for request in server.requests} == {"Bearer key-7"}
        assert server.requests[3].json()["params"] == {"name": "t", "arguments": {"a": 1}}


# --- without a handshake -----------------------------------------------------------------------------


def stateless(request: Request) -> Behaviour:
    """A server that knows nothing but revision 2026-07-28."""
    message = request.json()
    number, method, params = message["id"], message["method"], message.get("params", {})

    def refused(status: int, code: int, text: str) -> Behaviour:
        return json_reply({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}, status)

    said = params.get("_meta", {}).get("io.modelcontextprotocol/protocolVersion")
    if said is None or said != request.headers.get("Mcp-Protocol-Version"):
        return refused(400, -32020, "header mismatch; this server speaks 2026-07-28")
    if request.headers.get("Mcp-Method") != method:
        return refused(400, -32020, "no Mcp-Method")
    results: dict[str, Any] = {
        "server/discover": {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {},
            "resultType": "complete",
        },
        "tools/call": {"content": [], "resultType": "complete"},
    }
    if params.get("name") == "curious":
        results["tools/call"] = {"resultType": "input_required", "inputRequests": {}}
    if method not in results:
        return refused(404, -32601, "Method not found")
    return json_reply({"jsonrpc": "2.0", "id": number, "result": results[method]})


def methods(server: FakeServer) -> list[str]:
    return [request.json()["method"] for request in server.requests]


def test_a_server_that_knows_no_handshake_is_spoken_to_without_and_tried_once() -> None:
    with FakeServer(stateless) as server:
        source = McpSource(type="mcp", url=server.url, tool="find", arguments={"a": 1})
        poller = open_source("assistant", source)
        for _ in range(2):
            readings = {each.metric: each for each in poller.poll({query: query for query in QUERIES})}
            assert values(readings, "up", "error", "status") == (100.0, 0.0, 0.0)
        once = ["server/discover", "server/discover", "tools/call"]
        assert methods(server) == ["initialize", *once, *once]
        assert server.requests[3].headers["Mcp-Name"] == "find"
        assert not [request for request in server.requests if "Mcp-Session-Id" in request.headers]


def test_without_a_tool_the_question_what_it_speaks_is_timed() -> None:
    with FakeServer(stateless) as server:
        assert values(probe(url=server.url, calls=2), "up", "error", "status") == (100.0, 0.0, 0.0)
        assert methods(server) == ["initialize", *["server/discover"] * 4]


def test_a_tool_that_asks_back_has_failed() -> None:
    with FakeServer(stateless) as server:
        found = probe(url=server.url, tool="curious")
    assert values(found, "up", "error", "status") == (100.0, 100.0, 1.0)
    assert found["latency"].error == "tool curious asks for input, and a probe has none"


def test_a_name_that_is_no_header_is_coded_in_one() -> None:
    with FakeServer(stateless) as server:
        assert probe(url=server.url, tool="suche größe")["error"].value == 0.0
        assert server.requests[-1].headers["Mcp-Name"] == "=?base64?c3VjaGUgZ3LDtsOfZQ==?="


def test_a_server_that_gets_a_handshake_later_is_found_again() -> None:
    behaviours = [stateless]

    def application(request: Request) -> Behaviour:
        return behaviours[0](request)

    with FakeServer(application) as server:
        poller = open_source("assistant", McpSource(type="mcp", url=server.url))

        def up() -> float | None:
            return poller.poll({"up": "up"})[0].value

        assert up() == 100.0
        behaviours[0] = lambda request: (
            json_reply({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "what?"}})
            if request.body and request.json()["method"] == "server/discover"
            else answering(request)
        )
        assert [up(), up()] == [0.0, 100.0]


def test_the_first_refusal_is_told_when_the_server_refuses_both() -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "not today"}}
    with FakeServer(lambda request: json_reply({**error, "id": request.json()["id"]})) as server:
        assert probe(url=server.url)["latency"].error == "initialize: not today (-32600)"


def test_the_official_server_is_spoken_to_without_a_handshake(url: str) -> None:
    pool = urllib3.PoolManager()

    def application(request: Request) -> Behaviour:
        if request.json()["method"] == "initialize":
            return stateless(request)
        headers = {
            name: text for name, text in request.headers.items() if name not in ("Host", "Content-Length")
        }
        answer = pool.request("POST", url, body=request.body, headers=headers)
        return Reply(answer.status, answer.data, {"Content-Type": answer.headers["Content-Type"]})

    with FakeServer(application) as server, pool:
        found = probe(url=server.url, tool="add", arguments={"first": 1, "second": 2}, calls=2)
        assert values(found, "up", "error", "status") == (100.0, 0.0, 0.0), found["latency"].error
        failing = probe(url=server.url, tool="fail")
    assert values(failing, "up", "error", "status") == (100.0, 100.0, 1.0)


def test_over_stdio_too_a_server_may_know_no_handshake() -> None:
    script = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if "_meta" not in message.get("params", {}):
        reply["error"] = {"code": -32602, "message": "this server speaks 2026-07-28"}
    else:
        reply["result"] = {"supportedVersions": ["2026-07-28"], "resultType": "complete"}
    print(json.dumps(reply), flush=True)
"""
    assert values(of_program(script), "up", "error", "status") == (100.0, 0.0, 0.0)


def test_over_tls_the_server_is_trusted_by_its_own_authority_alone() -> None:
    with FakeServer(answering, tls=True) as server:
        found = probe(url=server.url)
        assert found["up"].value == 0.0
        assert "is not trusted" in str(found["latency"].error)
        assert probe(url=server.url, ca_file=str(CERTIFICATE))["up"].value == 100.0


# --- more over HTTP ----------------------------------------------------------------------------------


def test_a_stream_that_goes_on_is_left_when_the_response_has_come() -> None:
    def application(request: Request) -> Behaviour:
        if not request.body or "id" not in request.json():
            return answering(request)
        response = json.dumps(json.loads(answering(request).body))  # type: ignore[union-attr]
        stream = f'event: message\ndata: {{"jsonrpc":"2.0","method":"note"}}\n\ndata: {response}\n\n'
        # More is promised than ever comes.
        head = {"Content-Type": "text/event-stream", "Content-Length": "100000"}
        return Reply(200, stream.encode(), head)

    with FakeServer(application) as server:
        assert values(probe(url=server.url, timeout=20_000), "up", "error", "status") == (100.0, 0.0, 0.0)


@pytest.mark.parametrize("behaviour", [Hang(), Drip(), Cut(), Flood()], ids=["hang", "drip", "cut", "flood"])
def test_a_server_that_does_not_answer_is_down_and_that_is_a_reading(
    behaviour: Behaviour, server: FakeServer
) -> None:
    server.then(behaviour)
    began_s = time.monotonic()
    found = probe(url=server.url, timeout=400)
    assert time.monotonic() - began_s < 5
    assert values(found, "up", "error") == (0.0, 100.0)
    assert found["latency"].value is None
    assert found["latency"].error is not None


def test_a_refusal_has_its_status_and_shows_no_secret(server: FakeServer) -> None:
    server.then(Reply(401, b"not with key-7"))
    found = probe(url=server.url, token="key-7")
    assert values(found, "up", "error", "status") == (0.0, 100.0, 401.0)
    assert found["latency"].error == "answered 401: not with ***"


def test_a_key_in_the_address_is_not_shown(server: FakeServer) -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no room T0PSECRETKEY"}}
    server.then(json_reply(error))
    found = probe(url=f"{server.url}/rooms/T0PSECRETKEY/mcp")
    assert found["latency"].error == "initialize: no room *** (-32000)"


class Telltale:
    """A transport whose server quotes what it was sent."""

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if message["method"] == "tools/call":
            return {
                "result": {
                    "isError": True,
                    "content": [{"type": "text", "text": "x" * 200 + " hush-hush-4711"}],
                }
            }
        return {"error": {"code": -32000, "message": "hush-hush-4711 is not welcome"}}

    def notify(self, message: Mapping[str, Any]) -> None:
        """Is not answered."""

    def agreed(self, version: str) -> None:
        """Any will do."""

    def close(self) -> None:
        """Nothing is open."""


def test_an_error_that_quotes_a_secret_is_shown_without_it() -> None:
    session = Session(Telltale(), ["hush-hush-4711"])
    with pytest.raises(Refused, match=r"^ping: \*\*\* is not welcome \(-32000\)$"):
        session.ask("ping", {})
    with pytest.raises(Refused) as caught:
        session.call_tool("add", {})
    assert "hush" not in str(caught.value)


def test_an_error_of_the_protocol_has_its_code(server: FakeServer) -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Unsupported protocol version"}}
    server.then(json_reply(error))
    found = probe(url=server.url)
    assert values(found, "up", "status") == (0.0, -32602.0)
    assert found["latency"].error == "initialize: Unsupported protocol version (-32602)"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"jsonrpc":"2.0","id":1,"result":7}', b"[" * 100_000]
)
def test_an_answer_that_makes_no_sense_is_none(body: bytes, server: FakeServer) -> None:
    server.then(Reply(200, body, {"Content-Type": "application/json"}))
    assert values(probe(url=server.url), "up", "error") == (0.0, 100.0)


def test_a_call_that_gets_no_answer_is_the_last() -> None:
    calls: list[int] = []

    def application(request: Request) -> Behaviour:
        if request.body and request.json()["method"] == "tools/call":
            calls.append(1)
            if len(calls) == 4:
                return Cut()
        return answering(request)

    with FakeServer(application) as server:
        found = probe(url=server.url, tool="t", calls=10)
    assert values(found, "up", "error") == (100.0, 25.0)
    assert found["status"].value is None
    assert found["latency"].value is not None


BULK = [{"type": "text", "text": "x" * 300}] * 1_000


@pytest.mark.parametrize("as_event", [False, True], ids=["document", "event"])
@pytest.mark.parametrize("is_error", [False, True])
def test_a_large_answer_is_read_by_a_process_of_its_own(
    as_event: bool, is_error: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(program: Path, body: bytes, deadline: Deadline) -> bytes:
        read.append(len(body))
        return read_apart(program, body, deadline)

    monkeypatch.setattr(json_apart, "read_apart", counted)

    def behave(request: Request) -> Behaviour:
        message = json.loads(request.body or b"{}")
        if message.get("method") != "tools/call":
            return answering(request)
        result = {"content": BULK, "isError": is_error}
        body = json.dumps({"jsonrpc": "2.0", "result": result, "id": message["id"]}).encode()
        if not as_event:
            return Reply(200, body, {"Content-Type": "application/json"})
        first = b'data: {"method": "notifications/progress"}\n\n'
        return Reply(200, first + b"data: " + body + b"\n\n", {"Content-Type": "text/event-stream"})

    with FakeServer(behave) as server:
        found = probe(url=server.url, tool="read")
    assert values(found, "up", "error") == (100.0, 100.0 if is_error else 0.0)
    assert len(read) == 1
    assert read[0] > READ_HERE_BYTES
    if is_error:
        assert str(found["latency"].error).startswith("tool read failed: xxx")


def test_a_large_line_is_read_by_a_process_of_its_own() -> None:
    found = of_program(
        LOOP.format(before="", after="").replace("else {}", "else {'content': ['x' * 300] * 1_000}")
    )
    assert values(found, "up", "error") == (100.0, 0.0)


@pytest.mark.parametrize("program", ["raise SystemExit(9)", "pass"])
def test_a_large_answer_that_nobody_manages_to_read_is_none(
    program: str, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text(program)
    monkeypatch.setattr(json_apart, "_ABRIDGE", reader)
    server.then(Reply(200, b"1" + b" " * READ_HERE_BYTES, {"Content-Type": "application/json"}))
    assert values(probe(url=server.url), "up", "error") == (0.0, 100.0)


def test_what_is_left_of_a_large_document_is_small_whatever_it_is() -> None:
    many: dict[str, Any] = {str(number): [[]] * 90 for number in range(90)}
    cases: list[Any] = [["x" * 9_000] * 90, many, 10**4_000]
    for bulky in cases:
        assert len(json.dumps(abridged(bulky))) < len(json.dumps(bulky))
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    assert json.dumps(abridged(deep)) == "[[[[[[[[null]]]]]]]]"


def test_events_are_read_as_far_as_they_are_whole() -> None:
    stream = b': hello\r\n\r\nid: 1\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: nonsense\n\ndata: {"b": 2'
    assert list(events(stream, Deadline(30_000))) == [{"a": 1}]


# --- over stdio --------------------------------------------------------------------------------------

LOOP = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message: continue
    {before}
    result = {{"protocolVersion": "2025-11-25"}} if message["method"] == "initialize" else {{}}
    print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
{after}
"""


def test_what_is_no_message_is_passed_over_and_a_question_is_answered() -> None:
    before = """
    print("a library's greeting")
    print(json.dumps({"jsonrpc": "2.0", "id": "s", "method": "ping"}), flush=True)
    back = json.loads(sys.stdin.readline())
    while "result" not in back: back = json.loads(sys.stdin.readline())
    assert back == {"jsonrpc": "2.0", "id": "s", "result": {}}, back
"""
    assert values(of_program(LOOP.format(before=before, after="")), "up", "error") == (100.0, 0.0)


def test_a_server_that_is_left_ends_by_itself(tmp_path: Path) -> None:
    last = tmp_path / "last"
    found = of_program(LOOP.format(before="", after=f"open({str(last)!r}, 'w').write('bye')"))
    assert found["up"].value == 100.0
    assert last.read_text() == "bye"


def ends(pid: int) -> bool:
    """Whether a process that was killed has ended, or does so at once: on a busy machine it has to be given a turn."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(500):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.01)
        return False
    return True


def test_a_server_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(1000)
"""
    found = of_program(script, timeout=2_000)
    assert values(found, "up", "error") == (0.0, 100.0)
    assert found["latency"].error == "no answer within 2s"
    for pid in map(int, pids.read_text().split()):
        assert ends(pid)


def test_a_server_that_ends_says_why_without_its_secrets() -> None:
    script = "import os, sys; sys.exit('no database with ' + os.environ['DATABASE_KEY'])"
    found = of_program(script, env={"DATABASE_KEY": "hunter2hunter2"})
    assert found["up"].value == 0.0
    assert found["latency"].error == "it ended without an answer: no database with ***"


def test_a_program_that_is_not_there_is_down() -> None:
    found = probe(argv=("/no/such/server",))
    assert found["up"].value == 0.0
    assert found["latency"].error == "cannot be started: No such file or directory: /no/such/server"


def test_a_line_without_end_is_given_up() -> None:
    found = of_program("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    assert found["up"].value == 0.0
    assert "a line of more than" in str(found["latency"].error)


def test_a_server_that_asks_and_never_reads_an_answer_is_given_up() -> None:
    # What is sent to it fills its pipe; what it writes meanwhile must not be kept without end.
    script = """
import sys
question = '{"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}\\n' * 1000
while True: sys.stdout.write(question)
"""
    found = of_program(script, timeout=10_000)
    assert found["up"].value == 0.0
    assert found["latency"].error == "it wrote more than 1048576 bytes and does not read what is sent to it"


def test_a_server_sees_little_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", "x")
    script = "import os, sys; sys.exit(repr(os.environ.get('OUR_PASSWORD')))"
    assert of_program(script)["up"].error is None
    assert of_program(script)["latency"].error == "it ended without an answer: None"


# --- settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "one_transport"),
        ({"url": "http://h/", "argv": ["x"]}, "one_transport"),
        ({"argv": ["x"], "token": "t"}, "wrong_transport"),
        ({"argv": ["x"], "ca_file": "ca.pem"}, "wrong_transport"),
        ({"url": "https://h/", "key_file": "k.pem"}, "no_certificate"),
        ({"url": "http://h/", "env": {"A": "b"}}, "wrong_transport"),
        ({"url": "http://h/", "arguments": {"a": 1}}, "no_tool"),
        ({"url": "http://h/", "calls": 0}, "greater_than_equal"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        McpSource.model_validate({"type": "mcp", **settings})
    assert [error["type"] for error in caught.value.errors()] == [reason]


def test_a_query_that_it_does_not_know_names_those_it_does(server: FakeServer) -> None:
    source = McpSource(type="mcp", url=server.url, token=SecretStr("t"))
    [reading] = open_source("assistant", source).poll({"m": "uptime"})
    assert reading.error == "unknown query 'uptime': up, error, latency, throughput, handshake, status"
    assert open_source("assistant", source).poll({}) == []
