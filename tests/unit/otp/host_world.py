"""A host without a disk on a clock of its own, and actors that do what they are told."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from slakeeper.otp.actor import IGNORE, NO_REPLY, Actor, ActorSpec, Overflow, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import Flags, Restart, Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Call, Context
from slakeeper.otp.host import Host

Do = Callable[[Context], Any]


class Puppet(Actor):
    """Runs what it is sent; keeps what it hears."""

    durable: ClassVar[bool] = False

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.heard: list[Any] = []
        self.arg = arg
        self.caller: Call | None = None

    def init(self, ctx: Context, fresh: bool) -> str | None:
        if self.arg == "ignore":
            return IGNORE
        if callable(self.arg):
            self.arg(ctx)
        return None

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if callable(message):
            message(ctx)
        elif isinstance(message, Exception):
            raise message
        else:
            self.heard.append(message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        self.heard.append(message)

    def handle_continue(self, ctx: Context, message: Any) -> None:
        self.heard.append(("continue", message))

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case "heard":
                return list(self.heard)
            case "later":
                self.caller = ctx.caller
                return NO_REPLY
            case "answer":
                if self.caller is not None:
                    ctx.reply(self.caller, "at last")
                return "answered"
            case "refuse":
                raise RequestError("conflict", "no")
            case "crash":
                raise RuntimeError("on a call")
        return ("echo", request)


class Trapping(Puppet):
    trap_exits: ClassVar[bool] = True


class Narrow(Puppet):
    mailbox_limit: ClassVar[int] = 2


class Rolling(Narrow):
    overflow: ClassVar[Overflow] = Overflow.OLDEST


KINDS: Mapping[str, type[Actor]] = {
    "puppet": Puppet,
    "trapping": Trapping,
    "narrow": Narrow,
    "rolling": Rolling,
}
MANY = Flags(intensity=1_000)


class NoExecutor:
    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        raise AssertionError(f"an effect on {lane}")


class HostWorld:
    """``dynamic`` takes actors by name, ``pool`` makes them of a template."""

    def __init__(self, kinds: Mapping[str, type[Actor]] = KINDS, *more: SupervisorSpec) -> None:
        self.clock = ManualClock(1_000)
        pool = SupervisorSpec(
            "pool",
            Flags(Strategy.SIMPLE_ONE_FOR_ONE, intensity=1_000),
            (ActorSpec("worker", "puppet", "template", Restart.TRANSIENT),),
        )
        tree = SupervisorSpec("host", MANY, (SupervisorSpec("dynamic", MANY), pool, *more))
        self.host = Host(tree, {**KINDS, **kinds}, self.clock, Codec(), {}, NoExecutor())
        self.host.start()

    def add(
        self, *addresses: str, kind: str = "puppet", arg: Any = None, restart: Restart = Restart.PERMANENT
    ) -> None:
        for address in addresses:
            self.host.start_child("dynamic", ActorSpec(address, kind, arg, restart))

    def tell(self, address: str, message: Any) -> None:
        """Delivers a message, or has the actor do something, and everything that follows."""
        self.host.cast(address, message)
        self.turn()

    def turn(self, after_ms: int = 0) -> None:
        self.clock.advance(after_ms)
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    def heard(self, address: str) -> list[Any]:
        heard: list[Any] = self.host.ask(address, "heard")
        return heard

    def call(self, address: str, request: Any, timeout_ms: int = 5_000) -> list[tuple[Any, Exception | None]]:
        """Calls from outside; the list gets the end when there is one."""
        ends: list[tuple[Any, Exception | None]] = []
        self.host.call(address, request, lambda value, error: ends.append((value, error)), timeout_ms)
        self.turn()
        return ends

    def incarnation(self, address: str) -> int:
        number: int = self.host.inspector.describe(address)["incarnation"]
        return number
