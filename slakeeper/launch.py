"""Starting the service: configuration read, system built, heart run in this process, in the background, or viewed."""

import gc
import os
import re
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from slakeeper.config.loader import DEFAULT_DIR, Configuration, load, load_contracts
from slakeeper.config.problem import ConfigError, Problem
from slakeeper.config.service import ServiceSettings
from slakeeper.layout import LayoutError
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import parse_instant
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy

# What `start` prints, and no more: the rest of run.json is for the owner of the data directory.
READY_KEYS = ("pid", "http", "data", "cells")

START_TIMEOUT_S = 60.0


class StartError(Exception):
    """The service did not start; several lines when the configuration has several errors."""

    def __init__(self, message: str, *, is_configuration: bool = False) -> None:
        super().__init__(message)
        self.is_configuration = is_configuration


# In the data directory: the folder it was last started with.
CONFIG_MEMORY = "config-folder"


def config_directory(given: Path | None, data: Path | None = None) -> Path:
    """The folder to read the configuration from.

    The one asked for; else the one this data directory was last started with, so that a start without options does
    not bring other contracts into it; else ``./config`` when there are YAML files in it; else the shipped one.
    """
    if given is not None:
        return given.absolute()
    memory = None if data is None else data / CONFIG_MEMORY
    if memory is not None and memory.is_file():
        return Path(memory.read_text().rstrip("\n"))
    local = Path("config").absolute()
    return local if any(local.glob("*.y*ml")) else DEFAULT_DIR


def _remember(data: Path, folder: Path) -> None:
    if folder.resolve() != DEFAULT_DIR.resolve():
        (data / CONFIG_MEMORY).write_text(f"{folder}\n")


def empty_configuration() -> Configuration:
    """No contracts, no channels, no sources."""
    return Configuration((), EnforcementPolicy(), MonitoringPolicy(), ServiceSettings(), {})


def problems_of(given: Path | None) -> list[Problem]:
    """Every error of a configuration; empty when it is valid."""
    try:
        load(config_directory(given), os.environ)
    except ConfigError as error:
        return list(error.errors)
    return []


def contracts_of(file: Path) -> tuple[tuple[Sla, ...], list[Problem]]:
    """The contracts of one file, or all its errors."""
    contracts, problems = load_contracts(file)
    return tuple(contracts), list(problems)


def read_ts(text: str) -> int:
    """A sample's time as people give it: Unix milliseconds, or ISO 8601.

    Raises:
        ValueError: neither.
    """
    if text.removeprefix("-").isdigit():
        at_ms = int(text)
        if at_ms < 0:
            raise ValueError(f"{text} is before 1970: give Unix milliseconds or ISO 8601")
        return at_ms
    try:
        return parse_instant(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an instant: give Unix milliseconds or ISO 8601") from error


def _plainly(reason: str) -> str:
    """A supervisor's reason in the words of whoever waits for the start."""
    return re.sub(
        r"^(?:shutdown: )?failed_to_start_child (\S+): (?:\w+Error: )?(?:\[Errno \d+\] )?",
        r"\1 did not start: ",
        reason,
    )


@dataclass(frozen=True)
class Start:
    """What the command line asked for."""

    data: Path
    config: Path | None = None
    http: str | None = None
    cells: int | None = None
    demo: bool = False
    without_config: bool = False
    parent: int | None = None

    def plain(self, ready: Callable[[Mapping[str, Any]], None]) -> int:
        """Runs the heart in this process until it is told to stop, or its ``parent`` has ended."""
        if self.parent is not None:
            from slakeeper.otp import posix

            posix.die_with(self.parent, signal.SIGTERM)
        return self._run(self._configuration(), ready)

    def detached(self) -> dict[str, Any]:
        """Starts in the background and returns what is ready: pid, http, data, cells."""
        from slakeeper.otp.daemon import start_detached
        from slakeeper.otp.run_file import HeartError

        configuration = self._configuration()
        _import_services()
        try:
            facts = start_detached(
                lambda ready: self._run(configuration, ready), self._output(), timeout_s=START_TIMEOUT_S
            )
        except HeartError as error:
            raise StartError(_plainly(str(error))) from error
        return {key: facts.get(key) for key in READY_KEYS}

    def with_view(self) -> int:
        """Runs the heart in a child process and shows live status here until either ends."""
        from slakeeper.view import show

        configuration = self._configuration()
        _import_services()
        read_fd, write_fd = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(read_fd)
            os._exit(self._viewed_heart(configuration, write_fd, parent))
        os.close(write_fd)
        gc.enable()
        return show(self.data, child, read_fd, demo=self.demo)

    def _viewed_heart(self, configuration: Configuration, write_fd: int, parent: int) -> int:
        from slakeeper.otp import posix

        # Ctrl-C reaches the view alone, which passes it on: the heart takes a second signal for impatience.
        os.setsid()
        # The view gone means nobody is left to press Ctrl-C.
        posix.die_with(parent, signal.SIGTERM)
        status = 1
        try:
            # A byte, not a close: processes forked from here hold the pipe open as well.
            status = self._run(configuration, lambda facts: _say_ready(write_fd))
        except StartError as error:
            for line in str(error).splitlines():
                click.echo(f"slakeeper: {line}", err=True)
        return status

    def _configuration(self) -> Configuration:
        try:
            found = (
                empty_configuration()
                if self.without_config
                else load(config_directory(self.config, self.data), os.environ)
            )
            service = found.service.override(http=self.http, cells=self.cells)
        except ConfigError as error:
            raise StartError(str(error), is_configuration=True) from error
        except ValidationError as error:
            lines = [f"--{line['loc'][0]}: {line['msg']}" for line in error.errors(include_url=False)]
            raise StartError("\n".join(lines), is_configuration=True) from error
        changed = Configuration(found.slas, found.enforcement, found.monitoring, service, found.thresholds)
        if self.demo:
            from slakeeper.demo import with_demo

            changed = with_demo(changed, _free_port())
        return changed

    def _run(self, configuration: Configuration, ready: Callable[[Mapping[str, Any]], None]) -> int:
        from slakeeper.demo import demo_port, demo_process
        from slakeeper.otp.heart import Heart, freeze
        from slakeeper.otp.run_file import HeartError
        from slakeeper.system import build_system

        _import_services()
        extra = (demo_process(demo_port(configuration)),) if self.demo else ()
        try:
            build = build_system(self.data, configuration, extra)
            if not self.without_config:
                _remember(self.data, config_directory(self.config, self.data))
            freeze()
            heart = Heart(
                self.data,
                build,
                ready,
                log_level=configuration.service.log_level.upper(),
                log_limit_bytes=configuration.service.retention.log_bytes,
                logs_kept=configuration.service.retention.log_files,
                patience_s=configuration.service.hang_after / 1000,
            )
            return heart.run()
        except (HeartError, LayoutError) as error:
            raise StartError(_plainly(str(error))) from error

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


def _say_ready(fd: int) -> None:
    os.write(fd, b"1")
    os.close(fd)


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
