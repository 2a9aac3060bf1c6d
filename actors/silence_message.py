"""What is said to those that keep the silences, one in each partition."""

from dataclasses import dataclass

from slakeeper.sla.silence import Silence


@dataclass(frozen=True, slots=True)
class AddSilence:
    """Call: an operator wants this silence."""

    silence: Silence


@dataclass(frozen=True, slots=True)
class ExpireSilence:
    """Call: end a silence now; the :class:`Silence` as it is then."""

    silence_id: str
    by: str


@dataclass(frozen=True, slots=True)
class LearnSilences:
    """What is known of silences elsewhere: they are in force here too."""

    silences: tuple[Silence, ...]
