"""What the processes of the control plane say to each other, over Thespian.

Thespian may lose a message or bring it twice. So whoever wants something says it again until it sees the effect,
and every message names the incarnation or the request it belongs to, so that a second copy changes nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IGNORED_STATUS = 64
"""What a process exits with whose service chose not to run."""

# -- root supervisor <-> process actor ------------------------------------------------------------------------


@dataclass(frozen=True)
class BeginRoot:
    """launcher -> root: start the children. If this is lost the heart misses the root's beat."""


@dataclass(frozen=True)
class BeginProcess:
    """root -> process: host the service that was handed down with the fork. Said again until a Beat comes."""

    incarnation: int
    restarts: int
    generation: int
    shared: Mapping[str, Any]


@dataclass(frozen=True)
class Beat:
    """process -> root: alive; every ``heartbeat_ms`` and at once when ``phase`` changes.

    Args:
        phase: ``starting`` or ``running``.
        facts: what the service's start returned; empty before that.
        stats: what the service's beat returned.
        trouble: why the process must be taken for hung, or "".
    """

    name: str
    incarnation: int
    pid: int
    port: int
    phase: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True)
class StopProcess:
    """root -> process: stop within ``deadline_ms`` [ms] from now. Said again until the process is gone."""

    incarnation: int
    reason: str
    deadline_ms: int


@dataclass(frozen=True)
class Exiting:
    """process -> root: the reason of the end that follows at once; without it a process was killed."""

    name: str
    incarnation: int
    reason: str


# -- requests -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """client -> contact, or contact -> root. Said again with the same id until the reply comes."""

    id: str
    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """The answer to the request with this id; ``error`` has ``code`` and ``message`` when it was refused."""

    id: str
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None


class Answered:
    """Which requests came already, so that one said twice is done once. Remembers the last ``limit``."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._replies: OrderedDict[str, Reply | None] = OrderedDict()

    def is_new(self, request_id: str) -> bool:
        """Whether this id is seen for the first time; from now on it is not."""
        if request_id in self._replies:
            return False
        self._replies[request_id] = None
        while len(self._replies) > self._limit:
            self._replies.popitem(last=False)
        return True

    def put(self, reply: Reply) -> None:
        """Keeps a reply for those who ask again."""
        if reply.id in self._replies:
            self._replies[reply.id] = reply

    def get(self, request_id: str) -> Reply | None:
        """The reply, None while there is none."""
        return self._replies.get(request_id)
