"""The gateway process: serves the application on a socket of its own, with the event loop on a thread."""

import asyncio
import errno
import gc
import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from starlette.applications import Starlette

from slakeeper.client import MAX_IN_FLIGHT_SAMPLES, Cluster, DiskGauge, connect
from slakeeper.web.app import create_app
from slakeeper.web.datagram import StatsdDoor, bind_udp
from slakeeper.web.intake import Intake
from slakeeper.web.protocol import protocol_class

DEFAULT_HTTP = "127.0.0.1:8765"

# How often StatsD's counters become samples.
DEFAULT_FLUSH_MS = 1_000

# Connections at once; each may hold a body. More are answered 503 by the server itself. Those that are silent are fewer
# (`protocol`), and one host asks on half of them (`gate`).
MAX_CONNECTIONS = 1_000

# What answers get to finish at a stop; open event streams are ended first.
GRACE_S = 0.5

START_WITHIN_S = 10.0

# How long a restarted gateway waits for the port that its clients know: while nobody listened, the kernel may have
# given it to somebody's outgoing connection, most likely to one of a client that tried to reach it.
SAME_PORT_WITHIN_S = 3.0
ASK_AGAIN_S = 0.02

TICK_S = 0.1

# Data that a peer does not take for this long closes its connection (TCP_USER_TIMEOUT): a dashboard on a laptop that
# was shut does not keep its place.
UNREAD_MS = 15_000

# As in a cell's process: a batch is some hundred containers, all gone with its answer.
GC_THRESHOLD = 20_000


def gateway(args: Mapping[str, Any], context: Any) -> "Gateway":
    """The entry point ``slakeeper.web.server:gateway``.

    Args:
        args: ``{"http": "host:port", "cells": [{"name", "socket", "sla"?}], "partitions", "token", "run_file"?,
            "names"?: further host names, "behind_proxy"?: X-Forwarded-… of this machine is
            believed, "ack_key"?, "inbound"?, "patience_s"?, "max_in_flight"?, "ingest"?: {"prometheus"?, "otlp"?:
            False closes the door, "statsd"?: "host:port", "statsd_flush_ms"?, "token_file"?, "rate_limit"?}}``.
        context: the process's own facts; none are needed.
    """
    gc.set_threshold(GC_THRESHOLD)
    return Gateway(args)


class Gateway:
    """HTTP in front of the cells, as a service of a process."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = args
        self._run_file = RunFile(Path(args["run_file"])) if args.get("run_file") else None
        # The data directory is where the run's own file is.
        self._gauge = DiskGauge(Path(args["run_file"]).parent) if args.get("run_file") else None
        self._ingest: Mapping[str, Any] = args.get("ingest") or {}
        self._intake: Intake | None = None
        self._statsd: socket.socket | None = None
        self._statsd_door: StatsdDoor | None = None
        self._cluster: Cluster | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._ticked_at_s = time.monotonic()

    def start(self) -> dict[str, Any]:
        """Serves; returns ``{"http": "host:port", "statsd"?}`` when the port answers.

        Raises:
            OSError: the address cannot be bound; names it.
            RuntimeError: the server did not come up.
        """
        host, port = parse_address(self._args.get("http") or DEFAULT_HTTP)
        listener = self._bind(host, port)
        facts = {"http": address_text(host, listener.getsockname()[1])}
        if self._ingest.get("statsd"):
            try:
                udp_host, udp_port = parse_address(self._ingest["statsd"])
                self._statsd = bind_udp(udp_host, udp_port)
            except OSError:
                listener.close()
                raise
            facts["statsd"] = address_text(udp_host, self._statsd.getsockname()[1])
        limits = {name: self._args[name] for name in ("patience_s", "max_in_flight") if name in self._args}
        self._cluster = connect(self._args["cells"], self._args["partitions"], via="http", **limits)
        self._intake = Intake(self._cluster, self._args.get("max_in_flight", MAX_IN_FLIGHT_SAMPLES))
        app = create_app(
            self._cluster,
            self._args["token"],
            host=host,
            names=self._args.get("names", ()),
            processes=self._run_file.processes if self._run_file else list,
            run=self._run_file.facts if self._run_file else None,
            disk=self._disk,
            ack_key=self._args.get("ack_key"),
            inbound=self._args.get("inbound"),
            intake=self._intake,
            ingest=self._ingest,
        )
        self._server = uvicorn.Server(_configuration(app, bool(self._args.get("behind_proxy"))))
        self._thread = threading.Thread(target=self._serve, args=(app, listener), name="gateway", daemon=True)
        self._thread.start()
        deadline_s = time.monotonic() + START_WITHIN_S
        # The port itself is open since it was bound; what is waited for is the server behind it.
        while not self._server.started:
            self._thread.join(0.005)
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                self.stop(0.0)
                raise RuntimeError(f"the gateway did not start: {self._failure}")
        return facts

    def _disk(self) -> dict[str, int] | None:
        return None if self._gauge is None else self._gauge.read()

    def stop(self, deadline_s: float) -> None:
        """Ends event streams, lets answers finish for a moment, closes everything; within a second."""
        if self._loop is not None and self._server is not None:
            try:
                self._loop.call_soon_threadsafe(self._end)
            except RuntimeError:
                self._server.should_exit = True  # its loop has ended by itself
        if self._thread is not None:
            self._thread.join(max(deadline_s, 2 * GRACE_S))
        if self._cluster is not None:
            self._cluster.close()

    def beat(self) -> dict[str, Any]:
        """``{"age_ms"}`` of the event loop's last turn, samples in flight as the mailbox, and what the doors took.

        Raises:
            RuntimeError: the server, or a door, has ended by itself.
        """
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError(f"the gateway's server has ended: {self._failure}")
        if self._statsd_door is not None and self._statsd_door.failure:
            raise RuntimeError(self._statsd_door.failure)
        waiting = sum(self._cluster.in_flight.values()) if self._cluster is not None else 0
        return {
            "age_ms": round((time.monotonic() - self._ticked_at_s) * 1000),
            "actors": 0,
            "mailbox": waiting,
            "ingest": [door.row() for door in self._intake.doors] if self._intake is not None else [],
        }

    def _bind(self, host: str, port: int) -> socket.socket:
        if port == 0 and self._run_file is not None:
            # "Any port" is chosen once: a gateway that is restarted comes back where its clients know it.
            run = self._run_file.read()
            earlier = parse_address(run.get("http") or f"{host}:0")[1]
            if earlier:
                try:
                    return bind_soon(host, earlier)
                except OSError as error:
                    if run.get("state") == "running":
                        raise  # nobody would be told of another one before all of the system is started anew
                    logging.getLogger(__name__).warning("taking another port: %s", error)
        return bind(host, port)

    def _serve(self, app: Starlette, listener: socket.socket) -> None:
        try:
            asyncio.run(self._main(app, listener))
        except Exception as error:  # noqa: BLE001 - the thread's last word; start() and beat() raise it
            self._failure = error
        finally:
            listener.close()

    async def _main(self, app: Starlette, listener: socket.socket) -> None:
        assert self._server is not None
        self._loop = asyncio.get_running_loop()
        self._hub = app.state.hub
        ticking = asyncio.create_task(self._tick())
        statsd = self._statsd_door = self._open_statsd()
        try:
            # Off the main thread uvicorn leaves signals alone.
            await self._server.serve([listener])
        finally:
            ticking.cancel()
            if statsd is not None:
                await statsd.close(GRACE_S)

    def _open_statsd(self) -> StatsdDoor | None:
        if self._statsd is None or self._intake is None:
            return None
        flush_s = self._ingest.get("statsd_flush_ms", DEFAULT_FLUSH_MS) / 1000
        door = StatsdDoor(self._statsd, self._intake, flush_s)
        door.open()
        return door

    async def _tick(self) -> None:
        while True:
            self._ticked_at_s = time.monotonic()
            await asyncio.sleep(TICK_S)

    def _end(self) -> None:
        assert self._server is not None
        self._hub.close()
        self._server.should_exit = True


class RunFile:
    """``run.json``, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._content: dict[str, Any] = {}
        self._began_s = time.time()

    def read(self) -> dict[str, Any]:
        """Its content; the last one that could be read while it is being replaced, or empty."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                content = json.loads(self._path.read_text(encoding="utf-8"))
                self._content, self._seen = dict(content), seen
        except (OSError, ValueError) as error:
            logging.getLogger(__name__).debug("%s: %s", self._path, error)
        return self._content

    def processes(self) -> list[dict[str, Any]]:
        """The root's process table."""
        return list(self.read().get("processes") or ())

    def facts(self) -> dict[str, Any]:
        """``{"state", "uptime_s", "generation"}`` of the whole system."""
        content = self.read()
        since_s = _started_at_s(content.get("pid")) or self._began_s
        return {
            "state": content.get("state", "running"),
            "uptime_s": round(max(0.0, time.time() - since_s), 3),
            "generation": content.get("generation", 1),
        }


def bind_soon(host: str, port: int) -> socket.socket:
    """As :func:`bind`, of a port that may be in use for a moment."""
    until_s = time.monotonic() + SAME_PORT_WITHIN_S
    while True:
        try:
            return bind(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until_s:
                raise
        time.sleep(ASK_AGAIN_S)


def bind(host: str, port: int) -> socket.socket:
    """A listening address.

    Raises:
        OSError: with the address in its text.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            # A restarted gateway does not wait for old connections to be forgotten; a listening one still refuses.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
            listener.bind(address)
            # Listening at once: of two that bind the same address, the second learns it here.
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        text = f"cannot listen on {address_text(host, port)}: {why}"
        raise OSError(error.errno or errno.EADDRNOTAVAIL, text) from error
    return listener


def parse_address(text: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port`` (loopback) as (host, port).

    Raises:
        OSError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise OSError(errno.EINVAL, f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def address_text(host: str, port: int) -> str:
    """``host:port``, with brackets for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _configuration(app: Starlette, behind_proxy: bool) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_class(),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",  # the application logs its own failures
        access_log=False,
        server_header=False,
        # From the loopback, and without a proxy nobody's: each sender there could be as many clients as it likes.
        proxy_headers=behind_proxy,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,  # type: ignore[arg-type]  # whole seconds by its type, any by its use
    )


def _started_at_s(pid: Any) -> float | None:
    """When the process started, Unix [s]; None when it is not there."""
    if not isinstance(pid, int):
        return None
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
