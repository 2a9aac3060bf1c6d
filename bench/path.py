"""Table ``path``: from the POST of a breaking sample to the violation seen, while 1 000 samples/s come in."""

import dataclasses
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.load import Plan, end_load, start_load
from bench.service import Http, Service, contract, service
from bench.table import Limit, Row, Table, row

LOAD_SLAS = 100
SAMPLES_PER_S = 1_000
BATCH = 50
VARIANTS = {"batches": BATCH, "singles": 1}

PROBES, PROBES_QUICK = 250, 30
IDLE_PROBES, IDLE_PROBES_QUICK = 100, 10

# Between two probes, at random, so that they do not keep step with the batches [s].
PAUSE_S = (0.01, 0.08)
WARM_UP_S = 2.0
GIVE_UP_S = 10.0

GOOD, BAD = 1.0, 500.0
TARGET = Limit("p95", 100.0)


def measure(quick: bool) -> Table:
    """200 probes and more under each load, each on a contract that had no sample before."""
    probes = PROBES_QUICK if quick else PROBES
    idle_probes = IDLE_PROBES_QUICK if quick else IDLE_PROBES
    ids = [f"probe_{number}" for number in range(idle_probes + probes * len(VARIANTS))]
    contracts = [contract(name, f"{name}_latency") for name in (*load_ids(), *ids)]
    fresh = iter(ids)
    rows: list[Row] = []
    notes: list[str] = []
    with service(contracts) as running:
        running.start()
        with listening(running.client()) as events:
            prober = Prober(running.client(), events)
            rows += rows_of("no load", prober.run([next(fresh) for _ in range(idle_probes)]))
            for variant, batch in VARIANTS.items():
                load = start_load(running.facts()["http"], background(running, batch))
                time.sleep(WARM_UP_S)
                seen = prober.run([next(fresh) for _ in range(probes)])
                report = end_load(load)
                rows += rows_of(variant, seen)
                rows.append(row(f"{variant}: load, POST -> 202", "ms", report["latencies_ms"]))
                rows.append(row(f"{variant}: load, accepted", "samples/s", report["per_second"]))
                if report["refused"]:
                    notes.append(f"{variant}: {report['refused']} requests of the load were refused")
    about = (
        f"a breaking sample until its violation is seen; {SAMPLES_PER_S} samples/s over {LOAD_SLAS} SLAs as "
        f"batches of {BATCH} or as single POSTs; 2 cells, durable, {len(contracts)} contracts in all"
    )
    return Table("path", about, tuple(rows), notes=tuple(notes))


def background(running: Service, batch: int) -> Plan:
    metrics = tuple(f"{name}_latency" for name in load_ids())
    return Plan(running.facts()["token"], metrics, GOOD, SAMPLES_PER_S, batch, connections=8)


def load_ids() -> list[str]:
    return [f"load_{number}" for number in range(LOAD_SLAS)]


@dataclasses.dataclass(frozen=True)
class Seen:
    """One probe: from before its POST to the 202, to the violation in GET /v1/violations, to the event [ms]."""

    accepted_ms: float
    listed_ms: float
    event_ms: float


def rows_of(variant: str, seen: list[Seen]) -> list[Row]:
    return [
        row(f"{variant}: POST -> 202", "ms", [each.accepted_ms for each in seen]),
        row(f"{variant}: POST -> listed", "ms", [each.listed_ms for each in seen], TARGET),
        row(f"{variant}: POST -> event", "ms", [each.event_ms for each in seen], TARGET),
    ]


class Events:
    """When each contract's violation was heard of."""

    def __init__(self) -> None:
        self._opened_s: dict[str, float] = {}
        self._news = threading.Condition()

    def read(self, stream: Any) -> None:
        """Reads server-sent events until the stream ends."""
        for line in stream:
            now_s = time.perf_counter()
            if line.startswith(b"data: ") and b'"violation.opened"' in line:
                event = json.loads(line[6:])
                with self._news:
                    self._opened_s[event["violation"]["sla_id"]] = now_s
                    self._news.notify_all()

    def opened_s(self, sla_id: str) -> float:
        """When it was heard of; waits for it.

        Raises:
            TimeoutError: it did not come.
        """
        with self._news:
            if not self._news.wait_for(lambda: sla_id in self._opened_s, GIVE_UP_S):
                raise TimeoutError(f"no event for {sla_id} within {GIVE_UP_S:g} s")
            return self._opened_s[sla_id]


@contextmanager
def listening(client: Http) -> Iterator[Events]:
    """Reads the event stream on a thread of its own, until the service ends."""
    events = Events()
    stream = client.events()
    threading.Thread(target=_read, args=(events, stream), name="events", daemon=True).start()
    try:
        yield events
    finally:
        client.close()


def _read(events: Events, stream: Any) -> None:
    try:
        events.read(stream)
    except (OSError, ValueError) as error:
        # A probe that waits for an event says so itself.
        sys.stderr.write(f"bench: the event stream ended: {error}\n")


class Prober:
    """Breaks one contract after the other and looks when that shows."""

    def __init__(self, client: Http, events: Events) -> None:
        self._client = client
        self._events = events
        self._random = random.Random(1)

    def run(self, sla_ids: list[str]) -> list[Seen]:
        seen = []
        for sla_id in sla_ids:
            time.sleep(self._random.uniform(*PAUSE_S))
            seen.append(self._probe(sla_id))
        return seen

    def _probe(self, sla_id: str) -> Seen:
        began_s = time.perf_counter()
        status = self._client.post_sample(f"{sla_id}_latency", BAD)
        accepted_s = time.perf_counter()
        if status != 202:
            raise RuntimeError(f"a probe was answered {status}")
        while not self._client.open_violations(sla_id):
            if time.perf_counter() - began_s > GIVE_UP_S:
                raise TimeoutError(f"no violation of {sla_id} within {GIVE_UP_S:g} s")
        listed_s = time.perf_counter()
        event_s = self._events.opened_s(sla_id)
        return Seen(*((at_s - began_s) * 1000 for at_s in (accepted_s, listed_s, event_s)))
