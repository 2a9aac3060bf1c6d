"""One cell from the outside: answers, losses, waiting, pushes."""

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from slakeeper.client import CellConnection, RequestFailed, Unavailable
from tests.unit.web.fake_cell import FakeCell, Refusal, until


def test_an_answer_settles_its_own_request(cells: list[FakeCell], connection: CellConnection) -> None:
    cells[0].handlers["report"] = lambda payload: {"text": payload["sla"]}
    futures = [connection.request("report", {"sla": f"sla-{number}"}) for number in range(200)]
    assert [future.result(5)["text"] for future in futures] == [f"sla-{number}" for number in range(200)]


def test_many_threads_share_a_connection(cells: list[FakeCell], connection: CellConnection) -> None:
    cells[0].handlers["report"] = lambda payload: {"text": payload["sla"]}
    wrong: list[str] = []

    def ask(name: str) -> None:
        for number in range(50):
            text = connection.request("report", {"sla": f"{name}-{number}"}).result(5)["text"]
            if text != f"{name}-{number}":
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not wrong
    assert len(cells[0].asked("report")) == 200


def test_a_frame_larger_than_every_buffer_arrives_whole(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    cells[0].handlers["report"] = lambda payload: {"text": payload["sla"]}
    text = "x" * 8_000_000
    assert connection.request("report", {"sla": text}).result(10)["text"] == text


def test_a_refusal_keeps_its_code_message_and_details(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    def refuse(payload: Any) -> None:
        raise Refusal("invalid", "no metric", errors=[{"path": "metrics"}])

    cells[0].handlers["sla.define"] = refuse
    with pytest.raises(RequestFailed, match="no metric") as caught:
        connection.request("sla.define", {"document": {}}).result(5)
    assert caught.value.code == "invalid"
    assert caught.value.details == {"errors": [{"path": "metrics"}]}


def test_what_must_not_be_sent_twice_fails_when_the_cell_is_lost(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    cells[0].answering.clear()
    future = connection.request("violation.ack", {"id": "v"})
    until(lambda: cells[0].asked("violation.ack"))
    cells[0].die()
    with pytest.raises(Unavailable, match="lost before it answered"):
        future.result(5)


def test_unanswered_samples_are_sent_again_with_the_same_batch_id(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    cell = cells[0]
    cell.answering.clear()
    future = connection.request(
        "samples", {"samples": [["latency", 1.0, None, None, None]], "batch_id": "b1"}
    )
    until(lambda: cell.asked("samples"))
    cell.die()
    cell.answering.set()
    until(lambda: not connection.connected)
    cell.start()
    assert future.result(5) == {"accepted": [0], "rejected": []}
    assert [payload["batch_id"] for payload in cell.asked("samples")] == ["b1", "b1"]


@pytest.mark.parametrize(("payload", "waits"), [({"version": "a.1"}, False), ({}, True)])
def test_who_knows_a_catalog_does_not_wait_for_a_newer_one_of_a_cell_that_is_lost(
    cells: list[FakeCell], connection: CellConnection, payload: dict[str, Any], waits: bool
) -> None:
    cell, dead = cells[0], threading.Event()
    cell.handlers["catalog"] = lambda asked: dead.wait(5) and {"metrics": {}}
    future = connection.request("catalog", payload)
    until(lambda: cell.asked("catalog"))
    cell.die()
    dead.set()
    until(lambda: not connection.connected)
    cell.start()
    if waits:
        assert future.result(5) == {"metrics": {}}
    else:
        with pytest.raises(Unavailable, match="lost before it answered"):
            future.result(5)


def test_a_request_is_sent_again_only_once(cells: list[FakeCell]) -> None:
    cell = cells[0]
    connection = CellConnection("cell-0", cell.path, patience_s=30)
    cell.answering.clear()
    future = connection.request("samples", {"samples": [], "batch_id": "b1"})
    until(lambda: len(cell.asked("samples")) == 1)
    cell.die()
    until(lambda: not connection.connected)
    cell.start()
    until(lambda: len(cell.asked("samples")) == 2)
    cell.die()
    with pytest.raises(Unavailable, match="lost"):
        future.result(5)
    connection.close()


def test_a_request_waits_for_a_cell_that_is_away_until_its_patience_ends(tmp_path: Path) -> None:
    connection = CellConnection("cell-9", tmp_path / "cell-9", patience_s=0.2)
    with pytest.raises(Unavailable, match="cell-9 is away"):
        connection.request("violations", {}).result(5)
    waiting = CellConnection("cell-9", tmp_path / "cell-9", patience_s=10)
    future = waiting.request("violations", {})
    cell = FakeCell("cell-9", tmp_path / "cell-9")
    assert future.result(5) == []
    cell.die()
    connection.close()
    waiting.close()


def test_a_question_about_now_does_not_wait(tmp_path: Path) -> None:
    connection = CellConnection("cell-9", tmp_path / "cell-9", patience_s=60)
    future = connection.request("ping", {})
    assert future.done()
    with pytest.raises(Unavailable):
        future.result(0)
    connection.close()


def test_a_silent_cell_fails_the_request_in_the_end(cells: list[FakeCell]) -> None:
    cells[0].answering.clear()
    connection = CellConnection("cell-0", cells[0].path, reply_within_s=0.2)
    with pytest.raises(Unavailable, match="no answer within"):
        connection.request("violations", {}).result(5)
    connection.close()


def test_a_peer_that_speaks_otherwise_is_dropped(cells: list[FakeCell], connection: CellConnection) -> None:
    cells[0].handlers["ping"] = lambda payload: "x"
    assert connection.request("ping", {}).result(5) == "x"
    cells[0].answering.clear()
    future = connection.request("violation.ack", {})
    until(lambda: cells[0].asked("violation.ack"))
    cells[0]._send_all(b"\xff\xff\xff\xff not a frame")
    with pytest.raises(Unavailable):
        future.result(5)


def test_pushes_reach_listeners_again_after_the_cell_was_restarted(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    cell, heard = cells[0], []
    connection.listen(lambda topic, payload: heard.append((topic, payload)))
    until(lambda: cell.subscribers == 1)
    cell.push(topic="violation.opened", id="v1")
    until(lambda: ("violation.opened", {"topic": "violation.opened", "id": "v1"}) in heard)
    cell.die()
    until(lambda: ("cell.lost", {"cell": "cell-0"}) in heard)
    cell.start()
    until(lambda: cell.subscribers == 1)
    cell.push(topic="violation.resolved", id="v1")
    until(lambda: heard[-1][0] == "violation.resolved")


@pytest.mark.filterwarnings("default")
def test_a_listener_that_raises_disturbs_nobody(
    cells: list[FakeCell], connection: CellConnection, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(topic: str, payload: Any) -> None:
        raise ValueError("a bad listener")

    heard: list[str] = []
    connection.listen(bad)
    connection.listen(lambda topic, payload: heard.append(topic))
    until(lambda: cells[0].subscribers == 1)
    cells[0].push(topic="alert.sent")
    until(lambda: "alert.sent" in heard)
    assert connection.request("ping", {}).result(5) == {}
    assert "a listener of cell-0 failed" in caplog.text


def test_closing_fails_what_is_not_answered(cells: list[FakeCell]) -> None:
    cells[0].answering.clear()
    connection = CellConnection("cell-0", cells[0].path)
    futures: list[Future[Any]] = [
        connection.request("samples", {"samples": []}),
        connection.request("report", {}),
    ]
    connection.close()
    for future in futures:
        with pytest.raises(Unavailable):
            future.result(5)
    with pytest.raises(Unavailable, match="closed"):
        connection.request("ping", {}).result(0)


def test_a_caller_that_gives_up_does_not_hurt_the_reader(
    cells: list[FakeCell], connection: CellConnection
) -> None:
    cells[0].answering.clear()
    future = connection.request("violations", {})
    assert not future.cancel()
    cells[0].answering.set()
    assert connection.request("ping", {}).result(5) == {}
