"""MCP over streamable HTTP: each message a POST, the response as JSON or as the first fitting server-sent event."""

import contextlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls, to_json
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
        self._session: dict[str, str] = {}

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        number = message["id"]

        def has_come(content: bytearray) -> bool:
            # An event ends with an empty line; only then is there something new to look at.
            return content.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) and any(
                is_response_to(event, number) for event in events(content)
            )

        answer = self._post(message, has_come)
        if answer.headers.get(_SESSION) and message["method"] == "initialize":
            self._session[_SESSION] = answer.headers[_SESSION]
        for document in _documents(answer):
            if is_response_to(document, number):
                found: Mapping[str, Any] = document
                return found
        raise NoAnswer(answer.broken or f"answered {answer.status} without a response: {answer.excerpt()}")

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


def _documents(answer: Answer) -> Iterable[Any]:
    if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/event-stream":
        return events(answer.body)
    try:
        return [answer.json()]
    except ValueError:
        return []


def events(content: bytes | bytearray) -> Iterable[Any]:
    """The JSON documents in a stream of server-sent events, as far as they are whole."""
    lines: list[str] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            with contextlib.suppress(ValueError, RecursionError):
                yield json.loads("\n".join(lines))
            lines = []
