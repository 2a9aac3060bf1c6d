"""The two ways a program carries slakeeper: a service of its own processes, or a thread."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from slakeeper.client import Cluster, connect
from slakeeper.config.loader import Configuration, load
from slakeeper.config.problem import ConfigError
from slakeeper.launch import ConfigurationRefused, StartError
from slakeeper.layout import CellPlace, LayoutError, cell_settings, make_layout, note_served
from slakeeper.otp import run_file
from slakeeper.otp.actor import RequestError
from slakeeper.otp.attach import NotRunning, running, stop_system
from slakeeper.otp.loop import Loop
from slakeeper.otp.neighbour import ANSWER_WITHIN_S, NeighbourError
from slakeeper.reading import empty_configuration
from slakeeper.supervisors.cell import make_loop

STOP_TIMEOUT_S = 60.0


def _configuration(folder: Path | None) -> Configuration:
    if folder is None:
        return empty_configuration()
    try:
        return load(folder, os.environ)
    except ConfigError as error:
        raise ConfigurationRefused(str(error)) from error


class _LoopNeighbour:
    """A cell on another thread of this process, as another cell asks it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def ask(self, kind: str, payload: dict[str, Any]) -> Any:
        """See :class:`slakeeper.otp.neighbour.Neighbour`."""
        try:
            return self._loop.request(kind, payload).result(ANSWER_WITHIN_S)
        except (RequestError, TimeoutError) as error:
            raise NeighbourError(f"no answer to {kind}: {error}") from error


class InlineSystem:
    """All partitions in one cell on one thread of this process."""

    def __init__(self, data: Path, folder: Path | None) -> None:
        configuration = _configuration(folder)
        try:
            run_file.prepare(data)
            self._lock: int | None = run_file.lock(data)
            layout = make_layout(data, configuration, 1)
        except (run_file.HeartError, LayoutError) as error:
            raise StartError(str(error)) from error
        shared, *alone = layout.cells
        places: list[CellPlace] = [shared, *alone]
        # Each looks at this when it starts, which is when all of them are made.
        neighbours: dict[str, _LoopNeighbour] = {}
        self._loops = [
            make_loop(
                cell_settings(place, layout, data, configuration, configuration.slas, None),
                self._crashed,
                begins_again=True,
                neighbours=neighbours,
            )
            for place in places
        ]
        neighbours.update((loop.name, _LoopNeighbour(loop)) for loop in self._loops)
        try:
            for loop in self._loops:
                loop.start()
        except Exception as error:
            self.stop()
            raise StartError(str(error)) from error
        with contextlib.suppress(OSError):  # on a full disk: what is gone later is then not missed
            note_served(data)
        isolated = {place.sla_id: place.name for place in alone if place.sla_id is not None}
        self.cluster = Cluster(self._loops, layout.partition_count, isolated)

    def stop(self) -> None:
        """Stops the cells and gives the data directory back."""
        for loop in self._loops:
            loop.stop(STOP_TIMEOUT_S)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @staticmethod
    def _crashed(reason: str) -> None:
        sys.stderr.write(f"slakeeper: the cell ended: {reason}\n")


class ProcessSystem:
    """The service in processes of its own, which end with this one."""

    def __init__(self, data: Path, folder: Path | None, http: str) -> None:
        self._data = data
        command = [sys.executable, "-m", "slakeeper", "--json", "--data", str(data)]
        command += ["start", "--no-view", "--with-parent", str(os.getpid()), "--http", http]
        command += ["--no-config"] if folder is None else ["--config", str(folder)]
        self._heart = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        facts = self._await_ready()
        self.http: str = facts["http"]
        topology = running(data)["topology"]
        self.cluster = connect(topology["cells"], topology["partitions"])

    def stop(self) -> None:
        """Stops the service; returns when nothing of it is left."""
        self.cluster.close()
        try:
            stop_system(self._data, STOP_TIMEOUT_S)
        except NotRunning:
            pass
        self._heart.wait(STOP_TIMEOUT_S)
        self._close_pipes()

    def _await_ready(self) -> dict[str, Any]:
        stdout = self._heart.stdout
        line = stdout.readline() if stdout is not None else ""
        facts: dict[str, Any] = json.loads(line) if line else {}
        if "http" in facts:
            # What the heart may still say must never fill a pipe that nobody reads.
            threading.Thread(target=self._read_on, name="slakeeper-output", daemon=True).start()
            return facts
        # Nothing, or why it did not start; standard error has that too, in full.
        _, errors = self._heart.communicate()
        raise StartError(errors.strip() or "the service ended before it was ready")

    def _read_on(self) -> None:
        if self._heart.stderr is not None:
            for line in self._heart.stderr:
                sys.stderr.write(line)

    def _close_pipes(self) -> None:
        for pipe in (self._heart.stdout, self._heart.stderr):
            if pipe is not None:
                pipe.close()
