"""Another cell as a cell sees it: asked now and then, from an I/O thread, over its socket."""

import itertools
import socket
import time
from pathlib import Path
from typing import Any, Protocol

from slakeeper.otp.frame import FrameError, FrameReader, pack_frame

# For one question and its answer. A cell answers between two turns, so this is long; meanwhile a thread waits, no more.
ANSWER_WITHIN_S = 2.0

_RECEIVE_BYTES = 64 * 1024


class NeighbourError(Exception):
    """It did not answer, or refused."""


class Neighbour(Protocol):
    """Whom an effect may ask."""

    def ask(self, kind: str, payload: dict[str, Any]) -> Any:
        """The answer (plain msgpack values); blocks, for a bounded time.

        Raises:
            NeighbourError: there is none.
        """


class SocketNeighbour:
    """A cell in another process, by the path of its Unix socket. It is asked one question at a time."""

    def __init__(self, path: Path, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._path = path
        self._answer_within_s = answer_within_s
        self._socket: socket.socket | None = None
        self._ids = itertools.count(1)

    def ask(self, kind: str, payload: dict[str, Any]) -> Any:
        """See :class:`Neighbour`. The connection is kept for the next question, unless this one fails."""
        number = next(self._ids)
        try:
            ok, answer = self._answer_to(number, pack_frame([number, kind, payload]))
        except (OSError, FrameError) as error:
            self.close()
            raise NeighbourError(f"no answer to {kind}: {error}") from error
        if not ok:
            raise NeighbourError(f"{kind} is refused: {answer}")
        return answer

    def close(self) -> None:
        """Ends the connection; the next question makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer_to(self, number: int, frame: bytes) -> tuple[bool, Any]:
        until_s = time.monotonic() + self._answer_within_s
        connection = self._socket
        if connection is None:
            connection = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._answer_within_s)
            connection.connect(str(self._path))
        connection.settimeout(self._answer_within_s)
        connection.sendall(frame)
        reader = FrameReader()
        while (left_s := until_s - time.monotonic()) > 0:
            connection.settimeout(left_s)
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the connection was closed")
            for answered, ok, content in reader.feed(data):
                if answered == number:
                    return bool(ok), content
        raise TimeoutError(f"nothing within {self._answer_within_s:g} s")
