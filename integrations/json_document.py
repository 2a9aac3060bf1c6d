"""A JSON document at an address as a source; a query points into it (RFC 6901)."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls
from slakeeper.integrations.json_pointer import Found, numbers_in
from slakeeper.integrations.program import environment
from slakeeper.integrations.source import Reading
from slakeeper.sla.duration import format_duration
from slakeeper.sla.monitoring import CustomSource

READ_HERE_BYTES = 128 * 1024
"""A longer document is read by a process of its own. This much holds the other threads up for two milliseconds at most,
a megabyte for thirty; and another process takes thirty, but of its own."""

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
        except TimeoutError:
            within = format_duration(deadline.limit_ms)
            raise _NoDocument(f"{len(answer.body)} bytes of JSON are not read within {within}") from None
        except ValueError:
            raise _NoDocument(f"the answer is no JSON: {answer.excerpt()}") from None


def _read_apart(body: bytes, pointers: Sequence[str], deadline: Deadline) -> Sequence[Found]:
    """What each pointer finds in a large document.

    Raises:
        TimeoutError: it took too long.
        ValueError: it is no JSON.
        _NoDocument: whoever read it was killed.
    """
    try:
        done = subprocess.run(
            (sys.executable, "-I", "-S", str(_PROGRAM)),
            input=json.dumps(pointers).encode() + b"\n" + body,
            stdout=subprocess.PIPE,
            env=environment({}),
            timeout=deadline.remaining_s(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if not done.stdout:
        raise _NoDocument(f"reading {len(body)} bytes of JSON failed with status {done.returncode}")
    found: list[Found] | None = json.loads(done.stdout)
    if found is None:
        raise ValueError("no JSON")
    return found


class _NoDocument(Exception):
    """The address gave nothing to point into; says why."""
