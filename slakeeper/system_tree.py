"""The tree of processes and actors, put together from the table of processes and what each cell says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

# Processes of the system that are not below the root.
_ABOVE_ROOT = frozenset({"heart", "launcher", "thespian-admin", "thespian-logger", "root"})


def system_tree(
    processes: Sequence[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Any]:
    """The root with its processes below it, each cell with its own tree.

    Args:
        processes: rows ``{"name", "pid", "restarts", "status", …}`` of the process table.
        cells: each cell's own node by its name, None for one that is away.
    """
    rows = {str(row["name"]): row for row in processes}
    names = [*cells, *(name for name in rows if name not in cells and name not in _ABOVE_ROOT)]
    children = [_process_node(name, rows.get(name, {}), cells.get(name), name in cells) for name in names]
    root = rows.get("root", {})
    return {
        "address": "root",
        "kind": "root",
        "type": "supervisor",
        "strategy": "one_for_one",
        "restart": "permanent",
        "pid": root.get("pid"),
        "status": root.get("status", "running"),
        "restarts": root.get("restarts", 0),
        "children": children,
    }


def _process_node(
    name: str, row: Mapping[str, Any], node: Mapping[str, Any] | None, is_cell: bool
) -> dict[str, Any]:
    status = "running" if node is not None or not is_cell else "restarting"
    return {
        "address": name,
        "kind": "cell" if is_cell else name,
        "type": "supervisor" if is_cell else "worker",
        "strategy": None,
        "restart": "permanent",
        "children": [],
        **(node or {}),
        "pid": row.get("pid") or (node or {}).get("pid"),
        "status": row.get("status", status),
        "restarts": row.get("restarts", 0),
    }
