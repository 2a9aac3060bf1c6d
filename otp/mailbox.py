"""How messages wait for a light actor: each with how it came, which says which handler takes it."""

from collections import deque
from typing import Any, Final, TypeAlias

CAST: Final = 0
"""From another actor, or from outside."""
INFO: Final = 1
"""From the host: a timer's message, the end of an effect."""
CALL: Final = 2
"""A :class:`~slakeeper.otp.context.Call`."""
SIGNAL: Final = 3
"""News for one incarnation alone: (incarnation, news)."""
CONTINUE: Final = 4
"""What an incarnation wanted to go on with: (incarnation, message)."""
HANDED: Final = 5
"""From whoever waits until it is handled, and has it still when it is not."""
Mailbox: TypeAlias = deque[tuple[int, Any]]


def content(how: int, message: Any) -> Any:
    """What a message says, without what it is wrapped in."""
    if how == CALL:
        return message.request
    return message if how in (CAST, INFO, HANDED) else message[1]


def may_give_way(how: int) -> bool:
    """Whether it counts against a bounded mailbox, and may be what is turned away."""
    return how in (CAST, CALL)


def outlives_its_receiver(how: int) -> bool:
    """Whether it is for whoever is at the address, and so worth keeping when nobody is."""
    return how in (CAST, INFO, CALL)
