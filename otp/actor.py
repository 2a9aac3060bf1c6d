"""Light actors: what a kind of actor is written as, and what it hears of the world.

An actor has an address, a mailbox, timers and a state that nobody else touches. Its handlers run one at a
time on the cell's thread and must not block. What a handler asks for (events, messages, timers, children,
outside effects) takes place only when it returns: a handler that raises leaves no trace but a crash report,
and the actor is rebuilt by its supervisor from what had been recorded before.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from slakeeper.otp.child_spec import DEFAULT_SHUTDOWN_MS, WORKER, ChildSpec, ChildType, Flags, Restart

if TYPE_CHECKING:
    from slakeeper.otp.context import Context


class ActorStopped(Exception):
    """There is no actor at that address, or it ended before it answered: the request was not done."""


class ActorLost(Exception):
    """No answer came in time, or the process behind the address is gone: whether the request was done is not known."""


class LaneFull(Exception):
    """An outside effect was not tried: too many of its lane wait already."""


class RequestError(Exception):
    """A request was understood and refused.

    Attributes:
        code: not_found, invalid, conflict, unavailable, forbidden or internal.
        details: further plain values for the caller.
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def to_wire(self) -> dict[str, Any]:
        return {"code": self.code, "message": str(self), **self.details}


class Overflow(StrEnum):
    """What gives way when a bounded mailbox is full; either becomes a dead letter, and a call is refused."""

    NEWEST = "newest"
    """The message that has just arrived."""
    OLDEST = "oldest"
    """The one that has waited longest."""


IGNORE: Final = "ignore"
"""Returned by :meth:`Actor.init`: do not run, and that is no failure. OTP's ``ignore``."""

NO_REPLY: Final = object()
"""Returned by :meth:`Actor.handle_call`: the reply comes later, by :meth:`Context.reply` to ``ctx.caller``."""


# -- what an actor may hear in handle_info --------------------------------------------------------------------


@dataclass(frozen=True)
class Performed:
    """What became of an outside effect.

    Exactly one of ``value`` and ``error`` has a meaning: ``error`` is None when the effect returned.
    """

    key: str
    value: Any
    error: BaseException | None


@dataclass(frozen=True)
class StartRefused:
    """A child asked for by :meth:`Context.start_child` did not start."""

    address: str
    reason: str


@dataclass(frozen=True)
class Replied:
    """The end of a :meth:`Context.call`, exactly one for each.

    Attributes:
        tag: what the caller gave.
        error: None when ``value`` is the reply; a RequestError (refused), ActorStopped (nobody there, or it ended
            on the request) or ActorLost (no answer in time).
    """

    tag: Any
    value: Any
    error: Exception | None


@dataclass(frozen=True)
class Down:
    """A monitored actor ended; ``noproc`` when it was not there."""

    address: str
    reason: str


@dataclass(frozen=True)
class LinkedExit:
    """A linked actor ended; only to kinds that trap exits."""

    address: str
    reason: str


@dataclass(frozen=True)
class Resumed:
    """An operator's suspension has ended, and what had waited was handled; only to kinds that hear of it."""


@dataclass(frozen=True)
class Entrusted:
    """Events were recorded for this actor by others of its partition, and applied; see :meth:`Context.entrust`.

    One may stand for many. An actor that starts has been given them by then and hears nothing.
    """


@dataclass(slots=True)
class ActorSpec:
    """Which actor to start: its kind by name, its address, and the plain values its state begins with.

    Never changed once it is made, and not frozen all the same, like :class:`~slakeeper.otp.child_spec.ChildSpec`.
    ``significant``: its own end may end its supervisor, see :class:`~slakeeper.otp.child_spec.AutoShutdown`.
    """

    address: str
    kind: str
    arg: Any = None
    restart: Restart = Restart.PERMANENT
    significant: bool = False


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor of the tree and what it starts, in order; durable children join from the partitions.

    Under simple_one_for_one the one child is the template of all; these are recorded nowhere.
    """

    address: str
    flags: Flags
    children: tuple["SupervisorSpec | ActorSpec", ...] = ()
    restart: Restart = Restart.PERMANENT
    significant: bool = False


def child_spec(child: ActorSpec | SupervisorSpec) -> ChildSpec:
    """An actor or a supervisor as the core knows it.

    Raises:
        SpecError: it cannot be a child.
    """
    if isinstance(child, ActorSpec):
        return ChildSpec(child.address, child, child.restart, DEFAULT_SHUTDOWN_MS, WORKER, child.significant)
    kind = ChildType.SUPERVISOR
    return ChildSpec(child.address, child, child.restart, type=kind, significant=child.significant)


class Actor:
    """Base of every kind of light actor; each hook runs on the cell's thread.

    A durable kind keeps its state by events: handlers decide and :meth:`Context.emit`, only :meth:`apply`
    changes state, and :meth:`dump` and :meth:`load` carry it through snapshots. After a crash or a restart of
    the process the actor is made anew, loaded, given its later events, and then :meth:`init` runs.

    Attributes:
        durable: whether the host records it; a kind that is not durable begins anew each time.
        mailbox_limit: how many messages may wait for it; 0 is no limit.
        overflow: what gives way beyond that.
        trap_exits: whether the end of a linked actor is told to it instead of ending it too.
        hears_resumed: whether the end of a suspension is told to it: what came while too much waited is lost by then.
        passivate_after_ms: after so long without a message it is put away as its dumped state, and made again for
            the next one; 0 is never. Timers go on. A kind that is not durable needs dump and load for this.
        recovers_later: whether a recorded one may be made only after the host has come up: a few in each turn, and
            whoever is sent something at once. For kinds that nobody misses until then.
    """

    durable: ClassVar[bool] = True
    mailbox_limit: ClassVar[int] = 0
    overflow: ClassVar[Overflow] = Overflow.NEWEST
    trap_exits: ClassVar[bool] = False
    hears_resumed: ClassVar[bool] = False
    passivate_after_ms: ClassVar[int] = 0
    recovers_later: ClassVar[bool] = False

    def __init__(self, address: str, arg: Any) -> None:
        """Makes the state of a new actor; ``arg`` is what the starter gave. Raising refuses the start."""
        self.address = address

    def init(self, ctx: "Context", fresh: bool) -> str | None:
        """Runs before the first message: ``fresh`` for a new actor, otherwise re-arm timers from the state.

        Returns:
            None, or IGNORE: then it does not run. Raising refuses the start.
        """

    def handle_cast(self, ctx: "Context", message: Any) -> None:
        """A message from another actor. Raising is a crash of this actor."""
        raise LookupError(f"{type(self).__name__} does not understand {type(message).__name__}")

    def handle_call(self, ctx: "Context", request: Any) -> Any:
        """A request; what is returned is the reply, or NO_REPLY. :class:`RequestError` refuses it without a crash."""
        raise RequestError("invalid", f"{type(self).__name__} does not answer {type(request).__name__}")

    def handle_info(self, ctx: "Context", message: Any) -> None:
        """A timer's message, or news of the kinds above. Raising is a crash of this actor."""
        raise LookupError(f"{type(self).__name__} does not understand {type(message).__name__}")

    def handle_continue(self, ctx: "Context", message: Any) -> None:
        """What :meth:`Context.continue_with` asked for, before any other message. Raising is a crash."""
        raise LookupError(f"{type(self).__name__} does not go on with {type(message).__name__}")

    def terminate(self, ctx: "Context", reason: str) -> None:
        """Runs before an orderly end, not after a crash. What it raises is reported."""

    def apply(self, event: Any) -> Any:
        """Changes the state by one event; must not fail or look at anything but state and event."""
        raise LookupError(f"{type(self).__name__} does not know the event {type(event).__name__}")

    def dump(self) -> Any:
        """The whole state as registered records or plain msgpack values."""
        return None

    def load(self, state: Any) -> None:
        """Takes a state that :meth:`dump` gave, of this or an earlier version."""
