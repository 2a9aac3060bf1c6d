"""What the monitor of one metric goes by: that metric, and of its contract what all of them have in common.

A contract's whole document at each of its monitors would be, on disk and in memory, the square of its metrics.
"""

from typing import Any
from weakref import WeakValueDictionary

from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric

_ELSEWHERE = frozenset({"metrics", "description", "penalties", "penalty_cap", "compensation"})
"""Of a contract's document what the frame leaves out: the metrics, and what is worked out by others than monitors."""


class Frame:
    """A contract without its metrics, read once for all its monitors; shared, so it is never changed.

    Args:
        document: as :func:`frame_document` gives it.
        contract: what it describes; its ``metrics`` are empty.
        before: the newest before it of the same contract, if this is the newest: monitors go from one to the other.
    """

    __slots__ = ("__weakref__", "_anchored", "before", "contract", "document")

    def __init__(self, document: dict[str, Any], contract: Sla, before: "Frame | None") -> None:
        self.document = document
        self.contract = contract
        self.before = before
        self._anchored: tuple[int, Sla] | None = None

    def anchored(self, since_ms: int) -> Sla:
        """The contract; where it names no effective date, its periods are anchored at ``since_ms`` [Unix ms]."""
        if self.contract.effective_date is not None:
            return self.contract
        if self._anchored is None or self._anchored[0] != since_ms:
            self._anchored = since_ms, self.contract.model_copy(update={"effective_date": since_ms})
        return self._anchored[1]


class Promise:
    """One metric in the frame of its contract.

    Args:
        metric: what ``described`` says, if it was read.
    """

    __slots__ = ("described", "frame", "metric")

    def __init__(self, frame: Frame, described: dict[str, Any], metric: Metric | None = None) -> None:
        self.frame = frame
        self.described = described
        self.metric = metric or Metric.model_validate(described)

    @property
    def document(self) -> dict[str, Any]:
        """As :func:`narrowed` gives it."""
        return {**self.frame.document, "metrics": [self.described]}

    def is_same(self, other: "Promise") -> bool:
        """Whether both mean the same; documents from the disk have tuples where new ones have lists."""
        frames = self.frame, other.frame
        return self.metric == other.metric and (
            frames[0] is frames[1] or frames[0].contract == frames[1].contract
        )


# The newest for each contract id, while anybody holds it.
_newest: WeakValueDictionary[str, Frame] = WeakValueDictionary()


def frame_document(document: dict[str, Any]) -> dict[str, Any]:
    """What a contract's document says of all its metrics together, as far as a monitor needs it."""
    return {key: value for key, value in document.items() if key not in _ELSEWHERE}


def narrowed(document: dict[str, Any], metric_name: str) -> dict[str, Any]:
    """A contract's document with one of its metrics alone, and without what its monitor does not go by.

    Raises:
        LookupError: there is no such metric.
    """
    return {**frame_document(document), "metrics": [_metric_of(document, metric_name)]}


def promise_of(document: dict[str, Any], metric_name: str, known: Promise | None = None) -> Promise:
    """What a contract's document, a whole one or one with this metric alone, promises of a metric.

    Args:
        known: is given back if it says the same of the metric and its frame; to read a metric takes long.

    Raises:
        LookupError: there is no such metric.
        pydantic.ValidationError: it describes no contract.
    """
    described = _metric_of(document, metric_name)
    frame, metric = _frame_of(frame_document(document), described)
    if known is not None and known.frame is frame and known.described == described:
        return known
    return Promise(frame, described, metric)


def _metric_of(document: dict[str, Any], metric_name: str) -> dict[str, Any]:
    for described in document["metrics"]:
        if described["name"] == metric_name:
            found: dict[str, Any] = described
            return found
    raise LookupError(f"no metric {metric_name!r} in contract {document.get('id')!r}")


def _frame_of(document: dict[str, Any], metric: dict[str, Any]) -> tuple[Frame, Metric | None]:
    """The frame; one that equals one of the last two of its contract is not read again.

    Args:
        metric: any of the contract's: without one there is no contract.

    Returns:
        The metric too, if it had to be read.
    """
    name = document["id"]
    known = _newest.get(name)
    for each in (known, known and known.before):
        if each is not None and each.document == document:
            return each, None
    contract = Sla.from_document({**document, "metrics": [metric]})
    found = Frame(document, contract.model_copy(update={"metrics": ()}), known)
    if known is not None:
        known.before = None  # nobody comes to it any more, and there may be many
    _newest[name] = found
    return found, contract.metrics[0]
