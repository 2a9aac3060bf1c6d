"""Reading a request's body within limits: of size, counted while it arrives, and of time."""

import asyncio
from collections.abc import Collection

from starlette.types import Receive, Scope

# 8 MiB of JSON are some 100 000 samples.
MAX_BODY_BYTES = 8 * 1024 * 1024

# What is read of a body over the limit and thrown away, so that a sender who does not listen while it sends gets to
# read the 413 instead of a broken connection. Whoever sends more than this is cut off.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024

# A sender on a slow line gets 280 kB/s at least; one that holds a connection open on purpose does not get for ever.
BODY_WITHIN_S = 30.0


class BodyRefused(Exception):
    """The body is not taken: the HTTP status and why."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


async def read_body(
    scope: Scope, receive: Receive, limit: int = MAX_BODY_BYTES, encodings: Collection[bytes] = (b"identity",)
) -> bytes:
    """The whole body, as it was sent.

    Args:
        scope: of the request.
        receive: gives its parts.
        limit: bytes that it may have.
        encodings: how it may be compressed.

    Raises:
        BodyRefused: 413 over ``limit`` bytes, with or without a Content-Length; 408 not there within
            ``BODY_WITHIN_S``; 415 compressed otherwise; 400 the sender went away.
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
