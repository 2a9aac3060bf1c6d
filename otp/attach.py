"""For clients of a running system: asks its contact process, stops it, and never starts anything."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from slakeeper.otp import posix, run_file
from slakeeper.otp.control import Reply, Request
from slakeeper.otp.posix import ProcessId
from slakeeper.otp.service import RequestRefused
from slakeeper.otp.transport import TransmitIntent, actor_address, hardened, quiet

from thespian.system.transport import ExternalInterfaceTransportInit, ReceiveEnvelope  # isort: skip

_ASK_AGAIN_S = 1.0
_LOOK_AGAIN_S = 0.05
_KILL_WAIT_S = 10.0


class NotRunning(Exception):
    """No system runs on this data directory.

    Attributes:
        data: that directory.
    """

    def __init__(self, data: Path, message: str = "") -> None:
        super().__init__(message or f"nothing runs on {data}")
        self.data = data


class TimedOut(Exception):
    """A system runs, and no answer came in time."""


class RequestFailed(RequestRefused):
    """The system answered with an error; see RequestRefused."""


def running(data: Path) -> dict[str, Any]:
    """What ``run.json`` says about the system that runs now.

    Returns:
        Its facts: pid, http, data, cells, state, generation, processes and others, some still None at the start.

    Raises:
        NotRunning: nothing runs on this data directory.
    """
    heart = run_file.holder(data)
    if heart is None:
        raise NotRunning(data)
    run = run_file.read(data)
    if run is None or run.get("pid") != heart.pid:
        # It has the lock and has not written anything yet.
        return {"pid": heart.pid, "state": "starting", "data": str(data), "processes": []}
    return run


class Client:
    """Asks the running system's contact process over Thespian; not for more than one thread.

    Listens on a loopback port of its own for as long as it is open.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._transport: Any = None
        self._key = ""
        self._refused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every socket; another request opens new ones."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def request(self, name: str, payload: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """Sends a request and waits for its answer. It is done once, however often it has to be sent.

        Args:
            name: which request.
            payload: plain values.
            timeout_s: how long to wait, also for a system that is just starting [s].

        Raises:
            NotRunning: nothing runs on the data directory.
            TimedOut: no answer within ``timeout_s``; whether the request was done is not known.
            RequestFailed: the system refused it.
        """
        until = time.monotonic() + timeout_s
        request = Request(uuid.uuid4().hex, name, dict(payload))
        while (left_s := until - time.monotonic()) > 0:
            run = running(self._data)
            reply = None
            if run.get("admin_address"):
                reply = self._ask(run, request, min(left_s, _ASK_AGAIN_S))
            if reply is not None:
                return _result(reply)
            if not run.get("admin_address") or self._refused:
                time.sleep(min(_LOOK_AGAIN_S, max(0.0, until - time.monotonic())))
        raise TimedOut(f"no answer to {name!r} within {timeout_s:g} s")

    def _ask(self, run: Mapping[str, Any], request: Request, wait_s: float) -> Reply | None:
        transport = self._open(run)
        self._refused = False

        def refused(*_: Any) -> None:
            self._refused = True
            transport.abort_run()

        target = actor_address(int(str(run["admin_address"]).rpartition(":")[2]))
        transport.scheduleTransmit(None, TransmitIntent(target, request, onError=refused))
        until = time.monotonic() + wait_s
        while not self._refused and (left_s := until - time.monotonic()) > 0:
            envelope = transport.run(None, timedelta(seconds=left_s))
            if isinstance(envelope, ReceiveEnvelope) and isinstance(envelope.message, Reply):
                reply: Reply = envelope.message
                if reply.id == request.id:
                    return reply
        return None

    def _open(self, run: Mapping[str, Any]) -> Any:
        """The transport for the running generation's key; each generation has its own."""
        key = str(run["thespian_key"])
        if self._transport is None or key != self._key:
            self.close()
            quiet()
            self._key = key
            capabilities = {"Admin Port": run["admin_port"]}
            transport_class = hardened(bytes.fromhex(key))
            self._transport = transport_class(ExternalInterfaceTransportInit(), capabilities, None, None)
        return self._transport


def stop_system(data: Path, timeout_s: float = 60.0) -> None:
    """Stops the system in order and returns when nothing of it is left.

    Args:
        data: the data directory.
        timeout_s: after this it is killed instead [s].

    Raises:
        NotRunning: nothing runs on this data directory.
        PermissionError: it belongs to another user.
    """
    run = running(data)
    heart = run_file.holder(data)
    if heart is None:
        raise NotRunning(data)
    with contextlib.suppress(ProcessLookupError):
        os.kill(heart.pid, signal.SIGTERM)
    if not posix.await_end(heart, timeout_s):
        # Its processes go with it, by the kernel's hand.
        run = run_file.read(data) or run
        posix.kill([heart.pid])
        posix.await_end(heart, _KILL_WAIT_S)
    until = time.monotonic() + _KILL_WAIT_S
    for process in _processes(run):
        if not posix.await_end(process, max(0.0, until - time.monotonic())):
            posix.kill([process.pid])
            posix.await_end(process, _KILL_WAIT_S)
    if (
        run_file.holder(data) is None
        and (left := run_file.read(data)) is not None
        and left.get("pid") == heart.pid
    ):
        run_file.remove_runtime_dir(left.get("runtime_dir"))
        run_file.remove(data)


def _processes(run: Mapping[str, Any]) -> list[ProcessId]:
    known = [
        ProcessId(int(one.get("pid") or 0), int(one.get("started") or 0)) for one in run.get("processes", ())
    ]
    return [one for one in known if one.pid > 1]


def _result(reply: Reply) -> dict[str, Any]:
    if reply.error is None:
        return dict(reply.result)
    error = dict(reply.error)
    raise RequestFailed(str(error.pop("code", "internal")), str(error.pop("message", "")), **error)
