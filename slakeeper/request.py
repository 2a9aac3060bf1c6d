"""What passes between a client and a cell: kinds of requests, and how they fail. The frames are ``otp.frame``'s."""

from collections.abc import Mapping
from typing import Any

# Answered at once or not at all: they ask how things are now, and "away" is an answer.
AT_ONCE = frozenset({"ping", "sources", "status", "tree"})


# Sending these twice does what sending them once does.
REPEATABLE = AT_ONCE | {
    "samples", "catalog", "sla.list", "sla.show", "sla.document", "violations", "violation.show", "compensation",
    "compensation.estimate", "report", "actor.state", "audit.heads", "silences", "silence.learn", "remediation.learn",
    "sla.dependencies",
    "incident", "on_call", "channels", "channel.tested",
}  # fmt: skip

# How long a call waits for the cells; one that is being restarted is back within a second.
CALL_TIMEOUT_S = 10.0


def is_at_once(kind: str, payload: Mapping[str, Any]) -> bool:
    """Whether a request does not wait for a cell that is away; nor does a catalog, for who knows one to go by."""
    return kind in AT_ONCE or (kind == "catalog" and "version" in payload)


class RequestFailed(Exception):
    """A cell refused or failed a request.

    Attributes:
        code: ``not_found``, ``invalid``, ``conflict``, ``unavailable``, ``forbidden`` or ``internal``.
        message: one line for people.
        details: whatever else the cell said, e.g. ``errors``.
    """

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}


class Unavailable(RequestFailed):
    """Nobody answered, or not in time. The request may or may not have been carried out."""

    def __init__(self, message: str, retry_after_s: int = 1, details: dict[str, Any] | None = None) -> None:
        super().__init__("unavailable", message, details)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """Refused before it was sent: too much is waiting for an answer already."""


def failure_of(error: Any) -> RequestFailed:
    """The exception for the error of an answer ``[id, false, error]``."""
    if not isinstance(error, dict):
        return RequestFailed("internal", str(error))
    details = {key: value for key, value in error.items() if key not in {"code", "message"}}
    code, message = str(error.get("code", "internal")), str(error.get("message", "no reason given"))
    if code == "unavailable":
        return Unavailable(message, details=details)
    return RequestFailed(code, message, details)
