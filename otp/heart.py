"""The heart: one process without threads, sockets or actors that keeps the system alive and ends it.

It holds the data directory, forks the launcher of each generation, and waits. Everything below it is its own: the
kernel makes it the parent of every orphan, so it sees each pillar end, can kill all of a generation and knows when
nothing is left. What can go wrong is kept out of it by doing almost nothing here.
"""

import gc
import logging
import os
import secrets
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp import log as logs
from slakeeper.otp import notify, posix, run_file
from slakeeper.otp.backoff import Backoff, jitter_fraction
from slakeeper.otp.generation import HEART, PILLARS, Generation, name_process
from slakeeper.otp.life import Ended, Life
from slakeeper.otp.service import SystemSpec
from slakeeper.otp.stop_signal import StopSignals
from slakeeper.otp.transport import free_port

_STABLE_S = 60.0
_FAILING_AFTER = 3
_KILL_WAIT_S = 10.0
_FIRST_START_TRIES = 3


class StartFailed(run_file.HeartError):
    """The system did not come up; the text names the process and its reason."""


class Heart:
    """Runs the system until it is told to stop.

    Args:
        data: the data directory; made when it is not there.
        build: makes the processes of a generation; called with the run's facts (data, runtime_dir, token, nonce,
            generation), and was_ready: whether an earlier generation of this heart was up. Import what services need
            before: a fork brings it along.
        ready: called once, when the system is up for the first time, with pid, http, data, cells and all facts.
        claim: of the data directory, when the caller has taken it already; the heart gives it back in any case.
        log: where the heart logs; by default to ``data/log/slakeeper.log``.
        log_level: the least that its processes log.
        log_limit_bytes: size at which the log is put aside and a new one begun [bytes].
        logs_kept: how many logs put aside are kept.
        patience_s: how long a pillar of the system may be silent before it counts as hung [s].
        backoff: the waits between generations that end early; the first follows at once.
    """

    def __init__(
        self,
        data: Path,
        build: Callable[[dict[str, Any]], SystemSpec],
        ready: Callable[[dict[str, Any]], None],
        log: logging.Logger | None = None,
        *,
        claim: run_file.Claim | None = None,
        log_level: int | str = logging.INFO,
        log_limit_bytes: int = 32 * 1024 * 1024,
        logs_kept: int = 5,
        patience_s: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._data = data.absolute()
        self._build = build
        self._ready = ready
        self._log = log
        self._claim = claim
        self._log_level = log_level
        self._log_limit_bytes = log_limit_bytes
        self._logs_kept = logs_kept
        self._patience_s = patience_s
        self._backoff = backoff or Backoff(min_ms=250, max_ms=30_000)
        self._run: dict[str, Any] = {}
        self._number = 0
        self._restarts: dict[str, int] = {}
        self._was_ready = False
        self._poll = select.poll()
        self._stop = StopSignals(self._poll)

    def run(self) -> int:
        """Blocks until the system was told to stop (SIGTERM, SIGINT) and is gone; on the main thread.

        Returns:
            0.

        Raises:
            AlreadyRunning: another heart has the data directory.
            DataDirUnusable: it cannot be written.
            StartFailed: the system did not come up for the first time. Later failures are tried again for ever.
        """
        claim = self._claim or run_file.claim(self._data)
        lock_fd = claim.lock_fd
        self._stop.take()
        logger = self._logger()
        try:
            posix.adopt_orphans()
            name_process(HEART, self._data)
            for name in claim.killed:
                logger.warning("killed %s, left by a heart that was killed", name)
            self._generations(logger, lock_fd)
        finally:
            left = posix.kill_descendants(_KILL_WAIT_S)
            if left:
                logger.error("these processes would not end: %s", left)
            run_file.remove_runtime_dir(self._run.get("runtime_dir"))
            run_file.remove(self._data)
            self._stop.give_back()
            os.close(lock_fd)
        return 0

    # -- generations -------------------------------------------------------------------------------------------

    def _generations(self, logger: logging.Logger, lock_fd: int) -> None:
        failures = 0
        while not self._stop.count:
            began = time.monotonic()
            ended = self._generation(logger, lock_fd)
            posix.kill_descendants(_KILL_WAIT_S)
            run_file.remove_runtime_dir(self._run.get("runtime_dir"))
            if ended.stopped:
                return
            if not self._was_ready and (ended.start_failed or self._number >= _FIRST_START_TRIES):
                raise StartFailed(ended.reason)
            # The next generation starts each of them once more.
            self._restarts |= {
                row["name"]: row["restarts"] + 1
                for row in self._run["processes"]
                if row["name"] not in PILLARS
            }
            failures = 1 if time.monotonic() - began > _STABLE_S else failures + 1
            wait_ms = 0
            if failures > 1:
                attempt = failures - 2
                wait_ms = self._backoff.delay_ms(attempt, jitter_fraction(str(self._data), attempt))
            logger.error(
                "generation %d is lost: %s; the next one starts in %d ms",
                self._number,
                ended.reason,
                wait_ms,
                extra={"failures": failures},
            )
            self._publish(
                state="failing" if failures >= _FAILING_AFTER else "starting",
                processes=[],
                reason=ended.reason,
            )
            self._rest(wait_ms)

    def _generation(self, logger: logging.Logger, lock_fd: int) -> Ended:
        self._number += 1
        facts = {
            "data": str(self._data),
            "runtime_dir": str(run_file.make_runtime_dir()),
            "token": run_file.token(self._data),
            "nonce": secrets.token_hex(16),
            "generation": self._number,
        }
        key = secrets.token_bytes(32)
        self._begin_run(facts, key)
        try:
            spec = self._build({**facts, "was_ready": self._was_ready})
        except Exception as error:
            # The caller's own code, with whatever a configuration may do wrong.
            logger.exception("the system's processes cannot be worked out")
            return Ended(f"{type(error).__name__}: {error}", start_failed=True)
        generation = Generation(
            number=self._number,
            data=self._data,
            key=key,
            admin_port=free_port(),
            heart_pid=os.getpid(),
            report_fd=-1,
            root_fd=-1,
            log_level=self._log_level,
            spec=spec,
            facts=facts,
            restarts=dict(self._restarts),
        )
        self._publish(admin_port=generation.admin_port, **spec.facts)
        life = Life(generation, self._poll, self._patience_s)
        life.fork(close=(lock_fd, *self._stop.fds))
        try:
            return self._watch(life, logger)
        finally:
            life.close()

    def _begin_run(self, facts: Mapping[str, Any], key: bytes) -> None:
        me = posix.identify(os.getpid())
        began_at_ms = self._run.get("started_at_ms", time.time_ns() // 1_000_000)
        state = self._run.get("state", "starting")
        self._run = {
            "pid": os.getpid(),
            "started": me.started if me else 0,
            "boot_id": posix.boot_id(),
            "started_at_ms": began_at_ms,
            # A port that was any free one is kept: clients know it.
            "http": self._run.get("http"),
            "cells": None,
            "admin_address": None,
            "thespian_key": key.hex(),
            "processes": [],
            "reason": "",
            **facts,
        }
        self._publish(state=state)

    def _watch(self, life: Life, logger: logging.Logger) -> Ended:
        while True:
            if self._stop.count and not life.stopping:
                self._publish(state="stopping")
                notify.notify("STOPPING=1")
                life.stop()
            if self._stop.count > 1:
                return Ended("told to stop twice", stopped=True)
            self._poll.poll(life.wait_ms())
            self._stop.drain()
            posix.reap()
            news = life.look()
            notify.notify("WATCHDOG=1")
            logs.rotate(logs.log_path(self._data), self._log_limit_bytes, self._logs_kept)
            logs.cut(logs.output_path(self._data), self._log_limit_bytes)
            if not os.path.isdir(self._run["runtime_dir"]):
                return Ended("the folder of the sockets has been removed", stopped=self._stop.count > 0)
            if run_file.read(self._data) is None:
                self._publish()
            if news.stop_asked and not self._stop.count:
                self._stop.ask()
            if news.orphans:
                logger.warning("killed programs whose service had ended: %s", news.orphans)
            if news.processes is not None:
                self._publish(**_addresses(news.processes), processes=news.processes)
            if news.ready is not None:
                self._up(news.ready, logger)
            if news.ended is not None:
                return Ended(
                    news.ended.reason, stopped=self._stop.count > 0, start_failed=news.ended.start_failed
                )

    def _up(self, facts: Mapping[str, Any], logger: logging.Logger) -> None:
        http = next((one["http"] for one in facts.values() if "http" in one), None)
        state = "stopping" if self._stop.count else "running"
        self._publish(state=state, http=http, facts=dict(facts))
        logger.info("generation %d is up", self._number)
        notify.notify("READY=1")
        if not self._was_ready:
            self._was_ready = True
            self._ready({name: value for name, value in self._run.items() if name not in _SECRET})

    def _publish(self, **changes: Any) -> None:
        self._run |= changes
        try:
            run_file.write(self._data, self._run)
        except OSError as error:
            # A full disk must not stop the heart; the next change is written again as a whole.
            self._logger().error("run.json cannot be written: %s", error)

    def _rest(self, wait_ms: int) -> None:
        until = time.monotonic() + wait_ms / 1000
        while not self._stop.count and (left_s := until - time.monotonic()) > 0:
            self._poll.poll(int(left_s * 1000) + 1)
            self._stop.drain()
            notify.notify("WATCHDOG=1")

    def _logger(self) -> logging.Logger:
        if self._log is not None:
            return self._log
        logger = logging.getLogger("slakeeper.heart")
        if not logger.handlers:
            logger.addHandler(logs.JsonFile(str(logs.log_path(self._data)), HEART))
            logger.setLevel(self._log_level)
            logger.propagate = False
        return logger


_SECRET = frozenset({"token", "thespian_key", "nonce"})


def _addresses(processes: list[dict[str, Any]]) -> dict[str, Any]:
    port = next((one["port"] for one in processes if one.get("port")), None)
    return {"admin_address": None if port is None else f"127.0.0.1:{port}"}


def freeze() -> None:
    """Keeps what is imported by now out of the garbage collector, so that forked processes share its memory.

    Import with the collector off and call this once: it is on afterwards. Looking for garbage first would find a few
    hundred KiB and take a tenth of the start.
    """
    gc.freeze()
    gc.enable()
