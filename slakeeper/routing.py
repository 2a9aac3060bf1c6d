"""Which samples go to which cells.

A contract lives in one cell, found by its id; a metric may be in many contracts and so in many cells. The router
keeps a catalog of each cell (metric -> contracts) and sends a sample only where somebody waits for it. Catalogs are
asked for again before they are used once they are older than a moment, so that a contract which was defined a
moment ago gets its samples even where another contract has the metric already.
"""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from slakeeper.future import chain, failed, gather, settled, then
from slakeeper.request import Overloaded, Unavailable

# (metric, value, Unix ms or None for "now", contract id or None for all, labels or None)
Sample = Sequence[Any]

# What goes where: (cell, chunk, places in the batch)
Plan = list[tuple[str, int, list[int]]]

# A catalog younger than this is taken as it is: less than the shortest time in which somebody can define a contract
# and send it a sample, and a busy gateway asks each cell four times a second.
CATALOG_FRESH_S = 0.25

# The same for a sample that nobody seems to want: the catalog that says so has to be this young.
CATALOG_CERTAIN_S = 0.05

# A large catalog is asked for less often, so that reading it stays a few percent of the work: 10 000 metrics twice a
# second.
CATALOG_REST_S_PER_METRIC = 50e-6

# A cell that takes longer than this to say what it has is not waited for by samples that others want.
CATALOG_PATIENCE_S = 0.5

# Samples a cell may owe an answer for. A cell takes more than this in a second, so that a refused sender has to wait
# about as long as Retry-After says, and a full gateway holds some 20 MB.
MAX_IN_FLIGHT_SAMPLES = 100_000

# One frame's worth: a cell serves others between two frames.
MAX_FRAME_SAMPLES = 5_000

MONITOR_DOWN = "monitor_down"
"""Why a cell rejects a sample that a contract of its wants and whose monitor is down. Others may have got it."""


class Cell(Protocol):
    """Anything that answers requests: a `CellConnection`, or a cell in this process."""

    @property
    def name(self) -> str:
        """The cell's name, as in ``cell-0``."""

    def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
        """Asks; never blocks. The future fails with `RequestFailed`."""


class _Catalog:
    """What one cell has. Made 20 times a second."""

    def __init__(self, metrics: Mapping[str, Sequence[str]], slas: Iterable[str], version: Any) -> None:
        self.slas = frozenset(slas)
        self.version = version
        self.metrics = metrics
        self._slas_of: dict[str, frozenset[str]] = {}

    def wants(self, metric: str, sla: str) -> bool:
        """Whether the cell has this contract with the metric."""
        slas = self._slas_of.get(metric)
        if slas is None:
            slas = self._slas_of[metric] = frozenset(self.metrics.get(metric, ()))
        return sla in slas


class _Index:
    """The catalogs of all cells in one, looked into for every sample.

    Attributes:
        catalogs: by the cell's name.
        cells: names of the cells that have a metric.
    """

    def __init__(self, catalogs: Mapping[str, _Catalog]) -> None:
        self.catalogs = catalogs
        self.cells: dict[str, tuple[str, ...]] = {}
        for name, catalog in catalogs.items():
            for metric in catalog.metrics:
                self.cells[metric] = (*self.cells.get(metric, ()), name)

    def holds(self, catalogs: Mapping[str, _Catalog]) -> bool:
        """Whether it is made of these."""
        mine = self.catalogs
        return len(mine) == len(catalogs) and all(mine.get(name) is each for name, each in catalogs.items())


@dataclass
class _Route:
    """One cell as the router sees it."""

    cell: Cell
    catalog: _Catalog | None = None
    asked_at_s: float = float("-inf")
    rest_s: float = 0.0
    fetch: Future[Any] | None = None
    in_flight: int = 0
    failure: Unavailable | None = None  # of the last fetch

    @property
    def away(self) -> bool:
        return not getattr(self.cell, "connected", True)

    def learn(self, answer: Mapping[str, Any]) -> None:
        if "metrics" in answer:
            self.catalog = _Catalog(answer["metrics"], answer["slas"], answer.get("version"))
            self.rest_s = len(answer["metrics"]) * CATALOG_REST_S_PER_METRIC


class Router:
    """Sends samples to the cells that want them and merges what they say. Safe to share between threads."""

    def __init__(self, cells: Sequence[Cell], max_in_flight: int = MAX_IN_FLIGHT_SAMPLES) -> None:
        self._routes = {cell.name: _Route(cell) for cell in cells}
        self._max_in_flight = max_in_flight
        self._lock = threading.Lock()
        self._index = _Index({})

    @property
    def in_flight(self) -> dict[str, int]:
        """How many samples each cell owes an answer for."""
        return {name: route.in_flight for name, route in self._routes.items()}

    def forget(self) -> None:
        """The catalogs may have changed: the next samples wait for new ones."""
        with self._lock:
            for route in self._routes.values():
                route.asked_at_s = float("-inf")

    def samples(self, batch: Sequence[Sample], batch_id: str | None = None) -> Future[dict[str, Any]]:
        """Sends a batch.

        Args:
            batch: samples ``[metric, value, ts_ms | None, sla | None, labels | None]``.
            batch_id: makes a resend harmless; one is made up when absent.

        Returns:
            The future of ``{"accepted": [index, …], "rejected": [[index, reason], …]}``, settled when everything
            accepted is durable. A sample is accepted if any cell accepted it and in none the monitor of a contract
            that wants it is down. Fails with `Unavailable` as a whole when one of the cells did not answer (send it
            again, under the same id), with `Overloaded` when nothing was sent.
        """
        if not batch:
            return settled({"accepted": [], "rejected": []})
        name = batch_id or secrets.token_hex(8)
        waits = self._refresh()
        if waits:
            return chain(gather(waits), lambda _: self._send_certain(batch, name))
        return self._send_certain(batch, name)

    # --- catalogs -----------------------------------------------------------------------------------

    def _refresh(self, certain: bool = False) -> dict[str, Future[Any]]:
        """The fetches that have to end before a sample of this moment can be routed, or be called unknown."""
        waits = {}
        now_s = time.monotonic()
        for name, route in self._routes.items():
            age_s = now_s - route.asked_at_s
            good_s = max(CATALOG_CERTAIN_S if certain else CATALOG_FRESH_S, route.rest_s)
            if route.fetch is None and age_s < good_s:
                continue
            if route.catalog is not None and (route.away or (route.fetch and age_s > CATALOG_PATIENCE_S)):
                continue  # what was known of it has to do: nobody changes a cell that does not answer
            waits[name] = self._fetch(route, now_s)
        return waits

    def _fetch(self, route: _Route, now_s: float) -> Future[Any]:
        with self._lock:
            if route.fetch is not None:
                return route.fetch
            known = route.catalog.version if route.catalog is not None else None
            # A cell that has versions answers {"version"} alone when its catalog is still that one.
            asked = route.cell.request("catalog", {"version": known} if known is not None else {})
            route.asked_at_s = now_s
            fetch: Future[Any] = then(asked, route.learn)
            route.fetch = fetch
        fetch.add_done_callback(lambda done: self._fetched(route, done))
        return fetch

    def _fetched(self, route: _Route, fetch: Future[Any]) -> None:
        error = fetch.exception()
        with self._lock:
            route.failure = error if isinstance(error, Unavailable) else None
            if error is not None:  # nothing was learnt: what is known is as old as it was
                route.asked_at_s = float("-inf")
            if route.fetch is fetch:
                route.fetch = None

    # --- samples ------------------------------------------------------------------------------------

    def _send_certain(self, batch: Sequence[Sample], batch_id: str) -> Future[dict[str, Any]]:
        """Sends, but looks again before it calls a sample unknown."""
        plan, unwanted = self._plan(batch)
        waits = self._refresh(certain=True) if unwanted else {}
        if waits:
            return chain(gather(waits), lambda _: self._send(batch, batch_id, *self._plan(batch)))
        return self._send(batch, batch_id, plan, unwanted)

    def _send(
        self, batch: Sequence[Sample], batch_id: str, plan: Plan, unwanted: Sequence[tuple[int, str]]
    ) -> Future[dict[str, Any]]:
        for name, route in self._routes.items():
            if route.catalog is None or (unwanted and route.away):
                return failed(_away(name, route.failure))
        loads: dict[str, int] = {}
        for name, _, indexes in plan:
            loads[name] = loads.get(name, 0) + len(indexes)
        with self._lock:
            for name, load in loads.items():
                waiting = self._routes[name].in_flight
                # A batch that is larger than the limit goes through alone, or it never would.
                if waiting and waiting + load > self._max_in_flight:
                    return failed(Overloaded(f"{waiting} samples wait for {name} already"))
            for name, load in loads.items():
                self._routes[name].in_flight += load
        merge = _Merge(plan, unwanted, self._release)
        parts: dict[str, deque[int]] = {}
        for number, (name, _, _) in enumerate(plan):
            parts.setdefault(name, deque()).append(number)
        for left in parts.values():
            self._send_next(batch, batch_id, plan, merge, left)
        return merge.outcome

    def _send_next(
        self, batch: Sequence[Sample], batch_id: str, plan: Plan, merge: "_Merge", waiting: deque[int]
    ) -> None:
        """Sends a cell the next of its parts; the one after it when that is answered, so that others get in between."""
        number = waiting.popleft()
        name, chunk, indexes = plan[number]
        payload = {
            "samples": [batch[index] for index in indexes],
            # Chunks are cut by place in the batch, so that a resend cuts it in the same way.
            "batch_id": f"{batch_id}#{chunk}" if len(batch) > MAX_FRAME_SAMPLES else batch_id,
        }
        try:
            answer = self._routes[name].cell.request("samples", payload)
        except Exception as error:  # noqa: BLE001  not msgpack, or no memory: told to who waits, on whatever thread
            answer = failed(error)

        def go_on(answer: Future[Any]) -> None:
            merge.take(number, answer)
            if answer.exception() is not None:  # all of it is to be sent again
                while waiting:
                    merge.take(waiting.popleft(), answer)
            elif waiting:
                self._send_next(batch, batch_id, plan, merge, waiting)

        answer.add_done_callback(go_on)

    def _plan(self, batch: Sequence[Sample]) -> tuple[Plan, list[tuple[int, str]]]:
        """What goes where: (cell, chunk, places in the batch), and (place, reason) of what nobody wants."""
        catalogs = {name: route.catalog for name, route in self._routes.items() if route.catalog is not None}
        merged = self._index
        if not merged.holds(catalogs):
            merged = self._index = _Index(catalogs)
        cells_of = merged.cells
        plan: Plan = []
        unwanted: list[tuple[int, str]] = []
        chunks = itertools.count()
        for start in range(0, len(batch), MAX_FRAME_SAMPLES):
            chunk = next(chunks)
            places: dict[str, list[int]] = {}
            for index in range(start, min(start + MAX_FRAME_SAMPLES, len(batch))):
                metric, sla = batch[index][0], batch[index][3]
                wanted = cells_of.get(metric, ())
                if sla is not None:
                    wanted = tuple(name for name in wanted if catalogs[name].wants(metric, sla))
                for name in wanted:
                    there = places.get(name)
                    if there is None:
                        places[name] = [index]
                    else:
                        there.append(index)
                if not wanted:
                    known = sla is None or any(sla in catalog.slas for catalog in catalogs.values())
                    unwanted.append((index, "unknown_metric" if known else "unknown_sla"))
            plan.extend((name, chunk, indexes) for name, indexes in places.items())
        return plan, unwanted

    def _release(self, name: str, load: int) -> None:
        with self._lock:
            self._routes[name].in_flight -= load


def _away(name: str, failure: Unavailable | None) -> Unavailable:
    """Nobody knows what an absent cell wants; with why it is absent, if it said so: a full disk."""
    text = f"{name} is away and may want some of the samples"
    if failure is None or "reason" not in failure.details:
        return Unavailable(text)
    return Unavailable(f"{text}: {failure.message}", failure.retry_after_s, dict(failure.details))


class _Merge:
    """Waits for the answers to the parts of a batch and makes one of them."""

    def __init__(
        self, plan: Plan, unwanted: Sequence[tuple[int, str]], release: Callable[[str, int], None]
    ) -> None:
        self.outcome: Future[dict[str, Any]] = Future()
        self.outcome.set_running_or_notify_cancel()
        self._plan = plan
        self._release = release
        self._accepted: set[int] = set()
        self._down: set[int] = set()
        self._reasons: dict[int, str] = dict(unwanted)
        self._error: BaseException | None = None
        self._left = len(plan)
        self._lock = threading.Lock()
        if not plan:
            self._end()

    def take(self, number: int, answer: Future[Any]) -> None:
        """The answer to the part at ``number`` of the plan; on any thread."""
        name, _, indexes = self._plan[number]
        self._release(name, len(indexes))
        error = answer.exception()
        with self._lock:
            if error is not None:
                self._error = error
            else:
                result = answer.result()
                if result["rejected"]:
                    self._accepted.update(indexes[place] for place in result["accepted"])
                else:
                    self._accepted.update(indexes)
                for place, reason in result["rejected"]:
                    if reason == MONITOR_DOWN:
                        self._down.add(indexes[place])
                    self._reasons.setdefault(indexes[place], reason)
            self._left -= 1
            if self._left:
                return
        self._end()

    def _end(self) -> None:
        if self._error is not None:
            self.outcome.set_exception(self._error)
            return
        # Who is told that a sample is accepted never sends it again, and one contract would be without it.
        accepted = self._accepted - self._down
        reasons = self._reasons | dict.fromkeys(self._down, MONITOR_DOWN)
        rejected = [[index, why] for index, why in sorted(reasons.items()) if index not in accepted]
        self.outcome.set_result({"accepted": sorted(accepted), "rejected": rejected})
