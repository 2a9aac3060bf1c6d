"""`Client`: samples from any Python program to a running slakeeper, over HTTP, each counted once.

A batch keeps its id until it is acknowledged, and slakeeper remembers the ids it has taken: whatever is killed in
between, nothing that was sent is lost or counted twice. Needs the standard library and urllib3.

Whoever answers may be anybody: an exchange has one time limit, and of an answer no more is read than a verdict takes.
"""

import atexit
import json
import logging
import math
import os
import random
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from slakeeper.backlog import Backlog, Portion, Sample
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer
from slakeeper.integrations.http_client import HttpClient, HttpConnection, HttpError

SAMPLES_PATH = "/v1/samples"

# Between two tries: doubled each time up to the longest, then a part of it by chance, so that many senders do not come
# back together. What the server asks for goes before.
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 15.0

# A server that asks for more than this is not taken at its word.
MAX_RETRY_AFTER_S = 300.0

CONNECT_WITHIN_S = 3.0

# For the whole of an exchange: a gateway waits 30 s for a body, and less than that for its cells.
EXCHANGE_WITHIN_S = 60.0

# Of a request: what a proxy takes of which nobody has said how much (nginx: 1 MiB); the gateway takes 8 MiB. Some ten
# thousand samples. One sample that is longer has more labels than any is taken with.
BODY_BYTES = 1024 * 1024

# Of an answer: a page that says why not, and for each sample its number and a reason.
ANSWER_BYTES = 64 * 1024
ANSWER_BYTES_PER_SAMPLE = 128

# For what an interpreter that ends leaves unsent.
EXIT_WITHIN_S = 5.0

# A sample whose monitor is down is sent again until it is this old; one that stays down must not hold up all others.
DOWN_PATIENCE_MS = 10_000
DOWN_WAIT_S = 1.0

# The batch is wrong, and would be the next time. Of the others, a wrong token or address can be mended meanwhile.
_NEVER_AGAIN = frozenset({400, 413, 415, 422})

_ACCEPTED = 202
_TOO_LARGE = 413
_NOT_NOW = 503

Where = tuple[str, str]
"""(address, token)"""


class Client:
    """Reports samples. Safe to share between threads and to carry through a fork.

    Args:
        url: address of the gateway, such as ``http://127.0.0.1:8765``.
        token: the API token, or one of the file ``ingest.token_file``.
        batch_samples: samples in one request at most; fewer when they are more than ``BODY_BYTES``.
        batch_wait_s: how long a sample waits for others.
        buffer_samples: samples that may wait while slakeeper does not take them.
        when_full: ``drop_oldest`` counts and forgets the oldest sample; ``block`` makes :meth:`observe` wait.
        block_s: how long it waits at most; None: as long as it takes.

    Raises:
        ValueError: a size is not positive, or ``when_full`` none of the two.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        batch_samples: int = 1_000,
        batch_wait_s: float = 0.2,
        buffer_samples: int = 100_000,
        when_full: Literal["drop_oldest", "block"] = "drop_oldest",
        block_s: float | None = None,
    ) -> None:
        if when_full not in {"drop_oldest", "block"}:
            raise ValueError(f"when_full is drop_oldest or block, not {when_full!r}")
        if batch_samples < 1 or buffer_samples < 1 or batch_wait_s < 0:
            raise ValueError("batch_samples and buffer_samples are 1 at least, batch_wait_s 0")
        self._locate: Callable[[], Where] = lambda: (url, token)
        self._block_s = block_s
        self._new_backlog: Callable[[], Backlog] = lambda: Backlog(
            buffer_samples, batch_samples, batch_wait_s, drops_oldest=when_full == "drop_oldest"
        )
        self._begin()
        _clients.add(self)

    @classmethod
    def from_data(cls, data: str | os.PathLike[str], **options: Any) -> Self:
        """A client of the service that runs on a data directory, wherever it listens; also of the one after it.

        Args:
            data: the data directory.
            options: as for the client itself.

        Raises:
            OSError: there is no ``run.json`` that can be read.
            ValueError: it says nothing of an address.
        """
        path = Path(data) / "run.json"

        def locate() -> Where:
            run = json.loads(path.read_text(encoding="utf-8"))
            if not run.get("http"):
                raise ValueError(f"{path}: no address of the gateway")
            return f"http://{run['http']}", run.get("token", "")

        client = cls(*locate(), **options)
        client._locate = locate
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def observe(
        self,
        metric: str,
        value: float,
        ts: int | None = None,
        sla: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> bool:
        """Reports a sample; does not wait for it to be sent.

        Args:
            metric: name of a metric.
            value: a number. One that is not finite is counted as rejected.
            ts: Unix milliseconds; now when left out.
            sla: only for this contract; otherwise for every contract that has the metric.
            labels: for metrics that ask for some.

        Returns:
            False when the sample was not taken: the client is closed, its buffer stayed full for ``block_s``, or the
            value is not finite.

        Raises:
            TypeError: an argument is not of its type.
        """
        sample = _sample(metric, value, time.time_ns() // 1_000_000 if ts is None else ts, sla, labels)
        if not math.isfinite(sample["value"]):
            self._reject({"not_finite": 1})
            return False
        self._start()
        if not self._backlog.put(sample, self._block_s):
            self._reject({"closed" if self._closed else "no_room": 1})
            return False
        return True

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Waits until everything that was observed before is durable or was rejected; False when it is not in time."""
        return self._backlog.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Sends what there is, and ends; False when something could not be sent in time and is lost."""
        self._closed = True
        self._backlog.close()
        is_through = True
        if self._thread is not None:
            is_through = self._backlog.flush(timeout_s)
            self._ended.set()
            self._thread.join(timeout=CONNECT_WITHIN_S)
        _clients.discard(self)
        if not is_through:
            _log().error("%d samples could not be sent and are lost", self._backlog.waiting)
        return is_through

    def counts(self) -> dict[str, Any]:
        """``{"accepted", "rejected": {reason: n}, "dropped", "waiting", "batches", "resent"}`` since the beginning.

        ``dropped`` were the oldest of a full buffer; ``resent`` are requests beyond the first for a batch.
        """
        with self._lock:
            return {
                "accepted": self._accepted,
                "rejected": dict(self._rejected),
                "dropped": self._backlog.dropped,
                "waiting": self._backlog.waiting,
                "batches": self._batches,
                "resent": self._resent,
            }

    # --- inside -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """An empty client without a thread; again in a forked child, whose parent sends what was there."""
        self._lock = threading.Lock()
        self._backlog = self._new_backlog()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: HttpConnection | None = None
        self._target = ""
        self._closed = False
        self._accepted = self._batches = self._resent = 0
        self._rejected: Counter[str] = Counter()

    def _start(self) -> None:
        """Starts the thread on the first sample: until then a process may fork."""
        if self._thread is not None or self._closed:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="slakeeper-client", daemon=True)
                thread.start()
                self._thread = thread

    def _reject(self, reasons: Mapping[str, int]) -> None:
        with self._lock:
            self._rejected.update(reasons)

    def _run(self) -> None:
        while not self._ended.is_set() and (portion := self._backlog.take()) is not None:
            if self._send(portion):
                self._backlog.done(portion)
        self._hang_up()

    def _send(self, portion: Portion) -> bool:
        """Sends samples until there is a verdict on each; False when the client ended before."""
        waiting = [portion.samples]
        while waiting:
            samples = waiting.pop()
            body = json.dumps({"samples": samples, "batch_id": uuid.uuid4().hex}).encode()
            if len(body) <= BODY_BYTES:
                try:
                    if not self._send_batch(samples, body):
                        return False
                    continue
                except _TooLarge:
                    pass  # nothing of it was taken, so that its parts are batches of their own
            if len(samples) == 1:
                _log().error("a sample of %s is too large to be sent", samples[0]["metric"][:100])
                self._reject({"too_large": 1})
                continue
            half = len(samples) // 2
            waiting += samples[half:], samples[:half]
        return True

    def _send_batch(self, samples: Sequence[Sample], body: bytes) -> bool:
        """Sends a batch until there is a verdict; False when the client ended before.

        Raises:
            _TooLarge: the verdict is that it has to be sent in parts.
        """
        down_until_ms = max(sample["ts"] for sample in samples) + DOWN_PATIENCE_MS
        tries = 0
        while not self._ended.is_set():
            asked_s = self._try(samples, body, time.time_ns() // 1_000_000 < down_until_ms)
            if asked_s is None:
                with self._lock:
                    self._batches += 1
                    self._resent += tries
                return True
            longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(tries, 16))
            tries += 1
            self._ended.wait(min(asked_s, MAX_RETRY_AFTER_S) + longest_s * random.uniform(0.5, 1))
        return False

    def _try(self, samples: Sequence[Sample], body: bytes, insists: bool) -> float | None:
        """Sends once; None with a verdict, else how long the server asks to be left alone [s].

        Raises:
            _TooLarge: it has to be sent in parts.
        """
        try:
            answer = self._post(body, ANSWER_BYTES + ANSWER_BYTES_PER_SAMPLE * len(samples))
            verdict = _verdict(answer) if answer.status == _ACCEPTED else None
        except (HttpError, OSError, ValueError) as error:
            _log().debug("slakeeper is not reached: %s", error)
            self._hang_up()  # it may be elsewhere by now
            return 0.0
        if verdict is not None:
            accepted, reasons = verdict
            if insists and reasons["monitor_down"]:
                return DOWN_WAIT_S
            with self._lock:
                self._accepted += accepted
                self._rejected.update(reasons)
            return None
        if answer.status == _TOO_LARGE and len(samples) > 1:
            raise _TooLarge
        said = answer.excerpt(500)
        if answer.status in _NEVER_AGAIN:
            _log().error("%d samples are refused (%d): %s", len(samples), answer.status, said)
            self._reject({f"http_{answer.status}": len(samples)})
            return None
        _log().log(
            logging.DEBUG if answer.status == _NOT_NOW else logging.WARNING,
            "samples are not taken now (%d): %s", answer.status, said,
        )  # fmt: skip
        if answer.status != _NOT_NOW:
            self._hang_up()
        return (answer.retry_after_ms or 0) / 1000

    def _post(self, body: bytes, answer_bytes: int) -> Answer:
        if self._connection is None:
            url, token = self._locate()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            client = HttpClient(url.rstrip("/") + SAMPLES_PATH, headers, (token,))
            self._target, self._connection = client.target, client.open(Deadline(0))
        connection = self._connection
        connection.renew(Deadline(round(CONNECT_WITHIN_S * 1000)))
        connection.connect()
        connection.renew(Deadline(round(EXCHANGE_WITHIN_S * 1000)))
        return connection.request("POST", self._target, body=body, answer_limit=answer_bytes)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _TooLarge(Exception):
    """A batch is more than is taken at once; nothing of it was taken."""


def _sample(metric: Any, value: Any, ts: Any, sla: Any, labels: Any) -> Sample:
    if not (isinstance(metric, str) and isinstance(ts, int) and (sla is None or isinstance(sla, str))):
        raise TypeError(f"metric and sla are text, ts is Unix milliseconds: {metric!r}, {sla!r}, {ts!r}")
    if isinstance(value, bool | str | bytes):
        raise TypeError(f"{value!r} is no number")
    sample: Sample = {"metric": metric, "value": float(value), "ts": ts}
    if sla is not None:
        sample["sla"] = sla
    if labels is not None:
        sample["labels"] = {str(name): str(text) for name, text in labels.items()}
    return sample


def _verdict(answer: Answer) -> tuple[int, Counter[str]]:
    """How many samples were accepted, and how many were not for each reason.

    Raises:
        ValueError: this is no answer of slakeeper's, whatever its status.
    """
    if answer.broken:
        raise ValueError(answer.broken)
    try:
        document = json.loads(answer.body)
        return int(document["accepted"]), Counter(str(row["reason"]) for row in document["rejected"])
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an answer of slakeeper: {answer.excerpt()}") from error


def _log() -> logging.Logger:
    return logging.getLogger("slakeeper.client")


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _end_all() -> None:
    for client in list(_clients):
        client.close(EXIT_WITHIN_S)


def _forked() -> None:
    for client in list(_clients):
        client._begin()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forked)
