"""Remediation targets as files: what holds for every cell of a data directory, and over every restart.

Each target has a lock, held while an attempt acts on it, and a record (:class:`slakeeper.sla.target.Target`), changed
under one lock for all of them, which is held for a write and no longer. A process that dies holds no lock; what it had
claimed in the record lapses.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from slakeeper.otp.filesystem import OsFileSystem, write_atomically
from slakeeper.sla import target as sla_target
from slakeeper.sla.breaker import Breaker
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.target import Claim, Target, TargetBusy

SUFFIX = ".json"

# A file's name may have 255 bytes; the rest of it is a suffix.
_NAME_LIMIT = 200


class TargetError(Exception):
    """The record of a target cannot be read; the text says which and what to do."""


class Targets(Protocol):
    """Who acts on which target, in all cells."""

    def claim(self, target: str, new: Claim, settings: RemediationSettings, now_ms: int) -> Breaker:
        """Takes the target for an attempt, durable on return; see :func:`slakeeper.sla.target.claim`.

        Returns:
            The action's breaker, which knows of the attempt.
        """

    def settle(self, target: str, key: str, helped: bool, settings: RemediationSettings, now_ms: int) -> None:
        """Frees the target again, durable on return; see :func:`slakeeper.sla.target.settle`."""

    def breakers(self) -> dict[str, Breaker]:
        """Every action's breaker, once it was tried."""


class TargetFiles:
    """The targets of a data directory; see :class:`Targets`.

    Args:
        folder: of the records, made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, target: str, new: Claim, settings: RemediationSettings, now_ms: int) -> Breaker:
        """See :meth:`Targets.claim`."""
        after = self._change(target, lambda known: sla_target.claim(known, new, settings, now_ms))
        return after.breaker(new.action)

    def settle(self, target: str, key: str, helped: bool, settings: RemediationSettings, now_ms: int) -> None:
        """See :meth:`Targets.settle`."""
        self._change(target, lambda known: sla_target.settle(known, key, helped, settings, now_ms))

    def breakers(self) -> dict[str, Breaker]:
        """See :meth:`Targets.breakers`."""
        files = self._folder.glob(f"*{SUFFIX}") if self._folder.is_dir() else ()
        return sla_target.merged({path.stem: _read(path) for path in files})

    def _change(self, target: str, change: Callable[[Target], Target]) -> Target:
        path = self._folder / f"{file_name(target)}{SUFFIX}"
        with self._alone():
            known = _read(path)
            after = change(known)
            if after != known:
                piece = json.dumps({"target": target, **asdict(after)}, indent=1).encode()
                write_atomically(OsFileSystem(), path, [piece]).close()
            return after

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read(path: Path) -> Target:
    try:
        document = json.loads(path.read_bytes())
        breakers = {name: Breaker(**each) for name, each in document["breakers"].items()}
        return Target(document["claim"] and Claim(**document["claim"]), breakers)
    except FileNotFoundError:
        return Target()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TargetError(f"{path} is damaged; remove it, and its actions begin anew: {error!r}") from error


@contextmanager
def acting_on(target: str, folder: Path) -> Iterator[None]:
    """Holds the target's lock while an attempt acts on it.

    Raises:
        TargetBusy: an attempt of another process does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{file_name(target)}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TargetBusy("another run is acting on this target") from None
        yield


def file_name(target: str) -> str:
    """A name of its own for each target."""
    plain = quote(target, safe="")
    if len(plain) <= _NAME_LIMIT:
        return plain
    return f"{plain[: _NAME_LIMIT - 33]}-{hashlib.blake2b(target.encode(), digest_size=16).hexdigest()}"
