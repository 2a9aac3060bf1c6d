"""The mark of a data directory that was restored from a backup: until somebody says so, nothing of it leaves."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any

from slakeeper.sla.duration import format_instant

MARK = "restored.json"


def mark_of(taken_at_ms: int, restored_at_ms: int, backup: str) -> dict[str, Any]:
    """What the mark says.

    Args:
        taken_at_ms: when the backup was begun [Unix ms].
        backup: the file it came from.
    """
    return {"taken_at_ms": taken_at_ms, "restored_at_ms": restored_at_ms, "backup": backup}


def held_because(data: Path) -> str:
    """Why messages and actions of this data directory are held back; empty when they are not.

    The original may still run, and what was on its way when the copy was taken has been done by it since.
    """
    path = data / MARK
    if not path.exists():
        return ""
    since = ""
    with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
        since = f" of {format_instant(json.loads(path.read_text())['taken_at_ms'])}"
    command = f"slakeeper --data {shlex.quote(str(data))} start --live"
    return f"this is a copy restored from a backup{since}; when the original has ended: stop this one, then {command}"


def release(data: Path, by: str, now_ms: int) -> None:
    """Takes the mark away: this copy is the original now, and its audit chain says who wanted that.

    Args:
        by: who lets it take over.
        now_ms: the time [Unix ms].

    Raises:
        JournalError: it cannot be noted in the audit chain; the copy is held back still.
    """
    # Only now: the start of a directory without a mark goes without it.
    from slakeeper.archive import sync_folder
    from slakeeper.chain import note_release

    path = data / MARK
    if not path.exists():
        return
    mark: dict[str, Any] = {}
    with contextlib.suppress(ValueError, TypeError):
        mark = dict(json.loads(path.read_text()))
    note_release(data, mark, by, now_ms)
    path.unlink(missing_ok=True)
    sync_folder(data)  # back after a power loss, it would hold everything again, and page nobody
