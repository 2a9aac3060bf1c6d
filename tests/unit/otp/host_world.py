"""Hosts on a clock of their own, without a disk and with one, and actors that do what they are told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from slakeeper.otp.actor import IGNORE, NO_REPLY, Actor, ActorSpec, Overflow, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import Flags, Restart, Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Call, Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition

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
            case "arg":
                return self.arg
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


class Ledger(Puppet):
    """Records what it is sent."""

    durable: ClassVar[bool] = True

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if callable(message) or isinstance(message, Exception):
            super().handle_cast(ctx, message)
        else:
            ctx.emit(message)

    def apply(self, event: Any) -> None:
        self.heard.append(event)

    def dump(self) -> Any:
        return self.heard

    def load(self, state: Any) -> None:
        self.heard = list(state)


class Trapping(Puppet):
    trap_exits: ClassVar[bool] = True


class Narrow(Puppet):
    mailbox_limit: ClassVar[int] = 2


class Rolling(Narrow):
    overflow: ClassVar[Overflow] = Overflow.OLDEST


KINDS: Mapping[str, type[Actor]] = {
    "puppet": Puppet,
    "ledger": Ledger,
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
        self.spec = SupervisorSpec("host", MANY, (SupervisorSpec("dynamic", MANY), pool, *more))
        self.kinds = {**KINDS, **kinds}
        self.partition: Partition | None = None
        self.start()

    def start(self) -> None:
        self.host = Host(self.spec, self.kinds, self.clock, Codec(), {}, NoExecutor())
        self.host.start()

    def add(
        self, *addresses: str, kind: str = "puppet", arg: Any = None, restart: Restart = Restart.PERMANENT
    ) -> None:
        for address in addresses:
            self.host.start_child("dynamic", ActorSpec(address, kind, arg, restart), self.partition)

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


class DurableWorld(HostWorld):
    """Records its ledgers in a directory; ``again`` is a crash of the whole process."""

    partition: Partition

    def __init__(
        self, directory: Path, kinds: Mapping[str, type[Actor]] = KINDS, *more: SupervisorSpec
    ) -> None:
        self.directory = directory
        super().__init__(kinds, *more)

    def start(self) -> None:
        codec = Codec()
        self.partition = home = Partition(self.directory, codec)
        home.open()
        partitions = {"p": home}
        self.host = Host(self.spec, self.kinds, self.clock, codec, partitions, NoExecutor(), home=home)
        self.host.start()

    def again(self) -> None:
        self.partition.close()
        self.start()
