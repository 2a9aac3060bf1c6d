"""The Thespian actor of a process: hosts one service, shows that it lives, and ends with a reason.

Thespian would run a handler that raised a second time on the same state and let the actor live on. Here nothing
raises out of a handler: what is not expected ends the process, with the reason sent first.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from slakeeper.otp import log, posix
from slakeeper.otp.control import (
    IGNORED_STATUS,
    Answered,
    Beat,
    BeginProcess,
    Exiting,
    Reply,
    Request,
    StopProcess,
)
from slakeeper.otp.generation import current, handed_down, name_process
from slakeeper.otp.service import NotNeeded, RequestRefused, Service

from slakeeper.otp.transport import TransmitIntent, TransmitOnly  # isort: skip
from thespian.actors import Actor, ActorExitRequest, WakeupMessage  # isort: skip

_REQUEST_THREADS = 4
_LAST_WORDS_S = 0.5
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True)
class _Posted:
    """Work for the actor's own thread, from another one."""

    run: Callable[[], None]


@dataclass(frozen=True)
class _Context:
    """See ServiceContext."""

    name: str
    restarts: int
    generation: int
    shared: Mapping[str, Any]
    _actor: "ProcessActor" = field(repr=False)

    def crashed(self, reason: str) -> None:
        self._actor.post(lambda: self._actor.end(reason, status=1))

    def finished(self, reason: str = "normal") -> None:
        self._actor.post(lambda: self._actor.stop(reason))

    def root_request(self, name: str, payload: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        return self._actor.ask_root(name, payload, timeout_s)


class ProcessActor(Actor):
    """Hosts the service that was handed down to it; see :mod:`slakeeper.otp.control` for what it is told and says."""

    _myRef: Any  # noqa: N815  Thespian's ActorManager, set once __init__ has returned

    def __init__(self) -> None:
        _enter_process()
        self._root: Any = None
        self._spec = handed_down()
        self._begin: BeginProcess | None = None
        self._service: Service | None = None
        self._facts: Mapping[str, Any] | None = None
        self._ending = False
        self._answered = Answered()
        self._asked: dict[str, Future[dict[str, Any]]] = {}
        self._threads = ThreadPoolExecutor(_REQUEST_THREADS, "request")
        # SIGTERM from outside is a polite end of this one process.
        signal.signal(signal.SIGTERM, lambda *_: self.post(lambda: self.stop("shutdown: SIGTERM")))

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802  Thespian's name
        """Thespian's only way in; on the actor's thread."""
        try:
            self._receive(message, sender)
        except Exception as error:  # noqa: BLE001  nothing may reach Thespian, see above
            self.end(f"{type(error).__name__}: {error}", status=1, detail=traceback.format_exc())

    def _receive(self, message: Any, sender: Any) -> None:
        match message:
            case _Posted():
                message.run()
            case WakeupMessage():
                self._beat()
                self._wake()
            case BeginProcess():
                self._root = sender
                if self._begin is None:
                    self._start(message)
            case StopProcess() if self._begin is None or message.incarnation == self._begin.incarnation:
                self._root = self._root or sender
                self.stop(message.reason, message.deadline_ms / 1000)
            case Request():
                self._serve(message, sender)
            case Reply():
                self._take_reply(message)
            case ActorExitRequest():
                self.stop("shutdown")

    # -- the service's life ------------------------------------------------------------------------------------

    def _start(self, begin: BeginProcess) -> None:
        self._begin = begin
        spec = self._spec
        name_process(spec.name, current().data)
        log.to_file(current().data, spec.name, current().log_level)
        threading.excepthook = self._thread_died
        context = _Context(spec.name, begin.restarts, begin.generation, begin.shared, self)

        def run() -> None:
            try:
                service = spec.make(context)
                facts = dict(service.start())
            except NotNeeded as no:
                reason = f"not needed: {no}"
                self.post(lambda: self.end(reason, status=IGNORED_STATUS))
            except Exception as error:  # noqa: BLE001  any failure to start is the supervisor's to judge
                reason, detail = f"{type(error).__name__}: {error}", traceback.format_exc()
                self.post(lambda: self.end(reason, status=1, detail=detail))
            else:
                self.post(lambda: self._started(service, facts))

        threading.Thread(target=run, name="start", daemon=True).start()
        self._beat()
        self._wake()

    def _started(self, service: Service, facts: Mapping[str, Any]) -> None:
        self._service, self._facts = service, facts
        self._beat()

    def _wake(self) -> None:
        if self._begin is not None:
            self.wakeupAfter(timedelta(milliseconds=self._spec.heartbeat_ms))

    def _beat(self) -> None:
        if self._begin is None or self._ending:
            return
        phase = "starting" if self._facts is None else "running"
        stats, trouble = self._vital_signs()
        port = self._myRef.transport.port
        spec, incarnation = self._spec, self._begin.incarnation
        beat = Beat(spec.name, incarnation, os.getpid(), port, phase, self._facts or {}, stats, trouble)
        self.send(self._root, beat)

    def _vital_signs(self) -> tuple[Mapping[str, Any], str]:
        if self._service is None or self._begin is None:
            return {}, ""
        try:
            stats = dict(self._service.beat())
        except Exception as error:
            logging.getLogger(__name__).exception("the service's beat failed")
            return {}, f"beat: {type(error).__name__}: {error}"
        age_ms, limit_ms = int(stats.get("age_ms", 0)), self._spec.hang_after_ms
        return stats, f"its loop has not turned for {age_ms} ms" if age_ms > limit_ms else ""

    def stop(self, reason: str, deadline_s: float | None = None) -> None:
        """Stops the service within ``deadline_s`` [s], by default its spec's, and ends; on the actor's thread."""
        if self._ending:
            return
        self._ending = True
        if self._service is not None and self._begin is not None:
            self._service.stop(self._spec.stop_limit_s if deadline_s is None else deadline_s)
        self.end(reason, status=0)

    def end(self, reason: str, status: int, detail: str = "") -> NoReturn:
        """Says why and ends the process; on the actor's thread."""
        name = self._spec.name
        logger = logging.getLogger(__name__)
        if status == IGNORED_STATUS:
            logger.info("process %s does not run: %s", name, reason)
        elif status:
            logger.error("process %s ends: %s", name, reason, extra={"detail": detail} if detail else {})
        # Whatever goes wrong with the last words must not keep the process alive.
        try:
            if self._begin is not None:
                words = Exiting(name, self._begin.incarnation, reason)
                _send_and_wait(self._myRef.transport, self._root, words, _LAST_WORDS_S)
            log.flush()
        finally:
            os._exit(status)

    def _thread_died(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        name = "?" if args.thread is None else args.thread.name
        reason = f"thread {name}: {args.exc_type.__name__}: {args.exc_value}"
        detail = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        self.post(lambda: self.end(reason, status=1, detail=detail))

    # -- requests ----------------------------------------------------------------------------------------------

    def _serve(self, request: Request, sender: Any) -> None:
        if self._service is None or self._ending:
            return  # asked again when there is a service, or by then gone
        service = self._service
        if not self._answered.is_new(request.id):
            reply = self._answered.get(request.id)
            if reply is not None:
                self.send(sender, reply)
            return

        def run() -> None:
            reply = _answer(service, request)
            self.post(lambda: self._reply(reply, sender))

        self._threads.submit(run)

    def _reply(self, reply: Reply, sender: Any) -> None:
        self._answered.put(reply)
        self.send(sender, reply)

    def ask_root(self, name: str, payload: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """See ServiceContext.root_request; not on the actor's thread."""
        request = Request(uuid.uuid4().hex, name, dict(payload))
        future: Future[dict[str, Any]] = Future()
        self._asked[request.id] = future
        try:
            left_s = timeout_s
            while left_s > 0:
                self.post(lambda: self.send(self._root, request))
                with contextlib.suppress(FutureTimeout):
                    return future.result(min(left_s, _ASK_AGAIN_S))
                left_s -= _ASK_AGAIN_S
        finally:
            self._asked.pop(request.id, None)
        raise RequestRefused(
            "unavailable", f"the root supervisor did not answer {name!r} within {timeout_s} s"
        )

    def _take_reply(self, reply: Reply) -> None:
        future = self._asked.pop(reply.id, None)
        if future is None:
            return
        if reply.error is None:
            future.set_result(dict(reply.result))
        else:
            error = dict(reply.error)
            future.set_exception(RequestRefused(error.pop("code"), error.pop("message"), **error))

    def post(self, run: Callable[[], None]) -> None:
        """Has ``run`` called on the actor's thread; from any thread or a signal handler."""
        self._myRef.transport.post(_Posted(run))


def _enter_process() -> None:
    posix.tie_children(False)
    posix.restore_fatal_signals()
    for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR2, signal.SIGPROF, signal.SIGVTALRM):
        # SIGCHLD too: Thespian would count the service's own children for its own.
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.disable()  # enabled already, it would keep the handlers that were just reset
    faulthandler.enable(file=2)
    generation = current()
    for fd in (generation.root_fd, generation.report_fd):
        os.close(fd)


def _answer(service: Service, request: Request) -> Reply:
    try:
        return Reply(request.id, dict(service.request(request.name, request.payload)))
    except RequestRefused as refused:
        return Reply(request.id, error={"code": refused.code, "message": str(refused), **refused.details})
    except Exception as error:
        logging.getLogger(__name__).exception("request %s failed", request.name)
        return Reply(request.id, error={"code": "internal", "message": f"{type(error).__name__}: {error}"})


def _send_and_wait(transport: Any, target: Any, message: Any, wait_s: float) -> None:
    """Sends from within a handler and waits, ``wait_s`` [s] at most, until the peer has it."""
    done = threading.Event()
    transport.scheduleTransmit(
        None, TransmitIntent(target, message, lambda *_: done.set(), lambda *_: done.set())
    )
    until = time.monotonic() + wait_s
    while not done.is_set() and (left_s := until - time.monotonic()) > 0:
        transport.run(TransmitOnly, timedelta(seconds=left_s))
