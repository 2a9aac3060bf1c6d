"""An address as a source: does it answer, with what, how fast, and how long is its certificate valid?"""

import time
from collections.abc import Mapping

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_client import HttpClient, HttpError, Tls
from slakeeper.integrations.source import Reading
from slakeeper.sla.duration import DAY_MS, SECOND_MS
from slakeeper.sla.monitoring import HttpSource

QUERIES = ("up", "status", "latency", "error", "certificate_days")

_DAY_S = DAY_MS / SECOND_MS


class ProbePoller:
    """One request a poll, over a new connection; all queries are answered from it.

    Up means: an answer, whole or its first MiB, with an expected status and the expected text within the time-out.
    Redirects are answers like others. No answer, for whatever reason, is a reading (up 0, error 100) and not an
    error of the source; then there is no status and no latency to tell, which is silence. A certificate that has
    expired has 0 days, whatever else is wrong.
    """

    type = "http"

    def __init__(self, name: str, settings: HttpSource) -> None:
        headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        body = None if settings.body is None else settings.body.get_secret_value()
        self.name = name
        self._timeout_ms = settings.timeout
        self._expected = frozenset(settings.expect_status)
        self._text = None if settings.expect_text is None else settings.expect_text.encode()
        self._method = settings.method
        self._body = None if body is None else body.encode()
        self._client = HttpClient(
            settings.url,
            headers,
            [*headers.values(), body or ""],
            Tls(settings.ca_file, settings.cert_file, settings.key_file),
        )

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        if not queries:
            return []
        values, reason = self._probe()
        readings = []
        for metric, query in queries.items():
            if query not in QUERIES:
                readings.append(Reading(metric, None, None, f"unknown query {query!r}: {', '.join(QUERIES)}"))
            elif query in values:
                readings.append(Reading(metric, values[query]))
            elif query == "certificate_days" and self._client.scheme != "https":
                readings.append(Reading(metric, None, None, "no certificate: the address is not https"))
            else:
                readings.append(Reading(metric, None, None, reason, is_silence=True))
        return readings

    def _probe(self) -> tuple[dict[str, float], str]:
        """Values by query, and why some are missing."""
        began_s = time.monotonic()
        connection = self._client.open(Deadline(self._timeout_ms))
        try:
            with connection:
                answer = connection.request(
                    self._method, self._client.target, body=self._body, headers={"Connection": "close"}
                )
        except HttpError as error:
            values = {"up": 0.0, "error": 100.0}
            end_s = time.time() if error.expired else connection.certificate_end_s
            return {**values, **_validity(end_s)}, str(error)
        has_text = self._text is None or self._text in answer.body
        is_up = answer.status in self._expected and not answer.is_cut and has_text
        values = {
            "up": 100.0 if is_up else 0.0,
            "error": 0.0 if is_up else 100.0,
            "status": float(answer.status),
            **_validity(connection.certificate_end_s),
        }
        if not answer.is_cut:
            values["latency"] = (time.monotonic() - began_s) * 1000
        return values, answer.broken


def _validity(end_s: float | None) -> dict[str, float]:
    return {} if end_s is None else {"certificate_days": max(end_s - time.time(), 0.0) / _DAY_S}
