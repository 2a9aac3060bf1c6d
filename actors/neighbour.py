"""NeighbourActor: asks another cell which silences it has, and which contracts that matter here are broken there."""

from dataclasses import dataclass
from typing import Any, ClassVar

from slakeeper.actors import restraint
from slakeeper.actors.address import restraint_address, silences_address
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import Tick
from slakeeper.actors.payload import mapping, sequence, text
from slakeeper.actors.restraint_message import LearnSwitch
from slakeeper.actors.silence import from_documents
from slakeeper.actors.silence_message import LearnSilences
from slakeeper.otp.actor import Actor, Performed
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.sla import restraint as sla_restraint
from slakeeper.sla.duration import SECOND_MS

QUESTION = "neighbour"

ASK_TIMER = "ask"

# A question has ended long before this, with an answer or without.
GIVE_UP_MS = 30 * SECOND_MS

# A cell with many neighbours asks each of them less often, so that it asks ten a second at most.
_ASK_EACH_MS = SECOND_MS // 10


@dataclass(frozen=True, slots=True)
class NeighbourView:
    """What ``actor state`` shows; ``failing`` says why it does not answer now."""

    name: str
    asked: int
    failing: str


class NeighbourActor(Actor):
    """One for each other cell; its argument is that cell's name. It keeps nothing: all it hears is heard again."""

    durable: ClassVar[bool] = False

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._name = arg
        self._asked = 0
        self._waits_since_ms: int | None = None
        self._failing = ""
        self._differs = False

    def init(self, ctx: Context, fresh: bool) -> None:
        ctx.set_timer(ASK_TIMER, ctx.now_ms, Tick())

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._ask(ctx)
            case Performed(_, answer, error):
                self._waits_since_ms = None
                self._failing = "" if error is None else str(error) or type(error).__name__
                differed = self._differs
                if error is None:
                    self._hear(ctx, answer)
                self._ask_later(ctx, 0 if self._differs and not differed else None)
            case _:
                super().handle_info(ctx, message)

    def dump(self) -> NeighbourView:
        return NeighbourView(self._name, self._asked, self._failing)

    def _ask(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        neighbour = environment.neighbours[self._name]
        question = {
            "parents": environment.parents(),
            "silences": environment.muting.digest(ctx.now_ms),
            "known": environment.muting.ends(ctx.now_ms) if self._differs else None,
        }
        waits_since_ms = self._waits_since_ms
        # One question at a time; an answer that is lost on its way, and never comes, is not waited for for ever.
        if waits_since_ms is None or ctx.now_ms - waits_since_ms >= GIVE_UP_MS:
            self._asked += 1
            self._waits_since_ms = ctx.now_ms
            ctx.perform(f"ask-{self._asked}", lambda: neighbour.ask(QUESTION, question), lane=self.address)
        self._ask_later(ctx)

    def _ask_later(self, ctx: Context, wait_ms: int | None = None) -> None:
        if wait_ms is None:
            environment: Environment = ctx.environment
            wait_ms = max(environment.neighbour_every_ms, len(environment.neighbours) * _ASK_EACH_MS)
        ctx.set_timer(ASK_TIMER, ctx.now_ms + wait_ms, Tick())

    def _hear(self, ctx: Context, answer: Any) -> None:
        environment: Environment = ctx.environment
        environment.muting.hear(self._name, answer["broken"], ctx.now_ms)
        self._differs = answer.get("silences_differ", False)
        if "silences" in answer:
            learn = LearnSilences(from_documents(answer["silences"]))
            for name in environment.partition_names:
                ctx.cast(silences_address(name), learn)
        # A cell of a version before had no switch.
        switch = restraint.from_document(answer.get("switch"))
        if sla_restraint.merge(environment.restraint.switch, switch) != environment.restraint.switch:
            for name in environment.partition_names:
                ctx.cast(restraint_address(name), LearnSwitch(switch))


def answer(host: Host, payload: Any) -> dict[str, Any]:
    """What a neighbour asks: ``{"broken", "switch", "silences_differ"?, "silences"?}``.

    Silences are compared by their digest first. Who hears that they differ asks again, and says which it knows; the
    answer then has those that it does not, or with another end. Nearly always that is one.

    Args:
        payload: ``{"parents": contract ids, "silences": the digest of what it knows, "known": their ends by id, or
            None}``; without ``known``, as a cell of a version before asks, it is sent all.
    """
    environment: Environment = host.environment
    parents = sequence(payload, "parents")
    here = [(each, environment.known(each)) for each in parents if isinstance(each, str)]
    muting = environment.muting
    switch = environment.restraint.switch
    said: dict[str, Any] = {
        "broken": [each for each, known in here if known is not None and known.is_broken],
        "switch": None if switch is None else switch.to_document(),
    }
    if text(payload, "silences") == muting.digest(host.now_ms):
        return said
    if "known" in payload and payload["known"] is None:
        return {**said, "silences_differ": True}
    known = mapping(payload, "known") if "known" in payload else {}
    sent = (each for each in muting.silences if known.get(each.id) != each.ends_at_ms)
    return {**said, "silences": [each.to_document(host.now_ms) for each in sent]}


def learn(host: Host, payload: Any) -> dict[str, Any]:
    """Takes silences in that were made in another cell a moment ago, sooner than by asking for them."""
    silences = from_documents(sequence(payload, "silences"))
    for name in host.partitions:
        host.cast(silences_address(name), LearnSilences(silences))
    return {}
