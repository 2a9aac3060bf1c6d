"""Light actors that do next to nothing, so that what is measured is the host."""

from collections.abc import Callable
from typing import Any, ClassVar

from slakeeper.otp.actor import Actor, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import Clock, SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition

SUPERVISOR = "light"
IDLE_MS = 1_000


class Counting(Actor):
    """Counts down: a cast of ``(address, n)`` sends ``n - 1`` on to the address. A call answers at once."""

    durable: ClassVar[bool] = False

    def handle_cast(self, ctx: Context, message: Any) -> None:
        peer, left = message
        if left:
            ctx.cast(peer, (self.address, left - 1))

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return request


class Crashing(Counting):
    """Crashes on every cast."""

    def handle_cast(self, ctx: Context, message: Any) -> None:
        raise RuntimeError("asked to")


class Idle(Counting):
    """Keeps as many numbers as it was given, and is put away when it has had nothing to do for a second."""

    passivate_after_ms: ClassVar[int] = IDLE_MS

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.numbers = {f"number {index}": index for index in range(arg)}

    def dump(self) -> Any:
        return self.numbers

    def load(self, state: Any) -> None:
        self.numbers = state


class IdleRecorded(Idle):
    """The same, recorded in a partition."""

    durable: ClassVar[bool] = True


class NoExecutor:
    """No outside effects are measured."""

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        raise AssertionError(f"an effect on {lane}")


def light_host(clock: Clock | None = None, partition: Partition | None = None) -> Host:
    """A started host with an empty supervisor, by default without a disk; it restarts as often as it has to."""
    tree = SupervisorSpec("bench", Flags(), (SupervisorSpec(SUPERVISOR, Flags(intensity=1_000_000)),))
    kinds: dict[str, type[Actor]] = {"counting": Counting, "crashing": Crashing, "idle": Idle}
    kinds["idle, recorded"] = IdleRecorded
    partitions = {} if partition is None else {"partition": partition}
    host = Host(tree, kinds, clock or SystemClock(), Codec(), partitions, NoExecutor())
    host.start()
    return host
