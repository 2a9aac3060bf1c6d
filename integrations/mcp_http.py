"""MCP over streamable HTTP: each message a POST, the response as JSON or as the first fitting server-sent event."""

import contextlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls, to_json
from slakeeper.integrations.json_apart import NotRead, read_abridged
from slakeeper.integrations.mcp import NoAnswer, Refused, is_response_to
from slakeeper.sla.monitoring import McpSource

_SESSION = "Mcp-Session-Id"
_CODED = "=?base64?"


class HttpTransport:
    """See :class:`slakeeper.integrations.mcp.Transport`."""

    def __init__(self, settings: McpSource, deadline: Deadline) -> None:
        headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        secrets = list(headers.values())
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
            secrets.append(settings.token.get_secret_value())
        headers["Accept"] = "application/json, text/event-stream"
        tls = Tls(settings.ca_file, settings.cert_file, settings.key_file)
        self._client = HttpClient(settings.url or "", headers, secrets, tls)
        self._connection = self._client.open(deadline)
        self._deadline = deadline
        self._session: dict[str, str] = {}

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        stream = _Stream(message["id"], self._deadline)
        try:
            answer = self._post(message, stream.has_come)
            if answer.headers.get(_SESSION) and message["method"] == "initialize":
                self._session[_SESSION] = answer.headers[_SESSION]
            found = self._response(answer, stream)
        except NotRead as error:
            raise NoAnswer(str(error)) from None
        if found is None:
            raise NoAnswer(
                answer.broken or f"answered {answer.status} without a response: {answer.excerpt()}"
            )
        return found

    def _response(self, answer: Answer, stream: "_Stream") -> Mapping[str, Any] | None:
        if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/event-stream":
            stream.look(answer.body)
            return stream.found
        with contextlib.suppress(ValueError):
            document = read_abridged(answer.body, self._deadline)
            if is_response_to(document, stream.number):
                found: Mapping[str, Any] = document
                return found
        return None

    def notify(self, message: Mapping[str, Any]) -> None:
        self._post(message, None)

    def agreed(self, version: str) -> None:
        self._session["MCP-Protocol-Version"] = version

    def close(self) -> None:
        with self._connection as connection:
            if _SESSION in self._session:
                # It may say that it ends sessions by itself, or nothing any more: either is well.
                with contextlib.suppress(HttpError):
                    connection.request("DELETE", self._client.target, headers=self._session)

    def _post(self, message: Mapping[str, Any], enough: Any) -> Answer:
        headers = {"Content-Type": "application/json", **self._session, **_described(message)}
        try:
            answer = self._connection.request(
                "POST", self._client.target, body=to_json(message), headers=headers, enough=enough
            )
        except HttpError as error:
            raise NoAnswer(str(error)) from None
        if not answer.is_success:
            said = answer.excerpt()
            raise Refused(answer.status, f"answered {answer.status}{f': {said}' if said else ''}")
        return answer


def _described(message: Mapping[str, Any]) -> dict[str, str]:
    """The headers that repeat what a message without a session says, for whoever forwards it."""
    params = message.get("params", {})
    if "_meta" not in params:
        return {}
    described = {"Mcp-Method": str(message["method"])}
    if "name" in params:
        described["Mcp-Name"] = _header_text(str(params["name"]))
    return described


def _header_text(text: str) -> str:
    """A text as a header has it: plain where that is safe, otherwise in the protocol's own base64 form."""
    is_plain = text.isascii() and text.isprintable() and text == text.strip() and not text.startswith(_CODED)
    return text if is_plain else f"{_CODED}{b64encode(text.encode()).decode()}?="


class _Stream:
    """A stream of server-sent events in which a response is looked for; each event is read once.

    Args:
        number: of the request.
    """

    def __init__(self, number: Any, deadline: Deadline) -> None:
        self.number = number
        self.found: Mapping[str, Any] | None = None
        self._deadline = deadline
        self._seen = 0

    def has_come(self, content: bytearray) -> bool:
        """Whether the response is in what has come so far."""
        # An event ends with an empty line; only then is there something new to look at.
        if content.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
            self.look(content)
        return self.found is not None

    def look(self, content: bytes | bytearray) -> None:
        """Looks at what is new; what is not whole yet is looked at again."""
        if self.found is None and self._seen < len(content):
            new, self._seen = content[self._seen :], len(content)
            fitting = (each for each in events(new, self._deadline) if is_response_to(each, self.number))
            self.found = next(fitting, None)


def events(content: bytes | bytearray, deadline: Deadline) -> Iterable[Any]:
    """The JSON documents in a stream of server-sent events, as far as they are whole."""
    lines: list[str] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            with contextlib.suppress(ValueError):
                yield read_abridged("\n".join(lines).encode(), deadline)
            lines = []
