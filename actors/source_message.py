"""What a source says to the monitors of its metrics, beside the samples, and to itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportSourceError:
    """The source could not be asked; ``text`` says why."""

    text: str


@dataclass(frozen=True, slots=True)
class ObservePresent:
    """What a source says now that can also be asked what was: not taken by a monitor that misses earlier samples.

    Attributes:
        step_ms: how often the source is asked; a sample further than this from the newest leaves a gap [ms].
        since_ms: when it was asked before this; a monitor waits for a whole window that went by since [Unix ms].
    """

    sample: tuple[int, float]
    step_ms: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class SourceAnswered:
    """The source has given the monitor all it has up to now: what is missing then is silence, and no error.

    Attributes:
        step_ms: when it was only asked for the present, how often it is [ms]: then a monitor that misses more than that
            goes on waiting for it. 0: it was asked for everything.
        since_ms: as of :class:`ObservePresent`; 0 with ``step_ms`` 0.
    """

    step_ms: int = 0
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class HandOn:
    """To a source, by itself: the next readings are to be handed on."""
