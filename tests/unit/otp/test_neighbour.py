"""A cell asks another one over its socket: it answers, refuses, is away, is slow, or talks nonsense."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slakeeper.otp.neighbour import NeighbourError, SocketNeighbour
from tests.unit.web.fake_cell import FakeCell, Refusal


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[FakeCell]:
    made = FakeCell("cell-1", tmp_path / "1.sock")
    made.handlers["neighbour"] = lambda payload: {"broken": payload["parents"]}
    yield made
    made.answering.set()
    made.die()


def test_it_asks_and_is_answered_on_one_connection(cell: FakeCell) -> None:
    neighbour = SocketNeighbour(cell.path)
    for parents in (["a"], ["b"] * 50_000):
        assert neighbour.ask("neighbour", {"parents": parents}) == {"broken": parents}
    assert len(cell._connections) == 1
    neighbour.close()


def test_a_refusal_is_an_error_and_the_connection_goes_on(cell: FakeCell) -> None:
    def refuse(payload: object) -> None:
        raise Refusal("invalid", "no such kind")

    cell.handlers["other"] = refuse
    neighbour = SocketNeighbour(cell.path)
    with pytest.raises(NeighbourError, match="no such kind"):
        neighbour.ask("other", {})
    assert neighbour.ask("neighbour", {"parents": []}) == {"broken": []}
    assert len(cell._connections) == 1
    neighbour.close()


def test_one_that_is_away_is_asked_again_when_it_is_back(cell: FakeCell) -> None:
    neighbour = SocketNeighbour(cell.path)
    neighbour.ask("neighbour", {"parents": []})
    cell.die()
    for _ in range(2):
        with pytest.raises(NeighbourError):
            neighbour.ask("neighbour", {"parents": []})
    cell.start()
    assert neighbour.ask("neighbour", {"parents": ["a"]}) == {"broken": ["a"]}
    neighbour.close()


def test_one_that_is_slow_is_not_waited_for_and_its_late_answer_is_not_taken_for_another(
    cell: FakeCell,
) -> None:
    neighbour = SocketNeighbour(cell.path, answer_within_s=0.05)
    cell.answering.clear()
    with pytest.raises(NeighbourError):
        neighbour.ask("neighbour", {"parents": ["late"]})
    cell.answering.set()
    patient = SocketNeighbour(cell.path)
    assert patient.ask("neighbour", {"parents": ["a"]}) == {"broken": ["a"]}
    patient.close()


@pytest.mark.parametrize("answer", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b""])
def test_nonsense_is_an_error(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "x.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    talk: Callable[[], None] = serve
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    with pytest.raises(NeighbourError):
        SocketNeighbour(path).ask("neighbour", {})
    thread.join(5)
    listener.close()
