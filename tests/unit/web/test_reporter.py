"""The client against a real gateway over fake cells: nothing lost, nothing doubled, nobody held up."""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slakeeper import Client
from slakeeper.backlog import Backlog
from slakeeper.reporter import BODY_BYTES
from tests.unit.integrations.fake_http import Behaviour, Drip, FakeServer, Flood, Hang, Reply, Request
from tests.unit.web.conftest import TOKEN, Site
from tests.unit.web.fake_cell import FakeCell, until

MakeClient = Callable[..., Client]


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeClient]:
    monkeypatch.setattr("slakeeper.reporter.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("slakeeper.reporter.DOWN_WAIT_S", 0.001)
    made: list[Client] = []

    def make(url: str, token: str = TOKEN, **options: Any) -> Client:
        made.append(Client(url, token, **{"batch_wait_s": 0.01, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close(0.0)


def accepted(request: Request) -> Reply:
    return Reply(202, json.dumps({"accepted": len(request.json()["samples"]), "rejected": []}).encode())


def in_turn(answers: list[Behaviour]) -> Callable[[Request], Behaviour]:
    """Gives these answers one after the other, then good ones."""
    return lambda request: answers.pop(0) if answers else accepted(request)


def test_samples_arrive_and_a_flush_waits_for_them(
    make_client: MakeClient, site: Site, cells: list[FakeCell]
) -> None:
    client = make_client(f"http://{site.address}")
    assert client.observe("latency", 12)
    assert client.observe("latency", 13.5, ts=1_700_000_000_000, sla="api", labels={"region": "eu"})
    assert client.observe("nobody", 1)
    assert client.flush(5)
    samples = [sample for asked in cells[0].asked("samples") for sample in asked["samples"]]
    assert samples[1] == ["latency", 13.5, 1_700_000_000_000, "api", {"region": "eu"}]
    assert samples[0][:2] == ["latency", 12.0]
    assert samples[0][2] > 1_700_000_000_000
    counts = client.counts()
    assert (counts["accepted"], counts["rejected"], counts["waiting"]) == (2, {"unknown_metric": 1}, 0)


def test_many_threads_report_at_once(make_client: MakeClient, site: Site, cells: list[FakeCell]) -> None:
    client = make_client(f"http://{site.address}", batch_samples=100)
    threads = [
        threading.Thread(target=lambda: [client.observe("uptime", number) for number in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(10)
    batches = cells[0].asked("samples")
    assert sum(len(asked["samples"]) for asked in batches) == 2_000
    assert len({asked["batch_id"] for asked in batches}) == len(batches) >= 20


@pytest.mark.parametrize(
    "trouble",
    [[Reply(503, b"", {"Retry-After": "0"})], [Reply(500)] * 3, [Reply(429)], [Reply(401)],
     [Reply(202, b"a proxy's page"), Reply(202, b"{}"), Reply(202, b"[]"), Reply(202, b"[" * 50_000)],
     [Reply(202, b'{"accepted": Infinity, "rejected": []}')]],
)  # fmt: skip
def test_what_was_not_taken_is_sent_again_under_its_id(make_client: MakeClient, trouble: list[Reply]) -> None:
    answers: list[Behaviour] = list(trouble)
    with FakeServer(in_turn(answers)) as server, make_client(server.url) as client:
        client.observe("latency", 1)
        assert client.flush(5)
        ids = {request.json()["batch_id"] for request in server.requests}
        assert (len(ids), len(server.requests)) == (1, len(trouble) + 1)
        assert (client.counts()["accepted"], client.counts()["resent"]) == (1, len(trouble))


@pytest.mark.parametrize(
    "peer",
    [Drip(), Drip(b"HTTP/1.1 202 Accepted\r\n\r\n"), Hang(), Flood()],
    ids=["drips its headers", "drips its answer", "is silent", "answers without an end"],
)
def test_a_peer_that_comes_to_no_end_is_left(
    peer: Behaviour, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.reporter.EXCHANGE_WITHIN_S", 0.5)
    with FakeServer(in_turn([peer])) as server, make_client(server.url) as client:
        client.observe("latency", 1)
        assert client.flush(5)
        assert (client.counts()["accepted"], client.counts()["resent"]) == (1, 1)


def test_what_is_too_much_for_a_proxy_is_sent_in_parts(make_client: MakeClient) -> None:
    taken: list[tuple[str, list[float]]] = []

    def proxy(request: Request) -> Reply:
        document = request.json()
        if len(document["samples"]) > 30:
            return Reply(413)
        taken.append((document["batch_id"], [sample["value"] for sample in document["samples"]]))
        return accepted(request)

    with FakeServer(proxy) as server, make_client(server.url, batch_wait_s=60) as client:
        for number in range(100):
            client.observe("latency", number)
        assert client.flush(5)
        assert [value for _, values in taken for value in values] == list(range(100))
        assert len({batch_id for batch_id, _ in taken}) == len(taken) == 4
        counts = client.counts()
        assert (counts["accepted"], counts["rejected"], counts["batches"]) == (100, {}, 4)


def test_a_request_is_no_longer_than_a_proxy_takes_it(make_client: MakeClient) -> None:
    with FakeServer(accepted) as server, make_client(server.url, batch_wait_s=60) as client:
        for number in range(100):
            client.observe("latency", number, labels={"note": "x" * 30_000})
        assert client.flush(10)
        assert max(len(request.body) for request in server.requests) <= BODY_BYTES
        assert len(server.requests) == 4
        assert client.counts()["accepted"] == 100


def test_a_sample_that_is_too_large_for_any_request_holds_up_no_other(make_client: MakeClient) -> None:
    with FakeServer(accepted) as server, make_client(server.url, batch_wait_s=60) as client:
        client.observe("latency", 1)
        client.observe("latency", 2, labels={"note": "x" * BODY_BYTES})
        client.observe("latency", 3)
        assert client.flush(5)
        counts = client.counts()
        assert (counts["accepted"], counts["rejected"]) == (2, {"too_large": 1})


def test_a_connection_is_kept(make_client: MakeClient) -> None:
    with FakeServer(accepted) as server, make_client(server.url) as client:
        for number in range(5):
            client.observe("latency", number)
            assert client.flush(5)
        assert (len(server.requests), server.connections) == (5, 1)


@pytest.mark.parametrize("status", [400, 413])
def test_what_is_wrong_is_counted_and_not_sent_again(make_client: MakeClient, status: int) -> None:
    answers: list[Behaviour] = [Reply(status)]
    with FakeServer(in_turn(answers)) as server, make_client(server.url) as client:
        client.observe("latency", 1)
        assert client.flush(5)
        client.observe("latency", 2)
        assert client.flush(5)
        assert len(server.requests) == 2
        counts = client.counts()
        assert (counts["accepted"], counts["rejected"]) == (1, {f"http_{status}": 1})


def test_a_monitor_that_is_down_gets_its_samples_later(make_client: MakeClient) -> None:
    down = Reply(202, b'{"accepted": 1, "rejected": [{"index": 1, "reason": "monitor_down"}]}')
    answers: list[Behaviour] = [down]
    with FakeServer(in_turn(answers)) as server, make_client(server.url) as client:
        client.observe("latency", 1)
        client.observe("uptime", 1)
        assert client.flush(5)
        assert client.counts()["accepted"] == 2
        assert len({request.json()["batch_id"] for request in server.requests}) == 1


def test_one_that_stays_down_is_waited_for_until_the_samples_are_ten_seconds_old(
    make_client: MakeClient,
) -> None:
    down = b'{"accepted": 0, "rejected": [{"index": 0, "reason": "monitor_down"}]}'
    with FakeServer(lambda request: Reply(202, down)) as server, make_client(server.url) as client:
        client.observe("latency", 1, ts=time.time_ns() // 1_000_000 - 11_000)
        assert client.flush(5)
        assert (len(server.requests), client.counts()["rejected"]) == (1, {"monitor_down": 1})


def test_a_full_buffer_drops_its_oldest_and_says_so(make_client: MakeClient) -> None:
    client = make_client("http://127.0.0.1:1", buffer_samples=10, batch_samples=1)
    for number in range(100):
        assert client.observe("latency", number)
    assert not client.flush(0.01)
    counts = client.counts()
    assert counts["dropped"] >= 89
    assert counts["dropped"] + counts["waiting"] == 100


def test_or_it_makes_whoever_observes_wait(make_client: MakeClient) -> None:
    opened = threading.Event()

    def answer(request: Request) -> Reply:
        opened.wait(10)
        return accepted(request)

    narrow: dict[str, Any] = {"buffer_samples": 2, "batch_samples": 1, "when_full": "block", "block_s": 0.01}
    with FakeServer(answer) as server, make_client(server.url, **narrow) as client:
        results = [client.observe("latency", number) for number in range(10)]
        assert results[:2] == [True, True]
        assert results[-1] is False
        opened.set()
        assert client.flush(5)
        assert client.counts()["accepted"] == results.count(True)
        assert client.counts()["rejected"]["no_room"] == results.count(False)


def test_values_are_looked_at_where_they_are_reported(make_client: MakeClient) -> None:
    client = make_client("http://127.0.0.1:1")
    for metric, value, more in (
        ("m", "1", {}),
        ("m", True, {}),
        (1, 1.0, {}),
        ("m", 1.0, {"ts": 1.5}),
        ("m", 1.0, {"sla": 1}),
    ):
        with pytest.raises(TypeError):
            client.observe(metric, value, **more)  # type: ignore[arg-type]
    assert not client.observe("m", math.nan)
    assert client.counts()["rejected"] == {"not_finite": 1}
    with pytest.raises(ValueError, match="when_full"):
        Client("http://127.0.0.1:1", "", when_full="explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_samples"):
        Client("http://127.0.0.1:1", "", batch_samples=0)


def test_leaving_the_block_sends_what_there_is(site: Site, cells: list[FakeCell]) -> None:
    with Client(f"http://{site.address}", TOKEN, batch_wait_s=60) as client:
        client.observe("uptime", 1)
    assert len(cells[0].asked("samples")) == 1
    assert not client.observe("uptime", 2)
    assert client.counts()["rejected"] == {"closed": 1}


def test_what_cannot_be_sent_before_the_end_is_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    client = Client("http://127.0.0.1:1", "", batch_wait_s=0)
    client.observe("uptime", 1)
    assert client.close(0.05) is False
    assert "1 samples could not be sent" in caplog.text


def test_a_client_of_a_data_directory_follows_the_service(
    tmp_path: Path, site: Site, cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.reporter.FIRST_WAIT_S", 0.001)
    run = tmp_path / "run.json"
    with pytest.raises(OSError, match=r"run\.json"):
        Client.from_data(tmp_path)
    run.write_text('{"http": "127.0.0.1:1", "token": "old"}')
    with Client.from_data(tmp_path, batch_wait_s=0) as client:
        client.observe("uptime", 1)
        assert not client.flush(0.05)
        run.write_text(f'{{"http": "{site.address}", "token": "{TOKEN}"}}')
        assert client.flush(10)
    assert len(cells[0].asked("samples")) == 1


def test_a_forked_child_begins_with_nothing_and_can_report(site: Site, cells: list[FakeCell]) -> None:
    with Client(f"http://{site.address}", TOKEN, batch_wait_s=60) as client:
        client.observe("uptime", 1)
        child = os.fork()
        if child == 0:
            waiting = client.counts()["waiting"]
            client.observe("uptime", 2)
            os._exit(0 if waiting == 0 and client.close(5) else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert sorted(sample[1] for asked in cells[0].asked("samples") for sample in asked["samples"]) == [
        1.0,
        2.0,
    ]


def test_an_interpreter_that_ends_sends_what_there_is(site: Site, cells: list[FakeCell]) -> None:
    import subprocess
    import sys

    program = f"""
from slakeeper import Client
client = Client("http://{site.address}", "{TOKEN}", batch_wait_s=60)
client.observe("uptime", 1)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(cells[0].asked("samples")) == 1


def test_a_flush_is_through_when_its_last_sample_is() -> None:
    backlog = Backlog(10, 2, 60, drops_oldest=True)
    for number in range(3):
        backlog.put({"n": number}, None)
    first = backlog.take()
    assert first is not None
    assert [sample["n"] for sample in first.samples] == [0, 1]
    backlog.done(first)
    assert not backlog.flush(0)
    results: list[bool] = []
    flushing = threading.Thread(target=lambda: results.append(backlog.flush(5)))
    flushing.start()
    second = backlog.take()  # due because somebody flushes
    assert second is not None
    backlog.done(second)
    flushing.join()
    assert results == [True]
    backlog.close()
    assert backlog.take() is None
    until(lambda: backlog.waiting == 0)
