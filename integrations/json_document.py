"""A JSON document at an address as a source; a query points into it (RFC 6901)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import READ_HERE_BYTES, Answer
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls
from slakeeper.integrations.json_apart import NotRead, read_apart
from slakeeper.integrations.json_pointer import Found, numbers_in
from slakeeper.integrations.source import Reading
from slakeeper.sla.monitoring import CustomSource

_PROGRAM = Path(__file__).with_name("json_pointer.py")


class JsonDocumentPoller:
    """One GET a poll; each query is a JSON pointer to a number. true, false and text are not numbers."""

    type = "custom"

    def __init__(self, name: str, settings: CustomSource) -> None:
        headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        secrets = list(headers.values())
        token = settings.token.get_secret_value() if settings.token else ""
        if token:
            headers["Authorization"] = f"Bearer {token}"
            secrets.append(token)
        self.name = name
        self._timeout_ms = settings.timeout
        self._client = HttpClient(
            settings.url, headers, secrets, Tls(settings.ca_file, settings.cert_file, settings.key_file)
        )

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        if not queries:
            return []
        deadline = Deadline(self._timeout_ms)
        try:
            answer = self._fetch(deadline)
            found = self._read(answer, list(queries.values()), deadline)
        except _NoDocument as error:
            return [Reading(metric, None, None, str(error)) for metric in queries]
        return [
            Reading(metric, value, None, error) for metric, (value, error) in zip(queries, found, strict=True)
        ]

    def _fetch(self, deadline: Deadline) -> Answer:
        try:
            with self._client.open(deadline) as connection:
                answer = connection.request("GET", self._client.target, headers={"Connection": "close"})
        except HttpError as error:
            raise _NoDocument(str(error)) from error
        if not answer.is_success:
            raise _NoDocument(f"answered {answer.status}: {answer.excerpt()}")
        if answer.broken:
            raise _NoDocument(answer.broken)
        return answer

    def _read(self, answer: Answer, pointers: Sequence[str], deadline: Deadline) -> Sequence[Found]:
        try:
            if len(answer.body) <= READ_HERE_BYTES:
                return numbers_in(answer.body, pointers)
            return _read_apart(answer.body, pointers, deadline)
        except NotRead as error:
            raise _NoDocument(str(error)) from None
        except ValueError:
            raise _NoDocument(f"the answer is no JSON: {answer.excerpt()}") from None


def _read_apart(body: bytes, pointers: Sequence[str], deadline: Deadline) -> Sequence[Found]:
    """What each pointer finds in a large document.

    Raises:
        ValueError: it is no JSON.
        NotRead: nobody managed to read it.
    """
    found: list[Found] | None = json.loads(
        read_apart(_PROGRAM, body, deadline, json.dumps(pointers).encode() + b"\n")
    )
    if found is None:
        raise ValueError("no JSON")
    return found


class _NoDocument(Exception):
    """The address gave nothing to point into; says why."""
