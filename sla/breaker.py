"""A circuit breaker: an action that keeps failing, whatever the violation, is left alone for a while."""

from dataclasses import dataclass, replace

from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.wording import local_time


@dataclass(frozen=True, slots=True)
class Breaker:
    """Stops an action that keeps failing, whatever the violation.

    After ``breaker_failures`` failures in a row it is open for ``breaker_reset``; then one attempt may try, and its
    result closes or opens it again. Ineffective attempts count as failures.

    Attributes:
        failures: in a row.
        opened_at_ms: when it opened last [Unix ms]; None while closed.
        trying_since_ms: when the one attempt of a half-open breaker began [Unix ms].
    """

    action: str
    failures: int = 0
    opened_at_ms: int | None = None
    trying_since_ms: int | None = None

    def allow(self, settings: RemediationSettings, now_ms: int) -> bool:
        """Whether an attempt may begin at ``now_ms``; call :meth:`trying` when it does."""
        return not self.refusal(settings, now_ms)

    def refusal(self, settings: RemediationSettings, now_ms: int) -> str:
        """Why no attempt may begin at ``now_ms`` [Unix ms], for people; empty when one may."""
        if self.opened_at_ms is None:
            return ""
        since_ms = self.opened_at_ms if self.trying_since_ms is None else self.trying_since_ms
        until_ms = since_ms + settings.breaker_reset
        if now_ms >= until_ms:
            return ""
        return f"the breaker of action {self.action} is open until {local_time(until_ms, 'UTC')}"

    def trying(self, now_ms: int) -> "Breaker":
        """An attempt begins; while the breaker is not closed it is the only one."""
        return self if self.opened_at_ms is None else replace(self, trying_since_ms=now_ms)

    def untried(self) -> "Breaker":
        """The attempt that was to begin did not take place: another may."""
        return replace(self, trying_since_ms=None)

    def failed(self, settings: RemediationSettings, now_ms: int) -> "Breaker":
        failures = self.failures + 1
        opens = failures >= settings.breaker_failures
        return replace(self, failures=failures, opened_at_ms=now_ms if opens else None, trying_since_ms=None)

    def succeeded(self) -> "Breaker":
        return Breaker(self.action)
