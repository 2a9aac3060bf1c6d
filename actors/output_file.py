"""What remedies printed, a file for each attempt: beside the records of attempts, which are written again and again.

An attempt's file is durable before its record says how it ended, so whoever sees the end can see this, too.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path

from slakeeper.actors.target_file import file_name
from slakeeper.otp.filesystem import OsFileSystem, write_atomically
from slakeeper.sla.record import ActionRecord

SUFFIX = ".txt"

KEPT_OUTPUTS = 2_000
"""Files in all, the newest: at 16 KiB each (``OUTPUT_LIMIT`` of a remedy) 32 MiB, whatever flaps."""

SHOWN_OUTPUTS = 10
"""How many attempts of one violation are shown with theirs, the latest: three actions are tried nine times by default.
What is read at once is 160 KiB then, and a cell's turn is not held up by it."""


class OutputFiles:
    """The outputs of a data directory, shared by its cells. Any thread.

    Args:
        folder: of the files, made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, violation_id: str, action: str, attempt: int, output: str) -> None:
        """Keeps what an attempt printed, durable on return, and lets the oldest go beyond ``KEPT_OUTPUTS``.

        A disk that does not take it costs the output, and not the attempt: that is only logged.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / _name(violation_id, action, attempt)
            write_atomically(OsFileSystem(), path, [output.encode()]).close()
            self._let_go()
        except OSError as error:
            logging.getLogger("slakeeper.remediation").error(
                "%s: the output of %s, attempt %d, is not kept: %s", violation_id, action, attempt, error
            )

    def read(self, violation_id: str, records: Collection[ActionRecord]) -> dict[str, str]:
        """What attempts of a violation printed, by the id of their record; of the latest ``SHOWN_OUTPUTS`` that did."""
        found: dict[str, str] = {}
        for record in sorted(records, key=lambda each: each.execution_time, reverse=True):
            try:
                content = (self._folder / _name(violation_id, record.name, record.attempt)).read_bytes()
            except OSError:  # it printed nothing, or that is gone
                continue
            found[record.id] = content.decode("utf-8", "replace")
            if len(found) == SHOWN_OUTPUTS:
                break
        return found

    def forget(self, violation_ids: Collection[str]) -> None:
        """Removes what belongs to violations that are kept no longer.

        Raises:
            OSError: some of it cannot be removed.
        """
        wanted = frozenset(violation_ids)
        for path, _ in self._files():
            if path.name.partition(".")[0] in wanted:
                path.unlink(missing_ok=True)

    def _let_go(self) -> None:
        files = self._files()
        if len(files) > KEPT_OUTPUTS:
            files.sort(key=lambda each: each[1])
            for path, _ in files[: len(files) - KEPT_OUTPUTS]:
                path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[Path, int]]:
        """Each file and when it was written [ns]; another cell may remove some meanwhile."""
        found: list[tuple[Path, int]] = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    try:
                        found.append((Path(entry.path), entry.stat(follow_symlinks=False).st_mtime_ns))
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            pass  # nothing has been kept yet
        return found


def _name(violation_id: str, action: str, attempt: int) -> str:
    # The id stands apart, by which all that belongs to a violation is found: it has no dot.
    return f"{violation_id}.{file_name(f'{action}.{attempt}')}{SUFFIX}"
