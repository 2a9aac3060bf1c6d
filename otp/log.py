"""Logging of every process into one file of JSON lines.

Each line is written by one ``write`` to a file opened for appending, so lines of different processes do not mix.
A process notices that the file was renamed, by :func:`rotate` or by logrotate, and opens a new one.
"""

import contextlib
import io
import json
import logging
import logging.handlers
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "actorAddress"}


# As they were before Thespian came: the loggers that modules made when they were imported belong to these.
_ROOT = logging.root
_MANAGER = logging.Logger.manager


class JsonFormatter(logging.Formatter):
    """One record, one line: at, level, logger, process, message, exception, and what was given as ``extra``."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            record.exc_text = record.exc_text or self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return json.dumps(line, ensure_ascii=False, default=str)


class JsonFile(logging.handlers.WatchedFileHandler):
    """Appends to the log; its folder must exist."""

    def __init__(self, path: str, process: str = "") -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(JsonFormatter(process))

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line; on a full disk it is lost, and whoever logs goes on."""
        try:
            super().emit(record)
        except OSError:  # while the file is opened anew; what fails later is caught there
            self.handleError(record)


def log_path(data: Path) -> Path:
    """Where the log of a data directory is."""
    return data / "log" / "slakeeper.log"


def output_path(data: Path) -> Path:
    """Where the standard output and error of all processes below the heart go."""
    return data / "log" / "output.log"


def to_file(data: Path, process: str, level: int | str = logging.INFO) -> None:
    """Has this process log to the file and nowhere else, whatever Thespian did to the root logger.

    Args:
        data: the data directory; ``data/log`` exists.
        process: its name, in every line.
        level: the least that is written.
    """
    # Thespian puts a logger of its own in the root's place that sends every record over its transport.
    logging.root = _ROOT
    logging.Logger.root = _ROOT
    logging.Logger.manager = _MANAGER
    root = _ROOT
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(JsonFile(str(log_path(data)), process))
    root.setLevel(level)
    _write_through()


def _write_through() -> None:
    """Standard output and error keep nothing back, as with ``python -u``.

    On a full disk they would keep what they cannot write, and fail again whenever somebody flushes them: a fork by
    multiprocessing does, and so no process could be started any more.
    """
    for name, fd in (("stdout", 1), ("stderr", 2)):
        with contextlib.suppress(OSError, ValueError):
            raw = io.FileIO(fd, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))


def flush() -> None:
    """Writes out what waits in buffers, before the process ends without Python's own clean-up."""
    for handler in logging.root.handlers:
        # On a full disk a line is lost, and the end of the process is as orderly as ever.
        with contextlib.suppress(OSError, ValueError):
            handler.flush()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def cut(path: Path, limit_bytes: int) -> None:
    """Puts what is in a file aside under ``.1`` and empties it when it has grown beyond ``limit_bytes``.

    For a file that other processes have open and append to, such as their standard error: they go on at its beginning.
    What one of them writes in the very moment of this is lost.
    """
    try:
        if path.stat().st_size <= limit_bytes:
            return
    except FileNotFoundError:
        return
    with contextlib.suppress(OSError):  # on a full disk the room counts for more
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def rotate(path: Path, limit_bytes: int, keep: int) -> None:
    """Renames a log that has grown beyond ``limit_bytes`` to ``.1``, ``.1`` to ``.2`` and so on; keeps ``keep``."""
    try:
        if path.stat().st_size <= limit_bytes:
            return
    except FileNotFoundError:
        return
    if keep == 0:
        path.unlink()
        return
    for number in range(keep - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            os.replace(older, path.with_name(f"{path.name}.{number + 1}"))
    os.replace(path, path.with_name(f"{path.name}.1"))
