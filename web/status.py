"""The process table as users see it: what the root knows of each process, and what each cell says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def process_rows(processes: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows ``{"name", "pid", "restarts", "status", "actors", "mailbox", …}``.

    Args:
        processes: the root's table. It counts restarts; its actors and mailboxes are as old as the last heartbeat.
        cells: ``{"name", "up", "actors", "mailbox"}`` as the cells just said. One that is not in the table yet gets
            a row without a pid.
    """
    said = {cell["name"]: cell for cell in cells}
    rows = [_row(process, said.pop(process["name"], None)) for process in processes]
    return rows + [_row({"name": name}, cell) for name, cell in said.items()]


def _row(process: Mapping[str, Any], cell: Mapping[str, Any] | None) -> Row:
    status = "running" if cell is None or cell["up"] else "restarting"
    row: Row = {"pid": None, "restarts": 0, "status": status, "actors": 0, "mailbox": 0, **process}
    if cell is not None:
        row["actors"], row["mailbox"] = cell["actors"], cell["mailbox"]
        if not cell["up"] and row["status"] == "running":
            row["status"] = "restarting"  # the root has not noticed yet
    return {**row, "restarts": row["restarts"] or 0}
