"""Table ``outside``: from a breaking sample to the webhook, and what a broken peer costs the others."""

import contextlib
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.isolation import isolation_rows
from bench.load import end_load, start_load
from bench.path import background, load_ids
from bench.prometheus import ALERTMANAGER, PROGRAM, Alertmanager, Exposition, Prometheus, is_installed
from bench.receiver import ARRIVES_WITHIN, Receiver, alerts, openings
from bench.service import Http, contract, service, tell
from bench.table import Row, Table, row

PEER = "Prometheus with Alertmanager"

BREACHES, BREACHES_QUICK = 110, 10
LOAD_BATCH = 50
WARM_UP_S = 2.0

# Between two breaches, at random, so that they keep step with nobody's interval [s].
PAUSE_S = (0.15, 0.45)

GOOD, BAD = 1.0, 500.0
CHANNEL = "webhook"


def measure(quick: bool) -> Table:
    notes: list[str] = []
    rows = [*breach_rows(quick), *isolation_rows(quick, notes)]
    about = (
        "a breaking sample until the webhook's request is there; 2 cells, durable, the shipped configuration with the "
        "address of the webhook"
    )
    has_peer = is_installed(PROGRAM) and is_installed(ALERTMANAGER)
    return Table("outside", about, tuple(rows), absent=() if has_peer else (PEER,), notes=tuple(notes))


def breach_rows(quick: bool) -> Iterator[Row]:
    """Breaches, each of a contract that had no sample before; the same ones through the peer, if it is there."""
    count = BREACHES_QUICK if quick else BREACHES
    names = [f"probe_{number}" for number in range(2 * count)]
    beside, loaded = names[:count], names[count:]
    contracts = [contract(name, f"{name}_latency") for name in (*load_ids(), *names)]
    with Receiver(openings) as receiver, service(contracts) as running, peer(beside) as theirs:
        tell(running, {CHANNEL: {"url": receiver.url}})
        running.start()
        client = running.client()
        yield from _both(client, receiver, beside, theirs)
        load = start_load(running.facts()["http"], background(running, LOAD_BATCH))
        time.sleep(WARM_UP_S)
        waits = [waited for _, waited in breach(client, receiver, loaded)]
        end_load(load)
        yield row("POST -> webhook, 1000 samples/s beside it", "ms", waits, ARRIVES_WITHIN)


def _both(client: Http, receiver: Receiver, names: list[str], theirs: "Peer | None") -> Iterator[Row]:
    found = list(breach(client, receiver, names, theirs))
    yield row("POST -> webhook", "ms", [waited for _, waited in found], ARRIVES_WITHIN)
    if theirs is not None:
        waits = [(theirs.receiver.arrived_s(name) - theirs.broken_s[name]) * 1000 for name, _ in found]
        yield row(f"{PEER}: gauge -> webhook", "ms", waits)


def breach(
    client: Http, receiver: Receiver, names: Sequence[str], theirs: "Peer | None" = None
) -> Iterator[tuple[str, float]]:
    """Breaks one contract after the other; gives each with the time from before its POST to its message [ms]."""
    pause = random.Random(1)
    for name in names:
        time.sleep(pause.uniform(*PAUSE_S))
        if theirs is not None:
            theirs.break_(name)
        began_s = time.perf_counter()
        status = client.post_sample(f"{name}_latency", BAD)
        if status != 202:
            raise RuntimeError(f"a breaking sample was answered {status}")
        yield name, (receiver.arrived_s(name) - began_s) * 1000


# -- the peer -----------------------------------------------------------------------------------------------------


class Peer:
    """Prometheus with a rule, and Alertmanager: the gauges they look at, and what came of it."""

    def __init__(self, names: Sequence[str], receiver: Receiver) -> None:
        self.receiver = receiver
        self.broken_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._values = dict.fromkeys(names, GOOD)

    def break_(self, name: str) -> None:
        """From now on whoever scrapes sees it broken."""
        with self._lock:
            self._values[name] = BAD
            self.broken_s[name] = time.perf_counter()

    def text(self) -> str:
        with self._lock:
            return "".join(f'latency{{sla="{name}"}} {value}\n' for name, value in self._values.items())


@contextlib.contextmanager
def peer(names: Sequence[str]) -> Iterator[Peer | None]:
    """The peer while the block lasts, scraping and judging every second; None where it is not installed."""
    if not (is_installed(PROGRAM) and is_installed(ALERTMANAGER)):
        yield None
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slakeeper-bench-")))
        receiver = stack.enter_context(Receiver(alerts))
        theirs = Peer(names, receiver)
        exposition = stack.enter_context(Exposition(theirs.text))
        manager = stack.enter_context(
            Alertmanager(folder / "alertmanager", receiver.url, ["alertname", "sla"])
        )
        rules = {"groups": [{"name": "slas", "rules": [{"alert": "Broken", "expr": "latency >= 100"}]}]}
        (folder / "rules.yml").write_text(json.dumps(rules), encoding="utf-8")
        more = {
            "rule_files": [str(folder / "rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager.address]}]}]},
        }
        server = stack.enter_context(Prometheus(folder / "prometheus", exposition.target, more=more))
        while server.value("count(latency)") != len(names):
            time.sleep(0.1)
        yield theirs
