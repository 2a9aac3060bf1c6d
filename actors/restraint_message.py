"""What is said to those that keep automatic remediation back, one in each partition."""

from dataclasses import dataclass

from slakeeper.sla.restraint import Switch


@dataclass(frozen=True, slots=True)
class TurnRemediation:
    """Call: an operator switches automatic remediation on or off; the :class:`Switch` as it is then."""

    is_on: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class LearnSwitch:
    """Call or cast: how the switch stands elsewhere; the later of both is in force here too."""

    switch: Switch | None
