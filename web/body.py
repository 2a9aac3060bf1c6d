"""Reading a request's body within limits: of size, counted while it arrives, of time, and of all that are held."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

from slakeeper.client import Overloaded

Client = tuple[str, bytes]
"""Who sends: the host it sends from, and what it shows to be let in."""

# 8 MiB of JSON are some 100 000 samples.
MAX_BODY_BYTES = 8 * 1024 * 1024

# What is read of a body over the limit and thrown away, so that a sender who does not listen while it sends gets to
# read the 413 instead of a broken connection. Whoever sends more than this is cut off.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024

# A sender on a slow line gets 280 kB/s at least; one that holds a connection open on purpose does not get for ever.
BODY_WITHIN_S = 30.0

# Of bodies that are being read, wait for their turn, or are on their way to the cells. Sixteen of the largest, where
# most have some kilobytes; what is made of one while it is taken may be several times as large.
MAX_HELD_BYTES = 16 * MAX_BODY_BYTES

# The part of it that one client may have: whoever holds up as much as it can leaves the rest to the others.
CLIENT_SHARE = 4


class Room:
    """What bodies may have of the memory at once; belongs to an event loop.

    Args:
        most_bytes: of all of them together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        # Only of those that hold something.
        self._by_client: dict[Client, int] = {}

    @contextmanager
    def place(self, client: Client) -> Iterator["Place"]:
        """One body's, while it is needed."""
        place = Place(self, client)
        try:
            yield place
        finally:
            place.resize(0)

    def change(self, client: Client, more: int) -> None:
        """A client holds so many bytes more, or less.

        Raises:
            Overloaded: there is no room for more; nothing has changed.
        """
        of_client = self._by_client.get(client, 0) + more
        is_too_much = of_client > self._most_bytes // CLIENT_SHARE or self._held + more > self._most_bytes
        if more > 0 and is_too_much:
            raise Overloaded("too many bytes of bodies are waiting already")
        self._held += more
        if of_client:
            self._by_client[client] = of_client
        else:
            self._by_client.pop(client, None)


class Place:
    """What one body has."""

    def __init__(self, room: Room, client: Client) -> None:
        self._room = room
        self._client = client
        self._size = 0

    def resize(self, size: int) -> None:
        """It has so many bytes now.

        Raises:
            Overloaded: there is no room for more.
        """
        self._room.change(self._client, size - self._size)
        self._size = size


class BodyRefused(Exception):
    """The body is not taken: the HTTP status and why."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


async def read_body(
    scope: Scope,
    receive: Receive,
    limit: int = MAX_BODY_BYTES,
    encodings: Collection[bytes] = (b"identity",),
    place: Place | None = None,
) -> bytes:
    """The whole body, as it was sent.

    Args:
        scope: of the request.
        receive: gives its parts.
        limit: bytes that it may have.
        encodings: how it may be compressed.
        place: what it has of all bodies' room; small ones need none.

    Raises:
        BodyRefused: 413 over ``limit`` bytes, with or without a Content-Length; 408 not there within
            ``BODY_WITHIN_S``; 415 compressed otherwise; 400 the sender went away.
        Overloaded: there is no room for it.
    """
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").lower() not in encodings:
        wanted = b" or ".join(encodings).decode()
        raise BodyRefused(415, "unsupported", f"the body's encoding is not understood; {wanted} is")
    if (
        headers.get(b"expect", b"").lower() == b"100-continue"
        and int(headers.get(b"content-length", 0)) > limit
    ):
        raise _too_large(limit)  # it waits for our word before it sends
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if place is not None:
            place.resize(len(body))
        return body
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                if message["type"] == "http.disconnect":
                    raise BodyRefused(400, "cut_off", "the sender went away")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                else:
                    chunks.clear()
                if place is not None:
                    place.resize(size if size <= limit else 0)
                if size > limit + MAX_DISCARDED_BYTES or not message.get("more_body", False):
                    break
                message = await receive()
    except TimeoutError as error:
        raise BodyRefused(408, "too_slow", f"the body was not there within {BODY_WITHIN_S:g} s") from error
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def _too_large(limit: int) -> BodyRefused:
    return BodyRefused(413, "too_large", f"the body is over the limit of {limit} bytes")
