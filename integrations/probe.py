"""An address as a source: does it answer, with what, and how fast?"""

import time
from collections.abc import Mapping

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_client import HttpClient, HttpError
from slakeeper.integrations.source import Reading
from slakeeper.sla.monitoring import HttpSource

QUERIES = ("up", "status", "latency", "error")


class ProbePoller:
    """One GET a poll, over a new connection; all queries are answered from it.

    Up means: an answer, whole or its first MiB, with an expected status within the time-out. Redirects are
    answers like others. No answer, for whatever reason, is a reading (up 0, error 100) and not an error of the
    source; then there is no status and no latency to tell.
    """

    type = "http"

    def __init__(self, name: str, settings: HttpSource) -> None:
        self.name = name
        self._timeout_ms = settings.timeout
        self._expected = frozenset(settings.expect_status)
        self._client = HttpClient(settings.url)

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        if not queries:
            return []
        values, reason = self._probe()
        readings = []
        for metric, query in queries.items():
            value = values.get(query)
            error = None if value is not None else reason
            if query not in QUERIES:
                error = f"unknown query {query!r}: {', '.join(QUERIES)}"
            readings.append(Reading(metric, value, None, error))
        return readings

    def _probe(self) -> tuple[dict[str, float], str]:
        """Values by query, and why some are missing."""
        began_s = time.monotonic()
        try:
            with self._client.open(Deadline(self._timeout_ms)) as connection:
                answer = connection.request("GET", self._client.target, headers={"Connection": "close"})
        except HttpError as error:
            return {"up": 0.0, "error": 100.0}, str(error)
        is_up = answer.status in self._expected and not answer.is_cut
        values = {
            "up": 100.0 if is_up else 0.0,
            "error": 0.0 if is_up else 100.0,
            "status": float(answer.status),
        }
        if not answer.is_cut:
            values["latency"] = (time.monotonic() - began_s) * 1000
        return values, answer.broken
