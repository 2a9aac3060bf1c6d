"""ContractActor: one contract, its versions, its monitors, and which of its promises are broken now."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from slakeeper.actors.address import (
    ALERTING,
    DEFINITION,
    ENFORCEMENT,
    MONITORING,
    REPORTING,
    alert_address,
    ledger_address,
    monitor_address,
    report_address,
    violation_address,
)
from slakeeper.actors.audit import note
from slakeeper.actors.burning import BurnChange, burn_change, tell_burn
from slakeeper.actors.contract_book import ContractBook
from slakeeper.actors.contract_event import (
    BurnChanged,
    ContractEnding,
    ContractState,
    ContractVersion,
    MetricAdded,
    MetricGone,
    MetricRemoved,
    MetricTurned,
    OpenedFor,
    PeriodSettled,
    TurnFollowed,
)
from slakeeper.actors.definition import definition_of
from slakeeper.actors.environment import Environment, Known
from slakeeper.actors.message import (
    CloseViolation,
    ContractChanged,
    DefineContract,
    DescribeContract,
    DescribeMetric,
    ForceClose,
    LookAtBurn,
    MetricRecovered,
    Rebase,
    RemoveContract,
    ResumeContract,
    SayAgain,
    SetSuspended,
    StatusChanged,
    SuspendContract,
    TermTurned,
    Tick,
    ViolationEnded,
)
from slakeeper.actors.monitor import MonitorOrder
from slakeeper.actors.promise import narrowed
from slakeeper.actors.settling import hand_on
from slakeeper.otp.actor import NO_REPLY, Actor, ActorSpec, Entrusted, Replied, RequestError, StartRefused
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.context import Call, Context
from slakeeper.sla.audit import What
from slakeeper.sla.compliance import Status
from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import CONTRACT_EXPIRED, SELF, open_violation

LOOK_TIMER = "violations"
WAIT_TIMER = "turns"
TERM_TIMER = "term"

METRIC_REMOVED = "metric removed from the contract"
CONTRACT_REMOVED = "contract removed"

# How long after its own start a contract looks which of its violations are there: they start after it.
LOOK_MS = SECOND_MS

# Until a monitor that is waited for is asked again: twice as long each time, a minute at last.
MOST_DOUBLINGS = 6


class ContractActor(Actor):
    """One for each contract; its argument is the document, when it was first loaded [Unix ms], and its version.

    The version is 1, but for a contract that was removed and is defined again: its ledger knows the older ones.
    """

    recovers_later = True  # until then the environment says what its record does

    def __init__(self, address: str, arg: tuple[dict[str, Any], int, int]) -> None:
        super().__init__(address, arg)
        self._book = ContractBook(*arg)
        # While it ends: metrics whose monitors have not been heard to the end; how often they were asked; who waits.
        self._unheard: set[str] | None = None
        self._asked = 0
        self._remover: Call | None = None

    def init(self, ctx: Context, fresh: bool) -> None:
        environment: Environment = ctx.environment
        if not fresh:
            environment.introduce(self.known())
            self._gather(ctx)
            # What goes by the contract's dates can wait a moment: to read it takes longer than all else here.
            ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_MS, Tick())
            return
        self._enter(ctx)
        self._watch_term(ctx)
        sla_id = self._book.contract.id
        helpers = (
            (ALERTING, ActorSpec(alert_address(sla_id), "alert", self._book.document)),
            (
                REPORTING,
                ActorSpec(ledger_address(sla_id), "ledger", (self._book.document, self._book.version)),
            ),
            (REPORTING, ActorSpec(report_address(sla_id), "report", sla_id)),
        )
        for supervisor, spec in helpers:
            ctx.start_child(supervisor, spec)
        if self._book.version > 1:  # they are there already, from before it was removed
            self._announce(ctx)
        for metric in self._book.contract.metrics:
            self._start_monitor(ctx, metric.name, joined_late=False)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case MetricRecovered(metric_name, at_ms, value):
                violation_id = self._book.open.get(metric_name)
                if violation_id is not None:
                    ctx.cast(violation_address(violation_id), CloseViolation(at_ms, value))
            case ViolationEnded(metric_name, violation_id):
                if self._book.open.get(metric_name) == violation_id:
                    self._close(ctx, metric_name)
            case LookAtBurn():
                self._look_at_burn(ctx)
            case SayAgain(to):
                for _, violation_id in sorted(self._book.open.items()):
                    ctx.cast(violation_address(violation_id), SayAgain(to))
            case _:
                super().handle_cast(ctx, message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        if isinstance(message, Entrusted):
            self._follow_turns(ctx)
            self._gather(ctx)
            if self._unheard:  # one of those that are waited for is there again, it may be
                self._hear_out(ctx)
            return
        # A violation that did not start is like one that has ended: the next bad sample opens another.
        match message:
            case TermTurned(at_ms):
                self._turn(ctx, at_ms)
            case Replied(metric_name, _, error):
                self._heard(ctx, metric_name, error)
            case Tick() | StartRefused():
                self._look_for_violations(ctx)
                self._follow_turns(ctx)
                self._end_if_expired(ctx)
                turned_ms = self._book.last_turn_ms(ctx.now_ms)
                if turned_ms is not None:
                    # It may have been down then; what was told already is not kept twice.
                    self._tell_turn(ctx, turned_ms)
                self._watch_term(ctx)
                if self._book.ending is not None:
                    self._hear_out(ctx)
            case _:
                super().handle_info(ctx, message)

    def handle_continue(self, ctx: Context, message: Any) -> None:
        self._follow_turns(ctx)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case DescribeContract():
                pass
            case _ if self._book.ending is not None:
                raise RequestError(
                    "conflict",
                    f"{self._book.contract.id} is being removed: its last period waits for what these were worth until "
                    f"then: {', '.join(sorted(self._awaited))}; see slakeeper tree",
                )
            case DefineContract(document, by):
                self._define(ctx, document, by)
            case SuspendContract(by):
                self._set_status(ctx, ContractStatus.ACTIVE, ContractStatus.SUSPENDED, by)
            case ResumeContract(by):
                self._set_status(ctx, ContractStatus.SUSPENDED, ContractStatus.ACTIVE, by)
            case RemoveContract(by):
                self._remove(ctx, by)
                return NO_REPLY
            case _:
                super().handle_call(ctx, request)
        return self._book.view()

    def apply(self, event: Any) -> None:
        self._book.apply(event)

    def dump(self) -> ContractState:
        return self._book.dump()

    def load(self, state: ContractState) -> None:
        self._book.load(state)

    def terminate(self, ctx: Context, reason: str) -> None:
        environment: Environment = ctx.environment
        environment.contracts.pop(self._book.document["id"], None)

    # -- inside -----------------------------------------------------------------------------------------------

    def known(self) -> Known:
        """What the others of the cell have to know of the contract."""
        return self._book.known()

    def _enter(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        environment.contracts[self._book.document["id"]] = self.known()

    def _announce(self, ctx: Context) -> None:
        changed = ContractChanged(self._book.document, self._book.version)
        ctx.cast(alert_address(self._book.contract.id), changed)
        # Not sent: what is booked under this version needs it.
        ctx.entrust(ledger_address(self._book.contract.id), changed)

    def _watch_term(self, ctx: Context) -> None:
        """Has itself told when the contract next begins or ends by itself."""
        at_ms = self._book.next_turn_ms(ctx.now_ms)
        if at_ms is None:
            ctx.cancel_timer(TERM_TIMER)
        else:
            ctx.set_timer(TERM_TIMER, at_ms, TermTurned(at_ms))

    def _turn(self, ctx: Context, at_ms: int) -> None:
        self._tell_turn(ctx, at_ms)
        self._end_if_expired(ctx)
        self._watch_term(ctx)

    def _tell_turn(self, ctx: Context, at_ms: int) -> None:
        after = self._book.status(at_ms)
        if self._book.status(at_ms - 1) is not after:
            ctx.cast(report_address(self._book.contract.id), StatusChanged(at_ms, after))

    def _end_if_expired(self, ctx: Context) -> None:
        """Ends what goes on of a contract that has: nothing is left that could recover, or be paged about."""
        if self._book.status(ctx.now_ms) is not Status.EXPIRED:
            return
        self._end_burn(ctx)
        ended_ms = ctx.now_ms
        if not self._book.is_within_term(ctx.now_ms):
            ended_ms = self._book.last_turn_ms(ctx.now_ms) or ctx.now_ms
        why = CONTRACT_EXPIRED if self._book.ending is None else CONTRACT_REMOVED
        close = CloseViolation(ended_ms, by=SELF, note=why)
        for _, violation_id in sorted(self._book.open.items()):
            ctx.cast(violation_address(violation_id), close)

    def _set_open(self, ctx: Context, metric_name: str, violation_id: str) -> None:
        before = self._book.status(ctx.now_ms)
        ctx.emit(OpenedFor(metric_name, violation_id))
        self._enter(ctx)
        self._tell_status(ctx, before)

    def _close(self, ctx: Context, metric_name: str) -> None:
        self._set_open(ctx, metric_name, "")
        if self._book.turns_of(metric_name):
            self._follow(ctx, metric_name)
        elif self._book.watches(metric_name):
            # The monitor knows already when the metric recovered; after an operator's word it does not.
            ctx.cast(monitor_address(self._book.contract.id, metric_name), ForceClose())

    def _follow_turns(self, ctx: Context) -> None:
        for metric_name in dict.fromkeys(turn.metric_name for turn in self._book.turned):
            self._follow(ctx, metric_name)

    def _follow(self, ctx: Context, metric_name: str) -> None:
        """Does what follows from a metric's turns, in their order, up to one that waits for the end of a violation."""
        for turn in self._book.turns_of(metric_name):
            violation_id = self._book.open.get(metric_name)
            if violation_id is None:
                if turn.severity is not None:
                    self._open_violation(ctx, turn, self._severity_of(ctx, turn.severity))
                    ctx.emit(TurnFollowed(metric_name))
                    # It is on record only when this has been done; the next turn may be for it.
                    ctx.continue_with(Entrusted())
                    return
            elif turn.severity is None:
                ctx.cast(violation_address(violation_id), CloseViolation(turn.at_ms, turn.value))
                ctx.set_timer(WAIT_TIMER, ctx.now_ms + LOOK_MS, Tick())  # it may crash on it
                return
            elif not self._tell(ctx, violation_id, turn, turn.severity):
                ctx.set_timer(WAIT_TIMER, ctx.now_ms + LOOK_MS, Tick())
                return
            ctx.emit(TurnFollowed(metric_name))
        if not self._book.turned:
            ctx.cancel_timer(WAIT_TIMER)

    def _look_for_violations(self, ctx: Context) -> None:
        """Misses violations whose end it did not hear of, and has the others and their monitors say how they stand."""
        environment: Environment = ctx.environment
        for metric_name, violation_id in sorted(self._book.open.items()):
            address = violation_address(violation_id)
            if address not in environment.violations:
                self._close(ctx, metric_name)
                continue
            ctx.cast(address, SayAgain(self.address))
            if self._book.watches(metric_name):
                ctx.cast(monitor_address(self._book.contract.id, metric_name), SayAgain(self.address))
            else:
                ctx.cast(address, self._removal(metric_name, ctx.now_ms))

    def _tell_status(self, ctx: Context, before: Status) -> None:
        """Has a change of status kept in the contract's history."""
        after = self._book.status(ctx.now_ms)
        if after is not before:
            ctx.cast(report_address(self._book.contract.id), StatusChanged(ctx.now_ms, after))

    def _start_monitor(self, ctx: Context, metric_name: str, *, joined_late: bool) -> None:
        environment: Environment = ctx.environment
        threshold = environment.monitoring.violation_threshold
        order = MonitorOrder(
            narrowed(self._book.document, metric_name),
            metric_name,
            self._book.since_ms,
            threshold,
            ctx.now_ms,
            self._book.chapter,
            joined_late,
        )
        address = monitor_address(self._book.contract.id, metric_name)
        ctx.start_child(MONITORING, ActorSpec(address, "monitor", order))
        if self._book.contract.status is not ContractStatus.ACTIVE:
            ctx.cast(address, SetSuspended(True))

    def _severity_of(self, ctx: Context, severity: Severity) -> Severity:
        environment: Environment = ctx.environment
        # No single value is a breach of the contract: that the period is lost is.
        return Severity.BREACH if environment.is_lost(self._book.contract.id, ctx.now_ms) else severity

    def _tell(self, ctx: Context, violation_id: str, turn: MetricTurned, severity: Severity) -> bool:
        """Has an open violation know how its metric stands; False while that is not recorded yet.

        One that has ended needs no more: its word is on its way.
        """
        address = violation_address(violation_id)
        try:
            ctx.entrust(address, replace(turn, severity=self._severity_of(ctx, severity)))
        except LookupError:
            return ctx.status_of(address) is None
        return True

    def _open_violation(self, ctx: Context, turn: MetricTurned, severity: Severity) -> None:
        if not self._book.watches(turn.metric_name):
            return  # it has left the contract since its monitor said this
        metric = self._book.contract.metric(turn.metric_name)
        opened = open_violation(
            self._book.contract,
            metric,
            turn.value,
            severity,
            turn.at_ms,
            contract_version=self._book.version,
        )
        self._set_open(ctx, metric.name, opened.id)
        spec = ActorSpec(
            violation_address(opened.id), "violation", (self._book.document, opened), Restart.TRANSIENT
        )
        ctx.start_child(ENFORCEMENT, spec)
        if self._book.status(ctx.now_ms) is Status.EXPIRED:  # a late sample, of the time before
            ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_MS, Tick())

    def _look_at_burn(self, ctx: Context) -> None:
        """Begins, raises and ends the burn alert of the contract."""
        change = burn_change(ctx, self._book.contract, self._book.since_ms, self._book.burning)
        if change is None:
            return
        status_before = self._book.status(ctx.now_ms)
        ctx.emit(BurnChanged(change.after))
        self._enter(ctx)
        self._tell_status(ctx, status_before)
        tell_burn(ctx, self._book.contract, change)

    def _end_burn(self, ctx: Context) -> None:
        """The contract counts no more for now, or for good: nothing of it burns."""
        if self._book.burning is not None:
            change = BurnChange(self._book.burning, None)
            ctx.emit(BurnChanged(None))
            self._enter(ctx)
            tell_burn(ctx, self._book.contract, change)

    def _gather(self, ctx: Context) -> None:
        """Takes the accounts that monitors have entrusted: ends those of metrics that were removed, settles periods."""
        for metric_name in self._book.gone():
            ctx.emit(MetricGone(metric_name))
            ctx.terminate_child(MONITORING, monitor_address(self._book.contract.id, metric_name))
        self._settle(ctx)

    def _settle(self, ctx: Context) -> None:
        """Hands on every period of which the last metric's account is in."""
        for each in self._book.complete(is_heard_out=self._is_heard_out):
            ctx.emit(PeriodSettled(each.end_ms))
            ends_with = CONTRACT_REMOVED if each.is_last else ""
            hand_on(ctx, each.contract, each.version, each.accounts, ends_with)

    def _define(self, ctx: Context, document: dict[str, Any], by: str) -> None:
        try:
            contract = Sla.from_document(document)
        except ValidationError as error:
            problems = [
                {"reason": each["type"], "message": each["msg"]} for each in error.errors(include_url=False)
            ]
            raise RequestError("invalid", "the contract is not valid", errors=problems) from error
        # As contracts, not as documents: what comes back from disk has tuples where a new document has lists.
        if contract == definition_of(self._book.configured).contract:
            return
        configured = contract.to_document()
        complete = configured
        if configured["status"] == self._book.configured["status"]:
            # An operator's suspension outlasts a new version that says nothing about it.
            complete = {**configured, "status": self._book.document["status"]}
        self._change(ctx, complete, configured, by, What.CONTRACT_UPDATED)

    def _change(
        self, ctx: Context, complete: dict[str, Any], configured: dict[str, Any], by: str, what: What
    ) -> None:
        described = {each["name"]: each for each in self._book.contract.to_document()["metrics"]}
        before = set(described)
        was_idle = self._book.contract.status is not ContractStatus.ACTIVE
        status_before = self._book.status(ctx.now_ms)
        ctx.emit(ContractVersion(complete, self._book.version + 1, configured, ctx.now_ms))
        # A suspension changes nothing else in the document.
        more = {"document": complete} if what is What.CONTRACT_UPDATED else {}
        sla_id = self._book.contract.id
        note(
            ctx, what, sla_id=sla_id, subject=sla_id, who=by or "operator", version=self._book.version, **more
        )
        self._enter(ctx)
        self._announce(ctx)
        contract = self._book.contract
        after = {metric.name for metric in contract.metrics}
        is_idle = contract.status is not ContractStatus.ACTIVE
        for name in sorted(before - after):
            ctx.emit(MetricRemoved(name, described[name], ctx.now_ms, by or "operator"))
            violation_id = self._book.open.get(name)
            if violation_id is not None:
                ctx.cast(violation_address(violation_id), self._removal(name, ctx.now_ms))
        for name in sorted(after & self._book.removed.keys()):
            ctx.emit(MetricGone(name))
            before.add(name)  # its monitor is there still, and goes on
        for name, removed in sorted(self._book.removed.items()):
            self._rebase(ctx, name, self._book.document_with(removed), retired=True)
        self._enter(ctx)
        for name in sorted(before & after):
            self._rebase(ctx, name, complete)
            if is_idle != was_idle:
                ctx.cast(monitor_address(contract.id, name), SetSuspended(is_idle))
        for name in sorted(after - before):
            ctx.emit(MetricAdded(name, ctx.now_ms))
            self._start_monitor(ctx, name, joined_late=True)
        self._tell_status(ctx, status_before)
        self._watch_term(ctx)
        self._end_if_expired(ctx)
        # A period may have waited only for a metric that is gone now.
        self._settle(ctx)
        ctx.publish("sla.changed", {"sla_id": contract.id, "version": self._book.version})

    def _rebase(self, ctx: Context, name: str, document: dict[str, Any], *, retired: bool = False) -> None:
        ended_ms = None if self._book.ending is None else self._book.ending.at_ms
        rebase = Rebase(document, self._book.version, self._book.chapter, retired, ended_ms)
        ctx.cast(monitor_address(self._book.contract.id, name), rebase)

    def _removal(self, metric_name: str, at_ms: int) -> CloseViolation:
        """The end of the violation of a metric that has left: nobody has seen it recover."""
        removed = self._book.removed.get(metric_name)
        by = "operator" if removed is None else removed.by
        return CloseViolation(at_ms, by=by, note=METRIC_REMOVED)

    def _set_status(self, ctx: Context, before: ContractStatus, after: ContractStatus, by: str) -> None:
        if self._book.contract.status is not before:
            already = "already " if self._book.contract.status is after else ""
            raise RequestError(
                "conflict", f"{self._book.contract.id} is {already}{self._book.contract.status.value}"
            )
        is_suspended = after is ContractStatus.SUSPENDED
        what = What.CONTRACT_SUSPENDED if is_suspended else What.CONTRACT_RESUMED
        if is_suspended:
            self._end_burn(ctx)
        self._change(ctx, {**self._book.document, "status": after.value}, self._book.configured, by, what)

    def _remove(self, ctx: Context, by: str) -> None:
        """Begins its end: the running period ends now, and is settled; that done, nothing watches any more.

        Ledger, history, and the news that is still being delivered stay.
        """
        if self._book.open:
            open_ids = ", ".join(sorted(self._book.open.values()))
            raise RequestError(
                "conflict", f"{self._book.contract.id} has open violations: {open_ids}; resolve them first"
            )
        self._end_burn(ctx)
        sla_id = self._book.contract.id
        note(
            ctx,
            What.CONTRACT_REMOVED,
            sla_id=sla_id,
            subject=sla_id,
            who=by or "operator",
            version=self._book.version,
        )
        self._remover = ctx.caller
        ctx.emit(ContractEnding(self._book.ended_document(ctx.now_ms), ctx.now_ms))
        self._enter(ctx)
        self._hear_out(ctx)

    def _hear_out(self, ctx: Context) -> None:
        """Has each monitor settle what is left of its time, and say when it has."""
        self._asked += 1
        self._unheard = self._awaited
        for name in sorted(self._unheard):
            removed = self._book.removed.get(name)
            if removed is not None:
                self._rebase(ctx, name, self._book.document_with(removed), retired=True)
            else:
                self._rebase(ctx, name, self._book.document)
            # What it is worth is entrusted by then: the answer says only that nothing more will come.
            ctx.call(monitor_address(self._book.contract.id, name), DescribeMetric(), name)
        self._end_if_heard_out(ctx)

    def _heard(self, ctx: Context, metric_name: str, error: Exception | None) -> None:
        if error is None and self._unheard is not None:
            self._unheard.discard(metric_name)
            self._end_if_heard_out(ctx)
        else:  # it is down: what it was worth is on its record, and nothing is settled without it
            wait_ms = LOOK_MS << min(self._asked, MOST_DOUBLINGS)
            ctx.set_timer(LOOK_TIMER, ctx.now_ms + wait_ms, Tick())

    @property
    def _awaited(self) -> set[str]:
        """While it ends: metrics whose monitors have not been heard of to the end."""
        if self._unheard is None:
            return self._book.watched()
        return self._unheard

    @property
    def _is_heard_out(self) -> bool:
        return self._unheard is not None and not self._unheard

    def _end_if_heard_out(self, ctx: Context) -> None:
        """Settles the last period and goes, once every monitor has been heard and nothing is open."""
        if not self._is_heard_out:
            return
        if self._book.open:  # of a sample that had waited for a monitor that was down
            self._end_if_expired(ctx)
            ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_MS, Tick())
            return
        self._settle(ctx)
        sla_id = self._book.contract.id
        for name in (*(metric.name for metric in self._book.contract.metrics), *self._book.removed):
            ctx.terminate_child(MONITORING, monitor_address(sla_id, name))
        ctx.publish("sla.removed", {"sla_id": sla_id})
        if self._remover is not None:
            ctx.reply(self._remover, None)
        ctx.terminate_child(DEFINITION, self.address)
