"""What a program asks of the operating system so that files survive a loss of power, in order."""

import os
from pathlib import Path
from typing import Any

import pytest


class DiskCalls:
    """Records, for the rest of a test, each sync, rename and removal, which take place as ever.

    Attributes:
        made: ``("sync", path)`` of a file or folder, ``("rename", from, to)``, ``("remove", path)``, ``("cut", path)``.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, ...]] = []
        for name in ("fsync", "fdatasync"):
            self._watch(patch, name, lambda fd: ("sync", _path_of(fd)))
        for name in ("rename", "replace"):
            self._watch(patch, name, lambda source, target: ("rename", os.fspath(source), os.fspath(target)))
        self._watch(patch, "unlink", lambda path: ("remove", os.fspath(path)))
        self._watch(patch, "ftruncate", lambda fd, size: ("cut", _path_of(fd)))

    def synced_before(self, call: tuple[str, ...]) -> set[Path]:
        """Every path that was synced before the last such call."""
        until = len(self.made) - 1 - self.made[::-1].index(call)
        return {Path(path) for what, path, *_ in self.made[:until] if what == "sync"}

    def synced_after(self, call: tuple[str, ...]) -> set[Path]:
        """Every path that was synced after the last such call."""
        since = len(self.made) - self.made[::-1].index(call)
        return {Path(path) for what, path, *_ in self.made[since:] if what == "sync"}

    def _watch(self, patch: pytest.MonkeyPatch, name: str, seen: Any) -> None:
        call = getattr(os, name)

        def watched(*args: Any, **more: Any) -> Any:
            result = call(*args, **more)
            self.made.append(seen(*args))
            return result

        patch.setattr(os, name, watched)


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")
