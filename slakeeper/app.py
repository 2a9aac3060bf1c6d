"""slakeeper inside another program: start it, feed it, ask it, be told.

with App.start(config="config/", data="./data") as app:
    app.define_sla(Sla(id="api", metrics=[Metric(name="latency", value=250, unit="ms", condition="lt")]))
    app.observe("latency", 312.0)
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError

from slakeeper.client import Cluster, RequestFailed, connect
from slakeeper.embedded import InlineSystem, ProcessSystem
from slakeeper.feed import Feed, checked_sample
from slakeeper.listener import Listeners
from slakeeper.otp.attach import NotRunning, running
from slakeeper.request import CALL_TIMEOUT_S
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric

MODES = ("processes", "inline")

_T = TypeVar("_T")


class App:
    """A running slakeeper. Safe to share between threads; stop it with :meth:`stop` or as a context manager."""

    def __init__(self, cluster: Cluster, close: Callable[[], None]) -> None:
        """Use :meth:`start` or :meth:`attach`."""
        self._cluster = cluster
        self._close = close
        self._feed = Feed(cluster)
        self._listeners = Listeners()
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
        self._feed.put(checked_sample(metric, value, at_ms, sla, labels))

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
        self._listeners.add(topic, callback)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _for_each(self, only: str | None, act: Callable[[str], Future[Any]]) -> None:
        for row in self.check_slas():
            if (row["status"] == "suspended") == (only == "suspended"):
                self._wait(act(row["id"]))

    @staticmethod
    def _wait(future: Future[_T]) -> _T:
        return future.result(CALL_TIMEOUT_S)
