"""The data plane from the outside: who asks the cells imports this, and only this.

Not the client for samples over HTTP: that is `slakeeper.Client`, of `reporter.py`.

`CellConnection` speaks to one cell, `Cluster` to all of them; `mint_ticket` signs a browser in; `DiskGauge` looks at
the data directory. Needs the standard
library and msgpack.
"""

from slakeeper.cluster import Cluster, connect
from slakeeper.connection import CellConnection
from slakeeper.disk import DiskGauge
from slakeeper.request import Overloaded, RequestFailed, Unavailable
from slakeeper.routing import MAX_IN_FLIGHT_SAMPLES, MONITOR_DOWN, Cell
from slakeeper.system_tree import system_tree
from slakeeper.ticket import TICKET_LIFETIME_S, mint_ticket, ticket_times

__all__ = [
    "MAX_IN_FLIGHT_SAMPLES",
    "MONITOR_DOWN",
    "TICKET_LIFETIME_S",
    "Cell",
    "CellConnection",
    "Cluster",
    "DiskGauge",
    "Overloaded",
    "RequestFailed",
    "Unavailable",
    "connect",
    "mint_ticket",
    "system_tree",
    "ticket_times",
]
