"""A remediation target: which run acts on it, and which actions on it rest; one record for all cells.

An attempt *claims* its target before it begins and *settles* when its end is known, after the verifying look. A claim
that is never settled, because its cell is gone, lapses; what became of the attempt nobody knows: it counts as failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slakeeper.sla.breaker import Breaker
from slakeeper.sla.duration import MINUTE_MS
from slakeeper.sla.policy import RemediationSettings

GRACE_MS = MINUTE_MS
"""How much longer a claim holds than attempt and verification may take [ms]: its cell may be restarted in between."""


class TargetBusy(Exception):
    """Another run acts on the target, in whichever cell."""


class BreakerOpen(Exception):
    """The action rests; the text says until when.

    Attributes:
        breaker: its breaker as it stands.
    """

    def __init__(self, breaker: Breaker, reason: str) -> None:
        super().__init__(reason)
        self.breaker = breaker


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt under way.

    Attributes:
        holder: the run's address.
        key: names the attempt.
        until_ms: when the claim lapses [Unix ms].
    """

    holder: str
    action: str
    key: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Target:
    """What all cells have to know of a target.

    Attributes:
        claim: the attempt that acts on it; None when it is free.
        breakers: by action, once it was tried.
    """

    claim: Claim | None = None
    breakers: Mapping[str, Breaker] = field(default_factory=dict)

    def breaker(self, action: str) -> Breaker:
        """The action's breaker; closed when it was never tried."""
        return self.breakers.get(action, Breaker(action))


def wanted(holder: str, action: str, key: str, settings: RemediationSettings, now_ms: int) -> Claim:
    """The claim of an attempt that is to begin at ``now_ms`` [Unix ms]."""
    longest_ms = settings.remediation_timeout + settings.verify_after + GRACE_MS
    return Claim(holder, action, key, now_ms + longest_ms)


def claim(target: Target, new: Claim, settings: RemediationSettings, now_ms: int) -> Target:
    """The target as the attempt that begins at ``now_ms`` [Unix ms] leaves it.

    Raises:
        BreakerOpen: the action rests.
        TargetBusy: another run acts on the target.
    """
    held = target.claim
    if held is not None and (held.until_ms <= now_ms or (held.holder == new.holder and held.key != new.key)):
        # A run that goes on to its next attempt has not been helped by the one before either.
        ended_ms = min(held.until_ms, now_ms)
        failed = target.breaker(held.action).failed(settings, ended_ms)
        target, held = Target(None, {**target.breakers, held.action: failed}), None
    breaker = target.breaker(new.action)
    if held is None or held.holder != new.holder:
        refusal = breaker.refusal(settings, now_ms)
        if refusal:
            raise BreakerOpen(breaker, refusal)
        if held is not None:
            raise TargetBusy(f"another run is acting on this target: {held.holder}")
    return Target(new, {**target.breakers, new.action: breaker.trying(now_ms)})


def settle(target: Target, key: str, helped: bool, settings: RemediationSettings, now_ms: int) -> Target:
    """The target once the end of the attempt ``key`` is known; the same when that has lapsed and another one began."""
    held = target.claim
    if held is None or held.key != key:
        return target
    breaker = target.breaker(held.action)
    after = breaker.succeeded() if helped else breaker.failed(settings, now_ms)
    return Target(None, {**target.breakers, held.action: after})


def merged(targets: Mapping[str, Target]) -> dict[str, Breaker]:
    """Every action's breaker; of an action that has had several targets the one that rests, or else any."""
    found: dict[str, Breaker] = {}
    for target in targets.values():
        for action, breaker in target.breakers.items():
            known = found.get(action)
            if known is None or (breaker.opened_at_ms or 0) > (known.opened_at_ms or 0):
                found[action] = breaker
    return found
