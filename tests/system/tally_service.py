"""Two services for counting requests: one hosts an actor that notes each once, the other asks it for clients."""

import contextlib
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp.actor import Actor, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.frame import FrameReader, pack_frame
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition
from slakeeper.otp.service import RequestRefused, ServiceContext

_NAME = "tally"
_SNAPSHOT_EVERY_MS = 200
_WAIT_S = 2.0
_READ_BYTES = 65_536


def services(args: dict[str, Any], context: ServiceContext) -> "Tally | Desk":
    """The entry point of either, by the process's name."""
    return Tally(context) if context.name == _NAME else Desk(context)


def _socket_path(context: ServiceContext) -> Path:
    return Path(context.shared["run"]["runtime_dir"]) / f"{_NAME}.sock"


class TallyActor(Actor):
    """Applies each numbered request once, and says so as often as it is asked.

    Its own note of what came is what makes it once: nothing below it promises more than to try again.
    """

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.numbers: list[int] = []
        self._known: set[int] = set()

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if request is None:
            return self.numbers
        if request not in self._known:
            ctx.emit(request)
        return request

    def apply(self, event: Any) -> None:
        self.numbers.append(event)
        self._known.add(event)

    def dump(self) -> Any:
        return self.numbers

    def load(self, state: Any) -> None:
        self.numbers = list(state)
        self._known = set(state)


class Tally:
    """Hosts the actor and serves it on a Unix socket."""

    def __init__(self, context: ServiceContext) -> None:
        clock, executor = SystemClock(), ThreadExecutor()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            codec = Codec()
            partition = Partition(Path(context.shared["run"]["data"]) / _NAME, codec)
            partition.open()
            tree = SupervisorSpec("tallies", Flags(), (ActorSpec(_NAME, _NAME),))
            kinds: dict[str, type[Actor]] = {_NAME: TallyActor}
            partitions = {_NAME: partition}
            host = Host(
                tree, kinds, clock, codec, partitions, executor, None, publish, executor.commit, partition
            )
            host.start()
            return host

        handlers = {"note": lambda host, number: host.ask(_NAME, number)}
        path = _socket_path(context)
        self._loop = Loop(_NAME, build, handlers, executor, clock, path, _SNAPSHOT_EVERY_MS, context.crashed)

    def start(self) -> Mapping[str, Any]:
        self._loop.start()
        return {}

    def stop(self, deadline_s: float) -> None:
        self._loop.stop(deadline_s)

    def beat(self) -> Mapping[str, Any]:
        return {"age_ms": self._loop.age_ms(), **self._loop.stats}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RequestRefused("invalid", "asked over its socket")


class Desk:
    """Hands a client's number on to the actor; ``unavailable`` when nobody is there to take it."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    def start(self) -> Mapping[str, Any]:
        return {}

    def stop(self, deadline_s: float) -> None:
        pass

    def beat(self) -> Mapping[str, Any]:
        return {}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == "root":
            return self._context.root_request(payload["name"], payload.get("payload", {}))
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as link:
                link.settimeout(_WAIT_S)
                link.connect(str(_socket_path(self._context)))
                return {"value": _asked(link, payload["number"])}
        except OSError as error:
            raise RequestRefused("unavailable", str(error)) from error


def _asked(link: socket.socket, number: int | None) -> Any:
    link.sendall(pack_frame([1, "note", number]))
    reader = FrameReader()
    while data := link.recv(_READ_BYTES):
        for _, ok, result in reader.feed(data):
            if not ok:
                raise OSError(f"refused: {result}")
            return result
    raise OSError("the process of the actor is gone")
