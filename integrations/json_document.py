"""A JSON document at an address as a source; a query points into it (RFC 6901)."""

import math
import re
from collections.abc import Mapping
from typing import Any

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls
from slakeeper.integrations.source import Reading
from slakeeper.sla.monitoring import CustomSource

_DOCUMENT_LIMIT = 8 * 1024 * 1024
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


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
        try:
            document = self._fetch()
        except _NoDocument as error:
            return [Reading(metric, None, None, str(error)) for metric in queries]
        return [_reading(metric, document, pointer) for metric, pointer in queries.items()]

    def _fetch(self) -> Any:
        try:
            with self._client.open(Deadline(self._timeout_ms)) as connection:
                answer = connection.request(
                    "GET", self._client.target, headers={"Connection": "close"}, answer_limit=_DOCUMENT_LIMIT
                )
        except HttpError as error:
            raise _NoDocument(str(error)) from error
        if not answer.is_success:
            raise _NoDocument(f"answered {answer.status}: {answer.excerpt()}")
        if answer.broken:
            raise _NoDocument(answer.broken)
        try:
            return answer.json()
        except ValueError:
            raise _NoDocument(f"the answer is no JSON: {answer.excerpt()}") from None


class _NoDocument(Exception):
    """The address gave nothing to point into; says why."""


def resolve_pointer(document: Any, pointer: str) -> Any:
    """What a JSON pointer points at.

    Args:
        document: as ``json.loads`` gives it.
        pointer: ``""`` for the whole, otherwise ``/`` before each step, with ``~1`` for ``/`` and ``~0`` for ``~``.

    Raises:
        LookupError: it points at nothing, or is no pointer; says how far it led.
    """
    if pointer and not pointer.startswith("/"):
        raise LookupError(f"{pointer!r} is no JSON pointer: it begins with '/'")
    value, way = document, ""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match value:
            case dict() if name in value:
                value = value[name]
            case list() if _INDEX.fullmatch(name) and int(name) < len(value):
                value = value[int(name)]
            case _:
                raise LookupError(f"nothing at {way}/{step}")
        way += f"/{step}"
    return value


def _reading(metric: str, document: Any, pointer: str) -> Reading:
    try:
        value = resolve_pointer(document, pointer)
    except LookupError as error:
        return Reading(metric, None, None, str(error.args[0]))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Reading(metric, None, None, f"no number at {pointer or 'the top'}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return Reading(metric, None, None, f"no finite number at {pointer or 'the top'}")
    return Reading(metric, number)
