"""A Prometheus server as a source: instant queries over its HTTP API, and range queries for what was missed."""

import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer, masked
from slakeeper.integrations.http_client import HttpClient, HttpConnection, Tls, basic_auth
from slakeeper.integrations.http_work import Work
from slakeeper.integrations.prometheus_result import is_whole, joined, parted, reading_of, samples_of
from slakeeper.integrations.source import Filling, Gap, Reading
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.monitoring import PrometheusSource
from slakeeper.sla.sample import Sample

JOINED = 25
"""So many quick queries are asked as one: 10 000 then cost a tenth of the CPU here and half of the server's."""
QUICK_S = 0.5
"""A query that takes longer by itself is not joined with others, which would have to wait for it."""
ALONE_AT_ONCE = 200
"""So many queries of which nobody knows yet whether they are quick are asked one by one: that takes a fraction of a
second. More are joined like quick ones, as after every start: 10 000 would take longer than their interval."""
UNTRIED_S = 1.0
"""So long may the server take for joined queries of which nobody knows yet whether they are quick."""
JOINED_SAMPLES = 2_500
"""So many samples are asked for in one range query for several gaps at most: they are 100 kB, and an answer may hold
little more."""

_ANSWER_LIMIT = 128 * 1024
"""Of a result [bytes]; 2 000 samples of one series are 80 kB. While Python reads JSON no other thread of the cell gets
on, and this much takes it some milliseconds at worst."""

# Of a query, and of what the server warns of, in a log line: joined ones are long, and a server may say anything.
_SHOWN_CHARS = 200
_SHOWN_WARNINGS = 3

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

_Result = tuple[str, Any]
"""The kind of a result, and the result."""

_Filled = tuple[list[Sample], str | None]
"""Samples, and what is wrong where there are none."""


class PrometheusPoller:
    """Asks each query once a poll, a few at a time; it must come down to one number.

    A query is asked by itself until it has given a vector, and quickly. From then on it goes with others in one
    expression; when that fails they are asked one by one again, so that none fails for another. Where there are very
    many at once, as after a start, they are joined at once, and what fails or is slow is asked one by one.

    The time of a reading is that of the evaluation on the server. No value (an empty result, stale series, NaN) is
    silence; an infinite one is an error.
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
        self._concurrency = settings.concurrency
        tls = Tls(settings.ca_file, settings.cert_file, settings.key_file)
        self._instant = HttpClient(settings.url, headers, secrets, tls, at="/api/v1/query")
        self._range = HttpClient(settings.url, headers, secrets, tls, at="/api/v1/query_range")
        self._joinable: set[str] = set()
        self._apart: set[str] = set()
        self._tried: set[str] = set()
        self._warned: dict[str, tuple[str, ...]] = {}

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        wanted = dict.fromkeys(queries.values())
        answers = self._ask_all(list(wanted))
        return [
            Reading(metric, None, None, answer)
            if isinstance(answer := answers[query], str)
            else reading_of(metric, *answer)
            for metric, query in queries.items()
        ]

    def _ask_all(self, queries: list[str]) -> dict[str, _Result | str]:
        deadline = Deadline(self._timeout_ms)
        self._joinable.intersection_update(queries)
        self._apart.intersection_update(queries)
        self._tried.intersection_update(queries)
        quick = [query for query in queries if query in self._joinable]
        untried = [query for query in queries if query not in self._tried and is_whole(query)]
        known = _in_batches(quick)
        batches = [*known, *(_in_batches(untried) if len(untried) > ALONE_AT_ONCE else ())]
        # Half of the time: what fails together is asked one by one in the other half.
        together = Work(self._instant, Deadline(self._timeout_ms // 2), batches).done_by(
            self._concurrency, self._ask_together
        )
        answers: dict[str, _Result | str] = {}
        for batch, parts in together.items():
            if not isinstance(parts, str):
                answers.update((query, ("vector", part)) for query, part in zip(batch, parts, strict=True))
                self._joinable.update(batch)
                self._tried.update(batch)
        alone = [query for query in queries if query not in answers]
        answers.update(Work(self._instant, deadline, alone).done_by(self._concurrency, self._ask_alone))
        for batch in known:
            if isinstance(together[batch], str) and len(batch) > 1 and self._joinable.issuperset(batch):
                # Each by itself was answered, and quickly: it is together that the server does not take them.
                self._joinable.difference_update(batch)
                self._apart.update(batch)
        return answers

    def _ask_together(
        self, connection: HttpConnection, batch: tuple[str, ...], deadline: Deadline
    ) -> list[list[Any]] | str:
        if len(batch) == 1:
            return "nothing to join it with"
        limit_s = None if self._joinable.issuperset(batch) else UNTRIED_S
        answer = self._ask(self._instant, connection, {"query": joined(batch)}, deadline, "POST", limit_s)
        parts = None if isinstance(answer, str) else parted(*answer, len(batch))
        if parts is None:
            return answer if isinstance(answer, str) else "a result that makes no sense"
        return parts

    def _ask_alone(self, connection: HttpConnection, query: str, deadline: Deadline) -> _Result | str:
        began_s = time.monotonic()
        answer = self._ask(self._instant, connection, {"query": query}, deadline)
        took_s = time.monotonic() - began_s
        self._tried.add(query)
        is_quick = not isinstance(answer, str) and answer[0] == "vector" and took_s < QUICK_S
        if is_quick and query not in self._apart:
            self._joinable.add(query)
        else:
            self._joinable.discard(query)
        return answer

    def fetch(self, gaps: Mapping[str, Gap], step_ms: int) -> list[Filling]:
        """See :class:`slakeeper.integrations.source.Catching`."""

        deadline = Deadline(self._timeout_ms)
        wanted = list(dict.fromkeys(gaps.values()))
        answers: dict[Gap, _Filled | str] = {}

        def ask_span(
            connection: HttpConnection, batch: tuple[Gap, ...], deadline: Deadline
        ) -> list[_Filled] | str:
            span = Gap(
                joined([gap.query for gap in batch]), batch[0].from_ms, max(gap.to_ms for gap in batch)
            )
            answer = self._ask_range(connection, span, step_ms, deadline, "POST")
            parts = None if isinstance(answer, str) else parted(*answer, len(batch), "matrix")
            if parts is None:
                return answer if isinstance(answer, str) else "a result that makes no sense"
            return [samples_of("matrix", part, gap) for gap, part in zip(batch, parts, strict=True)]

        def ask(connection: HttpConnection, gap: Gap, deadline: Deadline) -> _Filled | str:
            answer = self._ask_range(connection, gap, step_ms, deadline)
            return answer if isinstance(answer, str) else samples_of(*answer, gap)

        quick = [gap for gap in wanted if gap.query in self._joinable]
        work = Work(self._range, Deadline(self._timeout_ms // 2), _spans(quick, step_ms))
        for batch, parts in work.done_by(self._concurrency, ask_span).items():
            if not isinstance(parts, str):
                answers.update(zip(batch, parts, strict=True))
        alone = [gap for gap in wanted if gap not in answers]
        answers.update(Work(self._range, deadline, alone).done_by(self._concurrency, ask))
        fillings = []
        for metric, gap in gaps.items():
            answer = answers[gap]
            samples, error = ((), answer) if isinstance(answer, str) else (tuple(answer[0]), answer[1])
            fillings.append(Filling(metric, samples, error))
        return fillings

    def _ask_range(
        self, connection: HttpConnection, gap: Gap, step_ms: int, deadline: Deadline, method: str = "GET"
    ) -> _Result | str:
        form = {
            "query": gap.query,
            "start": f"{gap.from_ms / SECOND_MS:.3f}",
            "end": f"{gap.to_ms / SECOND_MS:.3f}",
            "step": f"{step_ms / SECOND_MS:.3f}",
        }
        return self._ask(self._range, connection, form, deadline, method)

    def _ask(
        self,
        client: HttpClient,
        connection: HttpConnection,
        form: Mapping[str, str],
        deadline: Deadline,
        method: str = "GET",
        limit_s: float | None = None,
    ) -> _Result | str:
        """A result, or what is wrong.

        Args:
            limit_s: after which the server gives up, if that is before the deadline.

        Raises:
            HttpError, TimeoutError: no answer.
        """
        query = form["query"]
        left_s = deadline.remaining_s() if limit_s is None else min(deadline.remaining_s(), limit_s)
        text = urlencode({**form, "timeout": f"{max(round(left_s * SECOND_MS), 1)}ms"})
        if method == "POST":
            answer = connection.request(
                method, client.target, body=text.encode(), headers=_FORM, answer_limit=_ANSWER_LIMIT
            )
        else:
            separator = "&" if client.query else "?"
            target = f"{client.target}{separator}{text}"
            answer = connection.request(method, target, answer_limit=_ANSWER_LIMIT)
        if answer.broken:
            return answer.broken
        try:
            document = answer.json()
        except ValueError:
            return f"answered {answer.status} and no JSON: {answer.excerpt()}"
        return self._read(client, query, answer, document)

    def _read(self, client: HttpClient, query: str, answer: Answer, document: Any) -> _Result | str:
        match document:
            case {"status": "success", "data": {"resultType": str(kind), "result": result}}:
                self._warn(client, query, document.get("warnings"))
                return kind, result
            case {"status": "error", "error": reason}:
                return masked(f"{document.get('errorType', 'error')}: {reason}", client.secrets)[:400]
            case _:
                return f"answered {answer.status}: {answer.excerpt()}"

    def _warn(self, client: HttpClient, query: str, warnings: Any) -> None:
        """Says what the server warns of, once until it changes."""
        listed = warnings[:_SHOWN_WARNINGS] if isinstance(warnings, list) else []
        texts = tuple(masked(str(text), client.secrets)[:_SHOWN_CHARS] for text in listed)
        if texts and self._warned.get(query) != texts:
            words = "; ".join(texts)
            logging.getLogger("slakeeper.source").warning(
                "source %s warns of %s: %s", self.name, query[:_SHOWN_CHARS], words
            )
        if texts:
            self._warned[query] = texts
        else:
            self._warned.pop(query, None)


def _in_batches(queries: list[str]) -> list[tuple[str, ...]]:
    return [tuple(queries[at : at + JOINED]) for at in range(0, len(queries), JOINED)]


def _spans(gaps: list[Gap], step_ms: int) -> list[tuple[Gap, ...]]:
    """Gaps that are asked for in one range, by their beginning: those that begin within a step of the first.

    After a restart they are all alike, a moment apart. Each gets of the range what lies within it.
    """
    spans: list[tuple[Gap, ...]] = []
    batch: list[Gap] = []
    for gap in sorted(gaps, key=lambda each: (each.from_ms, each.to_ms)):
        first = batch[0] if batch else gap
        samples = (max(gap.to_ms, first.to_ms) - first.from_ms) // step_ms + 1
        is_full = len(batch) == JOINED or (len(batch) + 1) * samples > JOINED_SAMPLES
        if batch and (is_full or gap.from_ms - first.from_ms >= step_ms):
            spans.append(tuple(batch))
            batch = []
        batch.append(gap)
    if batch:
        spans.append(tuple(batch))
    return [span for span in spans if len(span) > 1]
