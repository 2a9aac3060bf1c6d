"""Light actors: what a kind of actor is written as, and what it may ask of its host.

An actor has an address, a mailbox, timers and a state that nobody else touches. Its handlers run one at a
time on the cell's thread and must not block. What a handler asks for (events, messages, timers, children,
outside effects) takes place only when it returns: a handler that raises leaves no trace but a crash report,
and the actor is rebuilt by its supervisor from what had been recorded before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from slakeeper.otp.child_spec import Restart


class ActorStopped(Exception):
    """There is no actor at that address, or it ended before it answered."""


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


@dataclass(frozen=True)
class Performed:
    """What became of an outside effect; comes to :meth:`Actor.handle_info` of the actor that asked for it.

    Exactly one of ``value`` and ``error`` has a meaning: ``error`` is None when the effect returned.
    """

    key: str
    value: Any
    error: BaseException | None


@dataclass(frozen=True)
class StartRefused:
    """A child asked for by :meth:`Context.start_child` did not start; comes to :meth:`Actor.handle_info`."""

    address: str
    reason: str


@dataclass(frozen=True)
class ActorSpec:
    """Which actor to start: its kind by name, its address, and the plain values its state begins with."""

    address: str
    kind: str
    arg: Any = None
    restart: Restart = Restart.PERMANENT


class Context:
    """An actor's way to the world around it, valid within one handler.

    Attributes:
        address: the actor's own.
        now_ms: Unix time [ms], read once for the whole turn.
        environment: what the host was given for its actors (settings, channels); shared and read-only.
    """

    __slots__ = ("_actor", "_encode", "address", "effects", "environment", "now_ms")

    def __init__(
        self,
        actor: "Actor",
        now_ms: int,
        environment: Any,
        encode: Callable[[Any], bytes],
        effects: list[tuple[Any, ...]],
    ) -> None:
        self.address = actor.address
        self.now_ms = now_ms
        self.environment = environment
        self.effects = effects
        self._actor = actor
        self._encode = encode

    def emit(self, event: Any) -> Any:
        """Records an event and applies it to the state.

        Args:
            event: a registered record or plain msgpack values.

        Returns:
            What :meth:`Actor.apply` returned.
        """
        self.effects.append(("event", self._encode(event)))
        return self._actor.apply(event)

    def cast(self, address: str, message: Any) -> None:
        """Sends a message; nobody there makes it a dead letter."""
        self.effects.append(("cast", address, message))

    def set_timer(self, name: str, at_ms: int, message: Any) -> None:
        """Has ``message`` delivered to :meth:`Actor.handle_info` at ``at_ms``; replaces the timer of that name."""
        self.effects.append(("timer", name, at_ms, message))

    def cancel_timer(self, name: str) -> None:
        """Forgets the timer of that name, if there is one; its message will not arrive any more."""
        self.effects.append(("cancel", name))

    def start_child(self, supervisor: str, spec: ActorSpec) -> None:
        """Starts an actor in this actor's partition; one that runs already at that address is left alone.

        A refused start comes back as :class:`StartRefused`.
        """
        self.effects.append(("start", supervisor, spec))

    def terminate_child(self, supervisor: str, address: str) -> None:
        """Stops and forgets an actor; nobody there is no error."""
        self.effects.append(("terminate", supervisor, address))

    def perform(self, key: str, effect: Callable[[], Any], lane: str) -> None:
        """Runs ``effect`` on an I/O thread once this turn is durable; its end comes back as :class:`Performed`.

        Args:
            key: names the effect within this actor; the same key is not run twice at the same time.
            effect: may block; must bound its own time.
            lane: effects of different lanes do not wait for each other (one lane for each channel or target).
        """
        self.effects.append(("perform", key, effect, lane))

    def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """Tells subscribers, once this turn is durable."""
        self.effects.append(("publish", topic, payload))

    def stop(self, reason: str = "normal") -> None:
        """Ends this actor after the handler with an exit reason."""
        self.effects.append(("stop", reason))


class Actor:
    """Base of every kind of light actor; each hook runs on the cell's thread.

    A durable kind keeps its state by events: handlers decide and :meth:`Context.emit`, only :meth:`apply`
    changes state, and :meth:`dump` and :meth:`load` carry it through snapshots. After a crash or a restart of
    the process the actor is made anew, loaded, given its later events, and then :meth:`init` runs.

    Attributes:
        durable: whether the host records it; a kind that is not durable begins anew each time.
    """

    durable: ClassVar[bool] = True

    def __init__(self, address: str, arg: Any) -> None:
        """Makes the state of a new actor; ``arg`` is what the starter gave. Raising refuses the start."""
        self.address = address

    def init(self, ctx: Context, fresh: bool) -> None:
        """Runs before the first message: ``fresh`` for a new actor, otherwise re-arm timers from the state."""

    def handle_cast(self, ctx: Context, message: Any) -> None:
        """A message from another actor. Raising is a crash of this actor."""
        raise LookupError(f"{type(self).__name__} does not understand {type(message).__name__}")

    def handle_call(self, ctx: Context, request: Any) -> Any:
        """A request; what is returned is the reply. :class:`RequestError` refuses it without a crash."""
        raise RequestError("invalid", f"{type(self).__name__} does not answer {type(request).__name__}")

    def handle_info(self, ctx: Context, message: Any) -> None:
        """A timer's message, or the end of an outside effect. Raising is a crash of this actor."""
        raise LookupError(f"{type(self).__name__} does not understand {type(message).__name__}")

    def terminate(self, ctx: Context, reason: str) -> None:
        """Runs before an orderly end, not after a crash. What it raises is reported."""

    def apply(self, event: Any) -> Any:
        """Changes the state by one event; must not fail or look at anything but state and event."""
        raise LookupError(f"{type(self).__name__} does not know the event {type(event).__name__}")

    def dump(self) -> Any:
        """The whole state as registered records or plain msgpack values."""
        return None

    def load(self, state: Any) -> None:
        """Takes a state that :meth:`dump` gave, of this or an earlier version."""
