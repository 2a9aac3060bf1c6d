"""A Prometheus server as a source: instant queries over its HTTP API."""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer, masked
from slakeeper.integrations.http_client import (
    HttpClient,
    HttpConnection,
    HttpError,
    basic_auth,
)
from slakeeper.integrations.source import Reading
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.monitoring import PrometheusSource

_Asked = tuple[float | None, int | None, str | None]


class PrometheusPoller:
    """Asks each query once a poll; it must come down to one number.

    The time of a reading is that of the evaluation on the server.
    """

    type = "prometheus"

    def __init__(self, name: str, settings: PrometheusSource) -> None:
        headers, secrets = {}, []
        token = settings.token.get_secret_value() if settings.token else ""
        if token:
            headers["Authorization"] = f"Bearer {token}"
            secrets.append(token)
        elif settings.username is not None:
            password = settings.password.get_secret_value() if settings.password else ""
            headers["Authorization"] = basic_auth(settings.username, password)
            secrets += [password, headers["Authorization"]]
        self.name = name
        self._timeout_ms = settings.timeout
        self._client = HttpClient(settings.url.rstrip("/") + "/api/v1/query", headers, secrets)
        self._warned: dict[str, tuple[str, ...]] = {}

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        answers: dict[str, _Asked] = {}
        deadline = Deadline(self._timeout_ms)
        with self._client.open(deadline) as connection:
            for query in dict.fromkeys(queries.values()):
                answers[query] = self._ask(connection, query, deadline)
        return [Reading(metric, *answers[query]) for metric, query in queries.items()]

    def _ask(self, connection: HttpConnection, query: str, deadline: Deadline) -> _Asked:
        if deadline.is_over:
            return None, None, "not asked: the queries before it took all the time"
        form = {"query": query, "timeout": f"{max(round(deadline.remaining_s() * SECOND_MS), 1)}ms"}
        separator = "&" if self._client.query else "?"
        try:
            answer = connection.request("GET", f"{self._client.target}{separator}{urlencode(form)}")
        except (HttpError, TimeoutError) as error:
            return None, None, str(error)
        if answer.broken:
            return None, None, answer.broken
        try:
            document = answer.json()
        except ValueError:
            return None, None, f"answered {answer.status} and no JSON: {answer.excerpt()}"
        return self._read(query, answer, document)

    def _read(self, query: str, answer: Answer, document: Any) -> _Asked:
        match document:
            case {"status": "success", "data": {"resultType": str(kind), "result": result}}:
                self._warn(query, document.get("warnings"))
                return value_of(kind, result)
            case {"status": "error", "error": reason}:
                words = masked(f"{document.get('errorType', 'error')}: {reason}", self._client.secrets)
                return None, None, words[:400]
            case _:
                return None, None, f"answered {answer.status}: {answer.excerpt()}"

    def _warn(self, query: str, warnings: Any) -> None:
        """Says what the server warns of, once until it changes."""
        texts = tuple(str(text) for text in warnings) if isinstance(warnings, list) else ()
        if texts and self._warned.get(query) != texts:
            words = masked("; ".join(texts), self._client.secrets)
            logging.getLogger("slakeeper.source").warning(
                "source %s warns of %s: %s", self.name, query, words
            )
        if texts:
            self._warned[query] = texts
        else:
            self._warned.pop(query, None)


def value_of(kind: str, result: Any) -> _Asked:
    """One number from the result of an instant query: value, Unix ms, error."""
    match kind, result:
        case "vector", []:
            return None, None, "no data: the result is empty"
        case "vector", [{"value": [ts, value]}]:
            return _number(ts, value)
        case "vector", [{"histogram": _}]:
            return None, None, "the result is a histogram: take a quantile of it"
        case "vector", [_, _, *_]:
            return None, None, f"{len(result)} series where one number is wanted: aggregate them"
        case "scalar", [ts, value]:
            return _number(ts, value)
        case (("matrix" | "string"), _):
            return None, None, f"the result is a {kind} where one number is wanted"
        case _:
            return None, None, f"a result that makes no sense: {json.dumps(result)[:200]}"


def _number(ts: Any, value: Any) -> _Asked:
    try:
        number, at_ms = float(value), round(float(ts) * SECOND_MS)
    except (TypeError, ValueError, OverflowError):
        return None, None, f"not a number: {value!r} at {ts!r}"
    if not math.isfinite(number):
        return None, None, f"no data: the value is {value}"
    return number, at_ms, None
