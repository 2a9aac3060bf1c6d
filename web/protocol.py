"""A connection of the HTTP server that ends when nothing comes of it: who is silent takes no place from those who ask.

uvicorn counts every open connection against its limit, and waits for ever for the first request of one, or for the rest
of a head that has begun.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the connection, or from the answer before, to the end of the next request's head. A slow line needs a second;
# uvicorn itself ends a connection on which nothing at all follows an answer after 5.
HEAD_WITHIN_S = 10.0

# Connections from which a request is awaited; with one more, who has been waited for longest goes. Less than half of
# all that there may be: whoever asks finds a place, and has the time in which so many others connect to ask in.
MAX_WAITING = 400

# Of a request's line and headers. Browsers and proxies send 8 KiB at most; a link's address has 2 000 characters.
MAX_HEAD_BYTES = 64 * 1024


class _Waiting:
    """The connections of a server from which a request is awaited, who has been waited for longest first."""

    def __init__(self) -> None:
        self._since_s: dict[_Connection, float] = {}
        self._is_watched = False

    def __contains__(self, connection: "_Connection") -> bool:
        return connection in self._since_s

    def add(self, connection: "_Connection") -> None:
        loop = connection.loop
        self._since_s[connection] = loop.time()
        if len(self._since_s) > MAX_WAITING:
            self.end(next(iter(self._since_s)))
        if not self._is_watched:
            self._is_watched = True
            loop.call_later(HEAD_WITHIN_S, self._look, loop)

    def remove(self, connection: "_Connection") -> None:
        self._since_s.pop(connection, None)

    def end(self, connection: "_Connection") -> None:
        """Closes it, once its last answer has been read."""
        self.remove(connection)
        connection.transport.close()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_watched = False
        over_s = loop.time() - HEAD_WITHIN_S
        while self._since_s:
            connection, since_s = next(iter(self._since_s.items()))
            if since_s > over_s:
                self._is_watched = True
                loop.call_later(since_s - over_s, self._look, loop)
                return
            self.end(connection)


class _Connection(HttpToolsProtocol):
    waiting: ClassVar[_Waiting]
    _head_bytes = 0
    _is_in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_body = self._is_in_body
        super().data_received(data)
        if self in self.waiting and not was_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.waiting.end(self)

    def on_headers_complete(self) -> None:
        self.waiting.remove(self)
        self._is_in_body, self._head_bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.waiting.add(self)


def protocol_class() -> type[asyncio.Protocol]:
    """What serves the connections of one server."""

    class Connection(_Connection):
        waiting = _Waiting()

    return Connection
