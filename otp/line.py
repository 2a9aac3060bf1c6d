"""The requests that wait in a loop for their turn: one line, of all kinds, in their order."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from slakeeper.otp.actor import ActorStopped, RequestError
from slakeeper.otp.connection import Reply
from slakeeper.otp.host import HalfDone, Host
from slakeeper.otp.partition import JournalError

# While actors sleep: when so many were made for those who wait, the turn ends. About 7 ms' worth, more than its commit
# takes: with fewer, the first would hear sooner, and the last wait for more commits.
MAX_WOKEN_FOR_LINE = 50

# No answer to one request, but the end of the host: what its turn has done must not become durable without the rest.
ENDS_THE_HOST = (JournalError, HalfDone)

Handler = Callable[[Host, Any], Any]

# Serves all requests of a kind that came in one turn, given their payloads: a result or a refusal for each.
GroupHandler = Callable[[Host, Sequence[Any]], Sequence[Any]]


class Line:
    """Serves requests; what they are answered leaves with the host's commit.

    Every method that serves may raise :class:`JournalError` or :class:`HalfDone`: then the host has to end.

    Args:
        handlers: request kinds; a handler returns plain values or raises :class:`RequestError`.
        groups: kinds of which those that stand one behind the other are served together; each of the answers
            is plain values or a :class:`RequestError`.
        is_light: whether a request, by kind and payload, wakes a few actors at most.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        groups: Mapping[str, GroupHandler],
        is_light: Callable[[str, Any], bool],
    ) -> None:
        self._handlers = handlers
        self._groups = groups
        self._is_light = is_light
        self._requests: deque[tuple[str, Any, Reply]] = deque()
        self._others_waited = False

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._requests)

    def append(self, kind: str, payload: Any, reply: Reply) -> None:
        """Puts a request at the end."""
        self._requests.append((kind, payload, reply))

    def clear(self) -> None:
        """Forgets those who wait, without an answer."""
        self._requests.clear()

    def serve_share(self, host: Host) -> None:
        """Serves those who wait, in their order; while actors sleep, until so many were made that the turn has to end.

        So the first need not wait until all have been made that the last are for. And then the light ones come first,
        with a turn of their own: they need not wait until those are made that the others are for. At every other turn,
        so that these come to be served, however many light ones there are.
        """
        if host.has_sleepers and self._requests:
            light = [each for each in self._requests if self._is_light(*each[:2])]
            others = [each for each in self._requests if not self._is_light(*each[:2])]
            self._requests = deque(light)
            self._serve_while_some_sleep(host)
            self._requests.extend(others)
            self._others_waited = bool(light and others) and not self._others_waited
            if self._others_waited:
                return
        self._serve_while_some_sleep(host)

    def _serve_while_some_sleep(self, host: Host) -> None:
        woken, at_most = host.counts["woken"], 1
        enough = woken + MAX_WOKEN_FOR_LINE
        while self._requests and host.has_sleepers:
            if woken >= enough:
                return
            self._serve_next(host, at_most)
            # One at a time as long as each wakes somebody; then more and more, since the next may wake many again.
            before, woken = woken, host.counts["woken"]
            at_most = 1 if woken > before else 2 * at_most
        self.serve_all(host)

    def serve_all(self, host: Host) -> None:
        """Serves everybody who waits."""
        while self._requests:
            self._serve_next(host)

    def _serve_next(self, host: Host, at_most: int = sys.maxsize) -> None:
        """Serves the first in the line, of a kind that is served together with those of its kind behind it."""
        kind, payload, reply = self._requests.popleft()
        if kind not in self._groups:
            self._serve_alone(host, kind, payload, reply)
            return
        group = [(payload, reply)]
        while len(group) < at_most and self._requests and self._requests[0][0] == kind:
            group.append(self._requests.popleft()[1:])
        self._serve_together(host, kind, group)

    def _serve_alone(self, host: Host, kind: str, payload: Any, reply: Reply) -> None:
        handler = self._handlers.get(kind)
        try:
            if handler is None:
                raise RequestError("invalid", f"unknown request {kind!r}")
            result, ok = handler(host, payload), True
        except RequestError as error:
            result, ok = error.to_wire(), False
        except ActorStopped as error:
            result, ok = RequestError("internal", str(error)).to_wire(), False
        except ENDS_THE_HOST:
            raise
        except Exception as error:
            logging.getLogger("slakeeper.otp").exception("request %s failed", kind)
            result, ok = RequestError("internal", f"{type(error).__name__}: {error}").to_wire(), False
        host.after_commit(lambda: reply(ok, result))

    def _serve_together(self, host: Host, kind: str, group: Sequence[tuple[Any, Reply]]) -> None:
        try:
            answers = self._groups[kind](host, [payload for payload, _ in group])
        except ENDS_THE_HOST:
            raise
        except Exception as error:
            logging.getLogger("slakeeper.otp").exception("requests %s failed", kind)
            answers = [RequestError("internal", f"{type(error).__name__}: {error}")] * len(group)
        for (_, reply), answer in zip(group, answers, strict=True):
            refused = isinstance(answer, RequestError)
            host.after_commit(partial(reply, not refused, answer.to_wire() if refused else answer))
