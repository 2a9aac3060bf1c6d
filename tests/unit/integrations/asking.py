"""How tests ask a source."""

from slakeeper.integrations.source import Poller, Reading


def ask(poller: Poller, query: str) -> Reading:
    """One query, whose name must come back untouched."""
    [reading] = poller.poll({"a name of its own": query})
    assert reading.metric == "a name of its own"
    return reading
