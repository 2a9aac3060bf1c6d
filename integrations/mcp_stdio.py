"""MCP over stdio: the server is a program of its own for each session, spoken to in lines of JSON."""

import contextlib
import os
import selectors
import subprocess
from collections.abc import Mapping
from typing import Any

from slakeeper.integrations import program
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_client import to_json
from slakeeper.integrations.json_apart import NotRead, read_abridged
from slakeeper.integrations.mcp import SECRET_LENGTH, NoAnswer, is_response_to
from slakeeper.integrations.program import Tail
from slakeeper.sla.duration import format_duration
from slakeeper.sla.monitoring import McpSource

# A message that is longer makes no sense as an answer to a probe [bytes].
_MESSAGE_LIMIT = 1024 * 1024

_CHUNK = 64 * 1024

# How much of what the server logs is kept, to say why it ended [bytes].
_LOG_LIMIT = 4 * 1024

# How long a server may take to end by itself when nobody speaks to it any more; then its group is killed.
_FAREWELL_S = 1.0


_METHOD_NOT_FOUND = -32601


class StdioTransport:
    """See :class:`slakeeper.integrations.mcp.Transport`.

    Raises:
        NoAnswer: the program cannot be started.
    """

    def __init__(self, settings: McpSource, deadline: Deadline) -> None:
        given = {name: value.get_secret_value() for name, value in settings.env.items()}
        self._deadline = deadline
        self._log = Tail(_LOG_LIMIT, [value for value in given.values() if len(value) >= SECRET_LENGTH])
        self._received = bytearray()
        try:
            self._process = program.start(
                settings.argv,
                program.environment(given),
                settings.cwd,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except program.StartFailed as error:
            raise NoAnswer(str(error)) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._err = self._process.stderr.fileno()
        self._selector = selectors.DefaultSelector()
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        self.notify(message)
        while True:
            document = self._next()
            if is_response_to(document, message["id"]):
                found: Mapping[str, Any] = document
                return found
            if isinstance(document, Mapping) and "method" in document and "id" in document:
                self._answer(document)

    def notify(self, message: Mapping[str, Any]) -> None:
        left = to_json(message) + b"\n"
        self._selector.register(self._in, selectors.EVENT_WRITE)
        try:
            while left:
                if self._in in self._wait():
                    left = left[os.write(self._in, left) :]
        except BrokenPipeError:
            raise NoAnswer(self._ended()) from None
        finally:
            self._selector.unregister(self._in)

    def agreed(self, version: str) -> None:
        """Over stdio nothing depends on it."""

    def close(self) -> None:
        process = self._process
        self._selector.close()
        with contextlib.ExitStack() as stack:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    stack.callback(pipe.close)
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                program.ends_within(process.pid, min(_FAREWELL_S, self._deadline.remaining_s()))
            program.end_group(process)

    def _answer(self, request: Mapping[str, Any]) -> None:
        """A server may ask as well; we offer nothing, but are alive."""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": _METHOD_NOT_FOUND, "message": "not offered"}
        self.notify(answer)

    def _next(self) -> Any:
        """The next line that is JSON; others are what some library prints where it should not."""
        while True:
            line, found, rest = self._received.partition(b"\n")
            if found:
                self._received = bytearray(rest)
                try:
                    return read_abridged(bytes(line), self._deadline)
                except ValueError:
                    continue
                except NotRead as error:
                    raise NoAnswer(str(error)) from None
            elif len(self._received) > _MESSAGE_LIMIT:
                raise NoAnswer(f"it wrote a line of more than {_MESSAGE_LIMIT} bytes")
            else:
                self._wait()

    def _wait(self) -> set[int]:
        """Waits until something can be read or written, reads it, and says which pipes were ready.

        Raises:
            NoAnswer: the time is up, the program has ended, or it writes on and on and reads nothing.
        """
        if len(self._received) > _MESSAGE_LIMIT:
            raise NoAnswer(f"it wrote more than {_MESSAGE_LIMIT} bytes and does not read what is sent to it")
        try:
            ready = {key.fd for key, _ in self._selector.select(self._deadline.remaining_s())}
        except TimeoutError:
            ready = set()
        if not ready:
            limit = format_duration(self._deadline.limit_ms)
            said = f": {self._log.last_line}" if self._log.last_line else ""
            raise NoAnswer(f"no answer within {limit}{said}")
        if self._err in ready and not self._take(self._err, self._log.add):
            self._selector.unregister(self._err)
        if self._out in ready and not self._take(self._out, self._received.extend):
            raise NoAnswer(self._ended())
        return ready

    @staticmethod
    def _take(pipe: int, keep: Any) -> bool:
        piece = os.read(pipe, _CHUNK)
        keep(piece)
        return bool(piece)

    def _ended(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while self._take(self._err, self._log.add):
                pass
        return f"it ended without an answer{f': {self._log.last_line}' if self._log.last_line else ''}"
