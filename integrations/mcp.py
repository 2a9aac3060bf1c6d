"""A server of the Model Context Protocol as a source: does it answer, does its tool work, and how fast?

Each poll is a session of its own (handshake, ping, calls), over the transport of :mod:`mcp_http` or
:mod:`mcp_stdio`. A client of our own, since the official package costs every cell more than all the rest of it
together and has no limit in time over a whole session (ADR 30).
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import address_secrets, masked
from slakeeper.integrations.source import Reading
from slakeeper.sla.monitoring import McpSource

# A text shorter than this in ``env`` or a header is no secret, and masking it would make errors unreadable.
SECRET_LENGTH = 6

QUERIES = ("up", "error", "latency", "throughput", "handshake", "status")

PROTOCOL_VERSION = "2025-11-25"
"""The newest revision with a handshake; a server answers with the one it speaks."""
STATELESS_VERSION = "2026-07-28"
"""The revision without: every request says what is spoken, and ``server/discover`` takes the place of a ping.
Source: modelcontextprotocol.io, specification 2026-07-28, "Versioning and Compatibility"."""

# How a server refuses a handshake that it does not know, over HTTP; in JSON-RPC every code may mean that.
_UNKNOWN_STATUSES = frozenset({400, 404, 405})

TOOL_FAILED = 1
"""The ``status`` of a tool that answers that it failed; codes of JSON-RPC are negative, of HTTP three digits."""

_DETAIL_LIMIT = 200


class NoAnswer(Exception):
    """The server said nothing, or nothing that makes sense; the text says why."""


class Refused(Exception):
    """The server said no.

    Attributes:
        status: its code: JSON-RPC's or HTTP's.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Transport(Protocol):
    """One session's way to a server; closed by whoever opened it."""

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sends a request and waits for its response, a JSON-RPC document with the same id.

        Raises:
            NoAnswer: none came in time.
            Refused: the transport itself said no.
        """
        ...

    def notify(self, message: Mapping[str, Any]) -> None:
        """Sends a notification. Raises as :meth:`request` does."""
        ...

    def agreed(self, version: str) -> None:
        """Takes note of the revision that both sides speak from now on."""
        ...

    def close(self) -> None:
        """Ends the session; within what is left of the deadline, without a word if that fails."""
        ...


@dataclass
class _Probe:
    """What a session has shown so far."""

    values: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "error": 100.0})
    reason: str = ""


class McpPoller:
    """One session a poll; all queries are answered from it.

    Up means: the handshake and a ping were answered as the protocol has it, within the time-out. No answer, for
    whatever reason, is a reading (up 0, error 100) and not an error of the source; then there is no latency to tell.
    """

    type = "mcp"

    def __init__(self, name: str, settings: McpSource) -> None:
        self.name = name
        self._settings = settings
        given = [*settings.headers.values(), *settings.env.values(), *filter(None, [settings.token])]
        values = (each.get_secret_value() for each in given)
        secrets = {each for each in values if len(each) >= SECRET_LENGTH} | address_secrets(
            settings.url or ""
        )
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._is_stateless = False

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        if not queries:
            return []
        probe = self._probe()
        readings = []
        for metric, query in queries.items():
            value = probe.values.get(query)
            error = None if value is not None else probe.reason
            if query not in QUERIES:
                error = f"unknown query {query!r}: {', '.join(QUERIES)}"
            is_silence = value is None and query in QUERIES
            readings.append(Reading(metric, value, None, error, is_silence))
        return readings

    def _probe(self) -> _Probe:
        probe = _Probe()
        began_s = time.monotonic()
        try:
            transport = self._open(Deadline(self._settings.timeout))
            try:
                session = self._begin(transport)
                probe.values["handshake"] = _since_ms(began_s)
                session.ping()
                probe.values["up"] = 100.0
                self._call(session, probe)
            finally:
                transport.close()
        except NoAnswer as error:
            probe.reason = str(error)
        except Refused as error:
            probe.reason = str(error)
            probe.values["status"] = float(error.status)
        return probe

    def _begin(self, transport: Transport) -> "Session":
        """A session that is agreed upon: with a handshake, or without where the server knows none.

        What a server is stays known, so that only the first poll tries both.
        """
        if not self._is_stateless:
            session = Session(transport, self._secrets)
            try:
                session.handshake()
            except Refused as refusal:
                if refusal.status > 0 and refusal.status not in _UNKNOWN_STATUSES:
                    raise
                session = StatelessSession(transport, self._secrets)
                try:
                    session.handshake()
                except (Refused, NoAnswer):
                    raise refusal from None
                self._is_stateless = True
            return session
        session = StatelessSession(transport, self._secrets)
        try:
            session.handshake()
        except Refused:
            self._is_stateless = False  # another server by now, perhaps
            raise
        return session

    def _call(self, session: "Session", probe: _Probe) -> None:
        """The calls that are measured; one that gets no answer is the last."""
        settings = self._settings
        took_ms: list[float] = []
        failed, status, reason = 0, 0, ""
        began_s = time.monotonic()
        for _ in range(settings.calls):
            call_began_s = time.monotonic()
            try:
                if settings.tool is None:
                    session.ping()
                else:
                    session.call_tool(settings.tool, settings.arguments)
            except Refused as error:
                failed, status, reason = failed + 1, error.status, str(error)
            except NoAnswer as error:
                failed, reason = failed + 1, str(error)
                probe.reason = reason
                break
            else:
                took_ms.append(_since_ms(call_began_s))
        asked = failed + len(took_ms)
        probe.values["error"] = 100.0 * failed / asked
        probe.values["throughput"] = len(took_ms) * 1000 / max(_since_ms(began_s), 0.001)
        if took_ms:
            probe.values["latency"] = sum(took_ms) / len(took_ms)
        if not probe.reason:
            probe.values["status"] = float(status)
        probe.reason = probe.reason or reason

    def _open(self, deadline: Deadline) -> Transport:
        if self._settings.argv:
            from slakeeper.integrations.mcp_stdio import StdioTransport

            return StdioTransport(self._settings, deadline)
        from slakeeper.integrations.mcp_http import HttpTransport

        return HttpTransport(self._settings, deadline)


class Session:
    """The client's half of the protocol, over any transport.

    Args:
        secrets: are masked in what the server says.
    """

    def __init__(self, transport: Transport, secrets: Sequence[str] = ()) -> None:
        self._transport = transport
        self._secrets = secrets
        self._ids = itertools.count(1)

    def handshake(self) -> None:
        """Agrees with the server on a revision of the protocol.

        Raises:
            NoAnswer, Refused: there is no agreement.
        """
        client = {"name": "slakeeper", "version": version("slakeeper")}
        result = self.ask(
            "initialize", {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        )
        agreed = result.get("protocolVersion")
        if not isinstance(agreed, str):
            raise NoAnswer("its answer to initialize names no protocol version")
        self._transport.agreed(agreed)
        self._transport.notify({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ping(self) -> None:
        """Asks whether it is there.

        Raises:
            NoAnswer, Refused: it is not.
        """
        self.ask("ping", {})

    def call_tool(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Calls a tool and looks whether it worked.

        Raises:
            NoAnswer, Refused: it did not.
        """
        result = self.ask("tools/call", {"name": name, "arguments": dict(arguments)})
        if result.get("resultType") == "input_required":
            raise Refused(TOOL_FAILED, f"tool {name} asks for input, and a probe has none")
        if result.get("isError"):
            texts = [
                item["text"]
                for item in result.get("content") or ()
                if isinstance(item, Mapping) and isinstance(item.get("text"), str)
            ]
            raise Refused(TOOL_FAILED, f"tool {name} failed: {self._shown(' '.join(texts))}")

    def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One request.

        Raises:
            NoAnswer, Refused: there is no result.
        """
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        if params:
            request["params"] = params
        match self._transport.request(request):
            case {"result": dict(result)}:
                return result
            case {"error": {"code": int(code), "message": str(message)}}:
                raise Refused(code, f"{method}: {self._shown(message)} ({code})")
            case _:
                raise NoAnswer(f"its answer to {method} makes no sense")

    def _shown(self, text: str) -> str:
        return _one_line(masked(text, self._secrets))


class StatelessSession(Session):
    """The same where there is no session: each request says itself what is spoken."""

    def handshake(self) -> None:
        """Asks what the server speaks.

        Raises:
            NoAnswer, Refused: not this revision.
        """
        self._transport.agreed(STATELESS_VERSION)
        versions = self.ask("server/discover", {}).get("supportedVersions")
        if not isinstance(versions, list) or STATELESS_VERSION not in versions:
            raise NoAnswer("its answer to server/discover does not name the version that was spoken")

    def ping(self) -> None:
        """As above."""
        self.ask("server/discover", {})

    def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """As above."""
        said = {
            "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "slakeeper", "version": version("slakeeper")},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        return super().ask(method, {**params, "_meta": said})


def is_response_to(document: Any, number: Any) -> bool:
    """Whether a JSON-RPC document is the response to request ``number``."""
    return (
        isinstance(document, Mapping)
        and document.get("id") == number
        and ("result" in document or "error" in document)
    )


def _one_line(text: str) -> str:
    line = " ".join(
        "".join(sign if sign.isprintable() else " " for sign in text[: 16 * _DETAIL_LIMIT]).split()
    )
    return line if len(line) <= _DETAIL_LIMIT else line[: _DETAIL_LIMIT - 1] + "…"


def _since_ms(began_s: float) -> float:
    return (time.monotonic() - began_s) * 1000
