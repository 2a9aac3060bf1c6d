"""What has changed between two looks, for those who read lines and see no picture: a file, a pipe, a journal."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


class Changes:
    """Remembers the last look. A number within a line counts for nothing: how much is free changes all the time."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._pids: dict[str, int] = {}

    def of_lines(self, lines: Iterable[str]) -> list[str]:
        """Lines that were not there at the last look, and those that are gone."""
        before, self._lines = self._lines, {re.sub(r"\d+", "#", line): line for line in lines}
        new = [line for key, line in self._lines.items() if key not in before]
        return [*new, *(f"no longer: {line}" for key, line in before.items() if key not in self._lines)]

    def of_processes(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Processes that are others than at the last look."""
        before, self._pids = self._pids, {row["name"]: row["pid"] for row in rows if row.get("pid")}
        return [
            f"{name} is another process: {pid}, was {before[name]}"
            for name, pid in self._pids.items()
            if before.get(name, pid) != pid
        ]
