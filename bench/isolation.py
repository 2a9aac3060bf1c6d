"""What a peer that is down, slow, lying or flooding costs the others: a part of table ``outside``."""

import contextlib
import http.server
import itertools
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.durability import owned_ids
from bench.fault import REFUSING, WELL, Fault, fault
from bench.load import Plan, end_load, start_load
from bench.receiver import ARRIVES_WITHIN, Loopback, Receiver, openings
from bench.restart import CELLS
from bench.service import Service, contract, service, tell
from bench.soak import memory_of
from bench.table import Limit, Row, percentile, row
from slakeeper.concern import status_concerns
from slakeeper.otp.executor import MAX_IN_LANE

GOOD, BAD = 1.0, 500.0

INTERVAL_MS = 500
# How long the broken peer is waited for, so that each way to hang shows several times.
PEER_TIMEOUT = "2s"

SPAN_S, SPAN_QUICK_S = 6.0, 1.5
# After each of them normal operation is looked at for a part of that: who else uses the machine comes and goes.
NORMAL_SHARE = 3
# Of a way to go wrong, before it is measured: the first polls and messages find it out.
SETTLED_AFTER_S = 1.0
PAUSE_S = (0.04, 0.12)
WARM_UP_S = 2.0
PROBES = 2_500
NOTE_CHARS = 200
LOOKS_AT_CROWD = 5
# A webhook that says 200 has taken the message, whatever follows: nothing is wrong with it.
TAKEN = "channel endless"
SEEN_WITHIN_S = 20.0
# Of a command that has five seconds to be answered.
TRIES = 5

SOURCE_FAULTS = (REFUSING, "hanging", "dripping", "garbage", "wrong", "huge", "endless")
CHANNEL_FAULTS = (REFUSING, "hanging", "dripping", "garbage", "endless", "busy", "failing")
# Samples of a client that sends as many as are taken, and the same without a token.
FLOODS = {"samples": True, "strangers": False}
FLOOD = "flood of"
FLOOD_CONNECTIONS, FLOOD_BATCH = 8, 100

# A healthy one keeps its pace: its p95 is within this share above normal's, or within what Python's change of threads
# takes when that is more.
AT_MOST_PCT = 10.0
NOISE_MS = 5.0
MOST_GROWTH_MIB = 64.0

SOURCES = ("one", "other")
PEER_CHANNEL = "peer"
PEER_SOURCES = {"peer_json": "/value", "peer_promql": "up"}


@dataclass
class Span:
    """What was seen of the healthy ones for a while: times between polls and from a POST to its message [ms]."""

    intervals_ms: list[float] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)

    def __add__(self, other: "Span") -> "Span":
        return Span(self.intervals_ms + other.intervals_ms, self.waits_ms + other.waits_ms)


class Asked(Loopback):
    """A healthy source: a JSON document, and when it was asked for."""

    def __init__(self) -> None:
        times = self.times_s = list[float]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                times.append(time.perf_counter())
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"value": 1}')

            def log_message(self, *_: object) -> None:
                """Silent."""

        super().__init__(Handler)

    def intervals_ms(self, from_s: float, to_s: float) -> list[float]:
        """Between its polls of a time; one that is still waited for counts once it is late."""
        times = [each for each in list(self.times_s) if from_s <= each <= to_s]
        gaps = [(after - before) * 1000 for before, after in itertools.pairwise(times)]
        last_ms = (to_s - (times[-1] if times else from_s)) * 1000
        return [*gaps, last_ms] if last_ms > INTERVAL_MS else gaps


def probe_ids() -> list[str]:
    return [f"probe_{number}" for number in range(PROBES)]


def contracts() -> Iterator[dict[str, Any]]:
    """Those that are broken; one for each healthy source, each of a cell; of both cells one for each of the peer's."""
    for name in probe_ids():
        yield _made(name, keep_for=0)
    for cell, source in enumerate(SOURCES):
        healthy, *others = owned_ids(1 + len(PEER_SOURCES), cell)
        yield _made(healthy, source=source, query="/value")
        for name, (peer_source, query) in zip(others, PEER_SOURCES.items(), strict=True):
            yield _made(name, source=peer_source, query=query)


def _made(name: str, **keys: Any) -> dict[str, Any]:
    made = contract(name, f"{name}_latency")
    made["metrics"][0] |= keys
    return made


class Scene:
    """A service with healthy sources and a healthy channel, and a peer that is a source and a channel, too."""

    def __init__(
        self, running: Service, receiver: Receiver, asked: Sequence[Asked], bad: dict[str, Fault]
    ) -> None:
        self.running, self.bad = running, bad
        self._receiver, self._asked = receiver, asked
        self._client = running.client()
        self._fresh = iter(probe_ids())
        self._random = random.Random(1)

    def span(self, for_s: float) -> Span:
        """Breaks contracts that were not broken before, and mends each, so that nobody is told of it again."""
        self._client.close()  # the server has closed it, if it was not used for some seconds
        began_s = time.perf_counter()
        waits_ms = []
        while time.perf_counter() - began_s < for_s:
            time.sleep(self._random.uniform(*PAUSE_S))
            name = next(self._fresh)
            sent_s = time.perf_counter()
            self._post(name, BAD)
            waits_ms.append((self._receiver.arrived_s(name) - sent_s) * 1000)
            self._post(name, GOOD)
        ended_s = time.perf_counter()
        return Span([gap for each in self._asked for gap in each.intervals_ms(began_s, ended_s)], waits_ms)

    def break_all(self) -> None:
        """Every contract at once, as fast as it is taken."""
        self._client.close()
        names = probe_ids()
        for start in range(0, len(names), FLOOD_BATCH):
            batch = names[start : start + FLOOD_BATCH]
            samples = [{"metric": f"{name}_latency", "value": BAD} for name in batch]
            status, _ = self._client.request("POST", "/v1/samples", {"samples": samples})
            if status != 202:
                raise RuntimeError(f"the samples were answered {status}")

    def _post(self, name: str, value: float) -> None:
        while (status := self._client.post_sample(f"{name}_latency", value)) != 202:
            if status != 503:
                raise RuntimeError(f"a sample was answered {status}")
            time.sleep(0.01)

    def concern(self, noun: str) -> str:
        """What ``slakeeper status`` says of a source or channel that fails; waits for it, empty if it says nothing."""
        end_s = time.monotonic() + SEEN_WITHIN_S
        while time.monotonic() < end_s:
            status = self._shown("status")
            for line in status_concerns(status):
                if f"{noun} fails:" in line or f"{noun}s fail:" in line:
                    return line
            time.sleep(0.2)
        return ""

    def waiting(self) -> int:
        """Messages on their way over the peer's channel, or waiting for their turn."""
        return int(
            next(each["waiting"] for each in self._shown("channel", "list") if each["name"] == PEER_CHANNEL)
        )

    def _shown(self, *command: str) -> Any:
        """What a command shows; asked again when the cells are too busy to say."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(RuntimeError):
                return json.loads(self.running.run(*command).output)
        return json.loads(self.running.run(*command).output)

    def memory_mib(self) -> float:
        """Of the cells and the gateway together."""
        pids = self.running.pids()
        return sum(
            memory_of(pid).own_mib
            for name, pid in pids.items()
            if name == "gateway" or name.startswith("cell-")
        )


def isolation_rows(quick: bool, notes: list[str]) -> Iterator[Row]:
    """Normal operation, then one fault after the other, each followed by normal operation again."""
    span_s = SPAN_QUICK_S if quick else SPAN_S
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver(openings))
        asked = [stack.enter_context(Asked()) for _ in SOURCES]
        bad = {noun: stack.enter_context(fault()) for noun in ("source", "channel")}
        running = stack.enter_context(service(list(contracts())))
        configure(running, receiver, asked, bad)
        running.start()
        scene = Scene(running, receiver, asked, bad)
        time.sleep(WARM_UP_S)
        scene.span(WARM_UP_S)
        seen: dict[str, Faulty] = {}
        normal, usual_mib = scene.span(span_s), scene.memory_mib()
        for noun, faults in (("source", SOURCE_FAULTS), ("channel", CHANNEL_FAULTS)):
            for name in faults:
                seen[f"{noun} {name}"] = _with_fault(scene, noun, name, span_s, notes)
                normal += scene.span(span_s / NORMAL_SHARE)
        for name, has_token in FLOODS.items():
            with _flood(running, has_token=has_token):
                time.sleep(SETTLED_AFTER_S)
                seen[f"{FLOOD} {name}"] = Faulty(scene.span(span_s), scene.memory_mib(), scene.waiting())
            time.sleep(SETTLED_AFTER_S)
            normal += scene.span(span_s / NORMAL_SHARE)
        bad["channel"].behave("hanging")
        scene.break_all()
        crowd = [scene.waiting() for _ in range(LOOKS_AT_CROWD)]
        crowd_mib = scene.memory_mib()
    yield from _rows("normal", normal, None)
    for label, faulty in seen.items():
        # What is taken of a flood is work, on the processor that the others use.
        is_flood = label.startswith(FLOOD)
        yield from _rows(label, faulty.span, normal, ARRIVES_WITHIN if is_flood else None)
    yield row("memory of cells and gateway in normal operation", "MiB", [usual_mib])
    grown_mib = [max(0.0, faulty.memory_mib - usual_mib) for faulty in seen.values()]
    yield row("what it was more after a fault", "MiB", grown_mib, Limit("max", MOST_GROWTH_MIB))
    label = f"{PROBES} contracts broken at once, channel hanging"
    yield row(f"{label}: messages waiting", "", crowd, Limit("max", CELLS * MAX_IN_LANE))
    yield row(f"{label}: memory", "MiB", [crowd_mib])
    notes.append(
        f"memory [MiB]: normal {usual_mib:.1f}, {_listed({k: v.memory_mib for k, v in seen.items()})}"
    )
    notes.append(f"waiting: {_listed({k: float(v.waiting) for k, v in seen.items() if v.waiting})}")


@dataclass(frozen=True)
class Faulty:
    """What was seen while a peer was broken: the healthy ones, memory, and messages that waited for the channel."""

    span: Span
    memory_mib: float
    waiting: int


def _with_fault(scene: Scene, noun: str, name: str, span_s: float, notes: list[str]) -> Faulty:
    peer = scene.bad[noun]
    peer.behave(name)
    time.sleep(SETTLED_AFTER_S)
    seen = Faulty(scene.span(span_s), scene.memory_mib(), scene.waiting())
    label = f"{noun} {name}"
    if label != TAKEN:
        said = scene.concern(noun)
        if not said:
            raise RuntimeError(f"{label}: the status says nothing of it")
        notes.append(f"{label}: status: {said[:NOTE_CHARS]}")
    peer.behave(WELL)
    time.sleep(SETTLED_AFTER_S)
    return seen


@contextlib.contextmanager
def _flood(running: Service, *, has_token: bool) -> Iterator[None]:
    token = running.facts()["token"] if has_token else "wrong"
    names = tuple(f"{each}_latency" for each in probe_ids()[-FLOOD_BATCH:])
    load = start_load(running.facts()["http"], Plan(token, names, GOOD, 0, FLOOD_BATCH, FLOOD_CONNECTIONS))
    try:
        yield
    finally:
        end_load(load)


def configure(running: Service, receiver: Receiver, asked: Sequence[Asked], bad: dict[str, Fault]) -> None:
    """The shipped configuration with the sources, and both channels told of every alert."""
    every = {"interval": f"{INTERVAL_MS}ms"}
    sources: dict[str, dict[str, Any]] = {
        name: {"type": "custom", "url": each.url, **every} for name, each in zip(SOURCES, asked, strict=True)
    }
    for name, kind in (("peer_json", "custom"), ("peer_promql", "prometheus")):
        sources[name] = {"type": kind, "url": bad["source"].url, "timeout": PEER_TIMEOUT, **every}
    tell(
        running,
        {"good": {"url": receiver.url}, PEER_CHANNEL: {"url": bad["channel"].url, "timeout": PEER_TIMEOUT}},
        sources,
    )


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {value:.4g}" for label, value in values.items())


def _rows(label: str, span: Span, normal: Span | None, at_most: Limit | None = None) -> Iterator[Row]:
    """Beside ``normal`` if it is given; ``at_most`` stands for the message's limit in its place."""
    near = [None, None] if normal is None else [_near(normal.intervals_ms), _near(normal.waits_ms)]
    yield row(f"{label}: healthy sources, between polls", "ms", span.intervals_ms, near[0])
    yield row(f"{label}: healthy channel, POST -> webhook", "ms", span.waits_ms, at_most or near[1])


def _near(usual_ms: Sequence[float]) -> Limit:
    p95 = percentile(sorted(usual_ms), 95)
    return Limit("p95", round(p95 + max(p95 * AT_MOST_PCT / 100, NOISE_MS), 1))
