"""A Prometheus server as a source: instant queries over its HTTP API, and range queries for what was missed."""

import json
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer, masked
from slakeeper.integrations.http_client import (
    HttpClient,
    HttpConnection,
    HttpError,
    Tls,
    basic_auth,
)
from slakeeper.integrations.source import Filling, Gap, Reading
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.monitoring import PrometheusSource
from slakeeper.sla.sample import Sample

# So many connections in a row that come to nothing say that the server is not there: the rest are not tried.
_LOST_IN_A_ROW = 3

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class PrometheusPoller:
    """Asks each query once a poll, a few at a time; it must come down to one number.

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
        base = settings.url.rstrip("/") + "/api/v1/"
        self._instant = HttpClient(base + "query", headers, secrets, tls)
        self._range = HttpClient(base + "query_range", headers, secrets, tls)
        self._warned: dict[str, tuple[str, ...]] = {}

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        work = _Work(self._instant, self._timeout_ms, dict.fromkeys(queries.values()))
        answers = work.done_by(self._concurrency, self._ask_now)
        readings = []
        for metric, query in queries.items():
            answer = answers[query]
            if isinstance(answer, str):
                readings.append(Reading(metric, None, None, answer))
            else:
                readings.append(_reading_of(metric, *answer))
        return readings

    def fetch(self, gaps: Mapping[str, Gap], step_ms: int) -> list[Filling]:
        """See :class:`slakeeper.integrations.source.Catching`."""

        def ask(
            connection: HttpConnection, gap: Gap, deadline: Deadline
        ) -> tuple[list[Sample], str | None] | str:
            span = {
                "start": f"{gap.from_ms / SECOND_MS:.3f}",
                "end": f"{gap.to_ms / SECOND_MS:.3f}",
                "step": f"{step_ms / SECOND_MS:.3f}",
            }
            answer = self._ask(self._range, connection, gap.query, span, deadline)
            return answer if isinstance(answer, str) else samples_of(*answer)

        answers = _Work(self._range, self._timeout_ms, dict.fromkeys(gaps.values())).done_by(
            self._concurrency, ask
        )
        fillings = []
        for metric, gap in gaps.items():
            answer = answers[gap]
            samples, error = ((), answer) if isinstance(answer, str) else (tuple(answer[0]), answer[1])
            fillings.append(Filling(metric, samples, error))
        return fillings

    def _ask_now(self, connection: HttpConnection, query: str, deadline: Deadline) -> tuple[str, Any] | str:
        return self._ask(self._instant, connection, query, {}, deadline)

    def _ask(
        self,
        client: HttpClient,
        connection: HttpConnection,
        query: str,
        span: Mapping[str, str],
        deadline: Deadline,
    ) -> tuple[str, Any] | str:
        """The kind of the result and the result, or what is wrong.

        Raises:
            HttpError, TimeoutError: no answer.
        """
        form = {"query": query, **span, "timeout": f"{max(round(deadline.remaining_s() * SECOND_MS), 1)}ms"}
        separator = "&" if client.query else "?"
        answer = connection.request("GET", f"{client.target}{separator}{urlencode(form)}")
        if answer.broken:
            return answer.broken
        try:
            document = answer.json()
        except ValueError:
            return f"answered {answer.status} and no JSON: {answer.excerpt()}"
        return self._read(client, query, answer, document)

    def _read(self, client: HttpClient, query: str, answer: Answer, document: Any) -> tuple[str, Any] | str:
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
        texts = tuple(str(text) for text in warnings) if isinstance(warnings, list) else ()
        if texts and self._warned.get(query) != texts:
            words = masked("; ".join(texts), client.secrets)
            logging.getLogger("slakeeper.source").warning(
                "source %s warns of %s: %s", self.name, query, words
            )
        if texts:
            self._warned[query] = texts
        else:
            self._warned.pop(query, None)


class _Work(Generic[_Q]):
    """Questions to one server, asked by a few threads with a connection each, all within one deadline."""

    def __init__(self, client: HttpClient, timeout_ms: int, questions: Iterable[_Q]) -> None:
        self._client = client
        self._deadline = Deadline(timeout_ms)
        self._questions = list(questions)
        self._lock = threading.Lock()
        self._next = iter(self._questions)
        self._gone = ""

    def done_by(
        self, threads: int, ask: Callable[[HttpConnection, _Q, Deadline], _A | str]
    ) -> dict[_Q, _A | str]:
        """Every question with its answer, or with what is wrong as text."""
        answers: dict[_Q, _A | str] = {}

        def work() -> None:
            lost = 0
            with self._client.open(self._deadline) as connection:
                for question in self._taken():
                    if self._gone:
                        answers[question] = self._gone
                    elif self._deadline.is_over:
                        answers[question] = "not asked: the queries before it took all the time"
                    else:
                        try:
                            answers[question] = ask(connection, question, self._deadline)
                            lost = 0
                        except (HttpError, TimeoutError) as error:
                            answers[question] = str(error)
                            lost += 1
                            if lost >= _LOST_IN_A_ROW:
                                self._gone = str(error)

        count = min(threads, len(self._questions))
        if count <= 1:
            work()
            return answers
        with ThreadPoolExecutor(count, thread_name_prefix="query") as pool:
            for each in [pool.submit(work) for _ in range(count)]:
                each.result()
        return answers

    def _taken(self) -> Iterator[_Q]:
        while True:
            with self._lock:
                try:
                    question = next(self._next)
                except StopIteration:
                    return
            yield question


def _reading_of(metric: str, kind: str, result: Any) -> Reading:
    """One number from the result of an instant query."""
    match kind, result:
        case "vector", []:
            return Reading(metric, None, None, "no data: the result is empty", is_silence=True)
        case "vector", [{"value": [ts, value]}]:
            return _number(metric, ts, value)
        case "scalar", [ts, value]:
            return _number(metric, ts, value)
        case _:
            return Reading(metric, None, None, _refusal(kind, "vector", result))


def _number(metric: str, ts: Any, value: Any) -> Reading:
    try:
        number, at_ms = float(value), round(float(ts) * SECOND_MS)
    except (TypeError, ValueError, OverflowError):
        return Reading(metric, None, None, f"not a number: {value!r} at {ts!r}"[:200])
    if math.isnan(number):
        return Reading(metric, None, None, "no data: the value is NaN", is_silence=True)
    if not math.isfinite(number):
        return Reading(metric, None, None, f"the value is {value}")
    return Reading(metric, number, at_ms)


def samples_of(kind: str, result: Any) -> tuple[list[Sample], str | None]:
    """The samples of the one series of a range query, without those that are no number; or what is wrong."""
    match kind, result:
        case "matrix", []:
            return [], None
        case "matrix", [{"values": list(pairs)}]:
            samples: list[Sample] = []
            for pair in pairs:
                match pair:
                    case [ts, value]:
                        reading = _number("", ts, value)
                        if reading.value is not None and reading.ts_ms is not None:
                            samples.append((reading.ts_ms, reading.value))
                    case _:
                        return [], _refusal(kind, "matrix", result)
            return samples, None
        case _:
            return [], _refusal(kind, "matrix", result)


def _refusal(kind: str, wanted: str, result: Any) -> str:
    match kind, result:
        case _, [{"histogram": _} | {"histograms": _}]:
            return "the result is a histogram: take a quantile of it"
        case (("vector" | "matrix"), [_, _, *_]) if kind == wanted:
            return f"{len(result)} series where one number is wanted: aggregate them"
        case (("vector" | "matrix" | "string" | "scalar"), _) if kind != wanted:
            return f"the result is a {kind} where one number is wanted"
        case _:
            return f"a result that makes no sense: {json.dumps(result)[:200]}"
