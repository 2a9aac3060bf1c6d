"""What a simulated run's checks hang on."""

from typing import TYPE_CHECKING, Any

from slakeeper.otp.sim_fault import Moment

if TYPE_CHECKING:
    from slakeeper.otp.sim_cell import SimCell


class Observer:
    """What a run's checks hang on.

    The hooks of a cell run between two turns; what they raise ends the run. The other two run within a turn, where
    actors and commits are around them, and must not raise.
    """

    def cell_started(self, cell: "SimCell") -> None:
        """Recovered, its tree up."""

    def turn_ended(self, cell: "SimCell") -> None:
        """A turn is durable and everything it released has left."""

    def cell_ended(self, cell: "SimCell", why: str) -> None:
        """Its host is gone; the turn it was in may be durable or not."""

    def actor_killed(self, cell: "SimCell", address: str, moment: Moment, message: Any) -> None:
        """By a fault; ``message`` is None when none was being handled."""

    def published(self, cell: "SimCell", topic: str, payload: dict[str, Any]) -> None:
        """After the turn was durable."""
