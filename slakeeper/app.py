"""slakeeper inside another program: start it, feed it, ask it, be told.

with App.start(config="config/", data="./data") as app:
    app.define_sla(Sla(id="api", metrics=[Metric(name="latency", value=250, unit="ms", condition="lt")]))
    app.observe("latency", 312.0)
"""

import logging
import os
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError

from slakeeper.client import Cluster, Overloaded, RequestFailed, connect
from slakeeper.embedded import InlineSystem, ProcessSystem
from slakeeper.otp.attach import NotRunning, running
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric

# How long a call waits for the cells; one that is being restarted is back within a second.
CALL_TIMEOUT_S = 10.0

# Samples are sent when this many wait, or this long after the first of them: one durable write for all.
BATCH_SAMPLES = 5_000
BATCH_WAIT_S = 0.005

# Samples that may wait to be sent; beyond it :meth:`App.observe` refuses rather than fill the host's memory.
MAX_WAITING_SAMPLES = 200_000

# Rejected samples that are remembered for the next flush, which may never come; the newest count.
KEPT_REJECTIONS = 10_000

# Events that may wait for slow callbacks; later ones are lost rather than fill the host's memory.
MAX_WAITING_EVENTS = 10_000

# A batch that was not acknowledged is sent again, under its id, until this much time has passed.
RESEND_FOR_S = 60.0
RESEND_WAIT_S = 0.2

MODES = ("processes", "inline")

# What :meth:`App.on` can be asked for.
TOPICS = frozenset({
    "violation.opened", "violation.updated", "violation.acknowledged", "violation.escalated", "violation.resolved",
    "alert.sent", "alert.failed", "escalation.sent", "escalation.failed", "remediation.ended",
    "compensation.booked", "compensation.decided", "compensation.settled", "billing.failed",
    "metric.changed", "sla.changed", "sla.removed",
    "actor.crashed", "actor.quarantined",
})  # fmt: skip
EVERY_TOPIC = "*"

_T = TypeVar("_T")

Sample = tuple[str, float, int | None, str | None, Mapping[str, str] | None]


class App:
    """A running slakeeper. Safe to share between threads; stop it with :meth:`stop` or as a context manager."""

    def __init__(self, cluster: Cluster, close: Callable[[], None]) -> None:
        """Use :meth:`start` or :meth:`attach`."""
        self._cluster = cluster
        self._close = close
        self._feed = _Feed(cluster)
        self._listeners = _Listeners()
        self._stopped = False
        cluster.listen(self._listeners.heard)

    # -- life -----------------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        config: str | os.PathLike[str] | None = None,
        data: str | os.PathLike[str] = "slakeeper-data",
        mode: Literal["processes", "inline"] = "processes",
        http: str = "127.0.0.1:0",
    ) -> Self:
        """Starts slakeeper and returns when it is ready.

        Args:
            config: folder of the YAML files; None begins without contracts.
            data: where its state lives.
            mode: ``processes`` is the supervised multi-process service, which ends with this program;
                ``inline`` is one thread in this process, without HTTP and without supervision of processes.
            http: HOST:PORT of the HTTP interface in mode ``processes``; port 0 takes any.

        Raises:
            StartError: it did not come up; the text says why, and every error of the configuration.
            ValueError: there is no such mode.
        """
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode!r}: it is {' or '.join(map(repr, MODES))}")
        folder = None if config is None else Path(config)
        if mode == "inline":
            inline = InlineSystem(Path(data).absolute(), folder)
            return cls(inline.cluster, inline.stop)
        system = ProcessSystem(Path(data).absolute(), folder, http)
        return cls(system.cluster, system.stop)

    @classmethod
    def attach(cls, data: str | os.PathLike[str] = "slakeeper-data") -> Self:
        """Speaks to the service that runs on ``data`` already; :meth:`stop` then leaves it running.

        Raises:
            NotRunning: none does, or not yet.
        """
        topology = running(Path(data).absolute()).get("topology")
        if topology is None:
            raise NotRunning(Path(data), f"the service on {data} is only starting")
        cluster = connect(topology["cells"], topology["partitions"])
        return cls(cluster, cluster.close)

    def stop(self) -> None:
        """Sends what waits, stops, and returns when everything is on disk; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._feed.close()
        self._listeners.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- samples --------------------------------------------------------------------------------------------------

    def observe(
        self,
        metric: str,
        value: float,
        *,
        ts: int | None = None,
        sla: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Reports a sample; returns at once. :meth:`flush` says what became of it.

        Args:
            metric: name of a metric.
            value: a finite number, or anything that is one for ``float``.
            ts: Unix milliseconds; now when left out.
            sla: only for this contract; otherwise for every contract that has the metric.

        Raises:
            TypeError: the value is no number, or another argument not of its type; this sample was not taken.
            Overloaded: too many samples wait already; neither was this one.
            RequestFailed: ``unavailable``: the app has stopped.
        """
        at_ms = time.time_ns() // 1_000_000 if ts is None else ts
        self._feed.put(_checked(metric, value, at_ms, sla, labels))

    def flush(self, timeout_s: float = CALL_TIMEOUT_S) -> list[tuple[str, str]]:
        """Waits until every sample observed before is durable.

        Returns:
            (metric, reason) of the samples that were rejected since the last flush.

        Raises:
            TimeoutError: some are not yet.
            RequestFailed: some could not be delivered.
        """
        return self._feed.flush(timeout_s)

    # -- contracts: the seed's definition system ------------------------------------------------------------------

    def define_sla(self, sla: Sla | str, name: str = "", metrics: Sequence[Metric] = ()) -> dict[str, Any]:
        """Defines a contract, or gives it a new version; as in the seed also by id, name and metrics.

        Returns:
            ``{"id", "version"}``.

        Raises:
            pydantic.ValidationError: with every error of the contract.
        """
        contract = sla if isinstance(sla, Sla) else Sla(id=sla, name=name, metrics=tuple(metrics))
        return self._wait(self._cluster.define(contract.to_document()))

    def get_sla(self, sla_id: str) -> Sla:
        """The contract as it is in force.

        Raises:
            RequestFailed: ``not_found``.
        """
        return Sla.from_document(self._wait(self._cluster.document(sla_id)))

    @staticmethod
    def validate_sla(document: Mapping[str, Any] | Sla) -> list[dict[str, str]]:
        """Every error of a contract as ``{"path", "reason", "message"}``; empty when it is valid."""
        given = document.to_document() if isinstance(document, Sla) else dict(document)
        try:
            Sla.from_document(given)
        except ValidationError as error:
            return [
                {"path": ".".join(map(str, line["loc"])), "reason": line["type"], "message": line["msg"]}
                for line in error.errors(include_url=False)
            ]
        return []

    def list_slas(self) -> list[str]:
        """The ids of all contracts, sorted."""
        return [row["id"] for row in self._wait(self._cluster.slas())]

    def remove_sla(self, sla_id: str, by: str = "app") -> None:
        """Ends a contract; its ledger is kept.

        Raises:
            RequestFailed: ``conflict`` while it has open violations.
        """
        self._wait(self._cluster.remove(sla_id, by))

    # -- watching: the seed's monitor -----------------------------------------------------------------------------

    def start_monitoring(self, by: str = "app") -> None:
        """Lets every suspended contract count again."""
        self._for_each("suspended", lambda sla_id: self._cluster.resume(sla_id, by))

    def stop_monitoring(self, by: str = "app") -> None:
        """Suspends every contract: until :meth:`start_monitoring` nothing counts for or against any of them."""
        self._for_each(None, lambda sla_id: self._cluster.suspend(sla_id, by))

    def check_slas(self) -> list[dict[str, Any]]:
        """The status of every contract now; the keys are those of ``slakeeper status``."""
        return self._wait(self._cluster.slas())

    def get_sla_status(self, sla_id: str) -> dict[str, Any]:
        """The status of one contract.

        Raises:
            RequestFailed: ``not_found``.
        """
        for row in self.check_slas():
            if row["id"] == sla_id:
                return row
        raise RequestFailed("not_found", f"no contract {sla_id}")

    # -- acting: the seed's enforcement engine --------------------------------------------------------------------

    def violations(
        self, sla_id: str | None = None, *, include_resolved: bool = False
    ) -> list[dict[str, Any]]:
        """Open violations, newest first; the keys are those of ``slakeeper violations``."""
        return self._wait(self._cluster.violations(sla_id, include_resolved))

    def enforce_slas(self) -> list[dict[str, Any]]:
        """Looks again at what every open violation calls for; nothing is begun twice."""
        return [self.handle_violation(row["id"]) for row in self.violations()]

    def handle_violation(self, violation_id: str) -> dict[str, Any]:
        """Looks again at what one open violation calls for, and returns it."""
        return self._wait(self._cluster.enforce(violation_id))

    def escalate_violation(self, violation_id: str, by: str = "app") -> dict[str, Any]:
        """Tells the next level now."""
        return self._wait(self._cluster.escalate(violation_id, by))

    def acknowledge(self, violation_id: str, by: str, note: str = "") -> dict[str, Any]:
        """Somebody is on it: the escalation stops."""
        return self._wait(self._cluster.acknowledge(violation_id, by, note))

    def resolve(self, violation_id: str, by: str, note: str = "") -> dict[str, Any]:
        """Ends a violation by hand."""
        return self._wait(self._cluster.resolve(violation_id, by, note))

    def turn_remediation(self, on: bool, *, by: str, reason: str) -> dict[str, Any]:
        """Switches automatic remediation on or off, in all cells and for good; by hand actions can still be run."""
        return self._wait(self._cluster.turn_remediation(on, by, reason))

    def silences(self, *, include_expired: bool = False) -> list[dict[str, Any]]:
        """Silences in force or to come, the newest first; the keys are those of ``slakeeper silence list``."""
        return self._wait(self._cluster.silences(include_expired))

    def silence(self, *matchers: str, for_s: float, by: str, reason: str) -> dict[str, Any]:
        """From now on and for ``for_s`` seconds nobody is told of violations that match.

        Args:
            matchers: at least one, such as ``sla=api`` or ``severity=~"warning|info"``; all have to match.

        Raises:
            RequestFailed: ``invalid``.
        """
        end_ms = int((time.time() + for_s) * 1000)
        return self._wait(self._cluster.silence(matchers, end_ms, by, reason))

    def expire_silence(self, silence_id: str, by: str) -> dict[str, Any]:
        """Ends a silence now; what it muted and is still open is told.

        Raises:
            RequestFailed: ``not_found``, or ``conflict`` when it is over already.
        """
        return self._wait(self._cluster.expire_silence(silence_id, by))

    def calculate_compensation(self, violation_id: str) -> list[dict[str, Any]]:
        """What a violation is worth: the ledger's entries when it is resolved, else what would be booked now."""
        rows: list[dict[str, Any]] = self._wait(self._cluster.estimate(violation_id))["compensation"]
        return rows

    def compensation(self, sla_id: str | None = None) -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        return self._wait(self._cluster.compensation(sla_id))

    def report(self, sla_id: str, period: str = "current") -> dict[str, Any]:
        """The report about a period: ``current``, ``last`` or ``START/END``."""
        document: dict[str, Any] = self._wait(self._cluster.report(sla_id, period, "json"))["document"]
        return document

    # -- being told -----------------------------------------------------------------------------------------------

    def on(self, topic: str, callback: Callable[[dict[str, Any]], None]) -> None:
        """Has ``callback(event)`` called for every event of a topic, ``"*"`` for all, on a thread of its own.

        Topics: violation.opened, .updated, .acknowledged, .escalated, .resolved; alert.sent, .failed;
        escalation.sent, .failed; remediation.ended; compensation.booked, .decided, .settled; billing.failed;
        metric.changed;
        sla.changed, .removed; actor.crashed, .quarantined. An error in the callback is logged.

        Raises:
            ValueError: there is no such topic.
        """
        if topic != EVERY_TOPIC and topic not in TOPICS:
            raise ValueError(
                f"there is no topic {topic!r}: it is one of {', '.join(sorted(TOPICS))}, or '*' for all"
            )
        self._listeners.add(topic, callback)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _for_each(self, only: str | None, act: Callable[[str], Future[Any]]) -> None:
        for row in self.check_slas():
            if (row["status"] == "suspended") == (only == "suspended"):
                self._wait(act(row["id"]))

    @staticmethod
    def _wait(future: Future[_T]) -> _T:
        return future.result(CALL_TIMEOUT_S)


def _checked(metric: Any, value: Any, at_ms: Any, sla: Any, labels: Mapping[str, str] | None) -> Sample:
    """A sample that can be sent: one that cannot would take its whole batch with it."""
    if not (isinstance(metric, str) and isinstance(sla, str | None) and isinstance(at_ms, int)):
        raise TypeError(f"metric and sla are text, ts is Unix milliseconds: {metric!r}, {sla!r}, {at_ms!r}")
    if isinstance(value, str | bytes) or not -(2**63) <= at_ms < 2**63:
        raise TypeError(f"{value!r} at {at_ms!r} is no sample")
    # A bool is sent as it is, to be rejected as what it is.
    number = value if isinstance(value, bool) else float(value)
    plain = None if labels is None else {str(name): str(text) for name, text in labels.items()}
    return metric, number, at_ms, sla, plain


class _Feed:
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
        if self._closed:
            raise _stopped()
        if self._waiting.qsize() >= MAX_WAITING_SAMPLES:
            raise Overloaded(f"{MAX_WAITING_SAMPLES} samples wait to be sent")
        self._waiting.put(sample)

    def flush(self, timeout_s: float) -> list[tuple[str, str]]:
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


class _Listeners:
    """Calls callbacks on one thread, so that they may call the App again and never hold up a cell."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._lost = 0

    def add(self, topic: str, callback: Callable[[dict[str, Any]], None]) -> None:
        with self._lock:
            self._callbacks.setdefault(topic, []).append(callback)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="slakeeper-events", daemon=True)
                self._thread.start()

    def heard(self, _topic: str, payload: Any) -> None:
        if not self._callbacks:
            return
        if self._events.qsize() < MAX_WAITING_EVENTS:
            self._events.put(dict(payload))
            return
        self._lost += 1
        if self._lost == 1:
            logging.getLogger("slakeeper").error("callbacks are too slow: %d events wait", MAX_WAITING_EVENTS)

    def close(self) -> None:
        self._events.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CALL_TIMEOUT_S)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            for topic in (event.get("topic", ""), EVERY_TOPIC):
                for callback in self._callbacks.get(topic, ()):
                    self._call(callback, event)

    @staticmethod
    def _call(callback: Callable[[dict[str, Any]], None], event: dict[str, Any]) -> None:
        try:
            callback(event)
        except Exception:  # foreign code: its error is its owner's to read
            logging.getLogger("slakeeper").exception("a callback for %s failed", event.get("topic"))
