"""A whole cell on virtual time: a real partition, the real tree, and an outside world that records what reaches it.

``restart`` is a crash of the process: nothing is stopped, everything is made anew from what is on disk. ``crash_at``
breaks off at the n-th durable commit, before it or after it, and leaves it to the driver to start again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slakeeper.actors.audit import begin_chains
from slakeeper.actors.audit_file import AuditFiles
from slakeeper.actors.environment import Environment
from slakeeper.actors.kind import KINDS
from slakeeper.actors.output_file import OutputFiles
from slakeeper.actors.record import make_codec
from slakeeper.actors.request import make_handlers
from slakeeper.actors.restraint import begin_restraint
from slakeeper.actors.silence import begin_silences
from slakeeper.actors.start import start
from slakeeper.actors.target_file import TargetFiles
from slakeeper.integrations.channel import OnUncertain, Recipient
from slakeeper.integrations.remedy import RemedyResult
from slakeeper.integrations.source import Filling, Gap, Reading
from slakeeper.otp.actor import Actor
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.line import Handler
from slakeeper.otp.neighbour import Neighbour
from slakeeper.otp.partition import Partition
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import EnforcementPolicy
from slakeeper.supervisors.tree import cell_tree

NOW_MS = 1_800_000_000_000
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000

# Of latency, whose promise is below 250 ms.
GOOD, INFO, WARNING, CRITICAL = 100.0, 260.0, 320.0, 500.0


class Crash(Exception):
    """The process is gone."""


def contract(**changes: Any) -> dict[str, Any]:
    """A contract about ``latency`` (ms, lt 250), a window of ten seconds, a period of an hour."""
    document: dict[str, Any] = {
        "id": "api",
        "name": "API",
        "service_level": 99,
        "time_period": "1h",
        "metrics": [metric("latency")],
        "compensation": [
            {
                "metric": "latency",
                "type": "credit",
                "formula": "credit = actual - threshold",
                "auto_approve": True,
            }
        ],
    }
    return Sla.from_document({**document, **changes}).to_document()


def metric(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "value": 250, "unit": "ms", "condition": "lt", "interval": "10s", **changes}


def enforcement(**changes: Any) -> EnforcementPolicy:
    """Channels chat and pager; critical walks two levels a minute apart, warning one."""
    document: dict[str, Any] = {
        "channels": {"chat": {"type": "log"}, "pager": {"type": "log"}},
        "escalation_policies": [
            {"severity": "warning", "levels": [{"type": "chat", "recipients": ["team"]}], "timeout": "10m"},
            {
                "severity": "critical",
                "levels": [
                    {"type": "chat", "recipients": ["lead"]},
                    {"type": "pager", "service": "api", "delay": "1m"},
                ],
                "timeout": "5m",
                "repeat": 0,
            },
        ],
    }
    return EnforcementPolicy.model_validate({**document, **changes})


def action(name: str = "restart", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trigger_metric": "latency",
        "condition": {"op": "gt", "value": 250},
        "action": "reboot",
        "target": "host-1",
        **changes,
    }


@dataclass
class FakeSender:
    """Takes every message, unless ``failures`` holds an error for the next one."""

    world: "World"
    name: str
    type: str = "fake"
    idempotent: bool = True
    on_uncertain: OnUncertain = "resend"
    failures: list[Exception] = field(default_factory=list)

    def send(self, notification: Notification, recipient: Recipient) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.world.sent.append((self.name, notification, recipient))
        return "taken"


@dataclass
class FakePoller:
    """Answers with ``value``, or fails with ``error`` as a whole."""

    name: str
    value: float | None = GOOD
    ts_ms: int | None = None
    reading_error: str | None = None
    is_silent: bool = False
    error: Exception | None = None
    type: str = "fake"
    asked: list[dict[str, str]] = field(default_factory=list)

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        self.asked.append(dict(queries))
        if self.error is not None:
            raise self.error
        if self.is_silent:
            return [Reading(each, None, None, "no data", is_silence=True) for each in queries]
        return [Reading(each, self.value, self.ts_ms, self.reading_error) for each in queries]


@dataclass
class RememberingPoller(FakePoller):
    """One that can also be asked what was: ``past`` says the value at an instant, None when there was none."""

    past: Callable[[int], float | None] = lambda at_ms: GOOD
    fetch_error: str | None = None
    fetched: list[dict[str, Gap]] = field(default_factory=list)

    def fetch(self, gaps: Mapping[str, Gap], step_ms: int) -> list[Filling]:
        self.fetched.append(dict(gaps))
        if self.fetch_error is not None:
            return [Filling(each, (), self.fetch_error) for each in gaps]
        return [
            Filling(
                each,
                tuple(
                    (at_ms, value)
                    for at_ms in range(gap.from_ms, gap.to_ms + 1, step_ms)
                    if (value := self.past(at_ms)) is not None
                ),
            )
            for each, gap in gaps.items()
        ]


class ManualExecutor:
    def __init__(self) -> None:
        self.waiting: list[tuple[str, Callable[[], Any], Callable[[Any, BaseException | None], None]]] = []

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self.waiting.append((lane, effect, done))

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, effect, done in waiting:
            value, failure = None, None
            try:
                value = effect()
            except Exception as error:  # noqa: BLE001  carried to the actor, as the cell's threads do
                failure = error
            done(value, failure)


class CrashingPartition(Partition):
    """Counts its durable commits and breaks off at one of them."""

    world: "World"

    def commit(self) -> None:
        before = self.seq
        if self.world.crash_at == (self.world.commits + 1, "before") and not self._table.is_settled:
            self.world.commits += 1
            raise Crash
        super().commit()
        if self.seq > before:
            self.world.commits += 1
            if self.world.crash_at == (self.world.commits, "after"):
                raise Crash


class Explosive(Actor):
    """A kind whose handlers crash; stands in for an actor with a broken state."""

    def handle_cast(self, ctx: Context, message: Any) -> None:
        raise RuntimeError("broken")


class World:
    """A cell with one partition. Times are virtual; effects outside run when :meth:`settle` says so."""

    def __init__(
        self,
        directory: Path,
        policy: EnforcementPolicy | None = None,
        monitoring: Mapping[str, Any] | None = None,
        now_ms: int = NOW_MS,
        neighbours: Mapping[str, Neighbour] | None = None,
        shared: Path | None = None,
    ) -> None:
        self.neighbours = dict(neighbours or {})
        self.shared = shared or directory
        self.directory = directory
        self.policy = policy or enforcement()
        self.monitoring = MonitoringPolicy.model_validate({"alert_channels": ["chat"], **(monitoring or {})})
        self.clock = ManualClock(now_ms)
        self.sent: list[tuple[str, Notification, Recipient]] = []
        self.remedied: list[str] = []
        self.remedy_results: list[bool] = []
        self.remedy_works = True
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.senders = {name: FakeSender(self, name) for name in self.policy.channels}
        self.pollers = {name: FakePoller(name) for name in self.monitoring.sources}
        self.held = ""
        self.commits = 0
        self.crash_at: tuple[int, Literal["before", "after"]] | None = None
        self.partition: CrashingPartition | None = None
        self.start()

    # -- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        codec = make_codec()
        self.executor = ManualExecutor()
        self.partition = CrashingPartition(self.directory / "p000", codec)
        self.partition.world = self
        self.partition.open()
        self.environment = Environment(
            self.policy, self.monitoring, self.senders, self.pollers, self.shared / "locks",
            claims := TargetFiles(self.shared / "targets"), breakers=claims.breakers(),
            audit_files=AuditFiles(self.directory / "audit"), outputs=OutputFiles(self.shared / "outputs"),
            held=self.held,
        )  # fmt: skip
        partition = self.partition
        self.handlers: dict[str, Handler] = make_handlers(lambda sla_id: partition)
        begin_chains({"p000": partition}, codec, self.now_ms)
        begin_silences({"p000": partition}, codec)
        begin_restraint({"p000": partition}, codec)
        self.environment.partition_names = ("p000",)
        self.environment.neighbours = self.neighbours
        self.host = Host(
            cell_tree("cell-0", self.pollers, self.neighbours), KINDS, self.clock, codec, {"p000": partition},
            self.executor, self.environment, publish=lambda topic, payload: self.published.append((topic, payload)),
        )  # fmt: skip
        start(self.host)

    def restart(self) -> None:
        """The process crashes and starts again."""
        if self.partition is not None:
            self.partition.close()
        while True:
            try:
                self.start()
            except Crash:
                assert self.partition is not None
                self.partition.close()
            else:
                return

    def do(self, step: Callable[["World"], Any]) -> Any:
        """Carries out a step; after a crash starts again and does the step again, as its sender would."""
        while True:
            try:
                return step(self)
            except Crash:
                self.restart()

    # -- turns ------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    def request(self, kind: str, **payload: Any) -> Any:
        return self.raw_request(kind, payload)

    def raw_request(self, kind: str, payload: Any) -> Any:
        """One request, carried out and durable; a refusal is raised."""
        self.host.begin_turn()
        try:
            return self.handlers[kind](self.host, payload)
        finally:
            self.host.drain()
            self.host.commit()

    def turn(self) -> None:
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    def settle(self) -> None:
        """Lets what is due happen, with the outside world's answers, until nothing is left to do now."""
        self.turn()
        while self.executor.waiting:
            self.executor.run()
            self.turn()

    def pass_time(self, by_ms: int) -> None:
        """Goes on by ``by_ms``, stopping at every deadline on the way."""
        self.go_to(self.now_ms + by_ms)

    def go_to(self, until_ms: int) -> None:
        while True:
            self.settle()
            deadline_ms = self.host.next_deadline_ms()
            if deadline_ms is None or deadline_ms > until_ms:
                break
            self.clock.advance(max(0, deadline_ms - self.now_ms))
        self.clock.advance(max(0, until_ms - self.now_ms))
        self.settle()

    # -- shorthands -------------------------------------------------------------------------------------------

    def define(self, document: dict[str, Any] | None = None, **changes: Any) -> Any:
        reply = self.request("sla.define", document=document or contract(**changes))
        self.settle()
        return reply

    def observe(self, value: float, name: str = "latency", batch_id: str | None = None, **sample: Any) -> Any:
        row = [name, value, sample.get("ts", self.now_ms), sample.get("sla"), sample.get("labels")]
        reply = self.request("samples", samples=[row], batch_id=batch_id)
        self.settle()
        return reply

    def recover(self, name: str = "latency") -> None:
        """Good samples until the window holds nothing else and the promise has held for ``keep_for``."""
        for _ in range(5):
            self.pass_time(6 * SECOND_MS)
            self.observe(GOOD, name)

    def violations(self, *, resolved: bool = False) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.request("violations", all=resolved)["violations"]
        return rows

    def violation(self) -> dict[str, Any]:
        """The only violation, open or not."""
        [row] = self.violations(resolved=True)
        return row

    def ledger(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.request("compensation")["compensation"]
        return rows

    def status(self, sla_id: str = "api") -> dict[str, Any]:
        rows = self.request("status")["slas"]
        row: dict[str, Any] = next(row for row in rows if row["id"] == sla_id)
        return row

    def shown(self, sla_id: str = "api") -> dict[str, Any]:
        document: dict[str, Any] = self.request("sla.show", id=sla_id)
        return document

    def metric(self, name: str = "latency", sla_id: str = "api") -> dict[str, Any]:
        row: dict[str, Any] = next(row for row in self.shown(sla_id)["metrics"] if row["name"] == name)
        return row

    def actor_status(self, address: str) -> str:
        status: str = self.host.inspector.describe(address)["status"]
        return status

    def told(self, kind: str | None = None, channel: str | None = None) -> list[Notification]:
        """What reached the channels, repetitions that the other side recognises left out."""
        found = {
            (name, each.id, recipient): each
            for name, each, recipient in self.sent
            if (kind is None or each.kind is NotificationKind(kind)) and channel in (None, name)
        }
        return list(found.values())

    def topics(self) -> list[str]:
        return [topic for topic, _ in self.published]

    def run_remedy(self, remedy: Any, action: Any, *, idempotency_key: str, **_: Any) -> RemedyResult:
        self.remedied.append(idempotency_key)
        ok = self.remedy_results.pop(0) if self.remedy_results else self.remedy_works
        return RemedyResult(ok, "rebooted" if ok else "no answer", "", None, 1)
