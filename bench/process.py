"""Table ``process``: what processes cost each other, and how soon one that is killed or hangs is replaced."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.counters import COUNTERS, HANG_AFTER_MS, HEARTBEAT_MS, HOSTING, socket_path
from bench.machine import ROOT
from bench.table import Limit, Row, Table, row
from slakeeper.otp import attach
from slakeeper.otp.frame import FrameReader, pack_frame

CALLS, CALLS_QUICK = 1_000, 50
KILLS, KILLS_QUICK = 40, 3
HANGS, HANGS_QUICK = 10, 1
# What each counter has in the journal; killed that often there would never be a snapshot, and the journal only grow.
ADDS = 5

CALL_LIMIT_MS = 2.0
BACK_LIMIT_MS = 150.0
# The root looks at its children this often; see process_supervisor.
LOOK_EVERY_MS = 200
# A hung process is known by its next beat that does not come, or says so, when the root looks the next time.
HANG_LIMIT_MS = HANG_AFTER_MS + HEARTBEAT_MS + LOOK_EVERY_MS

GIVE_UP_S = 30.0
LOOK_AGAIN_S = 0.001
READ_BYTES = 65_536


def measure(quick: bool) -> Table:
    """All on one running system."""
    with running() as data:
        calls = CALLS_QUICK if quick else CALLS
        with attach.Client(data) as client:
            to_root = client.request("calls", {"count": calls}, GIVE_UP_S)["took_ms"]
            from_client = [_call_ms(client) for _ in range(calls)]
        back = list(kills(data, KILLS_QUICK if quick else KILLS))
        hangs = HANGS_QUICK if quick else HANGS
        stopped = [hang_ms(data, stick=False) for _ in range(hangs)]
        stuck = [hang_ms(data, stick=True) for _ in range(hangs)]
    rows: list[Row] = [
        row("call: process -> root", "ms", to_root, Limit("p50", CALL_LIMIT_MS)),
        row("call: client -> process", "ms", from_client),
        row(f"kill -9 of {COUNTERS} actors -> all serve", "ms", back, Limit("p95", BACK_LIMIT_MS)),
        row("SIGSTOP -> killed", "ms", stopped, Limit("max", HANG_LIMIT_MS)),
        row("loop stuck -> killed", "ms", stuck, Limit("max", HANG_LIMIT_MS)),
    ]
    about = (
        f"otp's processes: calls over Thespian; one with {COUNTERS} durable counters on a disk, killed, and hung "
        f"with hang_after_ms={HANG_AFTER_MS}, heartbeat_ms={HEARTBEAT_MS}"
    )
    return Table("process", about, tuple(rows))


@contextlib.contextmanager
def running() -> Iterator[Path]:
    """The system of :mod:`bench.counters` in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="slakeeper-bench-") as directory:
        data = Path(directory) / "data"
        command = [sys.executable, "-m", "bench.counters", str(data)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as heart:
            try:
                assert heart.stdout is not None
                if heart.stdout.readline() != b"ready\n":
                    raise RuntimeError("the counters did not start")
                yield data
            finally:
                heart.terminate()


def _call_ms(client: attach.Client) -> float:
    began_s = time.perf_counter()
    client.request("echo", {})
    return (time.perf_counter() - began_s) * 1000


def kills(data: Path, count: int) -> Iterator[float]:
    """From the kill to the answer of every counter, each as it was [ms]."""
    path = socket_path(attach.running(data)["runtime_dir"])
    for number in range(1, count + 1):
        if number <= ADDS:
            _ask(path, "add", 1)
        began_s = time.perf_counter()
        os.kill(_pid(data), signal.SIGKILL)
        found = _ask(path, "sum", None)
        yield (time.perf_counter() - began_s) * 1000
        if found != (wanted := min(number, ADDS) * COUNTERS):
            raise RuntimeError(f"the counters hold {found} and not {wanted}")
        _known(data)


def hang_ms(data: Path, *, stick: bool) -> float:
    """From the moment a process hangs until it is killed [ms]."""
    path = socket_path(attach.running(data)["runtime_dir"])
    _ask(path, "sum", None)
    pid = _known(data)
    pidfd = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        began_s = time.perf_counter()
        if stick:
            with contextlib.closing(_connected(path)) as link:
                link.sendall(pack_frame([1, "stick", None]))
                _await(ended, pid)
        else:
            os.kill(pid, signal.SIGSTOP)
            _await(ended, pid)
        return (time.perf_counter() - began_s) * 1000
    finally:
        os.close(pidfd)


def _await(ended: "select.poll", pid: int) -> None:
    if not ended.poll(GIVE_UP_S * 1000):
        raise TimeoutError(f"the hung process {pid} was not killed within {GIVE_UP_S:g} s")


def _pid(data: Path) -> int:
    """Of the process of the counters, as the run file has it; 0 while it has none."""
    found = attach.running(data)["processes"]
    return next((int(one["pid"] or 0) for one in found if one["name"] == HOSTING), 0)


def _known(data: Path) -> int:
    """The pid of the process that serves now, once the run file knows it as running."""
    until_s = time.monotonic() + GIVE_UP_S
    while True:
        found = next(one for one in attach.running(data)["processes"] if one["name"] == HOSTING)
        if found["status"] == "running" and os.path.exists(f"/proc/{found['pid']}"):
            return int(found["pid"])
        if time.monotonic() > until_s:
            raise TimeoutError(f"no process of the counters within {GIVE_UP_S:g} s")
        time.sleep(LOOK_AGAIN_S)


def _ask(path: Path, kind: str, payload: Any) -> Any:
    """Asks until somebody answers."""
    until_s = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), contextlib.closing(_connected(path)) as link:
            link.sendall(pack_frame([1, kind, payload]))
            reader = FrameReader()
            while data := link.recv(READ_BYTES):
                for _, ok, result in reader.feed(data):
                    if not ok:
                        raise RuntimeError(f"{kind}: {result}")
                    return result
        time.sleep(LOOK_AGAIN_S)
    raise TimeoutError(f"no answer to {kind} within {GIVE_UP_S:g} s")


def _connected(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(GIVE_UP_S)
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    return link
