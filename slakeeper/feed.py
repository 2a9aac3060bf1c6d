"""Samples of this program on their way to the cells: gathered into batches, sent until they are acknowledged."""

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from slakeeper.client import Cluster, Overloaded, RequestFailed
from slakeeper.request import CALL_TIMEOUT_S

# Samples are sent when this many wait, or this long after the first of them: one durable write for all.
BATCH_SAMPLES = 5_000
BATCH_WAIT_S = 0.005

# Samples that may wait to be sent; beyond it :meth:`Feed.put` refuses rather than fill the host's memory.
MAX_WAITING_SAMPLES = 200_000

# Rejected samples that are remembered for the next flush, which may never come; the newest count.
KEPT_REJECTIONS = 10_000

# A batch that was not acknowledged is sent again, under its id, until this much time has passed.
RESEND_FOR_S = 60.0
RESEND_WAIT_S = 0.2

Sample = tuple[str, float, int | None, str | None, Mapping[str, str] | None]


def checked_sample(metric: Any, value: Any, at_ms: Any, sla: Any, labels: Mapping[str, str] | None) -> Sample:
    """A sample that can be sent: one that cannot would take its whole batch with it."""
    if not (isinstance(metric, str) and isinstance(sla, str | None) and isinstance(at_ms, int)):
        raise TypeError(f"metric and sla are text, ts is Unix milliseconds: {metric!r}, {sla!r}, {at_ms!r}")
    if isinstance(value, str | bytes) or not -(2**63) <= at_ms < 2**63:
        raise TypeError(f"{value!r} at {at_ms!r} is no sample")
    # A bool is sent as it is, to be rejected as what it is.
    number = value if isinstance(value, bool) else float(value)
    plain = None if labels is None else {str(name): str(text) for name, text in labels.items()}
    return metric, number, at_ms, sla, plain


class Feed:
    """Gathers samples into batches and sends each until it is acknowledged, one after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._waiting: queue.SimpleQueue[Sample | threading.Event | None] = queue.SimpleQueue()
        self._rejected: deque[tuple[str, str]] = deque(maxlen=KEPT_REJECTIONS)
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="slakeeper-feed", daemon=True)
        self._thread.start()

    def put(self, sample: Sample) -> None:
        """Takes a sample from :func:`checked_sample`; returns at once.

        Raises:
            Overloaded: too many wait already.
            RequestFailed: ``unavailable``: it is closed.
        """
        if self._closed:
            raise _stopped()
        if self._waiting.qsize() >= MAX_WAITING_SAMPLES:
            raise Overloaded(f"{MAX_WAITING_SAMPLES} samples wait to be sent")
        self._waiting.put(sample)

    def flush(self, timeout_s: float) -> list[tuple[str, str]]:
        """Waits until what was put before is durable; (metric, reason) of what was rejected since the last time.

        Raises:
            TimeoutError: it is not yet.
            RequestFailed: some could not be delivered, or the feed is closed.
        """
        if self._closed:
            raise _stopped()
        done = threading.Event()
        self._waiting.put(done)
        if not done.wait(timeout_s):
            raise TimeoutError("samples are still being sent")
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        rejected, self._rejected = self._rejected, deque(maxlen=KEPT_REJECTIONS)
        return list(rejected)

    def close(self) -> None:
        """Sends what waits, as long as that is tried again, and takes nothing more."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join(RESEND_FOR_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch: list[Sample] = []
            flushes: list[threading.Event] = []
            for item in self._gather():
                if item is None:
                    ended = True
                elif isinstance(item, threading.Event):
                    flushes.append(item)
                else:
                    batch.append(item)
            if batch:
                self._send(batch)
            for flushed in flushes:
                flushed.set()

    def _gather(self) -> Iterable[Sample | threading.Event | None]:
        """Waits for something, then takes what comes within a moment; a flush or the end is not waited behind."""
        item = self._waiting.get()
        yield item
        until = time.monotonic() + BATCH_WAIT_S
        for _ in range(BATCH_SAMPLES - 1):
            if item is None or isinstance(item, threading.Event):
                return
            try:
                item = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            yield item

    def _send(self, batch: list[Sample]) -> None:
        batch_id = uuid.uuid4().hex
        until = time.monotonic() + RESEND_FOR_S
        while True:
            try:
                answer = self._cluster.samples(batch, batch_id).result(CALL_TIMEOUT_S)
            except (RequestFailed, TimeoutError) as error:
                retryable = isinstance(error, TimeoutError) or error.code == "unavailable"
                if not retryable or time.monotonic() > until:
                    self._failure = error
                    return
                time.sleep(RESEND_WAIT_S)
            except Exception as error:  # noqa: BLE001  one batch that cannot be sent must not end this thread
                self._failure = RequestFailed(
                    "invalid", f"a batch of {len(batch)} samples cannot be sent: {error}"
                )
                return
            else:
                self._rejected += [(batch[index][0], reason) for index, reason in _pairs(answer["rejected"])]
                return


def _stopped() -> RequestFailed:
    return RequestFailed("unavailable", "the app has stopped")


def _pairs(rejected: Iterable[Any]) -> Iterable[tuple[int, str]]:
    for each in rejected:
        yield (each["index"], each["reason"]) if isinstance(each, Mapping) else (each[0], each[1])
