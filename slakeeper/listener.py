"""Who listens to the cells' events: a thread of its own for callbacks of the host program."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from slakeeper.request import CALL_TIMEOUT_S

# Events that may wait for slow callbacks; later ones are lost rather than fill the host's memory.
MAX_WAITING_EVENTS = 10_000

# What :meth:`App.on` can be asked for.
TOPICS = frozenset({
    "violation.opened", "violation.updated", "violation.acknowledged", "violation.escalated", "violation.resolved",
    "alert.sent", "alert.failed", "escalation.sent", "escalation.failed", "remediation.ended",
    "compensation.booked", "compensation.decided", "compensation.settled", "billing.failed",
    "metric.changed", "sla.changed", "sla.removed",
    "actor.crashed", "actor.quarantined",
})  # fmt: skip
EVERY_TOPIC = "*"


class Listeners:
    """Calls callbacks on one thread, so that they may call the App again and never hold up a cell."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._lost = 0

    def add(self, topic: str, callback: Callable[[dict[str, Any]], None]) -> None:
        """Has the callback called for every event of the topic.

        Raises:
            ValueError: there is no such topic.
        """
        if topic != EVERY_TOPIC and topic not in TOPICS:
            raise ValueError(
                f"there is no topic {topic!r}: it is one of {', '.join(sorted(TOPICS))}, or '*' for all"
            )
        with self._lock:
            self._callbacks.setdefault(topic, []).append(callback)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="slakeeper-events", daemon=True)
                self._thread.start()

    def heard(self, _topic: str, payload: Any) -> None:
        """An event of a cell, on the cell's own thread: it only waits here for its callbacks."""
        if not self._callbacks:
            return
        if self._events.qsize() < MAX_WAITING_EVENTS:
            self._events.put(dict(payload))
            return
        self._lost += 1
        if self._lost == 1:
            logging.getLogger("slakeeper").error("callbacks are too slow: %d events wait", MAX_WAITING_EVENTS)

    def close(self) -> None:
        """Ends the thread after the callbacks for what was heard before."""
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
