"""Which cells there are, and which of them is asked what."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from slakeeper.connection import CellConnection
from slakeeper.future import chain, first_found, gather, settled, translated
from slakeeper.otp.placement import owner_of, partition_of
from slakeeper.request import failure_of
from slakeeper.routing import Cell

METRICS_A_PAGE = 500
"""Contracts are asked for until they have so many metrics: some tens of milliseconds of a cell, which then has its
turns for everything else. 5 000 at once would take a good second on a busy machine."""


class _LocalCell:
    """A cell in this process: the same, but that its failures are of another class."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def name(self) -> str:
        return self._cell.name

    @property
    def connected(self) -> bool:
        return bool(getattr(self._cell, "connected", True))

    def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
        return translated(self._cell.request(kind, payload), _as_failure)

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        listen = getattr(self._cell, "listen", None)
        if listen is not None:
            listen(listener)

    def close(self) -> None:
        """It is not ours to stop."""


def _as_failure(error: BaseException) -> BaseException:
    to_wire = getattr(error, "to_wire", None)
    return error if to_wire is None else failure_of(to_wire())


Member = CellConnection | _LocalCell
"""A cell, however it is reached."""


class Membership:
    """The cells of a system and the contracts that live in each.

    Args:
        cells: in the order of the topology, isolated ones too.
        partitions: how many the data directory has.
        isolated: contract id -> name of the cell that serves it alone.

    Attributes:
        cells: by name, in the order of the topology.
    """

    def __init__(self, cells: Sequence[Cell], partitions: int, isolated: Mapping[str, str]) -> None:
        members = [cell if isinstance(cell, CellConnection) else _LocalCell(cell) for cell in cells]
        self.cells: dict[str, Member] = {cell.name: cell for cell in members}
        self._isolated = dict(isolated)
        alone = set(self._isolated.values())
        self._shared = [cell for cell in members if cell.name not in alone]
        self._partitions = partitions

    def one_that_is_there(self, other_than: str = "") -> Member:
        """A cell that is connected and not that one, if there is any; otherwise the first."""
        cells = list(self.cells.values())
        return next((cell for cell in cells if cell.connected and cell.name != other_than), cells[0])

    def owner(self, sla_id: str) -> Member:
        """The cell that a contract lives in, or would live in."""
        alone = self._isolated.get(sla_id)
        if alone is not None:
            return self.cells[alone]
        return self._shared[owner_of(partition_of(sla_id, self._partitions), len(self._shared))]

    def ask(self, kind: str, payload: dict[str, Any], sla_id: str | None = None) -> Future[dict[str, Any]]:
        """By name what each cell answers, or the exception; with ``sla_id`` only that contract's cell is asked."""
        cells = [self.owner(sla_id)] if sla_id is not None else list(self.cells.values())
        return gather({cell.name: cell.request(kind, payload) for cell in cells})

    def ask_pages(self, kind: str, *, with_metrics: bool = True) -> Future[dict[str, Any]]:
        """As :meth:`ask` for answers with ``slas``, each cell asked for its contracts a page at a time."""

        def ask_page(cell: Member, before: dict[str, Any] | None) -> Future[dict[str, Any]]:
            after = None if before is None else before.get("next")
            wanted = {"page": METRICS_A_PAGE, "after": after, "metrics": with_metrics}

            def go_on(page: dict[str, Any]) -> Future[dict[str, Any]]:
                so_far = page if before is None else {**page, "slas": [*before["slas"], *page["slas"]]}
                return settled(so_far) if so_far.get("next") is None else ask_page(cell, so_far)

            return chain(cell.request(kind, wanted), go_on)

        return gather({cell.name: ask_page(cell, None) for cell in self.cells.values()})

    def find(self, kind: str, payload: dict[str, Any]) -> Future[dict[str, Any]]:
        """The answer of the cell that knows what is asked about, where no hash tells which that is."""
        return first_found({name: cell.request(kind, payload) for name, cell in self.cells.items()})

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        """Calls ``listener(topic, payload)`` for every event of every cell, on the cells' own threads."""
        for cell in self.cells.values():
            cell.listen(listener)

    def close(self) -> None:
        """Closes every connection."""
        for cell in self.cells.values():
            cell.close()
