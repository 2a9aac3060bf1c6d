"""What a peer that is down, slow, lying or flooding costs the others: a part of table ``outside``."""

import contextlib
import http.server
import itertools
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.beside import beside
from bench.durability import cpu_s, owned_ids, shares_text
from bench.fault import REFUSING, WELL, Fault, fault
from bench.load import Plan, end_load, start_load
from bench.receiver import ARRIVES_WITHIN, Loopback, Receiver, openings
from bench.restart import CELLS
from bench.service import Service, contract, service, tell
from bench.soak import memory_of
from bench.stub import stub
from bench.table import Limit, Row, Table, row
from slakeeper.concern import status_concerns
from slakeeper.otp.executor import MAX_IN_LANE

GOOD, BAD = 1.0, 500.0

INTERVAL_MS = 500
# How long the broken peer is waited for, so that each way to hang shows several times.
PEER_TIMEOUT = "500ms"

# A fault and normal operation take turns, so often for so long each: who else uses the machine comes and goes.
SPAN_S = 1.2
TURNS, TURNS_QUICK = 5, 1
# Floods weigh on the processors, so that less is seen in as long a time and it differs more from turn to turn.
FLOOD_TURNS, FLOOD_TURNS_QUICK = 8, 1
# Of a round of the table of its own, which is for what these leave open; more would want more PROBES.
FLOOD_TURNS_LONG = 30
# Before each: what was in flight is done with, and the first polls and messages have met what is new.
SETTLED_AFTER_S = 0.4
# Of a fault before its first turn, in which it has to show in the status.
LEAD_IN_S = 1.0
PAUSE_S = (0.004, 0.016)
WARM_UP_S = 2.0
PROBES, PROBES_QUICK = 5_000, 2_500
CROWD = 2_500
NOTE_CHARS = 200
LOOKS_AT_CROWD = 5
# Of the table of its own: what a round takes, most of it in turns.
ROUND_MINUTES = 6.5
# A webhook that says 200 has taken the message, whatever follows: nothing is wrong with it.
TAKEN = "channel endless"
SEEN_WITHIN_S = 20.0
# Of a command that has five seconds to be answered.
TRIES = 5

# With `--quick` only the first so many of each.
FAULTS_QUICK = 2
SOURCE_FAULTS = (REFUSING, "hanging", "dripping", "garbage", "wrong", "huge", "endless")
CHANNEL_FAULTS = (REFUSING, "hanging", "dripping", "garbage", "endless", "busy", "failing")
# Clients that send as many samples as are taken: to another server, to slakeeper, to slakeeper without a token.
ELSEWHERE, SAMPLES, STRANGERS = "flood elsewhere", "flood of samples", "flood of strangers"
FLOODS = (ELSEWHERE, SAMPLES, STRANGERS)
# And one that is held to a rate of `ingest.rate_limit`: five times what the other client sends.
HELD, HELD_TO_PER_S = "flood that is held", 300
FLOOD_CONNECTIONS, FLOOD_BATCH = 8, 100
# A sender of its own, as every one should have.
SENDER = "a-sender-that-sends-all-it-can"

# A healthy one keeps its pace: half of what it does, and all but a twentieth, takes a tenth longer at most.
AT_MOST = 1.10
NORMAL = "normal"
MOST_GROWTH_MIB = 64.0

SOURCES = ("one", "other")
PEER_CHANNEL = "peer"
PEER_SOURCES = {"peer_json": "/value", "peer_promql": "up"}


@dataclass
class Span:
    """What was seen of the healthy ones for a while: times between polls and from a POST to its message [ms]."""

    intervals_ms: list[float] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)


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


def probe_ids(count: int) -> list[str]:
    return [f"probe_{number}" for number in range(count)]


def contracts(probes: int) -> Iterator[dict[str, Any]]:
    """Those that are broken; one for each healthy source, each of a cell; of both cells one for each of the peer's."""
    for name in probe_ids(probes):
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
        self,
        running: Service,
        receiver: Receiver,
        asked: Sequence[Asked],
        bad: dict[str, Fault],
        probes: int,
    ) -> None:
        self.running, self.bad = running, bad
        self._receiver, self._asked = receiver, asked
        self._client = running.client()
        self._fresh = iter(probe_ids(probes)[FLOOD_BATCH:])
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
        """A crowd of contracts at once, as fast as they are taken."""
        self._client.close()
        names = probe_ids(CROWD)
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


@contextlib.contextmanager
def staged(quick: bool, rate_limit: int | None = None) -> Iterator[Scene]:
    """A service of its own, which has begun to work, in normal operation."""
    probes = PROBES_QUICK if quick else PROBES
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver(openings))
        asked = [stack.enter_context(Asked()) for _ in SOURCES]
        bad = {noun: stack.enter_context(fault()) for noun in ("source", "channel")}
        running = stack.enter_context(service(list(contracts(probes))))
        configure(running, receiver, asked, bad, rate_limit)
        running.start()
        scene = Scene(running, receiver, asked, bad, probes)
        time.sleep(WARM_UP_S)
        scene.span(WARM_UP_S)
        yield scene


@dataclass
class Seen:
    """What was seen while a peer was broken: spans, each with the ones beside it by what was then; memory; messages.

    Attributes:
        turns: of each the span, and by the other circumstances the one of the same turn.
        memory_mib: of cells and gateway.
        waiting: messages that waited for the channel.
    """

    turns: list[tuple[Span, dict[str, Span]]] = field(default_factory=list)
    memory_mib: float = 0.0
    waiting: int = 0


def measure(quick: bool, minutes: float | None = None) -> Table:
    """The ratios of ``outside`` from as many rounds as fit in ``minutes``: the more, the surer they are."""
    rounds = max(1, round((minutes or 0) / ROUND_MINUTES))
    seen: dict[str, Seen] = {}
    notes: list[str] = []
    for number in range(rounds):
        said: list[str] = []
        for each in ("source", "channel"):
            _merge(seen, _faults(each, quick, said)[1])
        _merge(seen, _held(quick, FLOOD_TURNS_QUICK if quick else FLOOD_TURNS_LONG, said))
        if not number:
            notes = said
    rows = [
        *_fault_rows("source", seen),
        *_fault_rows("channel", seen),
        *_rows(HELD, seen[HELD], NORMAL, AT_MOST),
    ]
    about = f"what a broken peer costs the others: {rounds} rounds of that part of the table outside"
    return Table("isolation", about, tuple(rows), notes=tuple(notes))


def _merge(seen: dict[str, Seen], more: Mapping[str, Seen]) -> None:
    for label, each in more.items():
        seen.setdefault(label, Seen()).turns.extend(each.turns)


def isolation_rows(quick: bool, notes: list[str]) -> Iterator[Row]:
    """Faults and normal operation in turns; a service of its own for the sources', the channels' and the floods."""
    seen: dict[str, Seen] = {}
    usual_mib: dict[str, float] = {}
    for noun in ("source", "channel"):
        usual_mib[noun], faults = _faults(noun, quick, notes)
        seen |= faults
        yield from _fault_rows(noun, faults)
    flood_turns = FLOOD_TURNS_QUICK if quick else FLOOD_TURNS
    with staged(quick) as scene:
        usual_mib["flood"] = scene.memory_mib()
        floods = _with_floods(scene, FLOODS, flood_turns, notes)
        seen |= floods
        for label, flood in floods.items():
            yield from _rows(label, flood, NORMAL, None)
        for label in (SAMPLES, STRANGERS):
            yield from _rows(label, floods[label], ELSEWHERE, AT_MOST)
        scene.bad["channel"].behave("hanging")
        scene.break_all()
        crowd = [scene.waiting() for _ in range(LOOKS_AT_CROWD)]
        crowd_mib = scene.memory_mib()
    yield from _rows(HELD, _held(quick, flood_turns, notes)[HELD], NORMAL, AT_MOST)
    yield row("memory of cells and gateway in normal operation", "MiB", list(usual_mib.values()))
    grown_mib = [max(0.0, each.memory_mib - usual_mib[label.split()[0]]) for label, each in seen.items()]
    yield row("what it was more after a fault", "MiB", grown_mib, Limit("max", MOST_GROWTH_MIB))
    label = f"{CROWD} contracts broken at once, channel hanging"
    yield row(f"{label}: messages waiting", "", crowd, Limit("max", CELLS * MAX_IN_LANE))
    yield row(f"{label}: memory", "MiB", [crowd_mib])
    notes.append(f"memory [MiB]: {_listed({k: v.memory_mib for k, v in seen.items()})}")
    notes.append(f"waiting: {_listed({k: float(v.waiting) for k, v in seen.items() if v.waiting})}")


def _faults(noun: str, quick: bool, notes: list[str]) -> tuple[float, dict[str, Seen]]:
    """All faults of a source or a channel in a service of their own; first what memory that takes without one [MiB]."""
    faults = SOURCE_FAULTS if noun == "source" else CHANNEL_FAULTS
    with staged(quick) as scene:
        usual_mib = scene.memory_mib()
        turns = TURNS_QUICK if quick else TURNS
        chosen = faults[:FAULTS_QUICK] if quick else faults
        return usual_mib, {f"{noun} {name}": _with_fault(scene, noun, name, turns, notes) for name in chosen}


def _fault_rows(noun: str, seen: Mapping[str, Seen]) -> Iterator[Row]:
    group = Seen()
    for label, each in seen.items():
        if label.startswith(f"{noun} "):
            group.turns += each.turns
            yield from _rows(label, each, NORMAL, AT_MOST)
    yield from _rows(f"all {noun} faults together", group, NORMAL, AT_MOST)


def _held(quick: bool, turns: int, notes: list[str]) -> dict[str, Seen]:
    """A flood in a service that holds every client to a rate."""
    with staged(quick, HELD_TO_PER_S) as scene:
        return _with_floods(scene, (HELD,), turns, notes)


def _with_fault(scene: Scene, noun: str, name: str, turns: int, notes: list[str]) -> Seen:
    peer, label, seen = scene.bad[noun], f"{noun} {name}", Seen()
    peer.behave(name)
    scene.span(LEAD_IN_S)
    if label != TAKEN:
        said = scene.concern(noun)
        if not said:
            raise RuntimeError(f"{label}: the status says nothing of it")
        notes.append(f"{label}: status: {said[:NOTE_CHARS]}")
    seen.memory_mib, seen.waiting = scene.memory_mib(), scene.waiting()

    def span(behaviour: str) -> Span:
        peer.behave(behaviour)
        time.sleep(SETTLED_AFTER_S)
        return scene.span(SPAN_S)

    for number in range(turns):
        spans = {each: span(each) for each in _in_turn((name, WELL), number)}
        seen.turns.append((spans[name], {NORMAL: spans[WELL]}))
    peer.behave(WELL)
    time.sleep(SETTLED_AFTER_S)
    return seen


def _with_floods(scene: Scene, floods: tuple[str, ...], turns: int, notes: list[str]) -> dict[str, Seen]:
    seen = {label: Seen() for label in floods}
    shares: dict[str, list[dict[str, float]]] = {label: [] for label in (NORMAL, *floods)}
    taken: dict[str, list[float]] = {label: [] for label in floods}
    with stub() as elsewhere:
        for number in range(turns):
            spans: dict[str, Span] = {}
            for label in _in_turn((NORMAL, *floods), number):
                with _flood(scene.running, label, elsewhere, taken) as load:
                    time.sleep(SETTLED_AFTER_S)
                    pids = scene.running.pids() | ({} if load is None else {"its sender": load.pid})
                    before, began_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
                    spans[label] = scene.span(SPAN_S)
                    took_s = time.perf_counter() - began_s
                    shares[label].append(
                        {name: (cpu_s(pid) - before[name]) / took_s for name, pid in pids.items()}
                    )
                    if label != NORMAL:
                        seen[label].memory_mib, seen[label].waiting = scene.memory_mib(), 0
            for label in floods:
                beside_it = {each: spans[each] for each in (NORMAL, ELSEWHERE) if each in spans}
                seen[label].turns.append((spans[label], beside_it))
    for label, found in shares.items():
        requests = f"; {sum(taken[label]) / turns:.0f} requests answered a second" if label in taken else ""
        notes.append(f"{label}: CPU {shares_text(found)}{requests}")
    return seen


def _in_turn(labels: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Each time another one is first, and every second time they come the other way round."""
    turned = labels[number % len(labels) :] + labels[: number % len(labels)]
    return turned if number // len(labels) % 2 == 0 else turned[::-1]


@contextlib.contextmanager
def _flood(
    running: Service, label: str, elsewhere: str, taken: dict[str, list[float]]
) -> Iterator["subprocess.Popen[str] | None"]:
    if label == NORMAL:
        yield None
        return
    names = tuple(f"{each}_latency" for each in probe_ids(FLOOD_BATCH))
    token = "wrong" if label == STRANGERS else SENDER
    address = elsewhere if label == ELSEWHERE else running.facts()["http"]
    load = start_load(address, Plan(token, names, GOOD, 0, FLOOD_BATCH, FLOOD_CONNECTIONS))
    began_s = time.perf_counter()
    try:
        yield load
    finally:
        report = end_load(load)
        answered = len(report["latencies_ms"]) + report["refused"]
        taken[label].append(answered / (time.perf_counter() - began_s))


def configure(
    running: Service,
    receiver: Receiver,
    asked: Sequence[Asked],
    bad: dict[str, Fault],
    rate_limit: int | None,
) -> None:
    """The shipped configuration with the sources, a sender's token, and both channels told of every alert."""
    senders, file = running.config / "senders", running.config / "service.yaml"
    senders.write_text(f"{SENDER}\n", encoding="utf-8")
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["ingest"] |= {"token_file": str(senders), "rate_limit": rate_limit}
    file.write_text(json.dumps(settings), encoding="utf-8")
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


def _rows(label: str, seen: Seen, other: str, at_most: float | None) -> Iterator[Row]:
    """Both figures beside those of the ``other`` circumstances."""
    figures: dict[str, Callable[[Span], Sequence[float]]] = {
        "healthy sources, between polls": lambda span: span.intervals_ms,
        "healthy channel, POST -> webhook": lambda span: span.waits_ms,
    }
    for figure, of in figures.items():
        turns = [(of(mine), of(others[other])) for mine, others in seen.turns]
        values = [value for mine, _ in turns for value in mine]
        # What is taken of a flood is work, on the processors that the others use.
        limit = (
            ARRIVES_WITHIN
            if label in (SAMPLES, STRANGERS) and other == NORMAL and "webhook" in figure
            else None
        )
        besides = "" if other == NORMAL else f", beside a {other}"
        yield row(f"{label}{besides}: {figure}", "ms", values, limit, beside(other, turns, at_most))
