"""One exchange, one time limit, and what is known after a failure."""

import socket
import threading
import time
from datetime import UTC, datetime

import pytest

from slakeeper.integrations.deadline import Deadline, connect
from slakeeper.integrations.http_answer import Answer, masked, parse_retry_after
from slakeeper.integrations.http_client import SAID_LIMIT, HttpClient, HttpError
from slakeeper.sla.duration import DAY_MS
from tests.unit.integrations.fake_http import (
    Behaviour,
    Cut,
    CutBody,
    Drip,
    FakeServer,
    Flood,
    Hang,
    Reply,
    free_port,
    silent_listener,
)


def get(
    url: str, timeout_ms: int = 5_000, headers: dict[str, str] | None = None, limit: int = 1024
) -> Answer:
    client = HttpClient(url, headers)
    with client.open(Deadline(timeout_ms)) as connection:
        return connection.request("GET", client.target, answer_limit=limit)


def failure(url: str, timeout_ms: int = 5_000, headers: dict[str, str] | None = None) -> HttpError:
    with pytest.raises(HttpError) as caught:
        get(url, timeout_ms, headers)
    return caught.value


def test_an_answer_comes_back_whole(server: FakeServer) -> None:
    server.then(Reply(418, b"short", {"X-Kind": "pot"}))
    answer = get(f"{server.url}/a/b?c=d%20e")
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (418, b"short", "pot")
    assert (answer.broken, answer.is_cut, answer.is_success) == ("", False, False)
    assert (server.requests[0].path, server.requests[0].query) == ("/a/b", {"c": "d e"})


def test_signs_beyond_ascii_in_an_address_are_encoded(server: FakeServer) -> None:
    get(f"{server.url}/grün/%20x")
    assert server.requests[0].path == "/gr%C3%BCn/%20x"


def test_several_requests_share_a_connection(server: FakeServer) -> None:
    client = HttpClient(server.url)
    with client.open(Deadline(5_000)) as connection:
        statuses = [connection.request("GET", "/").status for _ in range(3)]
    assert statuses == [200, 200, 200]
    assert server.connections == 1


def test_a_connection_closed_by_the_server_after_an_answer_is_made_anew(server: FakeServer) -> None:
    server.then(Reply(200, b"{}", {"Connection": "close"}))
    client = HttpClient(server.url)
    with client.open(Deadline(5_000)) as connection:
        assert [connection.request("GET", "/").status for _ in range(2)] == [200, 200]
    assert server.connections == 2


def test_a_refused_connection_was_never_sent() -> None:
    port = free_port()
    error = failure(f"http://127.0.0.1:{port}/")
    assert (error.sent, error.lasting) == (False, False)
    assert str(error) == f"127.0.0.1:{port} refused the connection"


def test_an_unknown_name_was_never_sent() -> None:
    error = failure("http://nowhere.invalid/")
    assert error.sent is False
    assert "nowhere.invalid" in str(error)


@pytest.mark.parametrize(
    "behaviour", [Hang(), Drip(), Drip(b"HTTP/1.1 2")], ids=["hang", "drip", "drip-status"]
)
def test_silence_after_the_request_ends_at_the_limit_and_leaves_doubt(
    server: FakeServer, behaviour: Behaviour
) -> None:
    server.then(behaviour)
    began_s = time.monotonic()
    error = failure(server.url, 250)
    assert 0.2 <= time.monotonic() - began_s < 2
    assert error.sent is True
    assert str(error) == f"no answer from 127.0.0.1:{server.port} within 250ms"


def test_a_body_that_drips_ends_at_the_limit(server: FakeServer) -> None:
    server.then(Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"))
    began_s = time.monotonic()
    answer = get(server.url, 250)
    assert time.monotonic() - began_s < 2
    assert (answer.status, answer.is_cut) == (200, True)
    assert answer.broken.startswith("no answer")


def test_a_connection_cut_after_the_request_leaves_doubt(server: FakeServer) -> None:
    server.then(Cut())
    error = failure(server.url)
    assert error.sent is True
    assert str(error) == f"127.0.0.1:{server.port} cut the connection"


def test_an_answer_cut_in_its_body_still_has_its_status(server: FakeServer) -> None:
    server.then(CutBody(201))
    answer = get(server.url)
    assert (answer.status, answer.is_cut) == (201, True)
    assert answer.broken == f"127.0.0.1:{server.port} cut its answer short"


def test_an_endless_answer_is_read_up_to_the_limit(server: FakeServer) -> None:
    server.then(Flood())
    answer = get(server.url, limit=100_000)
    assert (len(answer.body), answer.is_cut) == (100_000, False)
    assert answer.broken == "the answer is longer than 100000 bytes"


def test_of_what_is_said_to_a_post_little_is_read(server: FakeServer) -> None:
    server.then(Flood())
    answer = HttpClient(server.url).post("/", b"{}", {}, Deadline(10_000))
    assert (answer.status, len(answer.body), answer.is_cut) == (200, SAID_LIMIT, False)


def test_something_that_speaks_no_http_leaves_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def babble() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        error = failure(f"http://127.0.0.1:{port}/")
        thread.join()
    assert error.sent is True
    assert "does not speak HTTP" in str(error)


def test_a_header_that_http_has_no_form_for_is_not_shown(server: FakeServer) -> None:
    error = failure(server.url, headers={"Authorization": "Bearer hush\nhush"})
    assert (error.sent, error.lasting) == (False, True)
    assert "hush" not in str(error)
    assert error.__suppress_context__
    assert server.requests == []


def test_user_and_password_of_an_address_become_a_header_and_are_shown_nowhere(server: FakeServer) -> None:
    server.then(Reply(200, b"you said hush hush"))
    url = server.url.replace("http://", "http://me:hush%20hush@")
    answer = get(url)
    assert server.requests[0].headers["Authorization"] == "Basic bWU6aHVzaCBodXNo"
    assert answer.excerpt() == "you said ***"
    assert "hush" not in repr(HttpClient(url)) + repr(answer.secrets and HttpClient(url))


def test_redirects_are_answers(server: FakeServer) -> None:
    server.then(Reply(302, b"", {"Location": "/elsewhere"}))
    assert get(server.url).status == 302
    assert len(server.requests) == 1


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_is_spoken_to() -> None:
    with FakeServer(tls=True) as server:
        assert get(server.url).status == 200


@pytest.mark.usefixtures("trusted")
def test_the_limit_holds_over_tls() -> None:
    with FakeServer(tls=True) as server:
        server.then(Drip())
        began_s = time.monotonic()
        error = failure(server.url, 400)
        assert time.monotonic() - began_s < 2
    assert error.sent is True


def test_an_unknown_certificate_is_refused_before_anything_is_sent() -> None:
    with FakeServer(tls=True) as server:
        error = failure(server.url)
    assert error.sent is False
    assert "certificate" in str(error)
    assert server.requests == []


def test_a_handshake_that_never_ends_was_never_sent() -> None:
    with silent_listener() as port:
        error = failure(f"https://127.0.0.1:{port}/", 300)
    assert error.sent is False
    assert str(error) == f"no connection to 127.0.0.1:{port} within 300ms"


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example"])
def test_what_is_no_host_name_is_not_looked_up(host: str) -> None:
    error = failure(f"http://{host}/")
    assert error.sent is False
    assert str(error) == f"cannot resolve {host}: not a host name"


def test_a_resolver_that_hangs_does_not_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *args: int, **kwargs: int) -> object:
        if host == "slow.example":
            if kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "not an address")
            released.wait(10)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        connect("slow.example", 80, Deadline(200))
    assert time.monotonic() - began_s < 2
    released.set()


def test_the_next_address_of_a_name_is_tried(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, alive = free_port(), server.port
    inet = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(*inet, ("127.0.0.1", dead)), (*inet, ("127.0.0.1", alive))],
    )
    with connect("two.example", 80, Deadline(5_000)) as sock:
        assert sock.getpeername() == ("127.0.0.1", alive)


# --- small things ------------------------------------------------------------------------------------

NOON_S = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("30", 30_000),
        ("0", 0),
        ("1.5", 1_500),
        ("Sun, 01 Nov 2026 12:01:00 GMT", 60_000),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0),
        ("99999999", DAY_MS),
        ("1e999", None),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read(text: str | None, expected_ms: int | None) -> None:
    assert parse_retry_after(text, NOON_S) == expected_ms


def test_an_excerpt_is_one_short_line() -> None:
    answer = Answer(500, {}, b"first\n  second\x00 \xff" + b"z" * 500)
    assert answer.excerpt(20) == "first second \ufffdzzzzz…"


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        ("http://x/hooks/T0PSECRETKEY", "Cannot POST /hooks/T0PSECRETKEY", "Cannot POST /***"),
        ("http://x/hooks/T0PSECRETKEY/now", "no hook T0PSECRETKEY", "no hook ***"),
        ("http://x/a?api_key=hush-4711", "GET /a?api_key=hush-4711", "GET /a?***"),
        ("http://x/a?key=hush%2047%2F11", "hush 47/11 hush%2047%2F11", "*** ***"),
        ("http://x/a?key=hush+4711", "hush 4711", "***"),
        ("http://x/a?T0PSECRETKEY&b=1", "T0PSECRETKEY is gone", "*** is gone"),
        ("http://x/hüsch-4711", "no h%C3%BCsch-4711", "no ***"),
        ("http://me:p@x/", "me:p", "me:***"),
        # What is no key stays readable.
        ("http://x/prometheus", 'found {job="prometheus"}', 'found {job="prometheus"}'),
        ("http://x/v1/sla?a=b", "/v1/sla?a=b", "/v1/sla?a=b"),
    ],
)
def test_what_may_be_a_key_in_an_address_is_masked(url: str, said: str, shown: str) -> None:
    assert masked(said, HttpClient(url).secrets) == shown


def test_where_a_service_has_what_is_wanted_is_no_secret() -> None:
    client = HttpClient("http://x/T0PSECRETKEY/?key=hush-4711", at="/api/v1/query_range")
    assert client.target == "/T0PSECRETKEY/api/v1/query_range?key=hush-4711"
    assert masked("no /T0PSECRETKEY/api/v1/query_range", client.secrets) == "no /***/api/v1/query_range"


def test_the_longer_of_two_secrets_is_masked_first() -> None:
    client = HttpClient("http://localhost", secrets=["abc", "abcdef", ""])
    assert masked("x abcdef abc", client.secrets) == "x *** ***"
