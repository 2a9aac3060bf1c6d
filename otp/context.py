"""What an actor may ask of its host: everything a handler wants done is noted here and done when it returned."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from slakeeper.otp.actor import Actor, ActorSpec, child_spec
from slakeeper.otp.supervisor_state import child_status

if TYPE_CHECKING:
    from slakeeper.otp.host import Host

# The first field of an effect. Numbers, and the most frequent first: the host looks at one for each effect.
CAST: Final = 0
EVENT: Final = 1
TIMER: Final = 2
PUBLISH: Final = 3
PERFORM: Final = 4
CANCEL: Final = 5
START: Final = 6
TERMINATE: Final = 7
STOP: Final = 8
CALL: Final = 9
REPLY: Final = 10
CONTINUE: Final = 11
MONITOR: Final = 12
DEMONITOR: Final = 13
LINK: Final = 14
UNLINK: Final = 15
REGISTER: Final = 16
UNREGISTER: Final = 17
ENTRUST: Final = 18

Effect = tuple[Any, ...]

DEFAULT_CALL_MS: Final = 5_000
"""How long a call waits for its reply, as gen_server's does [ms]."""


class Call:
    """A request on its way to its reply; settled once, whatever happens.

    Args:
        request: what is asked.
        done: called with the reply and None, or with None and the error.

    Attributes:
        on_settled: called when it is settled, by whoever keeps something for it until then.
    """

    __slots__ = ("_done", "on_settled", "request")

    def __init__(self, request: Any, done: Callable[[Any, Exception | None], None]) -> None:
        self.request = request
        self.on_settled: list[Callable[[], None]] = []
        self._done: Callable[[Any, Exception | None], None] | None = done

    def __repr__(self) -> str:
        return f"Call({self.request!r})"

    @property
    def is_open(self) -> bool:
        """Whether the caller still waits."""
        return self._done is not None

    def settle(self, value: Any, error: Exception | None = None) -> None:
        """Gives the caller its answer; the first one counts."""
        done, self._done = self._done, None
        if done is None:
            return
        for each in self.on_settled:
            each()
        done(value, error)


class Context:
    """One incarnation's way to the world around it. Its effects are those of the handler that runs.

    Attributes:
        address: the actor's own.
        environment: what the host was given for its actors (settings, channels); shared and read-only.
        caller: whose request is handled, within handle_call; for a later :meth:`reply`.
        effects: what the handler has asked for so far; None is nothing, which is all an idle actor keeps of it.
    """

    __slots__ = ("_actor", "_host", "address", "caller", "effects", "environment")

    def __init__(self, actor: Actor, host: "Host") -> None:
        self.address = actor.address
        self.environment = host.environment
        self.effects: list[Effect] | None = None
        self.caller: Call | None = None
        self._actor = actor
        self._host = host

    @property
    def now_ms(self) -> int:
        """Unix time [ms], read once for the whole turn."""
        return self._host.now_ms

    @property
    def partition(self) -> str | None:
        """The name of the partition that keeps this actor; None when it is recorded nowhere."""
        return self._host.partition_of(self.address)

    def _want(self, effect: Effect) -> None:
        if self.effects is None:
            self.effects = [effect]
        else:
            self.effects.append(effect)

    # -- state ------------------------------------------------------------------------------------------------

    def emit(self, event: Any) -> Any:
        """Records an event and applies it to the state.

        Args:
            event: a registered record or plain msgpack values.

        Returns:
            What :meth:`Actor.apply` returned.
        """
        self._want((EVENT, self._host.codec.encode(event)))
        return self._actor.apply(event)

    def look(self, address: str) -> Actor | None:
        """An actor that sleeps, as its record says, for nothing but to be read; None if none sleeps there."""
        return self._host.asleep(address)

    def status_of(self, address: str) -> str | None:
        """``running``, ``restarting`` or ``quarantined``, of an actor that is there; None when it has ended."""
        seat = self._host.tree.seats.get(address)
        return None if seat is None else child_status(seat.node.state, address)

    def entrust(self, address: str, event: Any) -> None:
        """Records an event of another durable actor of this partition, in one commit with this handler's own.

        A message can be lost with the process between two turns, or find its receiver down; this cannot: whether the
        other runs, is being restarted, is suspended or set aside, the event is on its record if and only if what the
        handler emitted is on its own. One that runs is given it at once and hears :class:`Entrusted`.

        Raises:
            LookupError: nothing is recorded for that address in this actor's partition.
        """
        self._host.require_record(self.address, address)
        self._want((ENTRUST, address, self._host.codec.encode(event), event))

    # -- messages ---------------------------------------------------------------------------------------------

    def cast(self, address: str, message: Any) -> None:
        """Sends a message to an address or a registered name; nobody there makes it a dead letter."""
        if type(address) is not str:
            raise TypeError(f"an address is text, not {address!r}")
        self._want((CAST, address, message))

    def call(self, address: str, request: Any, tag: Any, timeout_ms: int = DEFAULT_CALL_MS) -> None:
        """Asks another actor; exactly one :class:`~slakeeper.otp.actor.Replied` with ``tag`` comes back.

        A request that waits while its receiver is restarted is answered by the next incarnation.
        """
        self._want((CALL, _text(address), request, tag, _milliseconds(timeout_ms)))

    def reply(self, caller: Call, value: Any) -> None:
        """Answers a request whose handler returned NO_REPLY; a caller that has given up hears nothing."""
        if not isinstance(caller, Call):
            raise TypeError(f"this is nobody who called: {caller!r}")
        self._want((REPLY, caller, value))

    def continue_with(self, message: Any) -> None:
        """Has :meth:`Actor.handle_continue` called with ``message`` before anything else is handled."""
        self._want((CONTINUE, message))

    # -- time -------------------------------------------------------------------------------------------------

    def set_timer(self, name: str, at_ms: int, message: Any) -> None:
        """Has ``message`` delivered to :meth:`Actor.handle_info` at ``at_ms``; replaces the timer of that name."""
        self._want((TIMER, _text(name), _milliseconds(at_ms), message))

    def cancel_timer(self, name: str) -> None:
        """Forgets the timer of that name, if there is one; its message will not arrive any more."""
        self._want((CANCEL, _text(name)))

    # -- other actors -----------------------------------------------------------------------------------------

    def start_child(self, supervisor: str, spec: ActorSpec) -> None:
        """Starts an actor in this actor's partition; one that runs already at that address is left alone.

        A refused start comes back as :class:`~slakeeper.otp.actor.StartRefused`.

        Raises:
            SpecError: what cannot be a child at all.
        """
        self._want((START, _text(supervisor), child_spec(spec)))

    def terminate_child(self, supervisor: str, address: str) -> None:
        """Stops and forgets an actor; nobody there is no error. Its own end comes after all else it asked for."""
        self._want((TERMINATE, supervisor, _text(address)))

    def monitor(self, address: str) -> None:
        """Has one :class:`~slakeeper.otp.actor.Down` come when the incarnation now at ``address`` ends."""
        self._want((MONITOR, _text(address)))

    def demonitor(self, address: str) -> None:
        """Ends a monitor."""
        self._want((DEMONITOR, _text(address)))

    def link(self, address: str) -> None:
        """Ties the two together: when either ends abnormally the other ends with it, unless it traps exits."""
        self._want((LINK, _text(address)))

    def unlink(self, address: str) -> None:
        """Ends a link."""
        self._want((UNLINK, _text(address)))

    def register(self, name: str) -> None:
        """Makes this actor reachable by ``name`` as well, until it ends; a name that is taken is a crash."""
        self._want((REGISTER, _text(name)))

    def unregister(self, name: str) -> None:
        """Gives a name back; one that is not this actor's is left alone."""
        self._want((UNREGISTER, _text(name)))

    def stop(self, reason: str = "normal") -> None:
        """Ends this actor after the handler with an exit reason."""
        self._want((STOP, _text(reason)))

    # -- the outside ------------------------------------------------------------------------------------------

    def perform(self, key: str, effect: Callable[[], Any], lane: str) -> None:
        """Runs ``effect`` on an I/O thread once this turn is durable; its end comes back as Performed.

        Args:
            key: names the effect within this actor; the same key is not run twice at the same time.
            effect: may block; must bound its own time.
            lane: effects of different lanes do not wait for each other (one lane for each channel or target).
        """
        self._want((PERFORM, _text(key), effect, _text(lane)))

    def awaits(self, key: str) -> bool:
        """Whether an effect of that key is on its way, or its end is in the mailbox: Performed will come.

        So it may be in a new incarnation: effects outlive the one that asked for them, but not the process.
        """
        return self._host.effects.awaits(self.address, key)

    def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """Tells subscribers, once this turn is durable."""
        self._want((PUBLISH, topic, payload))


# What is wrong is said where it is asked for: there it is a crash like any other, and nothing has been done yet.


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"this is text, not {value!r}")
    return value


def _milliseconds(value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"milliseconds are a whole number, not {value!r}")
    return value
