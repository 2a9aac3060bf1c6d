"""Who talks to the cells: a sender of samples that does not give up, and an operator who acts now and then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from slakeeper.otp.sim import SimSystem
from tests.simulation.settings import PLANS, WATCHED, Watched, cell_of, partition_of

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000

RESEND_MS = 10 * SECOND_MS
LONGEST_RESEND_MS = 10 * MINUTE_MS

# A metric is well for so long in the mean, then bad for so long in the mean.
WELL_MS, BAD_MS = 4 * HOUR_MS, 12 * MINUTE_MS

# How long a silence lasts; all are over before a run has come to rest.
SILENCE_MS = (5 * MINUTE_MS, 20 * MINUTE_MS)

# An actor that was set aside is looked at and released.
RELEASE_AFTER_MS = 10 * MINUTE_MS


@dataclass
class Series:
    """The values of one metric: good ones, and now and then a spell of bad ones."""

    watched: Watched
    random: Random
    bad_from_ms: int
    bad_until_ms: int = 0
    bad_value: float = 0.0

    def value(self, now_ms: int, *, is_calm: bool) -> float:
        """What is measured at ``now_ms``."""
        if now_ms >= self.bad_until_ms and now_ms >= self.bad_from_ms:
            self.bad_until_ms = now_ms + 1 + int(self.random.expovariate(1 / BAD_MS))
            self.bad_from_ms = self.bad_until_ms + int(self.random.expovariate(1 / WELL_MS))
            self.bad_value = self.random.choice(self.watched.bad)
        if now_ms < self.bad_until_ms and not is_calm:
            return self.bad_value
        return round(self.random.uniform(*self.watched.good), 3)

    def recover(self) -> None:
        """A remedy has helped."""
        self.bad_until_ms = 0


@dataclass
class Sender:
    """Sends a batch a minute to each cell, each again and again under the same id until all of it is accepted.

    Attributes:
        sent: how many samples of each (contract, metric) were ever sent.
        open: batches by id that are not acknowledged in full yet.
    """

    system: SimSystem
    series: dict[str, Series]
    helped: set[str]
    sample_every_ms: int
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    open: dict[str, list[Any]] = field(default_factory=dict)
    is_calm: bool = False
    is_stopped: bool = False
    _count: int = 0

    def start(self) -> None:
        self.system.agenda.after(self.sample_every_ms, self._send_all)

    def _send_all(self) -> None:
        if self.is_stopped:
            return
        now_ms = self.system.now_ms
        self._count += 1
        for name in sorted(self.helped):
            self.series[name].recover()
        self.helped.clear()
        for plan in PLANS:
            ids = {sla_id for ids in plan.partitions.values() for sla_id in ids}
            rows: list[Any] = []
            for each in WATCHED:
                if each.sla_id in ids:
                    value = self.series[each.name].value(now_ms, is_calm=self.is_calm)
                    rows.append([each.name, value, now_ms, each.sla_id, None])
                    self.sent[each.sla_id, each.name] = self.sent.get((each.sla_id, each.name), 0) + 1
            batch_id = f"{plan.name}.{self._count}"
            self.open[batch_id] = rows
            self._send(plan.name, batch_id, RESEND_MS)
        self.system.agenda.after(self.sample_every_ms, self._send_all)

    def _send(self, cell: str, batch_id: str, again_ms: int) -> None:
        rows = self.open.get(batch_id)
        if rows is None:
            return

        def replied(ok: bool, result: Any) -> None:
            if ok and len(result["accepted"]) == len(rows):
                self.open.pop(batch_id, None)

        self.system.ask("sender", cell, "samples", {"samples": rows, "batch_id": batch_id}, replied)
        longer_ms = min(2 * again_ms, LONGEST_RESEND_MS)
        self.system.agenda.after(again_ms, lambda: self._send(cell, batch_id, longer_ms))


@dataclass
class Silenced:
    """A contract of which nobody is told: for certain from ``from_ms`` until ``until_ms``, perhaps before."""

    sla_id: str
    asked_ms: int
    ends_ms: int
    from_ms: int | None = None
    until_ms: int = 0


@dataclass
class Operator:
    """Looks now and then and does one of the things that operators do; never minds whether it worked.

    Attributes:
        silences: all that were asked for.
    """

    system: SimSystem
    random: Random
    every_ms: int
    is_stopped: bool = False
    silences: list[Silenced] = field(default_factory=list)

    def start(self) -> None:
        self.system.agenda.after(int(self.random.expovariate(1 / self.every_ms)), self._operate)

    def _operate(self) -> None:
        if self.is_stopped:
            return
        cell = self.random.choice(PLANS).name
        self.random.choice(
            [
                self._acknowledge,
                self._resolve,
                self._approve,
                self._suspend,
                self._look,
                self._silence,
                self._expire,
            ]
        )(cell)
        self.start()

    def _acknowledge(self, cell: str) -> None:
        self._with_violation(cell, lambda each: self._ask(cell, "violation.ack", id=each, by="ann"))

    def _resolve(self, cell: str) -> None:
        self._with_violation(cell, lambda each: self._ask(cell, "violation.resolve", id=each, by="ann"))

    def _with_violation(self, cell: str, act: Callable[[str], None]) -> None:
        def listed(ok: bool, result: Any) -> None:
            if ok and result["violations"]:
                act(self.random.choice(result["violations"])["id"])

        self.system.ask("operator", cell, "violations", {}, listed)

    def _approve(self, cell: str) -> None:
        def listed(ok: bool, result: Any) -> None:
            pending = [row for row in result["compensation"] if row["status"] == "pending"] if ok else ()
            if pending:
                decision = {"approve": True, "by": "bob", "reason": "seen"}
                self._ask(cell, "compensation.decide", id=pending[0]["id"], **decision)

        self.system.ask("operator", cell, "compensation", {}, listed)

    def _suspend(self, cell: str) -> None:
        ids = [
            sla_id
            for plan in PLANS
            if plan.name == cell
            for ids in plan.partitions.values()
            for sla_id in ids
        ]
        sla_id = self.random.choice(ids)
        self._ask(cell, "sla.suspend", id=sla_id, by="ann")
        for wait_ms in (5 * MINUTE_MS, 10 * MINUTE_MS):  # twice: one may be lost
            self.system.agenda.after(wait_ms, lambda: self._ask(cell, "sla.resume", id=sla_id, by="ann"))

    def _silence(self, cell: str) -> None:
        """Of a contract of that cell, so that who knows of it and whom it concerns are one."""
        ids = [each.sla_id for each in WATCHED if cell_of(each.sla_id) == cell]
        now_ms = self.system.now_ms
        asked = Silenced(self.random.choice(ids), now_ms, now_ms + self.random.randrange(*SILENCE_MS))
        self.silences.append(asked)

        def added(ok: bool, result: Any) -> None:
            if ok and asked.from_ms is None:
                asked.from_ms, asked.until_ms = self.system.now_ms, asked.ends_ms

        payload = {"matchers": [f"sla={asked.sla_id}"], "end": asked.ends_ms, "by": "ann", "reason": "work"}
        self.system.ask("operator", cell, "silence.add", payload, added)

    def _expire(self, cell: str) -> None:
        def listed(ok: bool, result: Any) -> None:
            if ok and result["silences"]:
                chosen = self.random.choice(result["silences"])
                for each in self.silences:
                    if each.ends_ms == chosen["end_time"]:
                        each.until_ms = min(each.until_ms, self.system.now_ms)
                self._ask(cell, "silence.expire", id=chosen["id"], by="bob")

        self.system.ask("operator", cell, "silences", {}, listed)

    def release(self, cell: str, address: str) -> None:
        """Starts an actor again that was set aside, after a while."""
        self.system.agenda.after(RELEASE_AFTER_MS, lambda: self._ask(cell, "actor.resume", address=address))

    def resume_all(self) -> None:
        """No contract stays suspended; one that is active refuses, which does not matter."""
        for plan in PLANS:
            for ids in plan.partitions.values():
                for sla_id in ids:
                    self._ask(plan.name, "sla.resume", id=sla_id, by="ann")

    def _look(self, cell: str) -> None:
        self._ask(cell, "status")
        sla_id = self.random.choice([each.sla_id for each in WATCHED])
        if any(partition_of(sla_id) in plan.partitions for plan in PLANS if plan.name == cell):
            self._ask(cell, "report", sla=sla_id)

    def _ask(self, cell: str, kind: str, **payload: Any) -> None:
        self.system.ask("operator", cell, kind, payload)
