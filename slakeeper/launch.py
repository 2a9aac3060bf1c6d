"""Starting the service: configuration read, system built, heart run in this process, in the background, or viewed.

The process that becomes the heart takes the data directory before it does anything that takes time: from then on
``slakeeper stop`` finds it. So nothing heavy is imported here, and it is forked before anything is read.
"""

import contextlib
import gc
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slakeeper.otp.daemon import STOPPED_EARLY, NotStarted, start_detached
from slakeeper.otp.run_file import Claim, HeartError, claim

if TYPE_CHECKING:
    from slakeeper.config.loader import Configuration
    from slakeeper.otp.heart import Heart

# What `start` prints, and no more: the rest of run.json is for the owner of the data directory.
READY_KEYS = ("pid", "http", "data", "cells")

START_TIMEOUT_S = 60.0

# What Ctrl-C and a polite end send.
_STOPS = (signal.SIGINT, signal.SIGTERM)

# In the data directory: it was started with the demo, whose contract is in it.
DEMO_MEMORY = "demo"


class StartError(HeartError):
    """The service did not start; several lines when the configuration has several errors."""

    is_configuration = False


class ConfigurationRefused(StartError):
    """It did not start because of what it was told: an option, or a line of the configuration."""

    is_configuration = True


def _plainly(reason: str) -> str:
    """A supervisor's reason in the words of whoever waits for the start."""
    return re.sub(
        r"^(?:shutdown: )?failed_to_start_child (\S+): (?:\w+Error: )?(?:\[Errno \d+\] )?",
        r"\1 did not start: ",
        reason,
    )


@dataclass(frozen=True)
class Start:
    """What the command line asked for.

    Attributes:
        live: a copy that was restored takes over: what it says and does is real from now on.
        by: who lets it.
        here: where it was asked, from which relative paths go: a background process is elsewhere.
    """

    data: Path
    config: Path | None = None
    http: str | None = None
    cells: int | None = None
    demo: bool = False
    without_config: bool = False
    parent: int | None = None
    live: bool = False
    by: str = ""
    here: Path = field(default_factory=Path.cwd)

    def plain(self, ready: Callable[[Mapping[str, Any]], None]) -> int:
        """Runs the heart in this process until it is told to stop, or its ``parent`` has ended."""
        if self.parent is not None:
            from slakeeper.otp import posix

            posix.die_with(self.parent, signal.SIGTERM)
        is_up = False

        def up(facts: Mapping[str, Any]) -> None:
            nonlocal is_up
            is_up = True
            ready(facts)

        with _ending_at_once():
            status = self._run(up)
        if not is_up:
            click.echo(f"slakeeper: {STOPPED_EARLY}", err=True)
        return status

    def detached(self) -> dict[str, Any]:
        """Starts in the background and returns what is ready: pid, http, data, cells."""
        is_new = not self.data.exists()
        try:
            facts = start_detached(self._run, self._output(), timeout_s=START_TIMEOUT_S)
        except NotStarted as error:
            if error.kind != ConfigurationRefused.__name__:
                raise StartError(_plainly(str(error))) from error
            if is_new:
                _leave_no_trace(self.data)
            raise ConfigurationRefused(str(error)) from error
        if not self.demo and (self.data / DEMO_MEMORY).exists():
            from slakeeper.demo import left_over

            if note := left_over(self.data):
                click.echo(f"slakeeper: {note}", err=True)
        from slakeeper.restored import held_because

        if note := held_because(self.data):
            click.echo(f"slakeeper: nobody is told and no action is run: {note}", err=True)
        if room := facts.get("low_on_room"):
            from slakeeper.concern import nearly_full

            click.echo(f"slakeeper: {nearly_full(room)}", err=True)
        return {key: facts.get(key) for key in READY_KEYS}

    def with_view(self) -> int:
        """Runs the heart in a child process and shows live status here until either ends."""
        read_fd, write_fd = os.pipe()
        parent = os.getpid()
        # Held until both processes can take them: what is raised in one of Python's own hooks of a fork is lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        child = os.fork()
        if child == 0:
            os.close(read_fd)
            os._exit(self._viewed_heart(write_fd, parent))
        # Ctrl-C is passed on to the heart, which stops; the view ends when the heart has.
        for number in _STOPS:
            signal.signal(number, lambda *_: _pass_on(child))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        os.close(write_fd)
        gc.enable()
        from slakeeper.view import show

        return show(self.data, child, read_fd, demo=self.demo)

    def _viewed_heart(self, write_fd: int, parent: int) -> int:
        from slakeeper.otp import posix

        # Ctrl-C reaches the view alone, which passes it on: the heart takes a second signal for impatience.
        os.setsid()
        # The view gone means nobody is left to press Ctrl-C.
        posix.die_with(parent, signal.SIGTERM)
        status = 1
        try:
            with _ending_at_once():
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
                # A byte, not a close: processes forked from here hold the pipe open as well.
                status = self.plain(lambda facts: _say_ready(write_fd))
        except StartError as error:
            status = 2 if error.is_configuration else 1
            for line in str(error).splitlines():
                click.echo(f"slakeeper: {line}", err=True)
        return status

    def _run(self, ready: Callable[[Mapping[str, Any]], None]) -> int:
        """Takes the data directory, reads the configuration, and is the heart from then on."""
        is_new = not self.data.exists()
        try:
            return self._heart(claim(self.data), ready).run()
        except ConfigurationRefused:
            if is_new:
                _leave_no_trace(self.data)
            raise
        except StartError:
            raise
        except HeartError as error:
            raise StartError(_plainly(str(error))) from error

    def _heart(self, held: Claim, ready: Callable[[Mapping[str, Any]], None]) -> "Heart":
        try:
            return self._made_heart(held, ready)
        except BaseException:
            os.close(held.lock_fd)
            raise

    def _made_heart(self, held: Claim, ready: Callable[[Mapping[str, Any]], None]) -> "Heart":
        from slakeeper.demo import demo_port, demo_process
        from slakeeper.layout import LayoutError, check_meta, note_served
        from slakeeper.otp.heart import Heart, freeze
        from slakeeper.otp.journal import JournalError
        from slakeeper.otp.room import Room
        from slakeeper.reading import config_directory, remember
        from slakeeper.restored import release
        from slakeeper.system import build_system

        folder = None if self.without_config else config_directory(self.config, self.data, self.here)
        configuration = self._configuration(folder)
        _import_services()
        _try_addresses(configuration.service.http, configuration.service.ingest.statsd)
        if self.live:
            # What a newer version wrote is not touched, nor let out.
            try:
                check_meta(self.data)
            except LayoutError as error:
                raise StartError(str(error)) from error
            try:
                release(self.data, self.by, time.time_ns() // 1_000_000)
            except JournalError as error:
                raise StartError(f"{error}; the copy is held back still") from error
        extra = (demo_process(demo_port(configuration)),) if self.demo else ()
        try:
            build = build_system(self.data, configuration, extra)
        except LayoutError as error:
            raise StartError(str(error)) from error
        if folder is not None:
            remember(self.data, folder)
        if self.demo:
            (self.data / DEMO_MEMORY).touch()
        freeze()

        def up(facts: Mapping[str, Any]) -> None:
            with contextlib.suppress(OSError):  # on a full disk: what is gone later is then not missed
                note_served(self.data)
            room = Room(self.data, configuration.service.min_free_bytes)
            ready({**facts, "low_on_room": str(room) if room.is_low else None})

        return Heart(
            self.data,
            build,
            up,
            claim=held,
            log_level=configuration.service.log_level.upper(),
            log_limit_bytes=configuration.service.retention.log_bytes,
            logs_kept=configuration.service.retention.log_files,
            patience_s=configuration.service.hang_after / 1000,
        )

    def _configuration(self, folder: Path | None) -> "Configuration":
        from pydantic import ValidationError

        from slakeeper.config.loader import Configuration, load
        from slakeeper.config.problem import ConfigError
        from slakeeper.reading import empty_configuration

        try:
            found = empty_configuration() if folder is None else load(folder, os.environ)
            service = found.service.override(http=self.http, cells=self.cells)
        except ConfigError as error:
            raise ConfigurationRefused(str(error)) from error
        except ValidationError as error:
            lines = [f"--{line['loc'][0]}: {line['msg']}" for line in error.errors(include_url=False)]
            raise ConfigurationRefused("\n".join(lines)) from error
        changed = Configuration(found.slas, found.enforcement, found.monitoring, service, found.thresholds)
        if self.demo:
            from slakeeper.demo import with_demo

            changed = with_demo(changed, _free_port())
        return changed

    def _output(self) -> Path:
        try:
            folder = self.data / "log"
            # One after the other: folders that are made as parents are open to everybody.
            for each in (self.data, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            output = folder / "output.log"
            # Tried here, where somebody can still be told.
            os.close(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        except OSError as error:
            raise StartError(f"{self.data}: cannot be used as data directory: {error.strerror}") from error
        return output


def _leave_no_trace(data: Path) -> None:
    """Takes away a data directory that was made for a start which was refused before it began."""
    with contextlib.suppress(OSError):
        for each in ("log/output.log", "lock"):
            (data / each).unlink(missing_ok=True)
        for folder in (data / "log", data):
            folder.rmdir()


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Until the heart takes its signals there is nothing to stop in order, and whoever stops it does not wait."""

    def end(*_: object) -> None:
        os.write(2, f"slakeeper: {STOPPED_EARLY}\n".encode())
        os._exit(0)

    kept = {number: signal.signal(number, end) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _pass_on(heart: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(heart, signal.SIGTERM)


def _say_ready(fd: int) -> None:
    os.write(fd, b"1")
    os.close(fd)


def _try_addresses(http: str, statsd: str | None) -> None:
    """Finds out whether HTTP and StatsD can be served there, before any process defines a contract.

    Raises:
        StartError: it cannot.
    """
    from slakeeper.web.datagram import bind_udp
    from slakeeper.web.server import bind, parse_address

    try:
        bind(*parse_address(http)).close()
        if statsd is not None:
            bind_udp(*parse_address(statsd)).close()
    except OSError as error:
        raise StartError(f"gateway did not start: {error.strerror}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _import_services() -> None:
    """Imports what the processes run, once and before they are forked: each then starts in milliseconds."""
    import slakeeper.admin
    import slakeeper.supervisors.cell
    import slakeeper.web.server  # noqa: F401
