"""What a monitor has to say: the facts that follow from samples and from time passing."""

from dataclasses import dataclass
from enum import StrEnum

from slakeeper.sla.account import Account, Verdict
from slakeeper.sla.policy import Severity


class MonitorState(StrEnum):
    """How one metric stands now.

    ``pending``: the promise fails, but not yet for ``for``. ``at_risk``: it is kept, narrowly or not for long.
    ``violating`` lasts until ``keep_for`` has passed or an operator resolves; silence does not end it.
    """

    OK = "ok"
    PENDING = "pending"
    AT_RISK = "at_risk"
    VIOLATING = "violating"
    NO_DATA = "no_data"
    SOURCE_ERROR = "source_error"


@dataclass(frozen=True, slots=True)
class Opened:
    """A violation began at ``at_ms``: the promise has failed for ``for``."""

    at_ms: int
    value: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Updated:
    """The open violation went on: worse, more severe, or (at most once a second) just on.

    ``severity`` is the highest so far.
    """

    at_ms: int
    value: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Recovered:
    """The open violation ended: the promise has held for ``keep_for``."""

    at_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class StateChanged:
    old: MonitorState
    new: MonitorState
    at_ms: int


@dataclass(frozen=True, slots=True)
class WindowClosed:
    """An accounting window was judged; neighbours without samples come as one."""

    start_ms: int
    end_ms: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PeriodClosed:
    account: Account


Signal = Opened | Updated | Recovered | StateChanged | WindowClosed | PeriodClosed
