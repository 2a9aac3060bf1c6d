"""Bugs planted in actors are found by a handful of seeds: what has to hold does not hold by itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from slakeeper.actors import ingest
from slakeeper.actors.alert import AlertActor
from slakeeper.actors.audit import AuditActor, Filed
from slakeeper.actors.environment import Environment
from slakeeper.actors.escalation import EscalationActor
from slakeeper.actors.ingest import IngestActor
from slakeeper.actors.ledger import LedgerActor
from slakeeper.actors.message import BatchNoted, MissBatches, Observe
from slakeeper.actors.monitor import SAMPLES, MetricMonitorActor
from slakeeper.actors.muting import Muted
from slakeeper.actors.outbox import FIRST_RETRY_MS, Delivery, Outbox
from slakeeper.actors.violation import ViolationActor
from slakeeper.otp.actor import Actor
from slakeeper.otp.context import Context
from slakeeper.sla import alert
from slakeeper.sla.audit import What
from tests.simulation import soak

# Hours of virtual time take a minute of a busy machine.
pytestmark = pytest.mark.timeout(240)

SEEDS, HOURS = 6, 1.5

# What needs two accidents at a time.
RARE_SEEDS, RARE_HOURS = (12, 15, 28, 44), 3

Plant = Callable[[pytest.MonkeyPatch], None]


def forgets_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are not noted: one that comes twice counts twice."""
    monkeypatch.setattr(IngestActor, "_note", lambda actor, ctx, batch: BatchNoted(batch.up, ()))


def keeps_samples_outside_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = MetricMonitorActor.handle_cast

    def handle_cast(actor: MetricMonitorActor, ctx: Context, message: Any) -> None:
        if isinstance(message, Observe):
            actor.apply((SAMPLES, ctx.now_ms, message.samples))
        else:
            handle(actor, ctx, message)

    monkeypatch.setattr(MetricMonitorActor, "handle_cast", handle_cast)


def acknowledges_what_a_monitor_crashed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest._Turn, "_take_back", lambda turn, batches, crashed: None)


def refuses_what_it_has_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a monitor crashed on is refused, and not noted as missed: nothing of it when its batch comes again."""
    handle = IngestActor.handle_call

    def handle_call(actor: IngestActor, ctx: Context, request: Any) -> Any:
        return True if isinstance(request, MissBatches) else handle(actor, ctx, request)

    monkeypatch.setattr(IngestActor, "handle_call", handle_call)


def sends_again_what_may_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery without an answer is tried again, whatever its channel wants."""

    def after_failure(outbox: Outbox, ctx: Context, delivery: Delivery, error: BaseException) -> Delivery:
        return replace(delivery, due_ms=ctx.now_ms + FIRST_RETRY_MS)

    monkeypatch.setattr(Outbox, "_after_failure", after_failure)


def books_what_it_has_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(actor: Any, event: Any) -> None:
        actor._entries[f"{len(actor._entries)}"] = event

    def book(actor: Any, ctx: Context, entries: list[Any]) -> None:
        for entry in entries:
            ctx.emit(entry)

    monkeypatch.setattr(LedgerActor, "apply", apply)
    monkeypatch.setattr(LedgerActor, "_book", book)


def goes_on_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """An escalation that starts again does not go on: its walk has no timer."""
    init = EscalationActor.init

    def forget(actor: Actor, ctx: Context, fresh: bool) -> None:
        if fresh:
            init(actor, ctx, fresh)  # type: ignore[arg-type]

    monkeypatch.setattr(EscalationActor, "init", forget)


def sends_entries_as_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an audit actor that is down is sent can be lost, and what it emits itself is in another handler."""
    monkeypatch.setattr(Context, "entrust", Context.cast)
    monkeypatch.setattr(
        AuditActor, "handle_cast", lambda actor, ctx, fact: (ctx.emit(fact), actor._file(ctx))
    )


def decides_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement is not noted."""

    def forgetful(actor: Any, ctx: Context, what: What, who: str | None = None, **details: Any) -> None:
        if what is not What.VIOLATION_ACKNOWLEDGED:
            note(actor, ctx, what, who, **details)

    note = ViolationActor._note
    monkeypatch.setattr(ViolationActor, "_note", forgetful)


def files_entries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is taken for filed when its write begins."""
    file = AuditActor._file

    def hasty(actor: Any, ctx: Context) -> None:
        file(actor, ctx)
        if actor._unfiled:
            ctx.emit(Filed(actor._unfiled[-1].seq))

    monkeypatch.setattr(AuditActor, "_file", hasty)


def forgets_what_is_muted(monkeypatch: pytest.MonkeyPatch) -> None:
    """News that is muted when it is due is gone."""
    flush = alert.flush

    def forgetful(*args: Any, **options: Any) -> Any:
        group, messages = flush(*args, **options)
        return replace(group, muted=()), messages

    monkeypatch.setattr(alert, "flush", forgetful)


def does_not_look_for_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "muted", lambda environment, violation, now_ms: Muted())


def asks_nobody_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts that died on news start again as if nothing had happened."""
    monkeypatch.setattr(AlertActor, "_ask_again", lambda actor, ctx: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        does_not_look_for_silences,
        sends_entries_as_messages,
        decides_without_an_entry,
        files_entries_once,
        forgets_batches,
        acknowledges_what_a_monitor_crashed_on,
        refuses_what_it_has_noted,
        keeps_samples_outside_of_events,
        sends_again_what_may_have_arrived,
        books_what_it_has_booked,
        goes_on_without_asking,
    ],
)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch, quiet: None) -> None:
    plant(monkeypatch)
    assert any(soak.run(seed, HOURS, "storm").problems for seed in range(SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("plant", [forgets_what_is_muted, asks_nobody_what_it_missed])
def test_a_planted_bug_that_shows_seldom_is_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, quiet: None
) -> None:
    plant(monkeypatch)
    assert any(soak.run(seed, RARE_HOURS, "storm").problems for seed in RARE_SEEDS)
