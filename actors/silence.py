"""SilencesActor: keeps every silence. Each partition has a copy, so that every cell knows them, whatever is down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import DEFINITION, silences_address
from slakeeper.actors.audit import note
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import Tick
from slakeeper.actors.silence_message import AddSilence, ExpireSilence, LearnSilences
from slakeeper.otp.actor import Actor, RequestError
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.partition import Partition, Started
from slakeeper.sla import silence
from slakeeper.sla.audit import What
from slakeeper.sla.duration import HOUR_MS, SECOND_MS
from slakeeper.sla.silence import Silence, SilenceError, SilenceState

LOOK_TIMER = "look"

# How soon after its own start a keeper looks what the others know: it may have died on what it was told.
FIRST_LOOK_MS = SECOND_MS
LOOK_EVERY_MS = HOUR_MS

# Pending and active ones. Each news looks through them all, and each neighbour may be sent them.
MAX_SILENCES = 1_000


@dataclass(frozen=True, slots=True)
class SilencesForgotten:
    """Event: these have been over for long enough."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SilencesState:
    """What a snapshot keeps."""

    silences: tuple[Silence, ...] = ()


class SilencesActor(Actor):
    """One for each partition; it has no argument. A :class:`Silence` is its event: as it is from now on."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self._silences: dict[str, Silence] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        self._show(ctx)
        ctx.set_timer(LOOK_TIMER, ctx.now_ms + FIRST_LOOK_MS, Tick())

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case AddSilence(added):
                in_force = sum(
                    each.state(ctx.now_ms) is not SilenceState.EXPIRED for each in self._silences.values()
                )
                if in_force >= MAX_SILENCES:
                    raise RequestError("conflict", f"there are {MAX_SILENCES} silences already")
                if added.id not in self._silences:  # else it is said again
                    self._take(ctx, added)
                    note(
                        ctx, What.SILENCE_ADDED, subject=added.id, who=added.created_by,
                        matchers=[str(each) for each in added.matchers], reason=added.reason,
                        starts_at_ms=added.starts_at_ms, ends_at_ms=added.ends_at_ms,
                    )  # fmt: skip
                return self._silences[added.id]
            case ExpireSilence(silence_id, by):
                found = self._silences.get(silence_id)
                if found is None:
                    raise RequestError("not_found", f"no silence {silence_id}")
                try:
                    ended = silence.expire(found, by, ctx.now_ms)
                except SilenceError as error:
                    code = "conflict" if error.reason == "already_expired" else "invalid"
                    raise RequestError(code, str(error), reason=error.reason) from error
                self._take(ctx, ended)
                note(ctx, What.SILENCE_EXPIRED, subject=silence_id, who=by)
                return ended
            case _:
                return super().handle_call(ctx, request)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if not isinstance(message, LearnSilences):
            super().handle_cast(ctx, message)
            return
        self._learn(ctx, message.silences)

    def handle_info(self, ctx: Context, message: Any) -> None:
        if not isinstance(message, Tick):
            super().handle_info(ctx, message)
        environment: Environment = ctx.environment
        self._learn(ctx, environment.muting.silences)
        self._forget(ctx)
        ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_EVERY_MS, Tick())

    def apply(self, event: Any) -> None:
        match event:
            case Silence():
                self._silences[event.id] = event
            case SilencesForgotten(ids):
                for each in ids:
                    self._silences.pop(each, None)
            case _:
                super().apply(event)

    def dump(self) -> SilencesState:
        return SilencesState(tuple(self._silences.values()))

    def load(self, state: SilencesState) -> None:
        self._silences = {each.id: each for each in state.silences}

    def _take(self, ctx: Context, after: Silence) -> None:
        ctx.emit(after)
        self._show(ctx)

    def _show(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        environment.muting.keep(self.address, self._silences.values())

    def _learn(self, ctx: Context, silences: Iterable[Silence]) -> None:
        is_new = False
        for said in silences:
            known = self._silences.get(said.id)
            if said == known:
                continue
            merged = said if known is None else silence.merge(known, said)
            if merged != known and silence.is_kept(merged, ctx.now_ms):
                ctx.emit(merged)
                is_new = True
        if is_new:
            self._show(ctx)

    def _forget(self, ctx: Context) -> None:
        gone = tuple(each.id for each in self._silences.values() if not silence.is_kept(each, ctx.now_ms))
        if gone:
            ctx.emit(SilencesForgotten(gone))
            self._show(ctx)


def begin_silences(partitions: Mapping[str, Partition], codec: Codec) -> None:
    """Gives each partition that has none its keeper of silences, durable on return; before the host starts."""
    for name, partition in partitions.items():
        address = silences_address(name)
        if address not in partition.records:
            started = Started(address, DEFINITION, "silences", codec.encode(None), Restart.PERMANENT.value)
            partition.append((started,))
            partition.commit()


def from_documents(documents: Iterable[Any]) -> tuple[Silence, ...]:
    """Silences as :meth:`Silence.to_document` wrote them, by another cell.

    Raises:
        RequestError: ``invalid``.
    """
    try:
        return tuple(
            Silence(
                id=each["id"],
                matchers=tuple(
                    silence.check_matcher(
                        silence.Matcher(one["name"], silence.Relation(one["relation"]), one["value"])
                    )
                    for one in each["matchers"]
                ),
                starts_at_ms=each["start_time"],
                ends_at_ms=each["end_time"],
                created_by=each["created_by"],
                reason=each["reason"],
                created_at_ms=each["created_time"],
                expired_by=each["expired_by"] or "",
            )
            for each in documents
        )
    except (KeyError, TypeError, ValueError, SilenceError) as error:
        raise RequestError("invalid", f"this is no silence: {error}") from error
