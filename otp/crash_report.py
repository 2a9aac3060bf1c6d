"""What is kept for people when an actor ends badly or a message finds nobody."""

from dataclasses import dataclass
from typing import Any

# How many crash reports and dead letters are kept for people to look at.
KEPT_REPORTS = 100

# A message's text in a report is cut here: it may hold a whole batch.
MAX_SHOWN_CHARS = 500


@dataclass(frozen=True)
class CrashReport:
    """Why an actor ended: its last message and the traceback, both bounded text."""

    at_ms: int
    address: str
    kind: str
    reason: str
    message: str
    traceback: str


@dataclass(frozen=True)
class DeadLetter:
    """A message nobody took."""

    at_ms: int
    address: str
    message: str
    why: str


def shown(message: Any) -> str:
    """A message as bounded text."""
    text = repr(message)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
