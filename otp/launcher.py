"""The heart's only child: starts Thespian for one generation, creates the root supervisor, and holds on to it."""

import faulthandler
import logging
import os
import select
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn

from slakeeper.otp import log, posix
from slakeeper.otp.control import BeginRoot
from slakeeper.otp.generation import (
    LAUNCHER,
    THESPIAN_ADMIN,
    THESPIAN_LOGGER,
    Generation,
    LineWriter,
    current,
    enter,
    name_process,
)
from slakeeper.otp.process_supervisor import RootSupervisor
from slakeeper.otp.transport import hardened

# After the transport: importing it first is what keeps Thespian from asking the DNS.
from thespian.system.multiprocCommon import multiprocessCommon  # isort: skip

_BEAT_S = 0.5
_ADOPTION_S = 5.0
_ADMIN_INSTANCE = None
_PILLARS = {_ADMIN_INSTANCE: THESPIAN_ADMIN, -1: THESPIAN_LOGGER}


def launch(generation: Generation) -> NoReturn:
    """Runs the launcher in the process the heart has just forked; ends it with status 1 when it cannot start."""
    status = 1
    try:
        _enter_process(generation)
        _hold(_start(generation))
        status = 0
    except Exception:
        # Whatever went wrong ends this generation; the heart sees the exit and the log has the reason.
        logging.getLogger(__name__).exception("the launcher failed")
    finally:
        log.flush()
        os._exit(status)


def _enter_process(generation: Generation) -> None:
    posix.tie_children(False)
    os.setsid()
    name_process(LAUNCHER, generation.data)
    _redirect_output(generation)
    posix.restore_fatal_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Inherited by Thespian's admin and its logger. A signal to all processes at once, as service managers send
        # it, is for the heart, the root and the services: those stop in order as long as their ground holds.
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    faulthandler.disable()  # enabled already, it would keep the handlers that were just reset
    faulthandler.enable(file=2)
    log.to_file(generation.data, LAUNCHER, generation.log_level)
    os.environ["THESPLOG_FILE"] = str(generation.data / "log" / "thespian.log")
    enter(replace(generation, launcher_pid=os.getpid()))


def _redirect_output(generation: Generation) -> None:
    """Gives the terminal, or the pipe to ``tail``, back: nothing below the heart may hold it open."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log.output_path(generation.data), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in (null, output):
        if fd > 2:
            os.close(fd)


def _start(generation: Generation) -> LineWriter:
    writer = LineWriter(generation.report_fd)
    capabilities = {"Admin Port": generation.admin_port, "Process Startup Method": "fork"}
    transport_class = hardened(generation.key, _on_endpoint, _on_run)
    base = _system_base(transport_class)(
        SimpleNamespace(capabilities=capabilities), _log_settings(generation)
    )
    root = base.newPrimaryActor(RootSupervisor, None, None)
    base.tell(root, BeginRoot())
    base.transport.close()
    return writer


def _hold(writer: LineWriter) -> None:
    # Thespian's admin is forked twice; what was in between is waiting to be taken leave of.
    never = select.poll()
    while True:
        posix.reap()
        writer.send(role=LAUNCHER, beat=True)
        never.poll(int(_BEAT_S * 1000))


def _system_base(transport_class: Any) -> Any:
    timezone = os.environ.get("TZ")

    class HardenedBase(multiprocessCommon):
        transportType = transport_class  # noqa: N815  Thespian's name

        def _startAdmin(self, *args: Any) -> None:  # noqa: N802
            # Thespian sets TZ for its own speed; services must find what the user set.
            if timezone is None:
                os.environ.pop("TZ", None)
            super()._startAdmin(*args)

    return HardenedBase


def _on_endpoint(instance: int | None) -> None:
    """Runs in Thespian's admin and logger before they open a socket; actors see to themselves."""
    if instance is _ADMIN_INSTANCE:
        # Forked by a process that ends right after: its parent will be the heart.
        posix.die_with_adopter(current().heart_pid, _ADOPTION_S)
        posix.tie_children(True)
    if instance in _PILLARS:
        posix.restore_fatal_signals()


def _on_run(instance: int | None) -> None:
    """Runs once they are up; Thespian has named them its own way by then."""
    if instance in _PILLARS:
        name_process(_PILLARS[instance], current().data)
        LineWriter(current().report_fd).send(role=_PILLARS[instance], pid=os.getpid())


def _log_settings(generation: Generation) -> dict[str, Any]:
    """What Thespian's logger does with the records that come from its admin."""
    handler = {
        "class": "slakeeper.otp.log.JsonFile",
        "path": str(log.log_path(generation.data)),
        "process": THESPIAN_ADMIN,
        "level": "WARNING",
    }
    return {"version": 1, "handlers": {"file": handler}, "root": {"level": "WARNING", "handlers": ["file"]}}
