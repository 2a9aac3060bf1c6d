"""Actors that can be killed at any point of a handler, made from a host's kinds without changing them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from slakeeper.otp.actor import Actor
from slakeeper.otp.context import Context
from slakeeper.otp.sim_fault import ActorKilled, Moment, Point


@dataclass
class Doom:
    """The ``handlers_left``-th handler (or start) from now on of an actor of this kind, None for any, fails.

    ``events`` is for ``Moment.DURING``: how many events it still gets to record.
    """

    kind: str | None
    moment: Moment
    handlers_left: int = 1
    events: int = 0


class Reaper:
    """Stands before every handler of a cell.

    Args:
        point: told of each handler before it runs; the cell may end there.
        killed: told of each actor that is killed: address, moment, message.
    """

    def __init__(self, point: Callable[[Point], None], killed: Callable[[str, Moment, Any], None]) -> None:
        self.dooms: list[Doom] = []
        self.kinds: tuple[str, ...] = ()
        self._point = point
        self._killed = killed

    def mortal(self, kinds: Mapping[str, type[Actor]]) -> dict[str, type[Actor]]:
        """The same kinds, each with its handlers behind this reaper."""
        self.kinds = tuple(kinds)
        return {name: self._mortal(name, kind) for name, kind in kinds.items()}

    def _mortal(self, name: str, kind: type[Actor]) -> type[Actor]:
        def handle_cast(actor: Actor, ctx: Context, message: Any) -> None:
            self._run(name, actor, partial(kind.handle_cast, actor, ctx), message)

        def handle_info(actor: Actor, ctx: Context, message: Any) -> None:
            self._run(name, actor, partial(kind.handle_info, actor, ctx), message)

        def handle_call(actor: Actor, ctx: Context, request: Any) -> Any:
            return self._run(name, actor, partial(kind.handle_call, actor, ctx), request)

        def init(actor: Actor, ctx: Context, fresh: bool) -> None:
            if self.dooms and self._due(name, starting=True) is not None:
                self._killed(actor.address, Moment.STARTING, None)
                raise ActorKilled(Moment.STARTING.value)
            kind.init(actor, ctx, fresh)

        handlers = {
            "init": init,
            "handle_cast": handle_cast,
            "handle_info": handle_info,
            "handle_call": handle_call,
        }
        return type(kind.__name__, (kind,), handlers)

    def _run(self, kind: str, actor: Actor, handler: Callable[[Any], Any], message: Any) -> Any:
        self._point(Point.HANDLER)
        doom = self._due(kind) if self.dooms else None
        if doom is None:
            return handler(message)
        self._killed(actor.address, doom.moment, message)
        if doom.moment is Moment.BEFORE:
            raise ActorKilled(doom.moment.value)
        if doom.moment is Moment.DURING:
            # On the instance: it does not outlive this.
            vars(actor)["apply"] = _failing_after(doom.events, actor.apply)
        handler(message)
        raise ActorKilled(Moment.AFTER.value)

    def _due(self, kind: str, *, starting: bool = False) -> Doom | None:
        for doom in self.dooms:
            if doom.kind in (None, kind) and (doom.moment is Moment.STARTING) == starting:
                doom.handlers_left -= 1
                if doom.handlers_left <= 0:
                    self.dooms.remove(doom)
                    return doom
        return None


def _failing_after(events: int, apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    left = events

    def failing(event: Any) -> Any:
        nonlocal left
        if not left:
            raise ActorKilled(Moment.DURING.value)
        left -= 1
        return apply(event)

    return failing
