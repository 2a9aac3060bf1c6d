"""What is kept for people: why actors ended badly, which messages nobody took, and what a watched actor does."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# How many crash reports and dead letters are kept for people to look at.
KEPT_REPORTS = 100

# A message's text in a report is cut here: it may hold a whole batch.
MAX_SHOWN_CHARS = 500

# The last messages handled by anybody, from which a crash report takes those of its actor. They are kept whole, as
# making text of each would cost more than handling it: few enough that so many batches of samples do not matter.
KEPT_MESSAGES = 64

# Of one actor in one report.
SHOWN_MESSAGES = 10

# Lines of traces that wait for whoever watches.
KEPT_TRACE = 10_000


@dataclass(frozen=True)
class CrashReport:
    """Why an actor ended: the message it ended on, those it had handled before, the traceback; all bounded text.

    ``before`` has the newest last, and only of messages that few others came after.
    """

    at_ms: int
    address: str
    kind: str
    reason: str
    message: str
    traceback: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeadLetter:
    """A message nobody took.

    Attributes:
        number: names it, from 1 in this process.
        how: the kind of message, which it is delivered as again.
        content: the message itself; ``message`` is its bounded text.
    """

    number: int
    at_ms: int
    address: str
    message: str
    why: str
    how: int
    content: Any


@dataclass(frozen=True)
class TraceLine:
    """Something a traced actor did: ``in`` and ``out`` (messages), ``event``, ``start``, ``exit``."""

    number: int
    at_ms: int
    address: str
    what: str
    detail: str


class FlightRecorder:
    """The host's memory for people; bounded, and lost with the process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.crash_reports: deque[CrashReport] = deque(maxlen=KEPT_REPORTS)
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_REPORTS)
        self.recent: deque[tuple[str, Any]] = deque(maxlen=KEPT_MESSAGES)
        self._traced: deque[TraceLine] = deque(maxlen=KEPT_TRACE)
        self._letters = 0
        self._lines = 0

    def crash(self, at_ms: int, address: str, kind: str, reason: str, message: str, text: str) -> CrashReport:
        """Keeps a crash with the messages that led to it."""
        self.counts["crashes"] += 1
        before = [shown(each) for name, each in self.recent if name == address][-SHOWN_MESSAGES:]
        report = CrashReport(at_ms, address, kind, reason, message, text, tuple(before))
        self.crash_reports.append(report)
        return report

    def dead_letter(self, at_ms: int, address: str, how: int, message: Any, why: str) -> None:
        """Keeps a message nobody took."""
        self.counts["dead_letters"] += 1
        self._letters += 1
        self.dead_letters.append(DeadLetter(self._letters, at_ms, address, shown(message), why, how, message))

    def take_letter(self, number: int) -> DeadLetter | None:
        """Takes a dead letter out, to have it delivered after all; None if it is not there any more."""
        letter = next((each for each in self.dead_letters if each.number == number), None)
        if letter is not None:
            self.dead_letters.remove(letter)
        return letter

    def forget(self, address: str) -> None:
        """Lets go of the messages of an actor that has left."""
        if any(name == address for name, _ in self.recent):
            self.recent = deque((each for each in self.recent if each[0] != address), maxlen=KEPT_MESSAGES)

    def trace(self, at_ms: int, address: str, what: str, detail: str) -> None:
        """Keeps a line of a traced actor."""
        self._lines += 1
        self._traced.append(TraceLine(self._lines, at_ms, address, what, bounded(detail)))

    def traced_since(self, number: int, addresses: Iterable[str]) -> list[TraceLine]:
        """The lines after ``number`` that are about one of the addresses."""
        wanted = set(addresses)
        return [line for line in self._traced if line.number > number and line.address in wanted]

    @property
    def last_line(self) -> int:
        """The number of the newest line."""
        return self._lines


def shown(message: Any) -> str:
    """A message as bounded text, whatever it is."""
    try:
        return bounded(repr(message))
    except Exception as error:  # noqa: BLE001  how it shows itself is foreign code, and this is for reports
        return f"<{type(message).__name__} that cannot be shown: {type(error).__name__}>"


def words_of(error: BaseException) -> str:
    """An error as text, whatever it is."""
    try:
        return bounded(f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001  as above
        return type(error).__name__


def bounded(text: str) -> str:
    """Not more than people, and logs, can take."""
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
