"""What is done after its time because nothing could do it in time is said to be late."""

from slakeeper.sla.duration import SECOND_MS

# Longer than a cell takes to come back, and than a turn under load; shorter than anybody would call on time.
LATE_AFTER_MS = 10 * SECOND_MS


def late_ms(due_ms: int | None, now_ms: int) -> int:
    """How late something is done at ``now_ms`` that was due at ``due_ms`` [Unix ms].

    Returns:
        0 when it is on time, or was due at no time; else more than ``LATE_AFTER_MS`` [ms].
    """
    late = 0 if due_ms is None else now_ms - due_ms
    return late if late > LATE_AFTER_MS else 0
